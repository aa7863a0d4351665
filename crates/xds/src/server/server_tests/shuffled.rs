//! Any changes, with answers in any order: no route ever names a cluster that the client lacks, and in the end it
//! has what it is to have.

use super::*;
use crate::test_mesh::mesh;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Change(Mesh),
    Pump,
    Hear,
    Tell(usize),
    Wait(u64),
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => mesh().prop_map(Step::Change),
        5 => Just(Step::Pump),
        8 => Just(Step::Hear),
        8 => (0usize..6).prop_map(Step::Tell),
        2 => (0u64..3000).prop_map(Step::Wait),
        1 => Just(Step::Reconnect),
    ]
}

fn run(protocol: Protocol, vhds: bool, hasty: bool, first: &Mesh, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut peer = Peer::of(protocol, vhds);
    peer.hasty = hasty;
    let mut mesh = first;
    peer.set(mesh);
    // Nothing is waited for so long that the client is given what it cannot use.
    peer.stream.options.cluster_wait = Duration::from_secs(3600);
    for step in steps {
        match step {
            Step::Change(next) => {
                mesh = next;
                peer.set(mesh);
            }
            Step::Pump => peer.pump(),
            Step::Hear => drop(peer.hear()),
            Step::Tell(kind) => drop(peer.tell(ResourceType::ALL[*kind])),
            Step::Wait(millis) => peer.pass(Duration::from_millis(*millis)),
            // Who comes back by the state of the world does not tell what it has: nothing can be kept for it.
            Step::Reconnect if protocol == Protocol::Sotw => {}
            Step::Reconnect => {
                peer.reconnect(mesh);
                peer.stream.options.cluster_wait = Duration::from_secs(3600);
            }
        }
        prop_assert_eq!(peer.dangling(), None, "after {:?}: {:?}", step, peer.log);
    }
    loop {
        let before = peer.log.len();
        peer.settle();
        prop_assert_eq!(peer.dangling(), None, "{:?}", peer.log);
        if peer.log.len() == before {
            break;
        }
    }
    let target = mesh.resources_for(vhds);
    for kind in [ResourceType::Cluster, ResourceType::Listener, ResourceType::Endpoints] {
        let wanted: Vec<_> = target.iter(kind).map(|(n, e)| (n.clone(), e.version.clone())).collect();
        prop_assert_eq!(peer.names(kind), wanted, "{:?}", peer.log);
    }
    for kind in [ResourceType::Route, ResourceType::VirtualHost] {
        for (name, version) in peer.names(kind) {
            prop_assert_eq!(Some(&version), target.get(kind, &name).map(|e| &e.version));
        }
    }
    let of_routes = peer.names(ResourceType::Route).into_iter().map(|(name, _)| target.hosts_of(&name).count());
    prop_assert_eq!(peer.names(ResourceType::VirtualHost).len(), of_routes.sum::<usize>(), "{:?}", peer.log);
    prop_assert!(peer.warming.is_empty(), "{:?} wait for endpoints: {:?}", peer.warming, peer.log);
    prop_assert!(peer.stream.status().in_step, "{:?}", peer.stream.status());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn delta(hasty in any::<bool>(), first in mesh(), steps in prop::collection::vec(step(), 0..120)) {
        run(Protocol::Delta, false, hasty, &first, &steps)?;
    }

    #[test]
    fn virtual_hosts(hasty in any::<bool>(), first in mesh(), steps in prop::collection::vec(step(), 0..120)) {
        run(Protocol::Delta, true, hasty, &first, &steps)?;
    }

    #[test]
    fn state_of_the_world(hasty in any::<bool>(), first in mesh(), steps in prop::collection::vec(step(), 0..120)) {
        run(Protocol::Sotw, false, hasty, &first, &steps)?;
    }
}
