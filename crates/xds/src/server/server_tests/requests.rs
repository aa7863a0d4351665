//! Subscriptions that change: to everything, by name, given up; and answers to what is not wanted any more.

use super::*;

fn delta(kind: ResourceType, subscribe: &[&str], unsubscribe: &[&str]) -> DeltaRequest {
    let names = |of: &[&str]| of.iter().map(|name| Arc::from(*name)).collect();
    DeltaRequest {
        type_url: kind.type_url().into(),
        subscribe: names(subscribe),
        unsubscribe: names(unsubscribe),
        ..Default::default()
    }
}

/// All names that are wanted of a type.
fn sotw(kind: ResourceType, names: &[&str]) -> SotwRequest {
    let names = names.iter().map(|name| Arc::from(*name)).collect();
    SotwRequest { type_url: kind.type_url().into(), names, ..Default::default() }
}

/// The names of the next response, which is acknowledged; those that it takes away with a dash.
fn next(stream: &mut Stream, now: Instant) -> Option<Vec<String>> {
    let response = stream.next(now)?;
    let (type_url, nonce) = (response.type_url.to_string(), response.nonce.clone());
    match response.protocol {
        Protocol::Delta => stream.on_delta(now, DeltaRequest { type_url, nonce, ..Default::default() }),
        Protocol::Sotw => {
            let kind = ResourceType::from_type_url(&type_url).expect("a known type");
            let names = stream.types[kind].names.iter().cloned().collect();
            stream.on_sotw(now, SotwRequest { type_url, nonce, names, ..Default::default() });
        }
    }
    let mut names: Vec<_> = response.resources.iter().map(|(name, _)| name.to_string()).collect();
    names.extend(response.removed.iter().map(|name| format!("-{name}")));
    Some(names)
}

fn stream(protocol: Protocol, mesh: &Mesh) -> Stream {
    let mut stream = Stream::new(protocol, StreamOptions::default());
    stream.set_target_from(mesh.resources());
    stream
}

fn clusters(names: &[&str]) -> Mesh {
    names.iter().fold(Mesh::default(), |mesh, name| mesh.cluster(name, 1, 1))
}

#[test]
fn what_is_taken_back_before_its_refusal_comes_is_not_refused() {
    for (protocol, vhds) in [(Protocol::Delta, false), (Protocol::Sotw, false), (Protocol::Delta, true)] {
        let mut peer = Peer::of(protocol, vhds);
        peer.set(&shop("v1", "v1"));
        peer.settle();
        peer.refuses = Some(if vhds { "80/reviews" } else { "80" }.into());
        peer.set(&shop("v2", "v1"));
        peer.receive();
        // The refusal is on its way.
        peer.set(&shop("v1", "v1"));
        peer.settle();
        let status = peer.stream.status();
        assert!(status.in_step, "{protocol:?} {vhds}: {status:?}");
    }
}

#[test]
fn who_gives_up_one_name_is_not_sent_the_others_again() {
    let now = Instant::now();
    let mut stream = stream(Protocol::Sotw, &clusters(&["a", "b"]));
    let kind = ResourceType::Endpoints;
    stream.on_sotw(now, sotw(kind, &["a", "b"]));
    assert_eq!(next(&mut stream, now).expect("endpoints"), ["a", "b"]);
    let nonce = stream.types[kind].last_nonce.clone();
    stream.on_sotw(now, SotwRequest { nonce: nonce.clone(), ..sotw(kind, &["a"]) });
    assert_eq!(next(&mut stream, now), None);
    stream.on_sotw(now, SotwRequest { nonce, ..sotw(kind, &["a"]) });
    assert_eq!(next(&mut stream, now).expect("it was asked again"), ["a"]);
}

#[test]
fn a_name_beside_everything_stays_wanted_when_everything_is_not() {
    let now = Instant::now();
    let kind = ResourceType::Cluster;
    // The name may come before, or after.
    for first in [["a", "*"], ["*", "a"]] {
        let mut stream = stream(Protocol::Delta, &clusters(&["a", "b"]));
        for name in first {
            stream.on_delta(now, delta(kind, &[name], &[]));
            while next(&mut stream, now).is_some() {}
        }
        stream.on_delta(now, delta(kind, &[], &["*"]));
        let newer = Mesh::default().cluster("a", 2, 1).cluster("b", 2, 1);
        stream.set_target_from(newer.resources());
        assert_eq!(next(&mut stream, now).expect("a change"), ["a"], "{first:?}");
        assert_eq!(next(&mut stream, now), None);
    }
}

