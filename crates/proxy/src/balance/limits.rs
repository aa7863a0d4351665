//! The limits of a cluster that hold over all workers (circuit breaking), as counters that a request takes
//! a share of and gives back when it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How many of something are in use, over all workers.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU32);

/// One unit of a gauge; given back when dropped.
#[derive(Debug)]
pub(crate) struct Unit<T: AsRef<Gauge>>(T);

impl<T: AsRef<Gauge>> Drop for Unit<T> {
    fn drop(&mut self) {
        self.0.as_ref().0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<T: AsRef<Gauge>> Unit<T> {
    /// What it is counted at.
    pub(crate) fn get(&self) -> &T {
        &self.0
    }
}

impl Gauge {
    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes one where fewer than `limit` are taken.
    pub(crate) fn take_below<T: AsRef<Gauge>>(holder: T, limit: u32) -> Option<Unit<T>> {
        let taken =
            holder.as_ref().0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| (n < limit).then(|| n + 1)).is_ok();
        taken.then(|| Unit(holder))
    }

    /// Takes one whatever the limit.
    pub(crate) fn take<T: AsRef<Gauge>>(holder: T) -> Unit<T> {
        holder.as_ref().0.fetch_add(1, Ordering::AcqRel);
        Unit(holder)
    }
}

/// Parts of an interval that are counted apart; one more is the part that has just begun.
const PARTS: usize = 8;

/// How many requests have begun within an interval that ends now: in parts, each with its number (the upper half) and
/// its count.
#[derive(Debug, Default)]
pub(crate) struct Recent([AtomicU64; PARTS + 1]);

impl Recent {
    /// `now` in milliseconds.
    pub(crate) fn add(&self, now: u64, interval: Duration) {
        let part = part(now, interval);
        let own = u64::from(part) << 32;
        let counter = &self.0[part as usize % self.0.len()];
        // Never refused: the closure always has a next value.
        let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |seen| {
            Some(if seen >> 32 == own >> 32 { seen + 1 } else { own + 1 })
        });
    }

    /// Those of the interval, and up to an eighth of it more.
    pub(crate) fn count(&self, now: u64, interval: Duration) -> u32 {
        let part = part(now, interval);
        let seen = self.0.iter().map(|counter| counter.load(Ordering::Relaxed));
        let within = seen.filter(|seen| part.wrapping_sub((seen >> 32) as u32) <= PARTS as u32);
        within.map(|seen| seen as u32).fold(0, u32::saturating_add)
    }
}

/// The number of the part that a time is in; it begins anew after very many.
fn part(now: u64, interval: Duration) -> u32 {
    let length = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX) / PARTS as u64;
    (now / length.max(1)) as u32
}

/// The counters of one cluster; they survive configuration updates.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    connections: Gauge,
    pending: Gauge,
    requests: Gauge,
    retries: Gauge,
    /// Kept only where a retry budget asks for it.
    pub(crate) recent: Recent,
}

macro_rules! slots {
    ($($name:ident $field:ident $doc:literal)*) => {$(
        #[doc = $doc]
        #[derive(Debug, Clone)]
        pub(crate) struct $name(pub(crate) Arc<Usage>);

        impl AsRef<Gauge> for $name {
            fn as_ref(&self) -> &Gauge {
                &self.0.$field
            }
        }
    )*};
}

slots! {
    Connections connections "Open upstream connections."
    Pending pending "Requests that wait for a connection."
    Retries retries "Retries under way."
}

impl Usage {
    /// Requests under way.
    pub(crate) fn requests(&self) -> &Gauge {
        &self.requests
    }

    pub(crate) fn active_requests(&self) -> u32 {
        self.requests.get()
    }

    pub(crate) fn active_connections(&self) -> u32 {
        self.connections.get()
    }

    pub(crate) fn pending_requests(&self) -> u32 {
        self.pending.get()
    }

    pub(crate) fn active_retries(&self) -> u32 {
        self.retries.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_given_back() {
        let usage = Arc::new(Usage::default());
        let first = Gauge::take_below(Connections(usage.clone()), 1);
        assert!(first.is_some());
        assert!(Gauge::take_below(Connections(usage.clone()), 1).is_none());
        drop(first);
        assert!(Gauge::take_below(Connections(usage.clone()), 1).is_some());
        let _over = Gauge::take(Retries(usage.clone()));
        assert!(Gauge::take_below(Retries(usage), 0).is_none());
    }

    #[test]
    fn requests_are_recent_for_an_interval() {
        let (recent, interval) = (Recent::default(), Duration::from_millis(800));
        assert_eq!(recent.count(5_000, interval), 0);
        for now in [5_000, 5_010, 5_400] {
            recent.add(now, interval);
        }
        let counts = [5_400, 5_800, 5_900, 6_200, 6_300, 99_000].map(|now| recent.count(now, interval));
        assert_eq!(counts, [3, 3, 1, 1, 0, 0]);
        recent.add(99_000, interval);
        assert_eq!(recent.count(99_000, interval), 1);
    }
}
