use super::*;
use crate::test_mesh::Mesh;
use crate::{DeltaRequest, SotwRequest};

#[path = "server_tests/peer.rs"]
mod peer;
#[path = "server_tests/requests.rs"]
mod requests;
#[path = "server_tests/returning.rs"]
mod returning;
#[path = "server_tests/shuffled.rs"]
mod shuffled;

use peer::Peer;

fn one() -> Mesh {
    Mesh::default().cluster("v1", 1, 1).route("80", &["v1"]).listener("0.0.0.0_80", "80")
}

fn two() -> Mesh {
    Mesh::default().cluster("v2", 1, 1).route("80", &["v2"]).listener("0.0.0.0_80", "80")
}

const BOTH: [Protocol; 2] = [Protocol::Delta, Protocol::Sotw];

#[test]
fn a_new_client_gets_everything_in_order() {
    for protocol in BOTH {
        let mut peer = Peer::new(protocol);
        peer.set(&one());
        peer.settle();
        assert_eq!(peer.log, ["CDS v1", "EDS v1", "LDS 0.0.0.0_80", "RDS 80"], "{protocol:?}");
        assert!(peer.stream.status().in_step);
    }
}

#[test]
fn a_route_waits_for_the_ack_of_its_clusters_and_old_clusters_leave_last() {
    for protocol in BOTH {
        let mut peer = Peer::new(protocol);
        peer.set(&one());
        peer.settle();
        peer.log.clear();
        peer.set(&two());
        peer.receive();
        // No ACK yet: the new endpoints are out, the routes are not.
        assert_eq!(
            peer.log.last().map(String::as_str),
            Some(if protocol == Protocol::Delta { "CDS v2" } else { "CDS v1 v2" })
        );
        peer.settle_without_time();
        assert_eq!(peer.log.last().map(String::as_str), Some("RDS 80"), "{protocol:?}");
        assert!(peer.has("CDS", "v1") && peer.has("CDS", "v2"), "{protocol:?}: v1 may still be needed");
        assert!(peer.stream.status().in_step, "a cluster that waits to leave is no reason not to be");
        peer.wait(Duration::from_millis(1999));
        assert!(peer.has("CDS", "v1"));
        peer.wait(Duration::from_millis(1));
        assert!(!peer.has("CDS", "v1") && peer.has("CDS", "v2"), "{protocol:?}");
    }
}

#[test]
fn the_grace_is_longer_than_the_fault_delays_of_the_old_routes() {
    let mut peer = Peer::new(Protocol::Delta);
    let slow = Duration::from_secs(20);
    peer.set(&Mesh::default().cluster("v1", 1, 1).delayed_route("80", &["v1"], slow).listener("l", "80"));
    peer.settle();
    peer.set(&two());
    peer.settle_without_time();
    peer.wait(Duration::from_secs(21));
    assert!(peer.has("CDS", "v1"));
    peer.wait(Duration::from_secs(1));
    assert!(!peer.has("CDS", "v1"));
}

#[test]
fn an_old_listener_goes_when_the_new_ones_are_warm() {
    for protocol in BOTH {
        let mut peer = Peer::new(protocol);
        peer.set(&Mesh::default().cluster("v1", 1, 1).tcp_listener("old", "v1"));
        peer.settle();
        peer.log.clear();
        peer.set(&two());
        peer.settle_without_time();
        let listeners: Vec<_> = peer.log.iter().filter(|l| !l.starts_with("CDS") && !l.starts_with("EDS")).collect();
        let expected = match protocol {
            Protocol::Delta => ["LDS 0.0.0.0_80", "RDS 80", "LDS -old"],
            Protocol::Sotw => ["LDS 0.0.0.0_80 old", "RDS 80", "LDS 0.0.0.0_80"],
        };
        assert_eq!(listeners, expected);
    }
}

