//! Listeners, filter chains and connection managers, with what every connection or request would compute
//! again.

use super::{ConfigError, compile_error};
use crate::http::wire::WireLimits;
use crate::telemetry::access_log::Logs;
use crate::telemetry::totals::ListenerCounts;
use crate::tls::secrets::{Secrets, Used};
use crate::tls::server::ServerContext;
use amime_model::config::{
    AccessLog, Direction, FilterChain, HttpConnectionManager, HttpFilter, Listener, ListenerFilter, NetworkFilter,
    RouteSource, TcpProxy,
};
use amime_model::route::RouteTable;
use amime_model::route::decide::RouteFilters;
use amime_model::route::listener::{ConnectionView, filter_chain};
use amime_xds::refs;
use http::HeaderValue;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct ListenerRuntime {
    pub(crate) name: Arc<str>,
    pub(crate) config: Arc<Listener>,
    chains: Vec<Arc<ChainRuntime>>,
    /// What its listener filters look at.
    pub(crate) filters: Filters,
    pub(crate) counts: Arc<ListenerCounts>,
    /// Of connections that no filter chain takes.
    pub(crate) logs: Option<Logs>,
    /// The secrets that its chains were built of.
    used: Used,
}

/// Which listener filters there are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters {
    pub(crate) original_dst: bool,
    pub(crate) proxy_protocol: bool,
    pub(crate) tls: bool,
    pub(crate) http: bool,
    pub(crate) http_disabled_ports: Vec<u16>,
    /// A filter that is not understood: connections are refused.
    pub(crate) opaque: bool,
}

pub(crate) struct ChainRuntime {
    pub(crate) chain: FilterChain,
    pub(crate) action: ChainAction,
    /// Whose handshake comes first; None: plaintext.
    pub(crate) tls: Option<ServerContext>,
}

pub(crate) enum ChainAction {
    Http(Arc<Hcm>),
    Tcp(Arc<TcpRuntime>),
    /// Connections are closed, for this reason.
    Refuse(String),
}

pub(crate) struct TcpRuntime {
    pub(crate) config: TcpProxy,
    pub(crate) origin: Option<Arc<amime_model::config::Origin>>,
    pub(crate) total_weight: u32,
    /// The port at which the addresses of the SNI are dialled, where the cluster is one of dynamic DNS.
    pub(crate) sni_port: Option<u16>,
    /// The filter chain's name.
    pub(crate) chain: String,
    pub(crate) logs: Option<Logs>,
}

/// A connection manager with what every request would compute again.
pub(crate) struct Hcm {
    pub(crate) config: HttpConnectionManager,
    pub(crate) inline: Option<Arc<RouteTable>>,
    pub(crate) filters: RouteFilters,
    pub(crate) server: Option<HeaderValue>,
    pub(crate) wire: WireLimits,
    /// None: no limit.
    pub(crate) stream_idle: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) headers_timeout: Duration,
    /// A filter that is not understood could be security: requests are refused.
    pub(crate) opaque: bool,
    pub(crate) logs: Option<Logs>,
}

/// Envoy's defaults, but for the time that headers may take, which it does not limit.
const STREAM_IDLE: Duration = Duration::from_secs(300);
const IDLE: Duration = Duration::from_secs(3600);
const HEADERS: Duration = Duration::from_secs(60);

impl ListenerRuntime {
    /// `counts` are those of an earlier version.
    pub(super) fn build(
        name: Arc<str>,
        config: Arc<Listener>,
        counts: Arc<ListenerCounts>,
        secrets: &Secrets,
    ) -> Result<Self, ConfigError> {
        let mut filters = Filters::default();
        for filter in &config.listener_filters {
            match filter {
                ListenerFilter::OriginalDst => filters.original_dst = true,
                ListenerFilter::ProxyProtocol => filters.proxy_protocol = true,
                ListenerFilter::TlsInspector => filters.tls = true,
                ListenerFilter::HttpInspector { disabled_ports } => {
                    filters.http = true;
                    filters.http_disabled_ports.clone_from(disabled_ports);
                }
                ListenerFilter::Opaque(_) => filters.opaque = true,
            }
        }
        let chains = config
            .filter_chains
            .iter()
            .chain(config.default_filter_chain.as_deref())
            .map(|chain| ChainRuntime::build(&name, chain, secrets).map(Arc::new))
            .collect::<Result<_, _>>()?;
        let logs = logs(&name, &config.access_log)?;
        let used = secrets.used(refs::listener_secrets(&config));
        Ok(Self { name, config, chains, filters, counts, logs, used })
    }

    /// Whether it was built of what these secrets are now.
    pub(super) fn is_of(&self, secrets: &Secrets) -> bool {
        self.used == secrets.used(refs::listener_secrets(&self.config))
    }

    /// The filter chain that takes a connection.
    pub(crate) fn chain(&self, connection: &ConnectionView<'_>) -> Option<&Arc<ChainRuntime>> {
        let chosen = filter_chain(&self.config, connection)?;
        let all = self.config.filter_chains.iter().chain(self.config.default_filter_chain.as_deref());
        let index = all.into_iter().position(|chain| std::ptr::eq(chain, chosen))?;
        self.chains.get(index)
    }

