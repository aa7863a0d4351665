//! A proxy: started on some workers, given configurations, drained. What the binary and `ads` hold.

mod drain;
mod metrics;
mod options;
mod resolving;
mod status;

pub use drain::Side;
pub use options::{Placement, ProxyOptions};
pub use status::{ClusterStatus, EndpointStatus, UsageStatus};

use crate::capture_ports::{CapturePorts, Moved};
use crate::connect::dial::Outside;
use crate::connect::dynamic::DynamicNames;
use crate::connect::names::Names;
use crate::listen::socket;
use crate::proxy_worker::{Draining, ProxyShared, ProxyWorker, Settings};
use crate::runtime::{ConfigError, RuntimeConfig};
use crate::telemetry;
use crate::workers::{Workers, WorkersGone};
use amime_model::config::{Cluster, ProxyConfig};
use amime_xds::transport::Warming;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

/// Why a configuration was not applied. The last good one goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Workers(#[from] WorkersGone),
}

/// A configuration that every worker runs.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub config: Arc<ProxyConfig>,
    pub at: SystemTime,
}

/// A running proxy. It ends when the last clone is dropped and its workers have closed its sockets.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

struct Inner {
    id: u64,
    workers: Workers,
    on: Vec<usize>,
    shared: Arc<ProxyShared>,
    names: Names,
    background: Handle,
    capture_ports: CapturePorts,
    ready: watch::Sender<bool>,
    accepted: watch::Sender<Option<Accepted>>,
    state: Mutex<State>,
    /// The ADS stream's task.
    following: std::sync::Mutex<Option<JoinHandle<()>>>,
}

/// A proxy that may have ended.
pub(crate) struct WeakProxy(Weak<Inner>);

impl WeakProxy {
    pub(crate) fn upgrade(&self) -> Option<Proxy> {
        self.0.upgrade().map(Proxy)
    }
}

#[derive(Default)]
struct State {
    config: Option<Arc<RuntimeConfig>>,
    /// Some workers may run a newer one, which others have failed to take.
    swapping: bool,
    /// The listeners whose ports are not the configuration's.
    moved: Moved,
    /// Configured addresses that have sockets, and where those are bound (which differs for port 0).
    sockets: BTreeMap<SocketAddr, SocketAddr>,
    /// Looks whether files of certificates change.
    looking: Option<JoinHandle<()>>,
    /// One task for each DNS cluster.
    resolving: BTreeMap<Arc<str>, (Arc<Cluster>, JoinHandle<()>)>,
}

