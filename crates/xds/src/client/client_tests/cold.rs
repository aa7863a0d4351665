//! Clusters whose names are looked up while they run: what waits for the answer, and what does not.

use super::*;
use amime_model::config::{Cluster, ClusterEndpoints, Discovery};

/// `one`, with a route to a cluster that is a name.
fn moved() -> Mesh {
    let mut mesh = one().route("80", &["named"]);
    let cluster = Cluster::new("named", Discovery::StrictDns(ClusterEndpoints::default()));
    mesh.config.clusters.insert("named".into(), Arc::new(cluster));
    mesh
}

/// A client that runs `one`, and since just now the cluster that is a name.
fn cold(now: Instant) -> (Client, Update) {
    let mut client = client();
    fill(&mut client, now, &one());
    client.on_response(now, response(CDS, "moved", &moved()));
    let update = client.poll(now).expect("the clusters");
    client.accepted_cold(now, &update);
    (client, update)
}

#[test]
fn clusters_that_look_up_their_names_are_acknowledged_when_they_have() {
    let now = Instant::now();
    let (mut client, update) = cold(now);
    assert!(said(&mut client).is_empty(), "no ACK yet");
    client.warmed(update.id + 1);
    assert!(said(&mut client).is_empty(), "that was another one");
    client.warmed(update.id);
    assert_eq!(said(&mut client), ["CDS ack moved"]);
}

#[test]
fn endpoints_do_not_wait_for_names() {
    let now = Instant::now();
    let (mut client, _) = cold(now);
    client.on_response(now, response(EDS, "more", &one().cluster("v1", 1, 2)));
    let update = client.poll(now).expect("the endpoints");
    client.accepted(&update);
    assert_eq!(said(&mut client), ["EDS ack more"]);
}

#[test]
fn a_route_waits_for_the_names_of_its_clusters_alone() {
    let now = Instant::now();
    let (mut client, update) = cold(now);
    client.on_response(now, response(RDS, "other", &one().delayed_route("80", &["v1"], Duration::from_secs(1))));
    let other = client.poll(now).expect("a route to another cluster");
    client.accepted(&other);
    client.on_response(now, response(RDS, "named", &moved()));
    assert!(client.poll(now).is_none());
    client.warmed(update.id);
    assert_eq!(client.poll(now).map(|update| update.kind), Some(RDS));
}

#[test]
fn a_name_server_that_says_nothing_is_waited_for_no_longer_than_the_limit() {
    let now = Instant::now();
    let (mut client, _) = cold(now);
    let limit = now + ClientOptions::default().warm_limit;
    assert_eq!(client.deadline(), Some(limit));
    client.on_response(now, response(RDS, "named", &moved()));
    assert!(client.poll(limit - Duration::from_millis(1)).is_none());
    assert_eq!(client.poll(limit).map(|update| update.kind), Some(RDS));
    assert_eq!(said(&mut client), ["CDS ack moved"]);
    assert_eq!(client.deadline(), None);
}

#[test]
fn later_clusters_are_not_acknowledged_before_earlier_ones() {
    let now = Instant::now();
    let (mut client, update) = cold(now);
    client.on_response(now, response(CDS, "next", &moved().cluster("v1", 2, 1)));
    let next = client.poll(now).expect("the clusters");
    client.accepted(&next);
    assert!(said(&mut client).is_empty());
    client.warmed(update.id);
    assert_eq!(said(&mut client), ["CDS ack moved", "CDS ack next"]);
}

#[test]
fn what_a_stream_before_brought_is_not_acknowledged() {
    let now = Instant::now();
    let (mut client, update) = cold(now);
    client.connected();
    client.requests();
    client.warmed(update.id);
    assert!(said(&mut client).is_empty());
}
