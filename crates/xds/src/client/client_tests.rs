use super::*;
use crate::Resource;
use crate::encode;
use crate::test_mesh::Mesh;
use amime_model::config::RouteConfig;

#[path = "client_tests/both_ends.rs"]
mod both_ends;
#[path = "client_tests/cold.rs"]
mod cold;

const CDS: ResourceType = ResourceType::Cluster;
const EDS: ResourceType = ResourceType::Endpoints;
const LDS: ResourceType = ResourceType::Listener;
const RDS: ResourceType = ResourceType::Route;

fn client() -> Client {
    let mut client = Client::new(Node::default(), Arc::default(), ClientOptions::default());
    client.connected();
    client
}

/// The resources of a type that a mesh has, as a response.
fn response(kind: ResourceType, nonce: &str, mesh: &Mesh) -> DeltaResponse {
    let resource = |name: &Arc<str>, body| Resource {
        name: name.to_string(),
        version: format!("{nonce}-{name}"),
        type_url: kind.type_url().into(),
        body,
    };
    let config = &mesh.config;
    let resources = match kind {
        ResourceType::Cluster => config.clusters.iter().map(|(n, c)| resource(n, encode::cluster(c))).collect(),
        ResourceType::Endpoints => config.endpoints.iter().map(|(n, e)| resource(n, encode::endpoints(e))).collect(),
        ResourceType::Listener => config.listeners.iter().map(|(n, l)| resource(n, encode::listener(l))).collect(),
        ResourceType::Route => config.routes.iter().map(|(n, r)| resource(n, encode::route(r))).collect(),
        ResourceType::Secret | ResourceType::VirtualHost => Vec::new(),
    };
    DeltaResponse { type_url: kind.type_url().into(), nonce: nonce.into(), resources, removed: Vec::new() }
}

/// What is to be sent, in few words: `CDS`, `EDS +v1`, `CDS ack 1`, `CDS nack 1`.
fn said(client: &mut Client) -> Vec<String> {
    let words = |request: DeltaRequest| {
        let kind = ResourceType::from_type_url(&request.type_url).map_or("?", ResourceType::short);
        let mut words = vec![kind.to_owned()];
        words.extend(request.subscribe.iter().map(|n| format!("+{n}")));
        words.extend(request.unsubscribe.iter().map(|n| format!("-{n}")));
        words.extend(request.initial_versions.iter().map(|(n, v)| format!("{n}={v}")));
        if !request.nonce.is_empty() {
            words.push(format!("{} {}", if request.error.is_some() { "nack" } else { "ack" }, request.nonce));
        }
        words.join(" ")
    };
    client.requests().into_iter().map(words).collect()
}

fn one() -> Mesh {
    Mesh::default().cluster("v1", 1, 1).route("80", &["v1"]).listener("l", "80")
}

/// Takes in all of a mesh, accepting every update.
fn fill(client: &mut Client, now: Instant, mesh: &Mesh) {
    for kind in [CDS, EDS, LDS, RDS] {
        client.on_response(now, response(kind, kind.short(), mesh));
        while let Some(update) = client.poll(now) {
            client.accepted(&update);
        }
    }
    client.requests();
}

#[test]
fn clusters_are_run_and_acknowledged_when_their_endpoints_are_there() {
    let (mut client, now) = (client(), Instant::now());
    assert_eq!(said(&mut client), ["CDS", "LDS"]);
    client.on_response(now, response(CDS, "1", &one()));
    assert!(client.poll(now).is_none());
    assert_eq!(said(&mut client), ["EDS +v1"]);
    client.on_response(now, response(EDS, "2", &one()));
    let update = client.poll(now).expect("the endpoints");
    assert_eq!((update.kind, client.poll(now).is_none()), (EDS, true), "one update at a time");
    client.accepted(&update);
    assert_eq!(said(&mut client), ["EDS ack 2"]);
    let update = client.poll(now).expect("the clusters");
    assert_eq!((update.kind, &*update.changed), (CDS, &["v1".into()][..]));
    assert!(said(&mut client).is_empty(), "no ACK before the workers have swapped");
    client.accepted(&update);
    assert_eq!(said(&mut client), ["CDS ack 1"]);
}

