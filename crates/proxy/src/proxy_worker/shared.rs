//! What the workers of one proxy share: its settings, how far it drains, and what is counted over all of them.

use crate::cluster::ClusterShared;
use crate::connect::dial::Outside;
use crate::connect::dynamic::DynamicNames;
use crate::runtime::RuntimeConfig;
use crate::telemetry::labels::Workload;
use crate::telemetry::totals::Vitals;
use crate::telemetry::{ProxyIdentity, RecordSender};
use amime_model::config::{Direction, Listener};
use http::HeaderValue;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the workers of one proxy share.
pub(crate) struct ProxyShared {
    pub(crate) identity: Arc<ProxyIdentity>,
    /// The proxy's own, as its node's id tells it.
    pub(crate) address: Option<HeaderValue>,
    /// As labels say it.
    pub(crate) own: Workload,
    pub(crate) vitals: Vitals,
    pub(crate) settings: Settings,
    pub(crate) records: Option<RecordSender>,
    /// The names that requests are for, where they decide the address.
    pub(crate) dynamic: Arc<DynamicNames>,
    pub(crate) records_dropped: Arc<AtomicU64>,
    /// A `Draining`: whose connections are told to end.
    draining: AtomicU8,
    /// A `Draining`: which sockets take no connections any more.
    stopped: AtomicU8,
    /// How long a connection that drains may stay idle, in milliseconds; 0: as `Settings::drain` says.
    drain_idle: AtomicU64,
    /// Connections that came though their side drains.
    pub(crate) late: AtomicU64,
    /// Open client connections, over all workers.
    pub(crate) connections: AtomicU32,
    clusters: Mutex<HashMap<Arc<str>, Arc<ClusterShared>>>,
}

/// Which side of a proxy ends. Later ones include earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Draining {
    No,
    Inbound,
    All,
}

impl Draining {
    fn of(number: u8) -> Self {
        match number {
            0 => Self::No,
            1 => Self::Inbound,
            _ => Self::All,
        }
    }

    pub(crate) fn includes(self, listener: &Listener) -> bool {
        match self {
            Self::No => false,
            Self::Inbound => listener.direction == Direction::Inbound,
            Self::All => true,
        }
    }
}

/// What the user of the proxy chose.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Put `x-amime-flag` on the proxy's own answers to its workload.
    pub(crate) flag_header: bool,
    /// Client connections at once; more are closed as they come.
    pub(crate) max_connections: u32,
    /// How long connections of a removed listener may stay idle.
    pub(crate) drain: Duration,
    /// Between two bytes of a request's body.
    pub(crate) body_timeout: Duration,
    /// Count requests and connections for `Proxy::metrics`.
    pub(crate) metrics: bool,
    /// How destinations are reached from outside of the pod.
    pub(crate) outside: Outside,
}

impl ProxyShared {
    pub(crate) fn new(
        identity: Arc<ProxyIdentity>,
        settings: Settings,
        records: Option<RecordSender>,
        dynamic: Arc<DynamicNames>,
    ) -> Arc<Self> {
        let ip = identity.node_id.split('~').nth(1).filter(|ip| ip.parse::<IpAddr>().is_ok());
        Arc::new(Self {
            address: ip.and_then(|ip| HeaderValue::from_str(ip).ok()),
            own: Workload::own(&identity),
            vitals: Vitals::default(),
            identity,
            settings,
            records,
            dynamic,
            records_dropped: Arc::default(),
            draining: AtomicU8::new(Draining::No as u8),
            stopped: AtomicU8::new(Draining::No as u8),
            drain_idle: AtomicU64::new(0),
            late: AtomicU64::new(0),
            connections: AtomicU32::new(0),
            clusters: Mutex::default(),
        })
    }

    /// What survives updates of a cluster; made when first asked for.
    pub(crate) fn cluster(&self, name: &Arc<str>) -> Arc<ClusterShared> {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(clusters.entry(Arc::clone(name)).or_insert_with(|| ClusterShared::new(Arc::clone(name))))
    }

    /// Forgets clusters that the configuration no longer has and nobody uses.
    pub(crate) fn forget_clusters(&self, config: &RuntimeConfig) {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        clusters.retain(|name, shared| Arc::strong_count(shared) > 1 || config.config.clusters.contains_key(name));
    }

    /// A cluster that somebody has used.
    pub(crate) fn known_cluster(&self, name: &str) -> Option<Arc<ClusterShared>> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn draining(&self) -> Draining {
        Draining::of(self.draining.load(Ordering::Relaxed))
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining() != Draining::No
    }

    /// What drains goes on draining. `idle`: how long its connections may stay idle, where that is not as usual.
    pub(crate) fn drain(&self, which: Draining, idle: Option<Duration>) {
        if let Some(idle) = idle {
            let idle = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX).max(1);
            self.drain_idle.store(idle, Ordering::Relaxed);
        }
        self.draining.fetch_max(which as u8, Ordering::Relaxed);
    }

    /// How long a connection that is to end may stay idle.
    pub(crate) fn drain_idle(&self) -> Duration {
        match self.drain_idle.load(Ordering::Relaxed) {
            0 => self.settings.drain,
            idle => Duration::from_millis(idle),
        }
    }

    pub(crate) fn stopped(&self) -> Draining {
        Draining::of(self.stopped.load(Ordering::Relaxed))
    }

    pub(crate) fn stop(&self, which: Draining) {
        self.stopped.fetch_max(which as u8, Ordering::Relaxed);
    }
}
