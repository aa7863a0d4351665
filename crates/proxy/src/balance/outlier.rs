//! Outlier detection: hosts that fail in a row are ejected for a while. Counters are atomics that all
//! workers share; ejected hosts come back by time, without a task of their own.
//!
//! As in Envoy, without its success-rate detection.

use super::host::Host;
use amime_model::config::OutlierDetection;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Milliseconds since the process began to look; at least 1.
pub(crate) fn millis(at: Instant) -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(at.saturating_duration_since(*START).as_millis()).unwrap_or(u64::MAX - 1) + 1
}

/// What one host has done lately.
#[derive(Debug, Default)]
pub(crate) struct HostHealth {
    errors: AtomicU32,
    gateway_errors: AtomicU32,
    local_errors: AtomicU32,
    /// In `millis`; 0: not ejected.
    ejected_until: AtomicU64,
    /// How many ejections in a row the next one's length is multiplied by.
    times: AtomicU32,
}

impl HostHealth {
    pub(crate) fn ejected_until(&self) -> u64 {
        self.ejected_until.load(Relaxed)
    }

    pub(crate) fn ejected(&self, now: u64) -> bool {
        self.ejected_until.load(Relaxed) > now
    }
}

/// What all workers share about the health of a cluster.
#[derive(Debug)]
pub(crate) struct ClusterHealth {
    /// Changes whenever the set of ejected hosts does.
    pub(crate) epoch: AtomicU64,
    /// When the next ejected host comes back, in `millis`.
    pub(crate) next_return: AtomicU64,
    /// Held while somebody ejects, so that the share of ejected hosts keeps its bound.
    ejecting: Mutex<()>,
}

impl Default for ClusterHealth {
    fn default() -> Self {
        Self { epoch: AtomicU64::new(0), next_return: AtomicU64::new(u64::MAX), ejecting: Mutex::new(()) }
    }
}

/// How a request or connection at a host went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The host answered with this HTTP status.
    Status(u16),
    /// A TCP connection was made.
    Connected,
    /// No connection, a timeout or a reset; counted as this status where local errors are not apart.
    Local(u16),
}

/// Counts an outcome, and ejects the host where it was one too many.
pub(crate) fn report(
    detection: &OutlierDetection,
    cluster: &ClusterHealth,
    hosts: &[std::rc::Rc<Host>],
    host: &Host,
    outcome: Outcome,
    draw: u32,
) {
    let health = &host.shared.health;
    // What is still under way when a host is ejected is not held against it when it comes back.
    if health.ejected_until() != 0 && health.ejected(millis(Instant::now())) {
        return;
    }
    let status = match outcome {
        Outcome::Local(_) if detection.split_external_local_origin => {
            let count = health.local_errors.fetch_add(1, Relaxed) + 1;
            let limit = detection.consecutive_local_origin_failure.unwrap_or(5);
            if count >= limit {
                reset(&health.local_errors);
                let enforcing = detection.enforcing_consecutive_local_origin_failure.unwrap_or(100);
                eject_if(detection, cluster, hosts, host, enforcing, draw);
            }
            return;
        }
        Outcome::Local(status) | Outcome::Status(status) => status,
        Outcome::Connected => 200,
    };
    reset(&health.local_errors);
    if status < 500 {
        reset(&health.errors);
        reset(&health.gateway_errors);
        return;
    }
    if (502..=504).contains(&status) {
        let count = health.gateway_errors.fetch_add(1, Relaxed) + 1;
        if count >= detection.consecutive_gateway_failure.unwrap_or(5) {
            reset(&health.gateway_errors);
            let enforcing = detection.enforcing_consecutive_gateway_failure.unwrap_or(0);
            eject_if(detection, cluster, hosts, host, enforcing, draw);
        }
    } else {
        reset(&health.gateway_errors);
    }
    if health.errors.fetch_add(1, Relaxed) + 1 >= detection.consecutive_5xx.unwrap_or(5) {
        reset(&health.errors);
        let enforcing = detection.enforcing_consecutive_5xx.unwrap_or(100);
        eject_if(detection, cluster, hosts, host, enforcing, draw);
    }
}

/// Stores only where something is there: the line is shared by all workers.
fn reset(counter: &AtomicU32) {
    if counter.load(Relaxed) != 0 {
        counter.store(0, Relaxed);
    }
}

fn eject_if(
    detection: &OutlierDetection,
    cluster: &ClusterHealth,
    hosts: &[std::rc::Rc<Host>],
    host: &Host,
    enforcing: u32,
    draw: u32,
) {
    if draw % 100 >= enforcing {
        return;
    }
    let _one_at_a_time = cluster.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
    let now = millis(Instant::now());
    let health = &host.shared.health;
    if health.ejected(now) {
        return;
    }
    let ejected = hosts.iter().filter(|h| h.shared.health.ejected(now)).count();
    let most = detection.max_ejection_percent.unwrap_or(10) as usize;
    // The share with this one; of few hosts none, where already one is more (Envoy since 1.31).
    if (ejected + 1) * 100 > most * hosts.len() {
        return;
    }
    let base = detection.base_ejection.unwrap_or(Duration::from_secs(30));
    let longest = detection.max_ejection.unwrap_or(Duration::from_secs(300)).max(base);
    // Each interval in good health takes one off the multiplier.
    let interval = detection.interval.unwrap_or(Duration::from_secs(10)).max(Duration::from_millis(1));
    let returned = health.ejected_until.load(Relaxed);
    let healthy = if returned == 0 { 0 } else { now.saturating_sub(returned) / interval.as_millis().max(1) as u64 };
    let times = health.times.load(Relaxed).saturating_sub(u32::try_from(healthy).unwrap_or(u32::MAX)) + 1;
    health.times.store(times, Relaxed);
    let length = base.saturating_mul(times).min(longest);
    let until = now + u64::try_from(length.as_millis()).unwrap_or(u64::MAX / 2).max(1);
    health.ejected_until.store(until, Relaxed);
    for counter in [&health.errors, &health.gateway_errors, &health.local_errors] {
        reset(counter);
    }
    cluster.next_return.fetch_min(until, Relaxed);
    cluster.epoch.fetch_add(1, Relaxed);
    tracing::info!(host = %host.address, seconds = length.as_secs_f32(), "ejected a host that keeps failing");
}

#[cfg(test)]
#[path = "outlier_tests.rs"]
mod tests;