impl Proxy {
    /// Places a proxy on its workers. It has no socket until a configuration is applied.
    pub fn start(options: ProxyOptions, workers: &Workers) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let settings = Settings {
            flag_header: options.flag_header,
            metrics: options.metrics,
            max_connections: options.max_connections,
            drain: options.drain,
            body_timeout: options.body_timeout,
            outside: Outside {
                loopback_source: options.loopback_source,
                reach: options.reach,
                own: Arc::new(options.own),
            },
        };
        let on = match options.placement {
            Placement::One => vec![workers.next()],
            Placement::All => (0..workers.count()).collect(),
        };
        let dynamic = DynamicNames::new(options.names.with_own_turns(), options.background.clone());
        Self(Arc::new(Inner {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            workers: workers.clone(),
            on,
            shared: ProxyShared::new(Arc::new(options.identity), settings, options.records, dynamic),
            names: options.names,
            background: options.background,
            capture_ports: options.capture_ports,
            ready: watch::Sender::new(false),
            accepted: watch::Sender::new(None),
            state: Mutex::default(),
            following: std::sync::Mutex::default(),
        }))
    }

    /// True from the moment that a first configuration was accepted and all its ports are open.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.0.ready.subscribe()
    }

    /// What the proxy runs, as it changes; None before the first.
    pub fn accepted(&self) -> watch::Receiver<Option<Accepted>> {
        self.0.accepted.subscribe()
    }

    /// Where the socket of a configured address is bound, which differs for port 0.
    pub async fn bound(&self, address: SocketAddr) -> Option<SocketAddr> {
        self.0.state.lock().await.sockets.get(&address).copied()
    }

    /// Takes a configuration: builds it whole, opens what it needs, and gives it to every worker. Returns when all
    /// of them have swapped. Of two at once, one waits.
    pub async fn apply(&self, config: impl Into<Arc<ProxyConfig>>) -> Result<(), ApplyError> {
        self.swap(config.into()).await?;
        self.set_ready();
        Ok(())
    }

    pub(crate) fn set_ready(&self) {
        if !self.0.shared.is_draining() {
            self.0.ready.send_replace(true);
        }
    }

    /// `apply`, without a word about being ready. What comes back ends when the clusters that are new have looked up
    /// their names; None where they have, or have none.
    pub(crate) async fn swap(&self, config: Arc<ProxyConfig>) -> Result<Option<Warming>, ApplyError> {
        let swapped = self.try_swap(Some(config)).await;
        let vitals = &self.0.shared.vitals;
        if swapped.is_ok() {
            vitals.accepted()
        } else {
            vitals.rejected()
        }
        swapped
    }

    /// None: what is there already, with the files that it names read again.
    async fn try_swap(&self, config: Option<Arc<ProxyConfig>>) -> Result<Option<Warming>, ApplyError> {
        let inner = &self.0;
        let mut state = inner.state.lock().await;
        let again = config.is_none();
        let config = match (config, &state.config) {
            (Some(config), _) => state.moved.apply(inner.capture_ports, config),
            (None, Some(now)) => Arc::clone(&now.config),
            (None, None) => return Ok(None),
        };
        if !again && !state.swapping && state.config.as_ref().is_some_and(|now| now.config.is_same(&config)) {
            return Ok(None);
        }
        let runtime = Arc::new(RuntimeConfig::build(config, state.config.as_deref())?);
        if !runtime.secrets.files.is_empty() && state.looking.is_none() {
            state.looking = Some(inner.background.spawn(look_at_files(self.downgrade())));
        }
        let wanted: BTreeSet<SocketAddr> = runtime.listeners.sockets().map(|(address, _)| address).collect();
        let opened = inner.open(&runtime, &state.sockets)?;
        let closed: Vec<SocketAddr> = state.sockets.keys().filter(|a| !wanted.contains(a)).copied().collect();
        let warming = inner.resolve(&runtime, &mut state).await;

        let mut by_worker: Vec<Vec<(SocketAddr, std::net::TcpListener)>> =
            inner.on.iter().map(|_| Vec::new()).collect();
        let mut bound = Vec::with_capacity(opened.len());
        for (address, sockets) in opened {
            bound.extend(sockets.first().and_then(|socket| socket.local_addr().ok()).map(|at| (address, at)));
            for (worker, socket) in by_worker.iter_mut().zip(sockets) {
                worker.push((address, socket));
            }
        }
        state.swapping = true;
        let swaps = inner.on.iter().zip(by_worker).map(|(worker, opened)| {
            let (id, shared) = (inner.id, Arc::clone(&inner.shared));
            let (config, closed) = (Arc::clone(&runtime), closed.clone());
            inner.workers.call(*worker, move |here| {
                let proxy = here
                    .proxies
                    .borrow_mut()
                    .entry(id)
                    .or_insert_with(|| ProxyWorker::new(shared, Arc::clone(&config)))
                    .clone();
                proxy.swap(config, opened, &closed)
            })
        });
        for swapped in futures_util::future::join_all(swaps).await {
            swapped?.map_err(|error| ConfigError { resource: "Listener".into(), reason: error.to_string() })?;
        }
        // Only now: where a worker could not take its sockets, the next update opens them again.
        state.sockets.extend(bound);
        state.sockets.retain(|address, _| wanted.contains(address));
        inner.shared.forget_clusters(&runtime);
        inner.accepted.send_replace(Some(Accepted { config: Arc::clone(&runtime.config), at: SystemTime::now() }));
        state.config = Some(runtime);
        state.swapping = false;
        Ok(warming)
    }

    /// Stops taking connections and lets those that are there end, for at most so long; then ends the rest. True
    /// where all ended by themselves.
    pub async fn drain(&self, at_most: Duration) -> bool {
        let inner = &self.0;
        inner.shared.drain(Draining::All, None);
        inner.shared.stop(Draining::All);
        inner.ready.send_replace(false);
        if inner.on_workers(|proxy| proxy.stop(Draining::All)).await.is_err() {
            return false;
        }
        let until = Instant::now() + at_most;
        let mut pause = Duration::from_millis(1);
        while inner.shared.connections.load(Ordering::Relaxed) > 0 && Instant::now() < until {
            tokio::time::sleep(pause.min(until.saturating_duration_since(Instant::now()))).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        let ended = inner.shared.connections.load(Ordering::Relaxed) == 0;
        inner.end().await;
        telemetry::access_log::file::written().await;
        ended
    }

    pub(crate) fn downgrade(&self) -> WeakProxy {
        WeakProxy(Arc::downgrade(&self.0))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.shared.identity.node_id
    }

    /// Runs a stream's task until the proxy ends; one that ran before ends now.
    pub(crate) fn keep_following(&self, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.0.background.spawn(task);
        if let Some(before) = self.0.following().replace(task) {
            before.abort();
        }
    }

    /// Client connections that are open now.
    pub fn connections(&self) -> u32 {
        self.0.shared.connections.load(Ordering::Relaxed)
    }
}

