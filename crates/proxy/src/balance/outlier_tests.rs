//! Which outcomes eject a host, for how long, and how many may be out.

use super::*;
use crate::balance::HostShared;
use std::rc::Rc;
use std::sync::Arc;

fn hosts(n: u8) -> Vec<Rc<Host>> {
    (1..=n)
        .map(|i| {
            let address = std::net::SocketAddr::from(([127, 0, 0, i], 80));
            let shared = Arc::new(HostShared::default());
            Rc::new(Host {
                address,
                weight: 1,
                usable: true,
                endpoint: None,
                shared,
                number: Default::default(),
                peer: Default::default(),
            })
        })
        .collect()
}

fn ejected(hosts: &[Rc<Host>]) -> Vec<bool> {
    let now = millis(Instant::now());
    hosts.iter().map(|h| h.shared.health.ejected(now)).collect()
}

#[test]
fn failures_in_a_row_eject_and_a_success_between_them_does_not() {
    let detection =
        OutlierDetection { consecutive_5xx: Some(3), max_ejection_percent: Some(100), ..Default::default() };
    let cluster = ClusterHealth::default();
    let hosts = hosts(2);
    for status in [500, 503, 200, 500, 500] {
        report(&detection, &cluster, &hosts, &hosts[0], Outcome::Status(status), 0);
    }
    assert_eq!(ejected(&hosts), [false, false]);
    report(&detection, &cluster, &hosts, &hosts[0], Outcome::Local(503), 0);
    assert_eq!(ejected(&hosts), [true, false]);
    assert_eq!(cluster.epoch.load(Relaxed), 1);
}

#[test]
fn no_more_than_the_share_is_ejected() {
    // Percent, and how many of four that may be; 10 where none is written.
    for (percent, most) in [(None, 0), (Some(24), 0), (Some(25), 1), (Some(74), 2), (Some(75), 3), (Some(100), 4)] {
        let detection =
            OutlierDetection { consecutive_5xx: Some(1), max_ejection_percent: percent, ..Default::default() };
        let cluster = ClusterHealth::default();
        let hosts = hosts(4);
        for host in &hosts {
            report(&detection, &cluster, &hosts, host, Outcome::Status(500), 0);
        }
        assert_eq!(ejected(&hosts).into_iter().filter(|out| *out).count(), most, "{percent:?}");
    }
}

#[test]
fn what_is_under_way_when_a_host_is_ejected_is_not_held_against_it() {
    let detection = OutlierDetection {
        consecutive_5xx: Some(3),
        consecutive_gateway_failure: Some(2),
        enforcing_consecutive_gateway_failure: Some(100),
        max_ejection_percent: Some(100),
        base_ejection: Some(Duration::from_millis(1)),
        ..Default::default()
    };
    let cluster = ClusterHealth::default();
    let hosts = hosts(2);
    let fail = || report(&detection, &cluster, &hosts, &hosts[0], Outcome::Status(503), 0);
    fail();
    fail();
    // Ejected for longer than the test runs.
    hosts[0].shared.health.ejected_until.store(u64::MAX, Relaxed);
    (0..5).for_each(|_| fail());
    hosts[0].shared.health.ejected_until.store(1, Relaxed);
    fail();
    assert_eq!(ejected(&hosts), [false, false]);
    assert_eq!(cluster.epoch.load(Relaxed), 1);
}

#[test]
fn local_errors_are_apart_where_that_is_asked_for() {
    let mut detection = OutlierDetection {
        split_external_local_origin: true,
        consecutive_5xx: Some(2),
        consecutive_local_origin_failure: Some(3),
        max_ejection_percent: Some(100),
        ..Default::default()
    };
    let run = |detection: &OutlierDetection, outcomes: &[Outcome]| {
        let (cluster, hosts) = (ClusterHealth::default(), hosts(1));
        outcomes.iter().for_each(|outcome| report(detection, &cluster, &hosts, &hosts[0], *outcome, 0));
        ejected(&hosts)[0]
    };
    let (local, error, fine) = (Outcome::Local(503), Outcome::Status(500), Outcome::Connected);
    assert!(!run(&detection, &[local, local]));
    assert!(run(&detection, &[local, local, local]));
    assert!(!run(&detection, &[local, local, fine, local, local]));
    assert!(!run(&detection, &[local, error, local, local]));
    assert!(run(&detection, &[error, local, error]));
    detection.split_external_local_origin = false;
    assert!(run(&detection, &[local, error]));
}

#[test]
fn gateway_errors_count_only_where_enforced() {
    let mut detection = OutlierDetection {
        consecutive_5xx: Some(0),
        enforcing_consecutive_5xx: Some(0),
        consecutive_gateway_failure: Some(1),
        max_ejection_percent: Some(100),
        ..Default::default()
    };
    let cluster = ClusterHealth::default();
    let hosts = hosts(1);
    report(&detection, &cluster, &hosts, &hosts[0], Outcome::Status(503), 0);
    assert_eq!(ejected(&hosts), [false]);
    detection.enforcing_consecutive_gateway_failure = Some(100);
    report(&detection, &cluster, &hosts, &hosts[0], Outcome::Status(500), 0);
    assert_eq!(ejected(&hosts), [false]);
    report(&detection, &cluster, &hosts, &hosts[0], Outcome::Status(503), 0);
    assert_eq!(ejected(&hosts), [true]);
}

#[test]
fn ejections_get_longer_and_each_interval_in_good_health_makes_the_next_shorter() {
    let cluster = ClusterHealth::default();
    let length = |interval, hosts: &[Rc<Host>]| {
        let detection = OutlierDetection {
            consecutive_5xx: Some(1),
            max_ejection_percent: Some(100),
            base_ejection: Some(Duration::from_secs(60)),
            interval: Some(interval),
            ..Default::default()
        };
        let now = millis(Instant::now());
        report(&detection, &cluster, hosts, &hosts[0], Outcome::Status(500), 0);
        Duration::from_millis(hosts[0].shared.health.ejected_until() - now).as_secs()
    };
    let hosts = hosts(1);
    let health = &hosts[0].shared.health;
    // It came back when the process began.
    let come_back = || health.ejected_until.store(1, Relaxed);
    let hour = Duration::from_secs(3_600);
    for due in [60, 120, 180, 240, 300, 300] {
        let got = length(hour, &hosts);
        assert!((due..due + 30).contains(&got), "{got}, not {due}");
        come_back();
    }
    // More than six intervals ago.
    while millis(Instant::now()) < 8 {
        std::thread::yield_now();
    }
    let got = length(Duration::from_millis(1), &hosts);
    assert!((60..90).contains(&got), "{got}");
}