#[test]
fn listeners_wait_for_their_routes_and_then_the_client_is_ready() {
    let (mut client, now) = (client(), Instant::now());
    for kind in [CDS, EDS] {
        client.on_response(now, response(kind, kind.short(), &one()));
    }
    while let Some(update) = client.poll(now) {
        client.accepted(&update);
    }
    client.requests();
    client.on_response(now, response(LDS, "3", &one()));
    assert!(client.poll(now).is_none() && !client.ready());
    assert_eq!(said(&mut client), ["RDS +80"]);
    client.on_response(now, response(RDS, "4", &one()));
    let kinds: Vec<_> = std::iter::from_fn(|| {
        let update = client.poll(now)?;
        client.accepted(&update);
        Some(update.kind)
    })
    .collect();
    assert_eq!(kinds, [RDS, LDS]);
    assert!(client.ready());
}

#[test]
fn what_does_not_come_is_not_waited_for_without_end() {
    let (mut client, now) = (client(), Instant::now());
    client.on_response(now, response(CDS, "1", &one()));
    // A further response does not begin the wait anew.
    client.on_response(now + Duration::from_secs(10), response(CDS, "2", &one().cluster("v2", 1, 1)));
    let deadline = client.deadline().expect("a limit");
    assert_eq!(deadline, now + Duration::from_secs(15));
    assert!(client.poll(deadline - Duration::from_millis(1)).is_none());
    let update = client.poll(deadline).expect("without endpoints");
    client.requests();
    client.accepted(&update);
    assert_eq!(said(&mut client), ["CDS ack 1", "CDS ack 2"]);
}

#[test]
fn endpoints_that_are_not_there_are_not_waited_for() {
    let (mut client, now) = (client(), Instant::now());
    client.on_response(now, response(CDS, "1", &one()));
    let gone = DeltaResponse { removed: vec!["v1".into()], ..response(EDS, "2", &Mesh::default()) };
    client.on_response(now, gone);
    let kinds: Vec<_> = std::iter::from_fn(|| {
        let update = client.poll(now)?;
        client.accepted(&update);
        Some(update.kind)
    })
    .collect();
    assert!(kinds.contains(&CDS));
}

#[test]
fn a_rejected_update_leaves_everything_as_it_was() {
    let (mut client, now) = (client(), Instant::now());
    fill(&mut client, now, &one());
    let before = client.config().clone();
    client.on_response(now, response(CDS, "9", &one().cluster("v1", 2, 1)));
    let update = client.poll(now).expect("a changed cluster");
    client.rejected(&update, "no");
    assert_eq!(said(&mut client), ["CDS nack 9"]);
    assert_eq!(*client.config(), before);
}

#[test]
fn what_cannot_be_read_is_rejected_whole_and_named() {
    let (mut client, now) = (client(), Instant::now());
    client.requests();
    let mut bad = response(CDS, "1", &one());
    bad.resources.push(Resource {
        name: "bad".into(),
        type_url: "x".into(),
        body: vec![0xff].into(),
        ..Resource::default()
    });
    client.on_response(now, bad);
    let requests = client.requests();
    assert!(requests[0].error.as_deref().is_some_and(|e| e.contains("CDS bad")), "{requests:?}");
    assert!(client.poll(now).is_none());
    // So is a type that was never asked for.
    client.on_response(now, DeltaResponse { type_url: "other".into(), nonce: "2".into(), ..Default::default() });
    assert!(client.requests()[0].error.is_some());
}

#[test]
fn a_route_configuration_that_has_its_clusters_checked_is_refused_without_them() {
    let (mut client, now) = (client(), Instant::now());
    fill(&mut client, now, &one());
    let mut mesh = one().route("80", &["nowhere"]);
    let checked = RouteConfig { validate_clusters: true, ..(*mesh.config.routes["80"]).clone() };
    mesh.config.routes.insert("80".into(), Arc::new(checked));
    client.on_response(now, response(RDS, "9", &mesh));
    assert!(client.poll(now).is_none());
    assert_eq!(said(&mut client), ["RDS nack 9"]);
}

