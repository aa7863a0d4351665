//! A cluster at run time: its configuration and endpoints of the moment, joined to what survives updates
//! (limits in use, health, pooled connections).
//!
//! Made when a worker first needs a cluster: a sidecar is told about every service and calls a few.

use crate::balance::limits::{Gauge, Usage};
use crate::balance::outlier::{self, ClusterHealth, Outcome};
use crate::balance::{Balancer, Host, HostShared, PickContext};
use crate::connect::dial::{ConnectSettings, Outside};
use crate::connect::pool::{HostPool, PoolSettings, Pools};
use crate::rng::Rng;
use crate::telemetry::labels::Number;
use amime_model::config::{Cluster, ClusterEndpoints, Discovery, UpstreamProtocol};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
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
        };
        let balancer =
            Balancer::new(&config, &endpoints, shared.health.clone(), &mut |address| shared.host(address), rng);
        let pools = match previous {
            Some(previous) if previous.pools.settings == settings => Rc::clone(&previous.pools),
            _ => {
                let counts = previous.map(|previous| Rc::clone(&previous.pools.counts)).unwrap_or_default();
                Pools::new(settings, shared.usage.clone(), counts, shared.freed.clone())
            }
        };
        if let Some(previous) = previous {
            if !Rc::ptr_eq(&previous.pools, &pools) {
                previous.pools.retire();
            } else if !matches!(config.discovery, Discovery::OriginalDst { .. }) {
                let hosts = balancer.hosts();
                pools.retain(|address| hosts.iter().any(|host| host.address == address));
            }
        }
        if config.tls.is_some() || config.opaque_transport.is_some() || config.proxy_protocol.is_some() {
            tracing::warn!(cluster = %shared.name, "connections will be refused: TLS and PROXY headers upstream are not supported yet");
        }
        Rc::new(Self {
            max_requests: limits.max_requests.unwrap_or(LIMIT),
            max_retries: limits.max_retries.unwrap_or(RETRIES),
            config,
            endpoints,
            shared,
            balancer,
            pools,
            number: Cell::default(),
        })
    }

    /// The cluster has left the configuration: requests under way end, pooled connections close.
    pub(crate) fn retire(&self) {
        self.pools.retire();
    }

    /// A host for a request. `original` is the address that the client dialled.
    pub(crate) fn pick(&self, context: &PickContext<'_>, original: Option<SocketAddr>, rng: &Rng) -> Option<Rc<Host>> {
        if let Discovery::OriginalDst { port, .. } = self.config.discovery {
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

    pub(crate) fn pool(&self, host: &Host) -> Rc<HostPool> {
        self.pools.host(host.address)
    }

    /// How a request or connection went, for outlier detection.
    pub(crate) fn report(&self, host: &Host, outcome: Outcome, rng: &Rng) {
        if let Some(detection) = &self.config.outlier {
            outlier::report(detection, &self.shared.health, self.balancer.hosts(), host, outcome, rng.next_u32());
        }
    }

    /// Whether a request that came as HTTP/2 (or not) goes on as HTTP/2.
    pub(crate) fn speaks_http2(&self, downstream_http2: bool) -> bool {
        match self.config.protocol {
            UpstreamProtocol::Http1 => false,
            UpstreamProtocol::Http2 => true,
            UpstreamProtocol::UseDownstream => downstream_http2,
            // Without TLS there is no ALPN.
            UpstreamProtocol::Alpn => false,
        }
    }

    /// What a connection to a host would need and this proxy does not know; it is refused then.
    pub(crate) fn missing(&self, host: &Host) -> Option<Missing> {
        let labels = host.endpoint.as_ref().map_or(&[][..], |endpoint| &endpoint.transport_labels);
        let config = &self.config;
        let chosen = config.transport_socket_matches.iter().find(|m| m.labels.iter().all(|l| labels.contains(l)));
        let (tls, opaque) = match chosen {
            Some(chosen) => (chosen.tls.is_some(), chosen.opaque.is_some()),
            None => (config.tls.is_some(), config.opaque_transport.is_some()),
        };
        match (tls, opaque) {
            (true, _) => Some(Missing::Tls),
            (false, true) => Some(Missing::Transport),
            (false, false) => config.proxy_protocol.map(|_| Missing::ProxyProtocol),
        }
    }

    /// How many retries may run at once.
    pub(crate) fn retry_limit(&self) -> u32 {
        match &self.config.limits.retry_budget {
            Some(budget) => {
                let active = self.shared.usage.active_requests() + self.shared.usage.pending_requests();
                ((f64::from(active) * budget.percent / 100.0) as u32).max(budget.min_concurrency)
            }
            None => self.max_retries,
        }
    }
}

/// What an upstream connection would need and this proxy does not know. Without it nothing is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Tls,
    /// A transport socket that is not understood.
    Transport,
    ProxyProtocol,
}

impl Missing {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Tls => "the cluster wants TLS, which is not supported yet",
            Self::Transport => "the cluster's transport socket is not understood",
            Self::ProxyProtocol => "the cluster wants a PROXY protocol header, which is not supported yet",
        }
    }

    pub(crate) fn details(self) -> &'static str {
        match self {
            Self::Tls => "upstream_transport_not_supported{tls}",
            Self::Transport => "upstream_transport_not_supported{transport_socket}",
            Self::ProxyProtocol => "upstream_transport_not_supported{proxy_protocol}",
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
