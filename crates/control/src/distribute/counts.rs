//! What the control plane counts while it serves: what was sent and refused, and how long changes took to arrive.
//!
//! The streams count, whoever asks the [`super::Distributor`] reads.

use amime_xds::server::Status;
use amime_xds::{PerType, ResourceType};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds in seconds: Istio's, and finer ones below them.
pub const CONVERGENCE_BOUNDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0];

/// Since the start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    /// Responses that were sent.
    pub pushes: PerType<u64>,
    /// Responses that were refused.
    pub rejects: PerType<u64>,
    /// Streams that were opened.
    pub streams: u64,
    /// How many proxies had a change within each of [`CONVERGENCE_BOUNDS`], each counted once; those that took
    /// longer last.
    pub converged: [u64; CONVERGENCE_BOUNDS.len() + 1],
    /// The sum of these times.
    pub converging: Duration,
}

/// [`Counts`] while they are counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pushes: PerType<AtomicU64>,
    rejects: PerType<AtomicU64>,
    streams: AtomicU64,
    converged: [AtomicU64; CONVERGENCE_BOUNDS.len() + 1],
    converging_micros: AtomicU64,
}

impl Counters {
    pub(super) fn opened(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
    }

    /// A stream that told `before` tells `now`.
    pub(super) fn told(&self, before: Option<&Status>, now: &Status) {
        for kind in ResourceType::ALL {
            let (pushes, nacks) = before.map_or((0, 0), |status| (status.types[kind].pushes, status.types[kind].nacks));
            let (pushes, nacks) = (now.types[kind].pushes - pushes, now.types[kind].nacks - nacks);
            if pushes > 0 {
                self.pushes[kind].fetch_add(pushes, Ordering::Relaxed);
            }
            if nacks > 0 {
                self.rejects[kind].fetch_add(nacks, Ordering::Relaxed);
            }
        }
    }

    /// A proxy has all of a change, so long after it was seen.
    pub(super) fn converged(&self, after: Duration) {
        let seconds = after.as_secs_f64();
        let bucket = CONVERGENCE_BOUNDS.iter().take_while(|bound| seconds > **bound).count();
        self.converged[bucket].fetch_add(1, Ordering::Relaxed);
        self.converging_micros.fetch_add(after.as_micros() as u64, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut counts = Counts {
            streams: read(&self.streams),
            converged: std::array::from_fn(|bucket| read(&self.converged[bucket])),
            converging: Duration::from_micros(read(&self.converging_micros)),
            ..Counts::default()
        };
        for kind in ResourceType::ALL {
            counts.pushes[kind] = read(&self.pushes[kind]);
            counts.rejects[kind] = read(&self.rejects[kind]);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_once_in_the_bucket_that_it_fits() {
        let counters = Counters::default();
        for millis in [5, 6, 30_000, 30_001] {
            counters.converged(Duration::from_millis(millis));
        }
        let counts = counters.read();
        assert_eq!(counts.converged, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(counts.converging, Duration::from_millis(60_012));
    }

    #[test]
    fn what_a_stream_told_before_is_not_counted_again() {
        let counters = Counters::default();
        let status = |pushes, nacks| {
            let mut status = Status::default();
            status.types[ResourceType::Route].pushes = pushes;
            status.types[ResourceType::Route].nacks = nacks;
            status
        };
        counters.told(None, &status(2, 0));
        counters.told(Some(&status(2, 0)), &status(3, 1));
        let counts = counters.read();
        assert_eq!((counts.pushes[ResourceType::Route], counts.rejects[ResourceType::Route]), (3, 1));
    }
}