#[test]
fn who_comes_back_tells_what_it_runs_and_forgets_what_it_does_not() {
    let (mut client, now) = (client(), Instant::now());
    fill(&mut client, now, &one());
    client.on_response(now, response(CDS, "9", &one().cluster("v2", 1, 1)));
    client.disconnected();
    assert!(client.poll(now).is_none() && client.config().clusters.contains_key("v1"));
    client.connected();
    assert_eq!(said(&mut client), ["CDS v1=CDS-v1", "EDS +v1 v1=EDS-v1", "LDS l=LDS-l", "RDS +80 80=RDS-80"]);
}

#[test]
fn an_update_that_is_accepted_after_the_stream_has_ended_counts_without_an_ack() {
    let (mut client, now) = (client(), Instant::now());
    fill(&mut client, now, &one());
    client.on_response(now, response(CDS, "9", &one().cluster("v1", 2, 1)));
    let update = client.poll(now).expect("a changed cluster");
    client.disconnected();
    client.accepted(&update);
    client.connected();
    assert_eq!(said(&mut client)[0], "CDS v1=9-v1");
}

#[test]
fn what_nothing_names_any_more_is_dropped_and_not_asked_for() {
    let (mut client, now) = (client(), Instant::now());
    fill(&mut client, now, &one());
    let gone = DeltaResponse { removed: vec!["v1".into()], ..response(CDS, "9", &Mesh::default()) };
    client.on_response(now, gone);
    let update = client.poll(now).expect("a removal");
    assert_eq!(&*update.removed, &["v1".into()][..]);
    client.accepted(&update);
    assert_eq!(said(&mut client), ["EDS -v1", "CDS ack 9"]);
    assert!(client.config().clusters.is_empty() && client.config().endpoints.is_empty());
}

/// A route configuration of two virtual hosts, as resources: the head, and the virtual hosts.
fn in_parts(nonce: &str, mesh: &Mesh) -> [DeltaResponse; 2] {
    let routes = &mesh.config.routes["80"];
    let head = RouteConfig { vhds: true, virtual_hosts: Vec::new(), ..(**routes).clone() };
    let resource = |kind: ResourceType, name: String, body| Resource {
        version: format!("{nonce}-{name}"),
        name,
        type_url: kind.type_url().into(),
        body,
    };
    let answer = |kind: ResourceType, resources| DeltaResponse {
        type_url: kind.type_url().into(),
        nonce: format!("{}{nonce}", kind.short()),
        resources,
        removed: Vec::new(),
    };
    let hosts = routes.virtual_hosts.iter();
    let hosts = hosts.map(|h| resource(VHDS, refs::host_name("80", &h.name), encode::virtual_host(h))).collect();
    [answer(RDS, vec![resource(RDS, "80".into(), encode::route(&head))]), answer(VHDS, hosts)]
}

const VHDS: ResourceType = ResourceType::VirtualHost;

fn hosts(reviews: &str) -> Mesh {
    Mesh::default()
        .cluster("v1", 1, 1)
        .cluster("v2", 1, 1)
        .hosts("80", &[("a", &["a"], "v1"), ("reviews", &["reviews"], reviews)])
        .listener("l", "80")
}

/// A client that runs [`hosts`], by VHDS.
fn with_hosts(now: Instant) -> Client {
    let (mut client, mesh) = (client(), hosts("v1"));
    for kind in [CDS, EDS, LDS] {
        client.on_response(now, response(kind, kind.short(), &mesh));
    }
    let [head, hosts] = in_parts("1", &mesh);
    client.on_response(now, head);
    client.on_response(now, hosts);
    while let Some(update) = client.poll(now) {
        client.accepted(&update);
    }
    client
}

#[test]
fn a_route_configuration_in_parts_is_run_whole_when_its_virtual_hosts_are_there() {
    let (mut client, now, mesh) = (client(), Instant::now(), hosts("v1"));
    for kind in [CDS, EDS, LDS] {
        client.on_response(now, response(kind, kind.short(), &mesh));
    }
    while let Some(update) = client.poll(now) {
        client.accepted(&update);
    }
    client.requests();
    let [head, hosts] = in_parts("1", &mesh);
    client.on_response(now, head);
    assert!(client.poll(now).is_none());
    assert_eq!(said(&mut client), ["VHDS +80/*"]);
    client.on_response(now, hosts);
    let update = client.poll(now).expect("the route configuration");
    assert_eq!((update.kind, &update.config.routes), (RDS, &mesh.config.routes));
    assert_eq!(said(&mut client), ["VHDS ack VHDS1"], "there, and to be used with the head");
    client.accepted(&update);
    assert_eq!(said(&mut client), ["RDS ack RDS1"]);
}

