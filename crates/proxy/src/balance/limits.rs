//! The limits of a cluster that hold over all workers (circuit breaking), as counters that a request takes
//! a share of and gives back when it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

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

/// The counters of one cluster; they survive configuration updates.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    connections: Gauge,
    pending: Gauge,
    requests: Gauge,
    retries: Gauge,
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
}
