//! A proxy on one worker: its current configuration, its clusters, sockets and connections there.

mod shared;

pub(crate) use shared::{Draining, ProxyShared, Settings};

use crate::cluster::{ClusterLocal, ClusterShared};
use crate::http::connection::ConnState;
use crate::listen::accept;
use crate::rng::Rng;
use crate::runtime::{ChainRuntime, ListenerRuntime, RuntimeConfig};
use crate::telemetry::Recorder;
use crate::telemetry::access_log::Lines;
use crate::telemetry::counters::Counters;
use crate::telemetry::gather::Portion;
use crate::telemetry::peer::{OwnHeaders, Peers};
use crate::telemetry::totals::ClusterTotals;
use amime_model::config::{ClusterEndpoints, Direction, Discovery};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};

/// A worker's own handle of the configuration that all workers share: a request counts this one up, and touches
/// no contended counter.
pub(crate) struct Current(Arc<RuntimeConfig>);

impl std::ops::Deref for Current {
    type Target = RuntimeConfig;

    fn deref(&self) -> &RuntimeConfig {
        &self.0
    }
}

pub(crate) struct ProxyWorker {
    pub(crate) shared: Arc<ProxyShared>,
    pub(crate) rng: Rng,
    pub(crate) recorder: Rc<Recorder>,
    pub(crate) counters: Counters,
    pub(crate) lines: Rc<Lines>,
    pub(crate) peers: Peers,
    /// What is said to peers.
    pub(crate) introduction: Option<OwnHeaders>,
    current: RefCell<Rc<Current>>,
    clusters: RefCell<HashMap<Arc<str>, Rc<ClusterLocal>>>,
    sockets: RefCell<HashMap<SocketAddr, oneshot::Sender<Rc<Current>>>>,
    connections: RefCell<HashMap<u64, Weak<ConnState>>>,
    next_connection: Cell<u64>,
    /// What is left of the connections ends now, for good.
    aborted: Cell<bool>,
    aborting: Notify,
    /// Listeners have changed.
    swapped: Notify,
}

impl ProxyWorker {
    pub(crate) fn new(shared: Arc<ProxyShared>, config: Arc<RuntimeConfig>) -> Rc<Self> {
        Rc::new(Self {
            rng: Rng::new(),
            recorder: Recorder::new(shared.records.clone(), shared.records_dropped.clone()),
            counters: Counters::default(),
            lines: Lines::new(),
            peers: Peers::default(),
            introduction: OwnHeaders::of(&shared.identity),
            shared,
            current: RefCell::new(Rc::new(Current(config))),
            clusters: RefCell::default(),
            sockets: RefCell::default(),
            connections: RefCell::default(),
            next_connection: Cell::new(0),
            aborted: Cell::new(false),
            aborting: Notify::new(),
            swapped: Notify::new(),
        })
    }

    /// The configuration of now; a request keeps the one that it began with.
    pub(crate) fn config(&self) -> Rc<Current> {
        Rc::clone(&self.current.borrow())
    }

    /// A cluster by name; None where the configuration has none (NC).
    pub(crate) fn cluster(&self, name: &str) -> Option<Rc<ClusterLocal>> {
        if let Some(cluster) = self.clusters.borrow().get(name) {
            return Some(Rc::clone(cluster));
        }
        let current = self.config();
        let (name, config) = current.config.clusters.get_key_value(name)?;
        let shared = self.shared.cluster(name);
        let endpoints = endpoints(&current, name, &shared);
        let local = ClusterLocal::new(
            Arc::clone(config),
            endpoints,
            shared,
            None,
            self.shared.settings.outside.clone(),
            &current.secrets,
            &self.rng,
        );
        self.clusters.borrow_mut().insert(Arc::clone(name), Rc::clone(&local));
        Some(local)
    }

    /// Takes a new configuration: from here on new requests and connections go by it.
    pub(crate) fn swap(
        self: &Rc<Self>,
        config: Arc<RuntimeConfig>,
        opened: Vec<(SocketAddr, std::net::TcpListener)>,
        closed: &[SocketAddr],
    ) -> std::io::Result<()> {
        let mut accepting = Vec::with_capacity(opened.len());
        for (address, socket) in opened {
            accepting.push((address, tokio::net::TcpListener::from_std(socket)?));
        }
        let before = self.current.replace(Rc::new(Current(Arc::clone(&config))));
        self.refresh_clusters(None);
        if !Arc::ptr_eq(&before.listeners, &config.listeners) {
            self.swapped.notify_waiters();
            self.drain_connections(|connection| {
                let stays = config.listeners.keeps(&connection.listener, &connection.chain);
                if !stays {
                    // Its routes may go next; a request that is on its way is answered by them all the same.
                    connection.keep_routes(&before);
                }
                !stays
            });
        }
        for (address, socket) in accepting {
            let (stop, stopped) = oneshot::channel();
            tokio::task::spawn_local(accept::run(Rc::clone(self), address, socket, stopped));
            self.sockets.borrow_mut().insert(address, stop);
        }
        for address in closed {
            let stop = self.sockets.borrow_mut().remove(address);
            if let Some(stop) = stop {
                // An error: the accept loop has ended already.
                let _ = stop.send(Rc::clone(&before));
            }
        }
        Ok(())
    }

