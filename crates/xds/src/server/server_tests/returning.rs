//! A client of the state-of-the-world protocol comes back to a control plane that has another configuration.

use super::*;
use crate::test_mesh::mesh;
use proptest::prelude::*;

fn settled(mesh: &Mesh) -> Peer {
    let mut peer = Peer::new(Protocol::Sotw);
    peer.set(mesh);
    peer.settle();
    peer.log.clear();
    peer
}

fn both() -> Mesh {
    one().cluster("v2", 1, 1)
}

#[test]
fn old_clusters_go_after_the_routes_that_name_them() {
    let mut peer = settled(&both());
    peer.reconnect(&two());
    peer.settle_without_time();
    assert_eq!(peer.log, ["EDS v2", "LDS 0.0.0.0_80", "RDS 80"], "v1 keeps its endpoints");
    peer.wait(Duration::from_millis(1999));
    assert!(peer.has("CDS", "v1"));
    peer.wait(Duration::from_millis(1));
    assert!(!peer.has("CDS", "v1"));
    peer.settle();
    assert!(peer.stream.status().in_step);
}

#[test]
fn where_no_cluster_is_old_clusters_come_first() {
    let mut peer = settled(&one());
    peer.reconnect(&both());
    peer.settle_without_time();
    assert_eq!(peer.log, ["EDS v1", "CDS v1 v2", "EDS v1", "EDS v2", "LDS 0.0.0.0_80", "RDS 80"]);
}

#[test]
fn a_route_to_a_new_cluster_waits_for_it_and_others_go_ahead() {
    let mut peer = settled(&both().route("81", &["v2"]).listener("81", "81"));
    peer.reconnect(&two().cluster("v3", 1, 1).route("81", &["v3"]).listener("81", "81"));
    peer.settle_without_time();
    assert_eq!(peer.log, ["EDS v2", "RDS 80"], "an answer with one listener would take the other away");
    peer.settle();
    assert_eq!(peer.log[2..], ["CDS v2 v3", "EDS v1 v2", "EDS v3", "LDS 0.0.0.0_80 81", "RDS 81"]);
    assert!(peer.stream.status().in_step);
}

#[test]
fn a_client_that_asks_for_no_endpoints_gets_clusters_soon() {
    let now = Instant::now();
    let mut stream = Stream::new(Protocol::Sotw, StreamOptions::default());
    stream.set_target_from(one().resources());
    let (type_url, version) = (ResourceType::Cluster.type_url().to_owned(), "before".to_owned());
    stream.on_sotw(now, SotwRequest { type_url, version, ..Default::default() });
    assert!(stream.next(now).is_none());
    let deadline = stream.deadline(now).expect("a time");
    assert_eq!(deadline - now, Duration::from_secs(1));
    assert_eq!(stream.next(deadline).expect("clusters").resources.len(), 1);
}

#[test]
fn a_client_that_acknowledges_nothing_gets_clusters_within_the_bound() {
    let mut peer = settled(&both());
    peer.reconnect(&two());
    peer.receive();
    assert_eq!(peer.log, ["EDS v2", "LDS 0.0.0.0_80", "RDS 80"]);
    peer.pass(Duration::from_secs(15));
    peer.receive();
    assert_eq!(peer.log[3..], ["CDS v2"]);
}

#[derive(Debug, Clone)]
enum Step {
    Pump,
    Hear,
    Tell(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => Just(Step::Pump),
        8 => Just(Step::Hear),
        8 => (0usize..6).prop_map(Step::Tell),
        2 => (0u64..3000).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever has gone meanwhile, as long as nothing is new: no route ever names a cluster that the client lacks.
    #[test]
    fn nothing_is_lost(
        hasty in any::<bool>(),
        first in mesh(),
        next in mesh(),
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut first = first;
        for (name, cluster) in &next.config.clusters {
            first.config.clusters.entry(name.clone()).or_insert_with(|| cluster.clone());
            if let Some(endpoints) = next.config.endpoints.get(name) {
                first.config.endpoints.entry(name.clone()).or_insert_with(|| endpoints.clone());
            }
        }
        let mut peer = settled(&first);
        peer.hasty = hasty;
        peer.reconnect(&next);
        peer.stream.options.cluster_wait = Duration::from_secs(3600);
        for step in &steps {
            match step {
                Step::Pump => peer.pump(),
                Step::Hear => drop(peer.hear()),
                Step::Tell(kind) => drop(peer.tell(ResourceType::ALL[*kind])),
                Step::Wait(millis) => peer.pass(Duration::from_millis(*millis)),
            }
            prop_assert_eq!(peer.dangling(), None, "after {:?}: {:?}", step, peer.log);
        }
        peer.settle();
        prop_assert_eq!(peer.dangling(), None, "{:?}", peer.log);
        let target = next.resources();
        for kind in [ResourceType::Cluster, ResourceType::Listener, ResourceType::Endpoints] {
            let wanted: Vec<_> = target.iter(kind).map(|(n, e)| (n.clone(), e.version.clone())).collect();
            prop_assert_eq!(peer.names(kind), wanted, "{:?}", peer.log);
        }
        prop_assert!(peer.stream.status().in_step, "{:?}", peer.stream.status());
    }
}
