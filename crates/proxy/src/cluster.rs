//! A cluster at run time: its configuration and endpoints of the moment, joined to what survives updates
//! (limits in use, health, pooled connections).
//!
//! Made when a worker first needs a cluster: a sidecar is told about every service and calls a few.

use crate::balance::limits::{Gauge, Usage};
use crate::balance::outlier::{self, ClusterHealth, Outcome};
use crate::balance::{Balancer, Host, HostShared, PickContext};
use crate::connect::dial::{ConnectSettings, Handshake, Outside};
use crate::connect::pool::{HostPool, PoolSettings, Pools, Speech};
use crate::connect::private::Private;
use crate::connect::transports::{Missing, Transports};
use crate::rng::Rng;
use crate::telemetry::labels::Number;
use crate::tls::secrets::Secrets;
use amime_model::config::{Cluster, ClusterEndpoints, Discovery, UpstreamProtocol};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// What all workers share about a cluster name. Survives configuration updates.
pub(crate) struct ClusterShared {
    pub(crate) name: Arc<str>,
    pub(crate) usage: Arc<Usage>,
    pub(crate) health: Arc<ClusterHealth>,
    pub(crate) freed: Arc<Notify>,
    hosts: Mutex<HashMap<SocketAddr, Weak<HostShared>>>,
    /// What DNS said last, for clusters whose endpoints are names.
    pub(crate) resolved: Mutex<Option<Arc<ClusterEndpoints>>>,
}