    /// Looks whether clusters in use have changed; one alone where it is named (DNS).
    pub(crate) fn refresh_clusters(&self, only: Option<&str>) {
        let current = self.config();
        self.clusters.borrow_mut().retain(|name, local| {
            if only.is_some_and(|only| only != &**name) {
                return true;
            }
            let Some(config) = current.config.clusters.get(name) else {
                local.retire();
                return false;
            };
            let endpoints = endpoints(&current, name, &local.shared);
            let same_config = Arc::ptr_eq(config, &local.config) || *config == local.config;
            let same_endpoints = Arc::ptr_eq(&endpoints, &local.endpoints) || endpoints == local.endpoints;
            if !(same_config && same_endpoints && local.is_of(&current.secrets)) {
                let shared = Arc::clone(&local.shared);
                *local = ClusterLocal::new(
                    Arc::clone(config),
                    endpoints,
                    shared,
                    Some(local),
                    self.shared.settings.outside.clone(),
                    &current.secrets,
                    &self.rng,
                );
            }
            true
        });
    }

    /// What this worker has counted.
    pub(crate) fn portion(&self) -> Portion {
        let mut portion = Portion::of(&self.counters);
        portion.clusters = self
            .clusters
            .borrow()
            .iter()
            .map(|(name, cluster)| {
                let usage = &cluster.shared.usage;
                let active = (usage.active_requests(), usage.active_connections());
                (Arc::clone(name), ClusterTotals::of(&cluster.pools.counts, active))
            })
            .collect();
        portion
    }

    /// Lets the connections that match end: each answers `Connection: close`, or sends GOAWAY.
    pub(crate) fn drain_connections(&self, which: impl Fn(&ConnState) -> bool) {
        let connections: Vec<Rc<ConnState>> = self.connections.borrow().values().filter_map(Weak::upgrade).collect();
        for connection in connections {
            if which(&connection) {
                connection.drain(self.shared.drain_idle());
            }
        }
    }

    /// Takes no connection any more at the sockets of that side.
    pub(crate) fn stop_accepting(&self, which: Draining) {
        let current = self.config();
        self.sockets.borrow_mut().retain(|address, _| {
            let listener = current.listeners.listening_at(*address);
            listener.is_some_and(|listener| !which.includes(&listener.config))
        });
    }

    /// Lets the connections of that side end.
    pub(crate) fn drain_side(&self, which: Draining) {
        self.drain_connections(|connection| which.includes(&connection.listener.config));
        self.recorder.flush();
        self.lines.flush();
    }

    /// Stops accepting on that side; its connections are drained.
    pub(crate) fn stop(&self, which: Draining) {
        self.stop_accepting(which);
        self.drain_side(which);
    }

    /// HTTP connections to outbound listeners on which no request is under way.
    pub(crate) fn idle_outbound(&self) -> u32 {
        let connections = self.connections.borrow();
        let idle = connections.values().filter_map(Weak::upgrade).filter(|connection| {
            connection.active.get() == 0 && connection.listener.config.direction == Direction::Outbound
        });
        u32::try_from(idle.count()).unwrap_or(u32::MAX)
    }

    /// Ends what is left, for good.
    pub(crate) fn abort_connections(&self) {
        let connections: Vec<Rc<ConnState>> = self.connections.borrow().values().filter_map(Weak::upgrade).collect();
        self.aborted.set(true);
        self.aborting.notify_waiters();
        for connection in connections {
            connection.abort();
        }
    }

    /// Returns when what is left of the connections is to end.
    pub(crate) async fn aborted(&self) {
        let aborting = self.aborting.notified();
        if !self.aborted.get() {
            aborting.await;
        }
    }

    /// Returns when a connection is to end whose bytes are copied as they come, so that it cannot be asked to end by
    /// itself: when all do, or a drain time after its listener or chain has left the configuration.
    pub(crate) async fn ended(&self, listener: &ListenerRuntime, chain: &Arc<ChainRuntime>) {
        let left = async {
            loop {
                let swapped = self.swapped.notified();
                if !self.config().listeners.keeps(listener, chain) {
                    return tokio::time::sleep(self.shared.settings.drain).await;
                }
                swapped.await;
            }
        };
        tokio::select! {
            biased;
            () = self.aborted() => {}
            () = left => {}
        }
    }

    pub(crate) fn register(self: &Rc<Self>, connection: &Rc<ConnState>) -> Registered {
        if self.aborted.get() {
            connection.abort();
        }
        let id = self.next_connection.get();
        self.next_connection.set(id + 1);
        self.connections.borrow_mut().insert(id, Rc::downgrade(connection));
        Registered { worker: Rc::clone(self), id }
    }
}

/// A connection's place in the worker's list.
pub(crate) struct Registered {
    worker: Rc<ProxyWorker>,
    id: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.worker.connections.borrow_mut().remove(&self.id);
    }
}

/// The endpoints of a cluster as they are now; none where they have not come.
pub(crate) fn endpoints(config: &RuntimeConfig, name: &Arc<str>, shared: &ClusterShared) -> Arc<ClusterEndpoints> {
    let Some(cluster) = config.config.clusters.get(name) else { return Arc::default() };
    match &cluster.discovery {
        Discovery::Eds(resource) => {
            let resource = if resource.is_empty() { &**name } else { resource };
            config.config.endpoints.get(resource).cloned().unwrap_or_default()
        }
        Discovery::Static(endpoints) => Arc::new(endpoints.clone()),
        Discovery::StrictDns(_) | Discovery::LogicalDns(_) => shared.resolved().unwrap_or_default(),
        Discovery::OriginalDst { .. } | Discovery::DynamicDns(_) | Discovery::Opaque(_) => Arc::default(),
    }
}