#[test]
fn a_cluster_that_is_wanted_again_stays() {
    for protocol in BOTH {
        let mut peer = Peer::new(protocol);
        peer.set(&one());
        peer.settle();
        peer.set(&two());
        peer.settle_without_time();
        peer.wait(Duration::from_secs(1));
        peer.log.clear();
        peer.set(&one());
        peer.settle_without_time();
        assert!(!peer.log.iter().any(|line| line.starts_with("CDS")), "{protocol:?}: it has v1: {:?}", peer.log);
        peer.wait(Duration::from_secs(10));
        assert!(peer.has("CDS", "v1") && !peer.has("CDS", "v2"), "{protocol:?}");
    }
}

#[test]
fn endpoints_go_out_at_once_and_again_after_a_change_of_their_cluster() {
    for protocol in BOTH {
        let mut peer = Peer::new(protocol);
        peer.set(&one());
        peer.settle();
        peer.log.clear();
        peer.set(&Mesh::default().cluster("v1", 2, 3).route("80", &["v1"]).listener("0.0.0.0_80", "80"));
        peer.settle();
        assert_eq!(peer.log, ["EDS v1", "CDS v1", "EDS v1"], "{protocol:?}");
    }
}

#[test]
fn endpoints_are_withdrawn_by_an_empty_assignment_once() {
    let mut peer = Peer::new(Protocol::Delta);
    peer.set(&one());
    peer.settle();
    peer.log.clear();
    let mut gone = one();
    gone.config.endpoints.clear();
    peer.set(&gone);
    peer.settle();
    assert_eq!(peer.log, ["EDS v1"]);
    assert_eq!(peer.held_version("EDS", "v1"), Some(&*Encoded::no_endpoints("v1").version));
    assert!(peer.stream.status().in_step);
}

#[test]
fn a_withheld_ack_of_clusters_is_waited_for_within_bounds_and_named() {
    let mut peer = Peer::new(Protocol::Delta);
    peer.withholds_cluster_acks = true;
    peer.set(&one());
    peer.settle_without_time();
    assert_eq!(peer.log, ["CDS v1", "EDS v1"]);
    assert_eq!(peer.stream.status().types[ResourceType::Cluster].held_up_by, ["v1".into()]);
    peer.wait(Duration::from_secs(15));
    assert_eq!(peer.log, ["CDS v1", "EDS v1", "LDS 0.0.0.0_80", "RDS 80"]);
}

#[test]
fn what_does_not_name_a_withheld_cluster_does_not_wait_for_it() {
    let mut peer = Peer::new(Protocol::Delta);
    peer.set(&one());
    peer.settle();
    peer.log.clear();
    peer.withholds_cluster_acks = true;
    let next = one().cluster("v2", 1, 1).route("80", &["v1", "v1"]).route("81", &["v2"]).listener("0.0.0.0_81", "81");
    peer.set(&next);
    peer.settle_without_time();
    assert_eq!(peer.log, ["CDS v2", "RDS 80", "EDS v2"]);
}

#[test]
fn a_refused_response_is_sent_again_one_by_one_and_the_culprit_is_named() {
    for protocol in BOTH {
        let mut peer = Peer::new(protocol);
        peer.refuses = Some("bad".into());
        peer.set(&one().cluster("bad", 1, 1).cluster("good", 1, 1).route("81", &["bad"]).listener("0.0.0.0_81", "81"));
        peer.settle();
        let status = peer.stream.status();
        let rejected: Vec<_> = status.types[ResourceType::Cluster].rejected.iter().map(|r| &*r.name).collect();
        assert_eq!(rejected, ["bad"], "{protocol:?}");
        assert!(peer.has("CDS", "good") && peer.has("CDS", "v1") && peer.has("RDS", "80"), "{protocol:?}");
        assert!(!status.in_step);
        // A better version is sent, and clears its name.
        peer.refuses = None;
        peer.set(&one().cluster("bad", 2, 1));
        peer.settle();
        assert!(peer.stream.status().in_step, "{protocol:?} {:?}", peer.stream.status());
    }
}

#[test]
fn a_client_keeps_its_route_where_it_refused_the_cluster_of_the_new_one() {
    let mut peer = Peer::new(Protocol::Delta);
    peer.set(&one());
    peer.settle();
    let old = peer.held_version("RDS", "80").map(str::to_owned);
    peer.refuses = Some("v2".into());
    peer.set(&two());
    peer.settle();
    assert_eq!(peer.held_version("RDS", "80").map(str::to_owned), old);
    assert!(peer.has("CDS", "v1"), "and the cluster that it names");
}

