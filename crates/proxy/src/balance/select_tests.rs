//! Which endpoints are chosen: by priority, place, health and policy.

use super::*;
use crate::balance::outlier::{self, Outcome};
use amime_model::config::{Discovery, Endpoint, LocalityEndpoints, OutlierDetection, SlowStart};
use std::collections::HashMap;
use std::time::Duration;

fn address(i: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, i], 80))
}

fn locality(priority: u32, weight: Option<u32>, hosts: &[(u8, u32, Health)]) -> LocalityEndpoints {
    let endpoints = hosts
        .iter()
        .map(|(i, weight, health)| Endpoint { weight: *weight, health: *health, ..Endpoint::at(address(*i)) })
        .collect();
    LocalityEndpoints { priority, weight, endpoints, ..Default::default() }
}

fn balancer(cluster: &Cluster, localities: Vec<LocalityEndpoints>) -> Balancer {
    let endpoints = ClusterEndpoints { localities, ..Default::default() };
    Balancer::new(cluster, &endpoints, Arc::new(ClusterHealth::default()), &mut |_| Arc::default(), &Rng::new())
}

fn cluster(lb: LbPolicy) -> Cluster {
    Cluster { lb, ..Cluster::new("c", Discovery::Eds(String::new())) }
}

/// How often each host is picked in `n` picks.
fn picks(balancer: &Balancer, n: usize, hash: impl Fn(usize) -> Option<u64>) -> HashMap<u8, usize> {
    picks_at(Instant::now(), balancer, n, hash)
}

fn picks_at(now: Instant, balancer: &Balancer, n: usize, hash: impl Fn(usize) -> Option<u64>) -> HashMap<u8, usize> {
    let rng = Rng::new();
    let mut seen = HashMap::new();
    for i in 0..n {
        let context = PickContext { hash: hash(i), tried: &[], reselect: 0, leave_priorities: None, now };
        if let Some(host) = balancer.pick(&context, &rng) {
            let SocketAddr::V4(v4) = host.address else { unreachable!() };
            *seen.entry(v4.ip().octets()[3]).or_insert(0) += 1;
        }
    }
    seen
}

const UP: Health = Health::Healthy;
const DOWN: Health = Health::Unhealthy;

#[test]
fn round_robin_is_exact_and_random_is_fair() {
    let hosts = [(1, 1, UP), (2, 1, UP), (3, 2, UP)];
    let even = balancer(&cluster(LbPolicy::RoundRobin), vec![locality(0, None, &hosts)]);
    assert_eq!(picks(&even, 400, |_| None), HashMap::from([(1, 100), (2, 100), (3, 200)]));
    let random = picks(&balancer(&cluster(LbPolicy::Random), vec![locality(0, None, &hosts)]), 4_000, |_| None);
    assert!((1_800..2_200).contains(&random[&3]), "{random:?}");
}

#[test]
fn least_request_avoids_the_busy_one() {
    let hosts = [(1, 1, UP), (2, 1, UP)];
    let least = balancer(&cluster(LbPolicy::LeastRequest { choices: None }), vec![locality(0, None, &hosts)]);
    let _busy = crate::balance::limits::Gauge::take(crate::cluster::ActiveHost(least.hosts()[0].clone()));
    assert_eq!(picks(&least, 50, |_| None), HashMap::from([(2, 50)]));
}

#[test]
fn least_request_shares_by_weight() {
    let hosts = [(1, 1, UP), (2, 3, UP)];
    let least = balancer(&cluster(LbPolicy::LeastRequest { choices: None }), vec![locality(0, None, &hosts)]);
    assert_eq!(picks(&least, 400, |_| None), HashMap::from([(1, 100), (2, 300)]));
    // With two requests under way the heavy one counts for as much as the light one.
    let busy = || crate::balance::limits::Gauge::take(crate::cluster::ActiveHost(least.hosts()[1].clone()));
    let _busy = [busy(), busy()];
    let seen = picks(&least, 400, |_| None);
    assert!(seen[&1].abs_diff(seen[&2]) <= 2, "{seen:?}");
}

/// A cluster that warms up for a minute, and the time at which the second of its hosts comes, a minute after the first.
fn one_old_one_new(policy: LbPolicy, weights: [u32; 2]) -> (Balancer, Instant) {
    let minute = Duration::from_secs(60);
    let mut warming = cluster(policy);
    warming.slow_start = Some(SlowStart { window: minute, aggression: 1.0, min_weight_percent: 10.0 });
    let hosts = [(1, weights[0], UP), (2, weights[1], UP)];
    let endpoints = ClusterEndpoints { localities: vec![locality(0, None, &hosts)], ..Default::default() };
    let comes = Instant::now() + minute;
    let mut shared = |of: SocketAddr| {
        let shared = Arc::<HostShared>::default();
        if of == address(2) {
            shared.since.note(true, millis(comes));
        }
        shared
    };
    (Balancer::new(&warming, &endpoints, Arc::default(), &mut shared, &Rng::new()), comes)
}

#[test]
fn a_new_host_takes_its_share_bit_by_bit() {
    let policies = [
        (LbPolicy::RoundRobin, [1, 1]),
        (LbPolicy::RoundRobin, [3, 1]),
        (LbPolicy::LeastRequest { choices: None }, [1, 1]),
        (LbPolicy::LeastRequest { choices: None }, [3, 1]),
    ];
    for (policy, weights) in policies {
        let (b, comes) = one_old_one_new(policy.clone(), weights);
        for (after, part) in [(1, 0.1), (6, 0.1), (15, 0.25), (30, 0.5), (45, 0.75), (60, 1.0), (90, 1.0)] {
            let now = comes + Duration::from_secs(after);
            let new = picks_at(now, &b, 8_000, |_| None)[&2] as f64 / 8_000.0;
            let due = part * f64::from(weights[1]);
            let due = due / (due + f64::from(weights[0]));
            assert!((new - due).abs() < 0.03, "{policy:?} {weights:?} after {after} s: {new}, not {due}");
        }
    }
    // A policy that Envoy does not warm up by.
    let (random, comes) = one_old_one_new(LbPolicy::Random, [1, 1]);
    let new = picks_at(comes, &random, 4_000, |_| None)[&2];
    assert!((1_800..2_200).contains(&new), "{new}");
}