/// How often files of certificates are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Takes certificates that change in their files, until the proxy ends.
fn look_at_files(proxy: WeakProxy) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(proxy) = proxy.upgrade() else { return };
            let changed = {
                let state = proxy.0.state.lock().await;
                state.config.as_ref().is_some_and(|now| now.secrets.files.have_changed())
            };
            if changed && let Err(error) = proxy.try_swap(None).await {
                tracing::error!(%error, "certificates that have changed cannot be taken");
            }
        }
    })
}

impl Inner {
    /// Does something on each worker, with what the proxy has there.
    async fn on_workers(&self, what: impl Fn(&ProxyWorker) + Clone + Send + 'static) -> Result<(), WorkersGone> {
        let id = self.id;
        for worker in &self.on {
            let what = what.clone();
            let call = move |here: &crate::workers::WorkerState| {
                if let Some(proxy) = here.proxies.borrow().get(&id) {
                    what(proxy);
                }
            };
            self.workers.call(*worker, call).await?;
        }
        Ok(())
    }

    fn following(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the sockets that are not there yet; none of them stays open where one cannot be.
    #[allow(clippy::type_complexity)] // A list, read once.
    fn open(
        &self,
        config: &RuntimeConfig,
        have: &BTreeMap<SocketAddr, SocketAddr>,
    ) -> Result<Vec<(SocketAddr, Vec<std::net::TcpListener>)>, ConfigError> {
        let mut opened = Vec::new();
        for (address, listener) in config.listeners.sockets() {
            if have.contains_key(&address) || self.shared.stopped().includes(&listener.config) {
                continue;
            }
            let sockets = socket::open(address, self.on.len()).map_err(|error| {
                let origins: Vec<String> = listener.config.origins.iter().map(ToString::to_string).collect();
                let of = if origins.is_empty() { String::new() } else { format!(" (of {})", origins.join(", ")) };
                ConfigError {
                    resource: format!("Listener {}", listener.name),
                    reason: format!("cannot listen on {address}{of}: {error}"),
                }
            })?;
            opened.push((address, sockets));
        }
        Ok(opened)
    }

    /// Takes the proxy off its workers.
    async fn end(&self) {
        if let Some(task) = self.following().take() {
            task.abort();
        }
        let id = self.id;
        for worker in &self.on {
            // An error: the workers are gone, and the proxy with them.
            let _ = self
                .workers
                .call(*worker, move |here| {
                    if let Some(proxy) = here.proxies.borrow_mut().remove(&id) {
                        proxy.stop(Draining::All);
                        proxy.abort_connections();
                    }
                })
                .await;
        }
        let mut state = self.state.lock().await;
        let looking = state.looking.take();
        for task in std::mem::take(&mut state.resolving).into_values().map(|(_, task)| task).chain(looking) {
            task.abort();
        }
        state.sockets.clear();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(task) = self.following().take() {
            task.abort();
        }
        let id = self.id;
        for worker in &self.on {
            // An error: the workers are gone, and the proxy with them.
            let _ = self.workers.post(*worker, move |here| {
                if let Some(proxy) = here.proxies.borrow_mut().remove(&id) {
                    proxy.stop(Draining::All);
                    proxy.abort_connections();
                }
            });
        }
        let state = self.state.get_mut();
        let looking = state.looking.take();
        for task in std::mem::take(&mut state.resolving).into_values().map(|(_, task)| task).chain(looking) {
            task.abort();
        }
    }
}
