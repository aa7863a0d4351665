//! Which listener, and which of its filter chains, takes a connection: Envoy's rules.

use crate::config::{FilterChain, FilterChainMatch, Listener};
use std::net::{IpAddr, SocketAddr};

/// What is known of a connection when its filter chain is chosen.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionView<'a> {
    /// The original destination where a listener filter gave one, else the local address.
    pub destination: SocketAddr,
    pub source: SocketAddr,
    pub server_name: Option<&'a str>,
    pub tls: bool,
    /// ALPN of TLS, or what HTTP inspection found (`http/1.1`, `h2c`).
    pub application_protocols: &'a [&'a str],
}

/// The listener that a connection is handed to by its original destination: the exact address, else the
/// port on any address; None: it stays where it came in.
pub fn by_original_destination<'c>(
    listeners: impl IntoIterator<Item = &'c Listener>,
    destination: SocketAddr,
) -> Option<&'c Listener> {
    let mut any = None;
    for listener in listeners {
        let addresses = std::iter::once(&listener.address).chain(&listener.additional_addresses);
        for address in addresses {
            if *address == destination {
                return Some(listener);
            }
            if address.port() == destination.port() && address.ip().is_unspecified() && any.is_none() {
                any = Some(listener);
            }
        }
    }
    any
}

/// The filter chain of a connection. Each criterion, in Envoy's order, narrows the chains to those that fit it best;
/// there is no way back from a narrower set to a wider one.
pub fn filter_chain<'c>(listener: &'c Listener, connection: &ConnectionView<'_>) -> Option<&'c FilterChain> {
    let default = listener.default_filter_chain.as_deref();
    let mut chains: Vec<&FilterChain> = listener.filter_chains.iter().collect();
    let narrow = |chains: &mut Vec<&'c FilterChain>, score: &dyn Fn(&FilterChainMatch) -> Option<usize>| {
        let best = chains.iter().filter_map(|chain| score(&chain.matches)).max();
        chains.retain(|chain| best.is_some() && score(&chain.matches) == best);
    };
    narrow(&mut chains, &|m| match m.destination_port {
        Some(port) => (port == connection.destination.port()).then_some(1),
        None => Some(0),
    });
    narrow(&mut chains, &|m| longest_prefix(&m.prefix_ranges, connection.destination.ip()));
    narrow(&mut chains, &|m| server_name(&m.server_names, connection.server_name));
    let transport = if connection.tls { "tls" } else { "raw_buffer" };
    narrow(&mut chains, &|m| match m.transport_protocol.as_str() {
        "" => Some(0),
        wanted => (wanted == transport).then_some(1),
    });
    narrow(&mut chains, &|m| application_protocol(&m.application_protocols, connection.application_protocols));
    narrow(&mut chains, &|m| longest_prefix(&m.source_prefix_ranges, connection.source.ip()));
    chains.first().copied().or(default)
}

/// 0 for no ranges, else one more than the longest that holds the address.
fn longest_prefix(ranges: &[ipnet::IpNet], address: IpAddr) -> Option<usize> {
    if ranges.is_empty() {
        return Some(0);
    }
    ranges.iter().filter(|range| range.contains(&address)).map(|range| usize::from(range.prefix_len()) + 1).max()
}

/// Exact names before wildcards, longer wildcards before shorter, any name last.
fn server_name(names: &[String], found: Option<&str>) -> Option<usize> {
    if names.is_empty() {
        return Some(0);
    }
    let found = found?;
    names
        .iter()
        .filter_map(|name| match name.strip_prefix('*') {
            Some(suffix) => (found.len() > suffix.len() && ends_with(found, suffix)).then_some(suffix.len() + 1),
            None => name.eq_ignore_ascii_case(found).then_some(usize::MAX),
        })
        .max()
}

fn ends_with(text: &str, suffix: &str) -> bool {
    text.as_bytes()[text.len() - suffix.len()..].eq_ignore_ascii_case(suffix.as_bytes())
}

/// The client's first protocol that a chain names wins; chains that name none come last.
fn application_protocol(names: &[String], found: &[&str]) -> Option<usize> {
    if names.is_empty() {
        return Some(0);
    }
    let at = found.iter().position(|protocol| names.iter().any(|name| name == protocol))?;
    Some(found.len() - at)
}