#[test]
fn after_a_reconnect_only_what_differs_is_sent_and_removals_too() {
    let mut peer = Peer::new(Protocol::Delta);
    peer.set(&one().cluster("same", 1, 1));
    peer.settle();
    peer.log.clear();
    peer.reconnect(&two().cluster("same", 1, 1));
    peer.settle_without_time();
    // Listeners are as they were: their subscription is answered by nothing. What endpoints its clusters were given
    // cannot be told by what an Envoy tells.
    assert_eq!(peer.log, ["EDS same v1", "CDS v2", "LDS", "EDS v2", "RDS 80"]);
    peer.settle();
    assert!(!peer.has("CDS", "v1") && peer.has("CDS", "same"));
    assert!(peer.stream.status().in_step);
}

#[test]
fn a_proxy_of_ours_that_comes_back_costs_no_resource() {
    let mut peer = Peer::with_vhds();
    peer.set(&shop("v1", "v2"));
    peer.settle();
    peer.log.clear();
    peer.reconnect(&shop("v1", "v2"));
    peer.settle();
    assert_eq!(peer.log, ["CDS", "LDS"]);
    let status = peer.stream.status();
    assert!(status.in_step);
    let routes = &status.types[ResourceType::Route];
    assert!(routes.brought && routes.in_step && routes.sent == 0, "{routes:?}");
}

#[test]
fn every_subscription_is_answered() {
    let now = Instant::now();
    let mut stream = Stream::new(Protocol::Delta, StreamOptions::default());
    stream.set_target_from(one().resources());
    let ask = |kind: ResourceType, names: &[&str]| DeltaRequest {
        type_url: kind.type_url().into(),
        subscribe: names.iter().map(|n| Arc::from(*n)).collect(),
        ..Default::default()
    };
    // A name that is not there, of each named type.
    for kind in [ResourceType::Endpoints, ResourceType::Route, ResourceType::Secret] {
        stream.on_delta(now, ask(kind, &["nothing"]));
        let response = stream.next(now).expect("an answer");
        let empty = kind == ResourceType::Endpoints;
        assert_eq!((response.resources.len(), response.removed.len()), if empty { (1, 0) } else { (0, 1) });
        assert!(stream.next(now).is_none());
    }
    // The same name again, and a type that is not served.
    let nonce = stream.types[ResourceType::Route].last_nonce.clone();
    stream.on_delta(now, DeltaRequest { nonce, ..ask(ResourceType::Route, &["nothing"]) });
    assert_eq!(stream.next(now).expect("an answer").removed.len(), 1);
    stream.on_delta(now, DeltaRequest { type_url: "type.googleapis.com/other".into(), ..Default::default() });
    assert_eq!(&*stream.next(now).expect("an answer").type_url, "type.googleapis.com/other");
    assert!(stream.next(now).is_none());
    // Everything, where there is nothing.
    let mut empty = Stream::new(Protocol::Sotw, StreamOptions::default());
    empty.on_sotw(now, SotwRequest { type_url: ResourceType::Cluster.type_url().into(), ..Default::default() });
    assert!(empty.next(now).expect("an answer").resources.is_empty());
}

#[test]
fn one_response_of_a_type_is_under_way_at_a_time() {
    let now = Instant::now();
    let mut stream = Stream::new(Protocol::Delta, StreamOptions::default());
    stream.set_target_from(one().resources());
    let type_url = ResourceType::Cluster.type_url();
    stream.on_delta(now, DeltaRequest { type_url: type_url.into(), ..Default::default() });
    let first = stream.next(now).expect("clusters");
    stream.set_target_from(one().cluster("v2", 1, 1).resources());
    stream.set_target_from(one().cluster("v3", 1, 1).resources());
    assert!(stream.next(now).is_none());
    stream.on_delta(now, DeltaRequest { type_url: type_url.into(), nonce: first.nonce, ..Default::default() });
    let second = stream.next(now).expect("the newest alone");
    assert_eq!(second.resources.iter().map(|(n, _)| &**n).collect::<Vec<_>>(), ["v3"]);
}

