//! The walk of one request through a proxy's configuration: listener, filter chain, then what the chain does. There is
//! one; `explain` takes its verdict, and `trace` also listens to its steps.

use super::question::{Question, Scheme, Target};
use super::verdict::Verdict;
use super::{http, tcp};
use crate::config::{FilterChain, Listener, ListenerFilter, NetworkFilter, ProxyConfig, RouteConfig, TcpProxy};
use crate::route::listener::{ConnectionView, by_original_destination, filter_chain};
use crate::route::table::CompileError;
use crate::route::{RequestView, RouteTable, Selection};
use crate::translate::{NodeKind, names};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// What the walk comes by.
pub(crate) enum Step<'a> {
    /// The connection came to this listener.
    Listener(&'a Listener),
    Chain(&'a FilterChain),
    /// Routes were looked up; None: none takes the request.
    Routes {
        table: &'a Arc<RouteTable>,
        request: &'a RequestView<'a>,
        selection: Option<&'a Selection<'a>>,
    },
    Tcp(&'a TcpProxy),
}

/// Who wants to know of the steps.
pub(crate) type Told<'a> = dyn FnMut(Step<'_>) + 'a;

/// Compiled route configurations, for many questions are asked of one.
#[derive(Default)]
pub(super) struct Tables(HashMap<usize, Arc<RouteTable>>);

impl Tables {
    pub(super) fn compiled(&mut self, routes: &Arc<RouteConfig>) -> Result<Arc<RouteTable>, CompileError> {
        // A table keeps its configuration, so that no other one can come to that address.
        let address = Arc::as_ptr(routes).addr();
        if let Some(known) = self.0.get(&address) {
            return Ok(known.clone());
        }
        let table = Arc::new(RouteTable::compile(routes.clone())?);
        self.0.insert(address, table.clone());
        Ok(table)
    }
}

/// Where the request comes in.
pub(super) struct Connection {
    pub kind: NodeKind,
    pub destination: SocketAddr,
    pub source: SocketAddr,
    /// Whether a Secret that the configuration names and does not have is missing; else it is somewhere else.
    pub has_all_secrets: bool,
}

pub(super) fn walk(
    config: &ProxyConfig,
    connection: &Connection,
    question: &Question,
    target: &Target,
    tables: &mut Tables,
    told: &mut Told<'_>,
) -> Verdict {
    let Some(listener) = listener_for(config, connection.kind, connection.destination) else {
        return Verdict::refused("no listener has that address and port");
    };
    told(Step::Listener(listener));
    let Some(chain) = chain_for(listener, target, connection) else {
        return Verdict::refused("no filter chain of the listener takes the connection");
    };
    told(Step::Chain(chain));
    // Who ends TLS must be spoken TLS to, and the other way round for HTTP.
    let ended = chain.tls.is_some();
    if ended != (target.scheme == Scheme::Https) && ended {
        return Verdict::refused("the listener expects TLS");
    }
    let missing = connection.has_all_secrets.then(|| missing_secrets(config, chain).next()).flatten();
    if let Some(name) = missing.filter(|_| ended) {
        return Verdict::refused(&format!("the gateway has no certificate {name}"));
    }
    let opaque = target.scheme == Scheme::Tcp || (target.scheme == Scheme::Https && !ended);
    match chain.filters.last() {
        Some(NetworkFilter::Http(_)) if opaque => Verdict::refused("the listener expects HTTP"),
        Some(NetworkFilter::Http(manager)) => http::verdict(config, manager, question, target, tables, told),
        Some(NetworkFilter::Tcp(proxy)) => {
            told(Step::Tcp(proxy));
            tcp::verdict(config, proxy)
        }
        Some(NetworkFilter::SniCluster | NetworkFilter::SniDynamicForwardProxy { .. } | NetworkFilter::Opaque(_))
        | None => Verdict::refused("the filter chain is not understood"),
    }
}

/// The listener that a connection comes to: at a gateway the one that has the port, in a pod the one that it is
/// handed on to.
pub(super) fn listener_for(config: &ProxyConfig, kind: NodeKind, destination: SocketAddr) -> Option<&Listener> {
    let all = || config.listeners.values().map(|l| &**l);
    match kind {
        // Named after the port as it is written, wherever it is opened.
        NodeKind::Gateway => {
            let name = names::listener("0.0.0.0", destination.port());
            by_original_destination(all(), destination).or_else(|| all().find(|l| l.name == name))
        }
        NodeKind::Sidecar => {
            let outbound = all().filter(|l| l.name != names::VIRTUAL_INBOUND && l.name != names::VIRTUAL_OUTBOUND);
            by_original_destination(outbound, destination)
                .or_else(|| config.listeners.get(names::VIRTUAL_OUTBOUND).map(|l| &**l))
        }
    }
}

/// What the chain's TLS needs of Kubernetes' Secrets and the configuration does not have. Without it nobody is answered.
pub(super) fn missing_secrets<'c>(config: &'c ProxyConfig, chain: &'c FilterChain) -> impl Iterator<Item = &'c str> {
    let named = chain.tls.iter().flat_map(|tls| tls.certificates.iter().chain(&tls.validation));
    let absent = named.filter(|name| !config.secrets.contains_key(name.as_str()));
    absent.filter_map(|name| name.strip_prefix("kubernetes://"))
}

/// The port that inspection finds in plaintext HTTP/1.1.
const HTTP_1: [&str; 1] = ["http/1.1"];
/// What a sidecar offers.
const MESH_TLS: [&str; 1] = ["istio"];

/// What the listener's filters find out decides its chain.
fn chain_for<'c>(listener: &'c Listener, target: &Target, connection: &Connection) -> Option<&'c FilterChain> {
    let Connection { destination, source, .. } = *connection;
    let inspects_tls = listener.listener_filters.iter().any(|f| matches!(f, ListenerFilter::TlsInspector));
    let inspects_http = listener.listener_filters.iter().any(|f| match f {
        ListenerFilter::HttpInspector { disabled_ports } => !disabled_ports.contains(&destination.port()),
        _ => false,
    });
    let tls = target.scheme == Scheme::Https;
    let view = ConnectionView {
        destination,
        source,
        server_name: (tls && inspects_tls).then_some(target.host.as_str()),
        tls: tls && inspects_tls,
        application_protocols: match target.scheme {
            Scheme::Http if inspects_http => &HTTP_1,
            // Only sidecars ask for such names, in the mesh's own TLS.
            Scheme::Https if inspects_tls && target.host.starts_with(names::PASSED) => &MESH_TLS,
            _ => &[],
        },
    };
    filter_chain(listener, &view)
}
