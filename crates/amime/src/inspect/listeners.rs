//! `amime config listeners`: istioctl's columns, and with `--verbose` which object each chain came from.

use super::routes::path_of;
use super::table::Table;
use super::view::Seen;
use amime_model::config::{FilterChain, FilterChainMatch, Listener, NetworkFilter, RouteConfig, RouteSource, TcpProxy};
use amime_xds::intern::Decoded;
use std::net::SocketAddr;

/// Which listeners are shown.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Listeners")]
pub(crate) struct Filter {
    /// Only listeners at this address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<String>,

    /// Only this port
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,

    /// Only this type
    #[arg(long = "type", value_name = "TYPE", ignore_case = true, value_parser = ["HTTP", "TCP", "HTTP+TCP", "UNKNOWN"])]
    pub(crate) kind: Option<String>,
}

/// A listener that is not understood is shown unless it is asked for by what it would have to tell.
pub(crate) fn wanted(seen: &Seen<'_>, filter: &Filter) -> bool {
    let Some(listener) = listener(seen) else {
        return filter.address.is_none() && filter.port.is_none() && filter.kind.is_none();
    };
    let at = |address: &String| addresses(listener).any(|a| a.ip().to_string().eq_ignore_ascii_case(address));
    filter.address.as_ref().is_none_or(at)
        && filter.port.is_none_or(|port| listener.address.port() == port)
        && filter.kind.as_ref().is_none_or(|kind| kind.eq_ignore_ascii_case(type_of(listener)))
}

pub(crate) fn listener<'a>(seen: &'a Seen<'_>) -> Option<&'a Listener> {
    match &seen.decoded {
        Some(Decoded::Listener(listener)) => Some(listener),
        _ => None,
    }
}

fn addresses(listener: &Listener) -> impl Iterator<Item = SocketAddr> {
    std::iter::once(listener.address).chain(listener.additional_addresses.iter().copied())
}

fn chains(listener: &Listener) -> impl Iterator<Item = &FilterChain> {
    listener.filter_chains.iter().chain(listener.default_filter_chain.as_deref())
}

/// `HTTP`, `TCP`, `HTTP+TCP` or `UNKNOWN`, as istioctl tells them apart.
fn type_of(listener: &Listener) -> &'static str {
    let filters = || chains(listener).flat_map(|chain| &chain.filters);
    let http = filters().any(|f| matches!(f, NetworkFilter::Http(_)));
    let tcp = filters().any(|f| matches!(f, NetworkFilter::Tcp(tcp) if !is_black_hole(tcp)));
    match (http, tcp) {
        (true, false) => "HTTP",
        (true, true) => "HTTP+TCP",
        (false, true) => "TCP",
        (false, false) => "UNKNOWN",
    }
}

fn is_black_hole(tcp: &TcpProxy) -> bool {
    tcp.clusters.iter().all(|c| c.name == "BlackHoleCluster")
}