#[test]
fn equal_contents_have_equal_versions_and_share_their_bytes() {
    let mut encoder = Encoder::default();
    encoder.begin();
    let first = encoder.encode(&one().config, Form::Whole);
    encoder.begin();
    let second = encoder.encode(&one().config, Form::Whole);
    for kind in ResourceType::ALL {
        for (name, encoded) in first.iter(kind) {
            assert!(second.get(kind, name).is_some_and(|second| Arc::ptr_eq(encoded, second)), "{name}");
        }
    }
    assert!(Diff::between(&first, &second).is_empty());
}

#[test]
fn refused_removals_are_not_sent_again() {
    for protocol in BOTH {
        let mut peer = Peer::new(protocol);
        peer.set(&one().listener("0.0.0.0_81", "80").listener("0.0.0.0_82", "80"));
        peer.settle();
        peer.set(&one());
        let response = peer.stream.next(Instant::now()).expect("the removals");
        let refusal = "no".to_owned();
        let (type_url, nonce) = (response.type_url.to_string(), response.nonce.clone());
        match protocol {
            Protocol::Delta => peer
                .stream
                .on_delta(Instant::now(), DeltaRequest { type_url, nonce, error: Some(refusal), ..Default::default() }),
            Protocol::Sotw => peer
                .stream
                .on_sotw(Instant::now(), SotwRequest { type_url, nonce, error: Some(refusal), ..Default::default() }),
        }
        assert!(peer.stream.next(Instant::now()).is_none(), "{protocol:?}");
    }
}

#[test]
fn what_is_sent_again_alone_waits_for_its_clusters_too() {
    let mut peer = Peer::new(Protocol::Delta);
    peer.set(&one().route("81", &["v1"]).listener("0.0.0.0_81", "81"));
    peer.settle();
    // Both listeners' routes change, and the response is refused as a whole; meanwhile there is a save.
    peer.set(
        &one().cluster("v2", 1, 1).route("80", &["v1", "v1"]).route("81", &["v1", "v1"]).listener("0.0.0.0_81", "81"),
    );
    let now = Instant::now();
    let answer = |peer: &mut Peer, kind: ResourceType, error: Option<&str>| loop {
        let response = peer.stream.next(now).expect("a response");
        let is_it = &*response.type_url == kind.type_url();
        let (type_url, nonce) = (response.type_url.to_string(), response.nonce.clone());
        let error = error.filter(|_| is_it).map(str::to_owned);
        peer.stream.on_delta(now, DeltaRequest { type_url, nonce, error, ..Default::default() });
        if is_it {
            return response;
        }
    };
    let refused = answer(&mut peer, ResourceType::Route, Some("no"));
    assert_eq!(refused.resources.len(), 2);
    peer.set(&one().cluster("v3", 1, 1).route("80", &["v3"]).route("81", &["v3"]).listener("0.0.0.0_81", "81"));
    let clusters = peer.stream.next(now).expect("a response");
    assert_eq!(&*clusters.type_url, ResourceType::Cluster.type_url());
    assert!(peer.stream.next(now).is_none(), "the clusters are not acknowledged");
    let (type_url, nonce) = (clusters.type_url.to_string(), clusters.nonce);
    peer.stream.on_delta(now, DeltaRequest { type_url, nonce, ..Default::default() });
    assert_eq!(answer(&mut peer, ResourceType::Route, None).resources.len(), 1, "alone");
}

/// Two virtual hosts, to those clusters.
fn shop(reviews: &str, ratings: &str) -> Mesh {
    Mesh::default()
        .cluster("v1", 1, 1)
        .cluster("v2", 1, 1)
        .hosts("80", &[("reviews", &["reviews"], reviews), ("ratings", &["ratings"], ratings)])
        .listener("l", "80")
}