    /// Whether this is the same listener as an earlier one, at the same addresses.
    pub(crate) fn goes_on(&self, earlier: &Self) -> bool {
        let (now, earlier) = (&self.config, &earlier.config);
        now.address == earlier.address && now.additional_addresses == earlier.additional_addresses
    }

    /// Whether connections of one of an earlier version's chains may go on under this one.
    pub(crate) fn has_chain(&self, chain: &Arc<ChainRuntime>) -> bool {
        self.chains.iter().any(|own| Arc::ptr_eq(own, chain) || own.chain == chain.chain)
    }

    /// Answers to the workload's own calls.
    pub(crate) fn is_outbound(&self) -> bool {
        self.config.direction == Direction::Outbound
    }
}

/// The logs of a part of a listener. One whose file cannot be opened is refused, as Envoy does.
fn logs(listener: &str, configs: &[AccessLog]) -> Result<Option<Logs>, ConfigError> {
    Logs::of(configs)
        .map_err(|error| ConfigError { resource: format!("Listener {listener}"), reason: error.to_string() })
}

impl ChainRuntime {
    fn build(listener: &Arc<str>, chain: &FilterChain, secrets: &Secrets) -> Result<Self, ConfigError> {
        let refuse = |reason: String| ChainAction::Refuse(reason);
        let tls = chain.tls.as_ref().map(|tls| ServerContext::build(tls, secrets));
        let action = if let Some(opaque) = &chain.opaque_transport {
            refuse(format!("transport socket {} is not understood", opaque.name))
        } else {
            let (first, sni_port) = match chain.filters.as_slice() {
                [NetworkFilter::SniDynamicForwardProxy { port, .. }, tcp @ NetworkFilter::Tcp(_)] => {
                    (Some(tcp), Some(*port))
                }
                filters => (filters.first(), None),
            };
            match first {
                Some(NetworkFilter::Http(hcm)) => ChainAction::Http(Arc::new(Hcm::build(listener, hcm)?)),
                Some(NetworkFilter::Tcp(tcp)) => {
                    let sum: u64 = tcp.clusters.iter().map(|c| u64::from(c.weight)).sum();
                    ChainAction::Tcp(Arc::new(TcpRuntime {
                        origin: tcp.origin.clone().or_else(|| chain.origin.clone()).map(Arc::new),
                        total_weight: u32::try_from(sum).unwrap_or(u32::MAX).max(1),
                        sni_port,
                        chain: chain.name.clone(),
                        logs: logs(listener, &tcp.access_log)?,
                        config: tcp.clone(),
                    }))
                }
                Some(NetworkFilter::SniCluster) => refuse("clusters by SNI are not supported yet".into()),
                Some(NetworkFilter::SniDynamicForwardProxy { .. }) => refuse("lookups by SNI are for TCP alone".into()),
                // It could be security: nothing behind it is reached.
                Some(NetworkFilter::Opaque(opaque)) => {
                    refuse(format!("network filter {} is not understood", opaque.name))
                }
                None => refuse("the filter chain has no filter".into()),
            }
        };
        if let ChainAction::Refuse(reason) = &action {
            tracing::warn!(%listener, chain = %chain.name, "connections will be refused: {reason}");
        }
        if let Some(reason) = tls.as_ref().and_then(ServerContext::problem) {
            let origin = chain.origin.as_ref().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(%listener, chain = %chain.name, %origin, "TLS connections will be refused: {reason}");
        }
        Ok(Self { chain: chain.clone(), action, tls })
    }
}

impl Hcm {
    fn build(listener: &Arc<str>, config: &HttpConnectionManager) -> Result<Self, ConfigError> {
        let inline = match &config.routes {
            RouteSource::Inline(routes) => {
                Some(crate::intern::table(routes, None).map_err(|error| compile_error("Listener", listener, &error))?)
            }
            RouteSource::Rds(_) => None,
        };
        let server = (!config.server_name.is_empty())
            .then(|| HeaderValue::from_str(&config.server_name))
            .transpose()
            .map_err(|_| ConfigError {
            resource: format!("Listener {listener}"),
            reason: format!("`{}` is no server name", config.server_name.escape_debug()),
        })?;
        let limit =
            |value: Option<Duration>, default| Some(value.unwrap_or(default)).filter(|d: &Duration| !d.is_zero());
        Ok(Self {
            inline,
            filters: RouteFilters::of(&config.http_filters),
            server,
            wire: WireLimits {
                head: config.max_request_headers_kb.filter(|kb| *kb > 0).unwrap_or(60) as usize * 1024,
                headers: config.max_headers_count.filter(|n| *n > 0).unwrap_or(100) as usize,
                http10: config.accept_http_10,
            },
            stream_idle: limit(config.stream_idle_timeout, STREAM_IDLE),
            idle: limit(config.idle_timeout, IDLE),
            headers_timeout: config.request_headers_timeout.filter(|d| !d.is_zero()).unwrap_or(HEADERS),
            opaque: config.http_filters.iter().any(|f| matches!(f, HttpFilter::Opaque { disabled: false, .. })),
            logs: logs(listener, &config.access_log)?,
            config: config.clone(),
        })
    }

    /// Whether an upgrade to this protocol is let through.
    pub(crate) fn upgrades_to(&self, protocol: &str) -> bool {
        self.config.upgrades.iter().any(|u| u.eq_ignore_ascii_case(protocol))
    }
}