pub(crate) fn table(seen: &[&Seen<'_>], verbose: bool) -> Table {
    let more: &[&str] = if verbose { &["NAME", "CHAIN", "ORIGIN"] } else { &[] };
    let mut table = Table::new(["ADDRESSES", "PORT", "MATCH", "DESTINATION"].into_iter().chain(more.iter().copied()));
    let mut sorted: Vec<_> = seen.iter().filter_map(|seen| Some((listener(seen)?, seen))).collect();
    sorted.sort_by_key(|(l, _)| (l.address.port(), l.address.ip().to_string(), l.name.clone()));
    for (listener, _) in sorted {
        let addresses = describe_addresses(listener);
        for chain in chains(listener) {
            let mut row = vec![
                addresses.clone(),
                listener.address.port().to_string(),
                describe_match(&chain.matches),
                destination(chain),
            ];
            if verbose {
                let origin = chain.origin.as_ref().or_else(|| filter_origin(chain)).or(listener.origins.first());
                let origin = origin.map(ToString::to_string).unwrap_or_default();
                row.extend([listener.name.clone(), chain.name.clone(), origin]);
            }
            table.push(row);
        }
    }
    for seen in seen.iter().filter(|seen| seen.decoded.is_none()) {
        // Its name is all that is known of it.
        let mut row = vec![seen.dumped.name.to_owned(), "-".into(), "-".into(), seen.excuse()];
        row.extend(verbose.then(|| seen.dumped.name.to_owned()));
        table.push(row);
    }
    table
}

/// The port stands in a column of its own, unless a further address has another.
fn describe_addresses(listener: &Listener) -> String {
    let address = |address: SocketAddr| match address.port() == listener.address.port() {
        true => address.ip().to_string(),
        false => address.to_string(),
    };
    addresses(listener).map(address).collect::<Vec<_>>().join(",")
}

fn filter_origin(chain: &FilterChain) -> Option<&amime_model::config::Origin> {
    chain.filters.iter().find_map(|filter| match filter {
        NetworkFilter::Tcp(tcp) => tcp.origin.as_ref(),
        _ => None,
    })
}

/// `Trans: tls; App: HTTP TLS; Addr: 10.0.0.1/32:80`, or `ALL`.
fn describe_match(matches: &FilterChainMatch) -> String {
    let mut parts = Vec::new();
    if !matches.server_names.is_empty() {
        parts.push(format!("SNI: {}", matches.server_names.join(",")));
    }
    if !matches.transport_protocol.is_empty() {
        parts.push(format!("Trans: {}", matches.transport_protocol));
    }
    if !matches.application_protocols.is_empty() {
        parts.push(describe_protocols(&matches.application_protocols));
    }
    let port = matches.destination_port.map(|port| format!(":{port}"));
    let ranges = |ranges: &[ipnet::IpNet]| ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    match (matches.prefix_ranges.as_slice(), port) {
        ([], None) => {}
        ([], Some(port)) => parts.push(format!("Addr: *{port}")),
        (addresses, port) => parts.push(format!("Addr: {}{}", ranges(addresses), port.unwrap_or_default())),
    }
    if !matches.source_prefix_ranges.is_empty() {
        parts.push(format!("From: {}", ranges(&matches.source_prefix_ranges)));
    }
    if parts.is_empty() { "ALL".to_owned() } else { parts.join("; ") }
}

/// Istio's usual lists have names.
fn describe_protocols(protocols: &[String]) -> String {
    let is = |list: &[&str]| protocols.iter().map(String::as_str).eq(list.iter().copied());
    let name = if is(&["http/1.0", "http/1.1", "h2c"]) {
        "HTTP"
    } else if is(&["istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"]) {
        "Istio HTTP Plain"
    } else if is(&["http/1.0", "http/1.1", "h2c", "istio-http/1.0", "istio-http/1.1", "istio-h2"]) {
        "HTTP TLS"
    } else if is(&["istio-peer-exchange", "istio"]) {
        "TCP TLS"
    } else {
        return format!("App: {}", protocols.join(","));
    };
    format!("App: {name}")
}

/// Where connections of a chain go.
fn destination(chain: &FilterChain) -> String {
    for filter in &chain.filters {
        match filter {
            NetworkFilter::Http(manager) => {
                return match &manager.routes {
                    RouteSource::Rds(name) => format!("Route: {name}"),
                    RouteSource::Inline(routes) => inline(routes),
                };
            }
            NetworkFilter::Tcp(tcp) => return clusters(tcp),
            NetworkFilter::SniCluster | NetworkFilter::SniDynamicForwardProxy { .. } | NetworkFilter::Opaque(_) => {}
        }
    }
    "Non-HTTP/Non-TCP".to_owned()
}

fn clusters(tcp: &TcpProxy) -> String {
    match tcp.clusters.as_slice() {
        [one] => cluster(&one.name),
        many => {
            let all: u32 = many.iter().map(|c| c.weight).sum();
            let share = |weight: u32| f64::from(weight) * 100.0 / f64::from(all.max(1));
            let parts = many.iter().map(|c| format!("{} {:.0}%", c.name, share(c.weight)));
            format!("Clusters: {}", parts.collect::<Vec<_>>().join(", "))
        }
    }
}

/// `PassthroughCluster` and its like stand for themselves.
fn cluster(name: &str) -> String {
    if name.contains("Cluster") { name.to_owned() } else { format!("Cluster: {name}") }
}

fn inline(routes: &RouteConfig) -> String {
    if let [host] = routes.virtual_hosts.as_slice()
        && host.domains == ["*"]
        && let [route] = host.routes.as_slice()
        && path_of(&route.matches) == "/*"
        && let amime_model::config::RouteAction::Forward(forward) = &route.action
        && let [only] = forward.clusters.as_slice()
    {
        return cluster(&only.name);
    }
    let hosts = routes.virtual_hosts.iter().map(|host| {
        let paths: Vec<_> = host.routes.iter().map(|r| path_of(&r.matches)).collect();
        let domains = if host.domains == ["*"] { String::new() } else { format!("{} ", host.domains.join("/")) };
        format!("{domains}{}", paths.join(", "))
    });
    format!("Inline Route: {}", hosts.collect::<Vec<_>>().join("; "))
}