#[test]
fn a_changed_rule_pushes_its_virtual_host_alone() {
    let mut peer = Peer::with_vhds();
    peer.set(&shop("v1", "v1"));
    peer.settle();
    assert_eq!(&peer.log[peer.log.len() - 2..], ["RDS 80", "VHDS 80/ratings 80/reviews"]);
    assert!(peer.stream.status().in_step);
    peer.log.clear();
    peer.set(&shop("v2", "v1"));
    peer.settle();
    assert_eq!(peer.log, ["VHDS 80/reviews"]);
}

#[test]
fn a_virtual_host_waits_for_its_clusters_and_old_ones_leave_after_it() {
    let mut peer = Peer::with_vhds();
    let with = |cluster: &str| {
        Mesh::default().cluster(cluster, 1, 1).hosts("80", &[("a", &["a"], cluster)]).listener("l", "80")
    };
    peer.set(&with("v1"));
    peer.settle();
    peer.log.clear();
    peer.set(&with("v2"));
    peer.receive();
    assert_eq!(peer.log, ["CDS v2"]);
    peer.settle_without_time();
    assert_eq!(peer.log.last().map(String::as_str), Some("VHDS 80/a"));
    assert!(peer.has("CDS", "v1"));
    peer.settle();
    assert_eq!(peer.log.last().map(String::as_str), Some("CDS -v1"));
}

#[test]
fn a_domain_moves_from_one_virtual_host_to_another_at_once() {
    let mut peer = Peer::with_vhds();
    let base = || Mesh::default().cluster("v1", 1, 1).listener("l", "80");
    peer.set(&base().hosts("80", &[("a", &["a", "d"], "v1"), ("b", &["b"], "v1"), ("c", &["c"], "v1")]));
    peer.settle();
    peer.log.clear();
    // `b` takes the domain of `a`, and waits for its cluster; `c` has nothing to do with it.
    let moved = [("a", &["a"][..], "v1"), ("b", &["b", "d"][..], "v2"), ("c", &["c"][..], "v2")];
    peer.withholds_cluster_acks = true;
    peer.set(&base().cluster("v2", 1, 1).hosts("80", &[moved[0], moved[1], ("c", &["c"], "v1")]));
    peer.settle_without_time();
    assert_eq!(peer.log, ["CDS v2", "EDS v2"], "not even what takes the domain away goes out");
    peer.set(&base().cluster("v2", 1, 1).hosts("80", &moved));
    peer.pass(Duration::from_secs(15));
    peer.settle_without_time();
    assert_eq!(peer.log.last().map(String::as_str), Some("VHDS 80/a 80/b 80/c"));
}

#[test]
fn a_refused_virtual_host_is_named_with_its_objects_and_harms_only_itself() {
    let mut peer = Peer::with_vhds();
    peer.set(&shop("v1", "v1"));
    peer.settle();
    peer.refuses = Some("80/reviews".into());
    let before = peer.held_version("VHDS", "80/reviews").map(str::to_owned);
    let mut mesh = shop("v2", "v2");
    let mut routes = (*mesh.config.routes["80"]).clone();
    let mut reviews = (*routes.virtual_hosts[1]).clone();
    reviews.routes[0].origin = Some(amime_model::config::Origin {
        kind: "VirtualService".into(),
        namespace: "shop".into(),
        name: "reviews".into(),
        path: "spec.http[0]".into(),
    });
    routes.virtual_hosts[1] = Arc::new(reviews);
    mesh.config.routes.insert("80".into(), Arc::new(routes));
    peer.set(&mesh);
    peer.settle();
    let status = peer.stream.status();
    let rejected = &status.types[ResourceType::VirtualHost].rejected;
    assert_eq!(rejected.iter().map(|r| &*r.name).collect::<Vec<_>>(), ["80/reviews"]);
    assert_eq!(rejected[0].objects, ["VirtualService shop/reviews"]);
    assert_eq!(peer.held_version("VHDS", "80/reviews").map(str::to_owned), before);
    let target = mesh.resources_for(true);
    let ratings = target.get(ResourceType::VirtualHost, "80/ratings").map(|e| &*e.version);
    assert_eq!(peer.held_version("VHDS", "80/ratings"), ratings);
    assert!(!status.in_step);
}