#[test]
fn a_changed_virtual_host_leaves_the_others_as_they_are() {
    let now = Instant::now();
    let mut client = with_hosts(now);
    let before = client.config().clone();
    let [_, mut changed] = in_parts("2", &hosts("v2"));
    changed.resources.remove(0);
    client.on_response(now, changed);
    let update = client.poll(now).expect("the virtual host");
    assert_eq!((update.kind, &*update.changed), (VHDS, &["80/reviews".into()][..]));
    let (old, new) = (&before.routes["80"], &update.config.routes["80"]);
    assert_eq!(**new, *hosts("v2").config.routes["80"]);
    assert!(Arc::ptr_eq(&old.virtual_hosts[0], &new.virtual_hosts[0]));
    client.rejected(&update, "no");
    assert_eq!(*client.config(), before);
}

#[test]
fn a_virtual_host_of_a_checked_route_configuration_is_refused_without_its_cluster() {
    let (mut client, now, mut mesh) = (client(), Instant::now(), hosts("v1"));
    let checked = RouteConfig { validate_clusters: true, ..(*mesh.config.routes["80"]).clone() };
    mesh.config.routes.insert("80".into(), Arc::new(checked));
    for kind in [CDS, EDS, LDS] {
        client.on_response(now, response(kind, kind.short(), &mesh));
    }
    in_parts("1", &mesh).into_iter().for_each(|part| client.on_response(now, part));
    while let Some(update) = client.poll(now) {
        client.accepted(&update);
    }
    client.requests();
    let [_, bad] = in_parts("2", &hosts("nowhere"));
    client.on_response(now, bad);
    assert!(client.poll(now).is_none());
    let refusal = client.requests().remove(0).error.expect("a refusal");
    assert_eq!(refusal, "virtual host 80/reviews: unknown cluster nowhere");
}

#[test]
fn what_was_saved_runs_where_no_server_answers_and_its_versions_are_told() {
    let now = Instant::now();
    let bytes = with_hosts(now).save().to_bytes();
    let interner = Arc::new(Interner::default());
    let mut later = Client::new(Node::default(), interner.clone(), ClientOptions::default());
    later.restore(Saved::parse(&bytes, &interner).expect("what was written"));
    let update = later.poll_saved().expect("what was saved");
    assert_eq!(*update.config, hosts("v1").config);
    later.accepted(&update);
    assert!(later.ready());
    later.connected();
    assert_eq!(
        said(&mut later),
        [
            "CDS v1=CDS-v1 v2=CDS-v2",
            "EDS +v1 +v2 v1=EDS-v1 v2=EDS-v2",
            "LDS l=LDS-l",
            "RDS +80 80=1-80",
            "VHDS +80/* 80/a=1-80/a 80/reviews=1-80/reviews"
        ]
    );
    // And goes on from there.
    let [_, changed] = in_parts("2", &hosts("v2"));
    later.on_response(now, changed);
    let update = later.poll(now).expect("the virtual hosts");
    assert_eq!(*update.config.routes["80"], *hosts("v2").config.routes["80"]);
}

#[test]
fn what_was_saved_is_forgotten_when_a_server_answers() {
    let now = Instant::now();
    let mut later = Client::new(Node::default(), Arc::default(), ClientOptions::default());
    later.restore(with_hosts(now).save());
    assert!(later.poll(now).is_none() && later.saved_after().is_some());
    later.connected();
    assert_eq!(said(&mut later), ["CDS", "LDS"]);
    let [_, hosts] = in_parts("2", &hosts("v2"));
    later.on_response(now, hosts);
    assert!(later.saved_after().is_none() && later.poll_saved().is_none());
}

#[test]
fn what_was_saved_and_cannot_run_is_forgotten() {
    let now = Instant::now();
    let saved = with_hosts(now).save();
    let mut later = Client::new(Node::default(), Arc::default(), ClientOptions::default());
    later.restore(saved);
    let update = later.poll_saved().expect("what was saved");
    later.rejected(&update, "the port is taken");
    later.connected();
    assert_eq!(said(&mut later), ["CDS", "LDS"]);
}
