//! Slow start: a host that is new takes a part of its turns, which grows until its window is over (`warmup` of a
//! DestinationRule). As Envoy does it for LEAST_REQUEST and ROUND_ROBIN.
//!
//! `select` asks for each choice while some host warms up.

use super::host::HostShared;
use amime_model::config::SlowStart;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Since when a host is there and healthy by the configuration, in `outlier::millis`; 0: it is not.
#[derive(Debug, Default)]
pub(crate) struct Since(AtomicU64);

impl Since {
    /// A host that becomes usable again is new again.
    pub(super) fn note(&self, usable: bool, now: u64) {
        if !usable {
            self.0.store(0, Relaxed);
        } else if self.0.load(Relaxed) == 0 {
            // Of two workers at once the first says when.
            let _ = self.0.compare_exchange(0, now, Relaxed, Relaxed);
        }
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[derive(Debug)]
pub(super) struct WarmUp {
    /// In milliseconds, above 0.
    window: u64,
    exponent: f64,
    /// From 0 to 1.
    least: f64,
}

impl WarmUp {
    /// None where there is no window.
    pub(super) fn new(config: &SlowStart) -> Option<Self> {
        let window = u64::try_from(config.window.as_millis()).unwrap_or(u64::MAX / 2);
        let aggression = if config.aggression > 0.0 { config.aggression } else { 1.0 };
        (window > 0).then(|| Self {
            window,
            exponent: 1.0 / aggression,
            least: (config.min_weight_percent / 100.0).clamp(0.0, 1.0),
        })
    }

    /// When the host has its whole weight, in `outlier::millis`.
    pub(super) fn ends(&self, host: &HostShared) -> u64 {
        host.since.get().saturating_add(self.window)
    }

    /// Which part of its weight the host has.
    pub(super) fn part(&self, host: &HostShared, now: u64) -> f64 {
        let age = now.saturating_sub(host.since.get()).max(1);
        if age >= self.window {
            return 1.0;
        }
        (age as f64 / self.window as f64).powf(self.exponent).max(self.least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_part_grows_by_the_formula() {
        let host = HostShared::default();
        host.since.note(true, 1_000);
        host.since.note(true, 9_000);
        let of = |aggression, min_weight_percent| {
            WarmUp::new(&SlowStart { window: Duration::from_secs(10), aggression, min_weight_percent }).unwrap()
        };
        let parts = |warm_up: WarmUp| [1_000, 1_100, 3_500, 6_000, 11_000, 99_000].map(|at| warm_up.part(&host, at));
        assert_eq!(parts(of(1.0, 10.0)), [0.1, 0.1, 0.25, 0.5, 1.0, 1.0]);
        assert_eq!(parts(of(2.0, 30.0)), [0.3, 0.3, 0.5, 0.5f64.sqrt(), 1.0, 1.0]);
        assert_eq!(parts(of(-1.0, 0.0)), [0.0001, 0.01, 0.25, 0.5, 1.0, 1.0]);
        assert_eq!(of(1.0, 10.0).ends(&host), 11_000);
        assert!(
            WarmUp::new(&SlowStart { window: Duration::ZERO, aggression: 1.0, min_weight_percent: 10.0 }).is_none()
        );
        host.since.note(false, 12_000);
        host.since.note(true, 13_000);
        assert_eq!(of(1.0, 10.0).ends(&host), 23_000);
    }
}