#[test]
fn a_host_that_warms_up_is_not_given_what_a_busy_one_cannot_take() {
    let (b, comes) = one_old_one_new(LbPolicy::LeastRequest { choices: None }, [1, 1]);
    let _busy = crate::balance::limits::Gauge::take(crate::cluster::ActiveHost(b.hosts()[0].clone()));
    let seen = picks_at(comes, &b, 4_000, |_| None);
    // One of two draws: 1 - (10/11)².
    assert!((600..800).contains(&seen[&2]), "{seen:?}");
}

#[test]
fn a_hash_keeps_its_host() {
    let hosts = [(1, 1, UP), (2, 1, UP), (3, 1, UP)];
    let ring =
        balancer(&cluster(LbPolicy::RingHash { min_size: None, max_size: None }), vec![locality(0, None, &hosts)]);
    assert_eq!(picks(&ring, 100, |_| Some(42)).len(), 1);
    assert_eq!(picks(&ring, 1_000, |i| Some((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))).len(), 3);
}

#[test]
fn a_lower_priority_takes_over_what_the_higher_one_cannot() {
    let both = |first: &[(u8, u32, Health)]| {
        let b =
            balancer(&cluster(LbPolicy::RoundRobin), vec![locality(0, None, first), locality(1, None, &[(9, 1, UP)])]);
        picks(&b, 4_000, |_| None).get(&9).copied().unwrap_or(0)
    };
    assert_eq!(both(&[(1, 1, UP), (2, 1, UP)]), 0);
    // 3 of 4 healthy, times 1.4: all of it still stays.
    assert_eq!(both(&[(1, 1, UP), (2, 1, UP), (3, 1, UP), (4, 1, DOWN)]), 0);
    // Half, times 1.4: 30 % go over.
    let over = both(&[(1, 1, UP), (2, 1, DOWN)]);
    assert!((1_050..1_350).contains(&over), "{over}");
    assert_eq!(both(&[(1, 1, DOWN), (2, 1, DOWN)]), 4_000);
}

#[test]
fn panic_uses_all_hosts_and_a_threshold_of_zero_none() {
    let hosts = [(1, 1, UP), (2, 1, DOWN), (3, 1, DOWN)];
    let panicking = balancer(&cluster(LbPolicy::RoundRobin), vec![locality(0, None, &hosts)]);
    assert_eq!(picks(&panicking, 30, |_| None).len(), 3);
    let mut never = cluster(LbPolicy::RoundRobin);
    never.panic_threshold = Some(0);
    assert_eq!(picks(&balancer(&never, vec![locality(0, None, &hosts)]), 30, |_| None), HashMap::from([(1, 30)]));
    assert!(picks(&balancer(&never, vec![locality(0, None, &[(1, 1, DOWN)])]), 5, |_| None).is_empty());
    assert!(picks(&balancer(&never, vec![]), 5, |_| None).is_empty());
    // A draining host takes nothing, not even in panic.
    assert!(
        picks(&balancer(&cluster(LbPolicy::Random), vec![locality(0, None, &[(1, 1, Health::Draining)])]), 5, |_| None)
            .is_empty()
    );
}

#[test]
fn localities_share_by_weight() {
    let mut weighted = cluster(LbPolicy::RoundRobin);
    weighted.locality_weighted = true;
    let b =
        balancer(&weighted, vec![locality(0, Some(1), &[(1, 1, UP)]), locality(0, Some(3), &[(2, 1, UP), (3, 1, UP)])]);
    let seen = picks(&b, 4_000, |_| None);
    assert!((880..1_120).contains(&seen[&1]), "{seen:?}");
}

#[test]
fn tried_hosts_are_passed_over() {
    let b = balancer(&cluster(LbPolicy::RoundRobin), vec![locality(0, None, &[(1, 1, UP), (2, 1, UP)])]);
    let rng = Rng::new();
    for _ in 0..20 {
        let context =
            PickContext { hash: None, tried: &[address(1)], reselect: 5, leave_priorities: None, now: Instant::now() };
        assert_eq!(b.pick(&context, &rng).unwrap().address, address(2));
    }
}

#[test]
fn an_ejected_host_leaves_and_comes_back() {
    let b = balancer(&cluster(LbPolicy::RoundRobin), vec![locality(0, None, &[(1, 1, UP), (2, 1, UP)])]);
    let detection = OutlierDetection {
        consecutive_5xx: Some(1),
        base_ejection: Some(Duration::from_millis(5)),
        max_ejection_percent: Some(100),
        ..Default::default()
    };
    assert_eq!(picks(&b, 10, |_| None).len(), 2);
    outlier::report(&detection, &b.health, b.hosts(), &b.hosts()[0], Outcome::Status(500), 0);
    let gone = picks(&b, 2, |_| None);
    assert!(gone.contains_key(&2));
    let back = Instant::now() + Duration::from_secs(5);
    while Instant::now() < back && picks(&b, 10, |_| None).len() < 2 {
        std::thread::yield_now();
    }
    assert_eq!(picks(&b, 10, |_| None).len(), 2);
}