impl ClusterShared {
    pub(crate) fn new(name: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            name,
            usage: Arc::default(),
            health: Arc::default(),
            freed: Arc::default(),
            hosts: Mutex::default(),
            resolved: Mutex::default(),
        })
    }

    /// What is known of an address; the same for everybody who has it now.
    pub(crate) fn host(&self, address: SocketAddr) -> Arc<HostShared> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(&address).and_then(Weak::upgrade) {
            return host;
        }
        if hosts.len() >= 64 && hosts.len().is_power_of_two() {
            hosts.retain(|_, host| host.strong_count() > 0);
        }
        let host = Arc::new(HostShared::default());
        hosts.insert(address, Arc::downgrade(&host));
        host
    }

    /// What is known of an address that somebody has now.
    pub(crate) fn known_host(&self, address: SocketAddr) -> Option<Arc<HostShared>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).get(&address).and_then(Weak::upgrade)
    }

    /// The addresses that somebody has now, in order.
    pub(crate) fn known_addresses(&self) -> Vec<SocketAddr> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known: Vec<_> = hosts.iter().filter(|(_, host)| host.strong_count() > 0).map(|(a, _)| *a).collect();
        known.sort_unstable();
        known
    }

    pub(crate) fn resolved(&self) -> Option<Arc<ClusterEndpoints>> {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One worker's cluster.
pub(crate) struct ClusterLocal {
    pub(crate) config: Arc<Cluster>,
    pub(crate) endpoints: Arc<ClusterEndpoints>,
    pub(crate) shared: Arc<ClusterShared>,
    pub(crate) max_requests: u32,
    pub(crate) max_retries: u32,
    balancer: Balancer,
    transports: Transports,
    pub(crate) pools: Rc<Pools>,
    /// Of its service, for metrics.
    pub(crate) number: Cell<Number>,
}

/// Envoy's defaults of circuit breakers and streams.
const LIMIT: u32 = 1024;
const RETRIES: u32 = 3;
const STREAMS: u32 = 1 << 29;
const IDLE: Duration = Duration::from_secs(3600);

impl ClusterLocal {
    /// `previous` is the same cluster before an update: its connections are kept where they still fit.
    pub(crate) fn new(
        config: Arc<Cluster>,
        endpoints: Arc<ClusterEndpoints>,
        shared: Arc<ClusterShared>,
        previous: Option<&Self>,
        outside: Outside,
        secrets: &Secrets,
        rng: &Rng,
    ) -> Rc<Self> {
        let limits = &config.limits;
        let settings = PoolSettings {
            connect: ConnectSettings::of(&config, outside),
            max_connections: limits.max_connections.unwrap_or(LIMIT),
            max_pending: limits.max_pending_requests.unwrap_or(LIMIT),
            max_requests_per_connection: config.max_requests_per_connection.unwrap_or(0),
            max_concurrent_streams: config.max_concurrent_streams.unwrap_or(STREAMS),
            idle_timeout: Some(config.idle_timeout.unwrap_or(IDLE)).filter(|timeout| !timeout.is_zero()),
            max_connection_duration: config.max_connection_duration.filter(|most| !most.is_zero()),
            http2_keepalive: config.http2_keepalive,
            by_alpn: config.protocol == UpstreamProtocol::Alpn,
        };
        let balancer =
            Balancer::new(&config, &endpoints, shared.health.clone(), &mut |address| shared.host(address), rng);
        let transports = Transports::build(&config, secrets, previous.map(|previous| &previous.transports));
        let pools = match previous {
            Some(previous) if previous.pools.settings == settings && previous.transports == transports => {
                Rc::clone(&previous.pools)
            }
            _ => {
                let counts = previous.map(|previous| Rc::clone(&previous.pools.counts)).unwrap_or_default();
                Pools::new(settings, shared.usage.clone(), counts, shared.freed.clone())
            }
        };
        if let Some(previous) = previous {
            if !Rc::ptr_eq(&previous.pools, &pools) {
                previous.pools.retire();
            } else if !matches!(config.discovery, Discovery::OriginalDst { .. } | Discovery::DynamicDns(_)) {
                let hosts = balancer.hosts();
                pools.retain(|address| hosts.iter().any(|host| host.address == address));
            }
        }
        if let Some(missing) = transports.problem() {
            tracing::warn!(cluster = %shared.name, "connections will be refused: {}", missing.reason());
        }
        Rc::new(Self {
            max_requests: limits.max_requests.unwrap_or(LIMIT),
            max_retries: limits.max_retries.unwrap_or(RETRIES),
            config,
            endpoints,
            shared,
            balancer,
            transports,
            pools,
            number: Cell::default(),
        })
    }

    /// The cluster has left the configuration: requests under way end, pooled connections close.
    pub(crate) fn retire(&self) {
        self.pools.retire();
    }

    /// A host for a request. `original` is the address that the client dialled, or that its name was found to have.
    pub(crate) fn pick(&self, context: &PickContext<'_>, original: Option<SocketAddr>, rng: &Rng) -> Option<Rc<Host>> {
        let other_port = match self.config.discovery {
            Discovery::OriginalDst { port, .. } => Some(port),
            Discovery::DynamicDns(_) => Some(None),
            _ => None,
        };
        if let Some(port) = other_port {
            let mut address = original?;
            address.set_port(port.unwrap_or(address.port()));
            if self.pools.settings.connect.outside.own.has(address) {
                tracing::debug!(%address, "what is passed through does not go to the proxy itself");
                return None;
            }
            // Addresses come and go; now and then those without connections are forgotten.
            if self.pools.len() >= 64 && rng.below(64) == 0 {
                self.pools.forget_unused();
            }
            let shared = self.shared.host(address);
            let host = Host {
                address,
                weight: 1,
                usable: true,
                endpoint: None,
                shared,
                number: Cell::default(),
                peer: RefCell::default(),
            };
            return Some(Rc::new(host));
        }
        self.balancer.pick(context, rng).cloned()
    }

    /// The connections to a host, for a request to this authority of a client, if it is one's.
    ///
    /// # Errors
    /// What is missing for any; nothing is sent then.
    pub(crate) fn pool(
        &self,
        host: &Host,
        authority: &[u8],
        client: Option<&Private>,
    ) -> Result<Rc<HostPool>, Missing> {
        let private = client.filter(|_| self.config.proxy_protocol.is_some());
        let tls = match self.transports.of(host)? {
            Some(context) => {
                let name = context.name_of(authority).map_err(|reason| Missing::Tls(reason.into()))?;
                Some(Handshake { context: Rc::clone(context), name, http1: false })
            }
            None => None,
        };
        Ok(match (private, tls) {
            (Some(private), tls) => private.pool(&self.pools, host, tls),
            (None, Some(tls)) => self.pools.host_by_tls(host, tls),
            (None, None) => self.pools.host(host),
        })
    }

    /// How a connection of its own to a host is carried; None: plaintext.
    ///
    /// # Errors
    /// As of [`ClusterLocal::pool`].
    pub(crate) fn handshake(&self, host: &Host) -> Result<Option<Handshake>, Missing> {
        let context = self.transports.of(host)?;
        Ok(context.map(|context| Handshake { context: Rc::clone(context), name: None, http1: false }))
    }

    /// Whether it was built of what these secrets are now.
    pub(crate) fn is_of(&self, secrets: &Secrets) -> bool {
        self.transports.is_of(secrets)
    }

    /// How a request or connection went, for outlier detection.
    pub(crate) fn report(&self, host: &Host, outcome: Outcome, rng: &Rng) {
        if let Some(detection) = &self.config.outlier {
            outlier::report(detection, &self.shared.health, self.balancer.hosts(), host, outcome, rng.next_u32());
        }
    }

    /// What a request that came as HTTP/2 (or not) goes on as.
    pub(crate) fn speech(&self, downstream_http2: bool) -> Speech {
        match self.config.protocol {
            UpstreamProtocol::UseDownstream if downstream_http2 => Speech::Http2,
            UpstreamProtocol::Http1 | UpstreamProtocol::UseDownstream => Speech::Http1,
            UpstreamProtocol::Http2 => Speech::Http2,
            UpstreamProtocol::Alpn => Speech::Alpn,
        }
    }

    /// A request begins: a retry budget may count it for longer than it lasts.
    pub(crate) fn begun(&self, now: Instant) {
        if let Some(interval) = self.budget_interval() {
            self.shared.usage.recent.add(outlier::millis(now), interval);
        }
    }

    fn budget_interval(&self) -> Option<Duration> {
        let budget = self.config.limits.retry_budget.as_ref()?;
        budget.interval.filter(|interval| !interval.is_zero())
    }

    /// How many retries may run at once.
    pub(crate) fn retry_limit(&self) -> u32 {
        match &self.config.limits.retry_budget {
            Some(budget) => {
                let usage = &self.shared.usage;
                let recent = self.budget_interval().map(|i| usage.recent.count(outlier::millis(Instant::now()), i));
                let active = (usage.active_requests() + usage.pending_requests()).max(recent.unwrap_or(0));
                ((f64::from(active) * budget.percent / 100.0) as u32).max(budget.min_concurrency)
            }
            None => self.max_retries,
        }
    }
}

/// A request under way at a cluster; the count is given back when it is dropped.
pub(crate) struct RequestAt(pub(crate) Rc<ClusterLocal>);

impl AsRef<Gauge> for RequestAt {
    fn as_ref(&self) -> &Gauge {
        self.0.shared.usage.requests()
    }
}

/// A request under way at a host.
pub(crate) struct ActiveHost(pub(crate) Rc<Host>);

impl AsRef<Gauge> for ActiveHost {
    fn as_ref(&self) -> &Gauge {
        &self.0.shared.active
    }
}