#[test]
fn a_name_that_is_given_up_is_told_while_everything_is_wanted() {
    let now = Instant::now();
    let kind = ResourceType::Cluster;
    let mut stream = stream(Protocol::Delta, &clusters(&["a", "b"]));
    stream.on_delta(now, delta(kind, &["*", "a", "none"], &[]));
    assert_eq!(next(&mut stream, now).expect("clusters"), ["a", "b", "-none"]);
    stream.on_delta(now, delta(kind, &[], &["a", "none", "other"]));
    assert_eq!(next(&mut stream, now).expect("an answer"), ["a", "-none"]);
    assert_eq!(next(&mut stream, now), None);
}

#[test]
fn who_names_clusters_after_all_of_them_gets_these_alone() {
    let now = Instant::now();
    let kind = ResourceType::Cluster;
    let mut stream = stream(Protocol::Sotw, &clusters(&["a", "b", "c"]));
    stream.on_sotw(now, sotw(kind, &[]));
    assert_eq!(next(&mut stream, now).expect("all"), ["a", "b", "c"]);
    let nonce = stream.types[kind].last_nonce.clone();
    stream.on_sotw(now, SotwRequest { nonce, ..sotw(kind, &["a", "b"]) });
    assert_eq!(next(&mut stream, now).expect("what is not there is gone"), ["a", "b"]);
    assert_eq!(next(&mut stream, now), None);
    // A response without one of them would take it away.
    stream.set_target_from(clusters(&["a", "c"]).cluster("b", 2, 1).resources());
    assert_eq!(next(&mut stream, now).expect("a change"), ["a", "b"]);
    // No name means everything only at first.
    let nonce = stream.types[kind].last_nonce.clone();
    stream.on_sotw(now, SotwRequest { nonce, ..sotw(kind, &[]) });
    assert!(stream.types[kind].names.iter().next().is_none() && !stream.types[kind].wildcard);
}

#[test]
fn what_kept_an_older_version_waits_anew_for_the_clusters_of_the_next() {
    let mut peer = Peer::new(Protocol::Delta);
    peer.set(&one());
    peer.settle();
    peer.refuses = Some("v2".into());
    peer.set(&two());
    peer.settle();
    peer.pass(Duration::from_secs(60));
    // Its cluster is not even sent while another has no answer.
    peer.refuses = None;
    peer.withholds_cluster_acks = true;
    peer.set(&two().cluster("other", 1, 1));
    peer.settle_without_time();
    peer.log.clear();
    peer.set(&one().cluster("other", 1, 1).cluster("v3", 1, 1).route("80", &["v3"]));
    peer.settle_without_time();
    assert!(!peer.log.iter().any(|line| line.starts_with("RDS")), "{:?}", peer.log);
}

#[test]
fn the_version_of_a_response_is_that_of_what_is_to_be_there() {
    let now = Instant::now();
    let kind = ResourceType::Cluster;
    let versions = [1, 1, 2].map(|variant| {
        let mut stream = stream(Protocol::Sotw, &Mesh::default().cluster("a", variant, 1));
        stream.on_sotw(now, sotw(kind, &[]));
        let response = stream.next(now).expect("clusters");
        assert_eq!(response.version, stream.target().version(kind).clone());
        let length = response.version.len();
        let bytes: Vec<u8> = response.into_message().flatten().collect();
        let version = stream.target().version(kind).as_bytes();
        assert!(bytes.windows(length).any(|at| at == version), "it is sent");
        version.to_owned()
    });
    assert!(versions[0] == versions[1] && versions[1] != versions[2]);
}

#[test]
fn a_client_is_not_remembered_without_end() {
    let now = Instant::now();
    let kind = ResourceType::Endpoints;
    let name = |number: usize| format!("{number}{}", "x".repeat(1 << 20));
    // Asked for again and again, ten names are ten names.
    let mut sotw_stream = stream(Protocol::Sotw, &one());
    let names: Vec<_> = (0..10).map(name).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for _ in 0..20 {
        let nonce = sotw_stream.types[kind].last_nonce.clone();
        sotw_stream.on_sotw(now, SotwRequest { nonce, ..sotw(kind, &names) });
        assert!(!sotw_stream.asks_too_much());
    }
    let mut names = stream(Protocol::Delta, &one());
    let mut told = stream(Protocol::Delta, &one());
    for number in 0..100 {
        names.on_delta(now, delta(kind, &[&name(number)], &[]));
        let initial = [(name(number).into(), "1".into())].into();
        let request = delta(ResourceType::Cluster, &["*"], &[]);
        told.on_delta(now, DeltaRequest { initial_versions: initial, ..request });
    }
    assert!(names.asks_too_much() && told.asks_too_much());
}
