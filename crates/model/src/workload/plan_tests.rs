use super::*;
use proptest::prelude::*;

fn pod(name: &str) -> PodKey {
    PodKey { namespace: "default".into(), name: name.into() }
}

fn pods<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<PodKey> {
    names.into_iter().map(pod).collect()
}

#[test]
fn twins_share_all_but_one_bit() {
    let mut plan = AddressPlan::default();
    plan.settle(&pods(["reviews-v1-0"]));
    let a = plan.addresses(&pod("reviews-v1-0")).expect("settled");
    assert_eq!(a.pod_ip.octets()[..2], [127, 64]);
    assert!(a.pod_ip.octets()[2] < 0x80);
    assert_eq!(a.app_ip.octets()[2], a.pod_ip.octets()[2] | 0x80);
    assert_eq!(a.app_ip.octets()[3], a.pod_ip.octets()[3]);
}

#[test]
fn a_thousand_pods_have_two_thousand_addresses_and_keep_them() {
    let names: Vec<String> = (0..1000).map(|n| format!("load-{n}")).collect();
    let mut plan = AddressPlan::default();
    plan.settle(&pods(names.iter().map(String::as_str)));
    let before: Vec<_> = names.iter().map(|n| plan.addresses(&pod(n)).expect("settled")).collect();
    let distinct: BTreeSet<Ipv4Addr> = before.iter().flat_map(|a| [a.pod_ip, a.app_ip]).collect();
    assert_eq!(distinct.len(), 2000);

    // Half of them go, others come, the half comes back.
    let (stay, _) = names.split_at(500);
    let more: Vec<String> = (0..5000).map(|n| format!("more-{n}")).collect();
    plan.settle(&pods(stay.iter().chain(&more).map(String::as_str)));
    plan.settle(&pods(names.iter().map(String::as_str)));
    let after: Vec<_> = names.iter().map(|n| plan.addresses(&pod(n)).expect("settled")).collect();
    assert_eq!(before, after);
}

#[test]
fn a_full_plan_gives_no_address_and_forgets_the_departed() {
    let old: BTreeSet<PodKey> = (0..20_000).map(|n| pod(&format!("old-{n}"))).collect();
    let new: BTreeSet<PodKey> = (0..20_000).map(|n| pod(&format!("new-{n}"))).collect();
    let mut plan = AddressPlan::default();
    plan.settle(&old);
    plan.settle(&new);
    assert!(new.iter().all(|p| plan.addresses(p).is_some()));
    let all: BTreeSet<PodKey> = old.union(&new).cloned().collect();
    plan.settle(&all);
    let placed = all.iter().filter(|p| plan.addresses(p).is_some()).count();
    assert_eq!(placed, usize::from(SLOTS - FIRST_SLOT));
}

#[test]
fn ports_that_cannot_be_bound_move() {
    let mut plan = AddressPlan::default();
    plan.mark_unbindable(80);
    plan.mark_unbindable(20080);
    let bound = plan.bound_ports(&BTreeSet::from([80, 9080, 20081, 15006]));
    assert_eq!(bound, BTreeMap::from([(80, 20082), (9080, 9080), (20081, 20081), (15006, 25006)]));
}

#[test]
fn a_replacement_without_port_takes_the_only_one() {
    let address: SocketAddr = "127.0.0.1:9999".parse().expect("an address");
    let replacement = Replacement { namespace: "default".into(), workload: "web".into(), port: None, address };
    let plan = AddressPlan::default().with_replacements(vec![replacement]);
    assert_eq!(plan.replaced("default", "web", &BTreeSet::from([80])), BTreeMap::from([(80, address)]));
    assert!(plan.replaced("default", "web", &BTreeSet::from([80, 81])).is_empty());
    assert!(plan.replaced("other", "web", &BTreeSet::from([80])).is_empty());
}

proptest! {
    #[test]
    fn no_two_ports_of_a_pod_are_bound_at_one(
        ports in proptest::collection::btree_set(1u16.., 0..40),
        unbindable in proptest::collection::btree_set(1u16..30_000, 0..40),
    ) {
        let mut plan = AddressPlan::default();
        for port in &unbindable {
            plan.mark_unbindable(*port);
        }
        let bound = plan.bound_ports(&ports);
        prop_assert_eq!(bound.len(), ports.len());
        let distinct: BTreeSet<u16> = bound.values().copied().collect();
        prop_assert_eq!(distinct.len(), ports.len());
        prop_assert!(bound.values().all(|p| !unbindable.contains(p) && !RESERVED.contains(p)));
    }
}
