//! Tables of consistent hashing: shares, and what moves when a host comes or goes.

use super::*;

fn hosts(n: u8) -> Vec<(SocketAddr, u32)> {
    (1..=n).map(|i| (SocketAddr::from(([10, 0, 0, i], 80)), 1)).collect()
}

fn spread(table: &Consistent, hosts: &[(SocketAddr, u32)]) -> Vec<SocketAddr> {
    (0..10_000u64).map(|i| hosts[table.pick(xxh64(&i.to_le_bytes(), 0), 0)].0).collect()
}

#[test]
fn hosts_share_by_weight_and_most_hashes_stay_when_one_leaves() {
    for policy in [LbPolicy::RingHash { min_size: None, max_size: None }, LbPolicy::Maglev { table_size: None }] {
        let all = hosts(5);
        let before = spread(&Consistent::build(&policy, &all).unwrap(), &all);
        for (address, _) in &all {
            let share = before.iter().filter(|a| *a == address).count();
            assert!((1_000..3_200).contains(&share), "{policy:?}: {address} has {share}");
        }
        let fewer = all[..4].to_vec();
        let after = spread(&Consistent::build(&policy, &fewer).unwrap(), &fewer);
        let moved = before.iter().zip(&after).filter(|(b, a)| b != a && **b != all[4].0).count();
        assert!(moved < 1_500, "{policy:?}: {moved} moved");

        let mut weighted = all.clone();
        weighted[0].1 = 4;
        let heavy = spread(&Consistent::build(&policy, &weighted).unwrap(), &weighted);
        let share = heavy.iter().filter(|a| **a == all[0].0).count();
        assert!((3_800..6_200).contains(&share), "{policy:?}: the heavy one has {share}");
    }
}

#[test]
fn the_order_of_the_hosts_does_not_matter() {
    let (all, mut turned) = (hosts(5), hosts(5));
    turned.reverse();
    for policy in [
        LbPolicy::RingHash { min_size: Some(7), max_size: None },
        LbPolicy::Maglev { table_size: Some(11) },
        LbPolicy::Maglev { table_size: Some(251) },
    ] {
        let of = |hosts: &[_]| spread(&Consistent::build(&policy, hosts).unwrap(), hosts);
        assert_eq!(of(&all), of(&turned), "{policy:?}");
    }
}

#[test]
fn a_retry_moves_on() {
    let all = hosts(3);
    let ring = Consistent::build(&LbPolicy::RingHash { min_size: None, max_size: None }, &all).unwrap();
    assert!((1..50).any(|attempt| ring.pick(7, attempt) != ring.pick(7, 0)));
}