#[test]
fn a_route_configuration_is_put_together_of_its_virtual_hosts() {
    use crate::decode;
    let mesh = shop("v1", "v2");
    let mut encoder = Encoder::default();
    let (whole, parts) = (encoder.encode(&mesh.config, Form::Whole), encoder.encode(&mesh.config, Form::Parts));
    let encoded = whole.get(ResourceType::Route, "80").expect("a route configuration");
    assert_eq!(decode::route(&encoded.body()).as_ref(), Ok(&*mesh.config.routes["80"]));
    let head =
        decode::route(&parts.get(ResourceType::Route, "80").expect("a head").body()).expect("a route configuration");
    assert!(head.vhds && head.virtual_hosts.is_empty());
    let hosts: Vec<_> = parts.hosts_of("80").map(|(name, _)| &**name).collect();
    assert_eq!(hosts, ["80/ratings", "80/reviews"]);
}

#[test]
fn another_virtual_host_in_its_place_gives_what_the_whole_would_give() {
    let (old, new) = (shop("v1", "v2"), shop("v1", "v1"));
    let mut encoder = Encoder::default();
    let reviews = new.config.routes["80"].virtual_hosts.iter().find(|host| host.name == "reviews").expect("a host");
    for form in [Form::Whole, Form::Parts] {
        let common = encoder.common(&old.config, form);
        let ratings = new.config.routes["80"].virtual_hosts[0].clone();
        let hosts = [("80".into(), ratings), ("80".into(), reviews.clone())];
        let changed = encoder.with_hosts(&common, &hosts).map(|c| Resources::new(Arc::new(c), Arc::default()));
        let changed = changed.expect("hosts of these names");
        assert_eq!(changed.versions(), encoder.encode(&new.config, form).versions());
        assert_eq!(
            changed.version(ResourceType::Route),
            encoder.encode(&new.config, form).version(ResourceType::Route)
        );
        assert_ne!(changed.versions(), encoder.encode(&old.config, form).versions());
        assert!(encoder.with_hosts(&common, &[("81".into(), reviews.clone())]).is_none());
    }
}

#[test]
fn what_waits_is_looked_at_again_when_the_clusters_have_had_their_time() {
    let mut peer = Peer::new(Protocol::Delta);
    peer.set(&one());
    peer.settle();
    peer.withholds_cluster_acks = true;
    peer.set(&one().cluster("v2", 1, 1));
    peer.settle_without_time();
    // The route waits from now on, its cluster is sent only when the one under way is answered.
    let late = || one().cluster("v2", 1, 1).cluster("v3", 1, 1).route("80", &["v3"]);
    peer.set(&late());
    peer.settle_without_time();
    peer.pass(Duration::from_secs(14));
    peer.answer_clusters();
    peer.settle();
    let target = late().resources();
    assert_eq!(peer.held_version("RDS", "80"), target.get(ResourceType::Route, "80").map(|e| &*e.version));
}

#[test]
fn what_is_not_checked_any_more_is_told_before_what_would_not_pass() {
    let mut peer = Peer::with_vhds();
    peer.set(&shop("v1", "v1"));
    peer.settle();
    peer.log.clear();
    peer.set(&shop("nowhere", "v1"));
    peer.settle();
    assert_eq!(peer.log, ["RDS 80", "VHDS 80/reviews"]);
    peer.log.clear();
    peer.set(&shop("v2", "v1"));
    peer.settle();
    assert_eq!(peer.log, ["VHDS 80/reviews", "RDS 80"]);
    assert!(peer.stream.status().in_step);
}

#[test]
fn what_was_refused_for_want_of_a_cluster_is_sent_again_with_it() {
    let mut peer = Peer::new(Protocol::Delta);
    peer.set(&one());
    peer.settle();
    peer.withholds_cluster_acks = true;
    peer.refuses = Some("80".into());
    peer.set(&two());
    peer.settle_without_time();
    peer.wait(Duration::from_secs(15));
    assert_eq!(peer.stream.status().types[ResourceType::Route].rejected.len(), 1);
    peer.refuses = None;
    peer.answer_clusters();
    peer.settle();
    let target = two().resources();
    assert_eq!(peer.held_version("RDS", "80"), target.get(ResourceType::Route, "80").map(|e| &*e.version));
}
