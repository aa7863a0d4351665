//! One record for each request and TCP connection, for who asked for them (the live lines of `up`).

use super::ProxyIdentity;
use crate::flags::Flags;
use crate::proxy_worker::ProxyWorker;
use crate::runtime::ListenerRuntime;
use amime_model::config::{Direction, Endpoint, Origin, RouteConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Http10,
    Http11,
    Http2,
    Tcp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Tcp => "TCP",
        })
    }
}

/// The rule that decided, by its place in the route configuration.
#[derive(Debug, Clone)]
pub struct Rule {
    pub config: Arc<RouteConfig>,
    pub virtual_host: usize,
    pub route: usize,
}

impl Rule {
    /// The object and field that the rule came from.
    pub fn origin(&self) -> Option<&Origin> {
        let host = self.config.virtual_hosts.get(self.virtual_host)?;
        host.routes.get(self.route)?.origin.as_ref().or(host.origin.as_ref())
    }
}

/// The endpoint that answered or was tried last.
#[derive(Debug, Clone)]
pub struct Upstream {
    pub address: SocketAddr,
    /// None for an address that no endpoint names (pass-through).
    pub endpoint: Option<Arc<Endpoint>>,
}

/// What a request said, copied into one piece: shared slices would keep the connection's read buffer alive, and
/// each further request would need a new one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestText {
    all: Box<str>,
    /// Where each part ends.
    ends: [usize; 4],
}

impl RequestText {
    /// Parts that are not there are empty.
    pub(crate) fn new(parts: [&str; 4]) -> Self {
        let mut ends = [0; 4];
        let mut all = String::with_capacity(parts.iter().map(|part| part.len()).sum());
        for (part, end) in parts.iter().zip(&mut ends) {
            all.push_str(part);
            *end = all.len();
        }
        Self { all: all.into(), ends }
    }

    fn part(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.all[start..self.ends[index]]
    }

    /// Empty for TCP, and where the request could not be read.
    pub fn method(&self) -> &str {
        self.part(0)
    }

    /// Host, with the port where the client wrote one.
    pub fn authority(&self) -> &str {
        self.part(1)
    }

    /// Path and query as the client sent them.
    pub fn path(&self) -> &str {
        self.part(2)
    }

    /// `x-request-id`, the client's or the one made here.
    pub fn id(&self) -> &str {
        self.part(3)
    }
}

/// The ends of a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Who the client is, as a PROXY header tells it, or a request where that can be trusted.
    pub remote: SocketAddr,
    /// The socket's peer.
    pub direct: SocketAddr,
    /// The original destination where one was told, else the local address.
    pub local: SocketAddr,
}

/// A finished request, tunnel or TCP connection.
#[derive(Debug, Clone)]
pub struct RequestRecord {
    pub proxy: Arc<ProxyIdentity>,
    pub started: SystemTime,
    pub duration: Duration,
    pub direction: Direction,
    pub listener: Arc<str>,
    pub protocol: Protocol,
    /// Method, authority, path and id of the request.
    pub request: RequestText,
    /// None where no route took it.
    pub rule: Option<Rule>,
    /// Where a TCP proxy decided.
    pub tcp_origin: Option<Arc<Origin>>,
    pub cluster: Option<Arc<str>>,
    pub upstream: Option<Upstream>,
    /// The address that the upstream was reached from.
    pub upstream_local: Option<SocketAddr>,
    /// Why the upstream could not be reached, in Envoy's words; empty where it was.
    pub transport_failure: &'static str,
    pub downstream: Ends,
    /// 0 where no answer was sent.
    pub status: u16,
    pub grpc_status: Option<u32>,
    pub flags: Flags,
    /// Envoy's response code details (`via_upstream`, `route_not_found`), or what went wrong.
    pub details: &'static str,
    /// Body bytes (all bytes for TCP).
    pub bytes_received: u64,
    pub bytes_sent: u64,
    /// Tries upstream; 0 where the proxy answered itself.
    pub attempts: u32,
}

impl RequestRecord {
    /// Of a connection that has just come, of which nothing more is known.
    pub(crate) fn of_connection(proxy: &ProxyWorker, listener: &ListenerRuntime, ends: Ends) -> Self {
        Self {
            proxy: proxy.shared.identity.clone(),
            started: SystemTime::now(),
            duration: Duration::ZERO,
            direction: listener.config.direction,
            listener: listener.name.clone(),
            protocol: Protocol::Tcp,
            request: RequestText::default(),
            rule: None,
            tcp_origin: None,
            cluster: None,
            upstream: None,
            upstream_local: None,
            transport_failure: "",
            downstream: ends,
            status: 0,
            grpc_status: None,
            flags: Flags::NONE,
            details: "",
            bytes_received: 0,
            bytes_sent: 0,
            attempts: 0,
        }
    }

    /// The object and field that decided.
    pub fn origin(&self) -> Option<&Origin> {
        self.tcp_origin.as_deref().or_else(|| self.rule.as_ref()?.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_request() {
        let text = RequestText::new(["GET", "", "/x?y", "id"]);
        assert_eq!([text.method(), text.authority(), text.path(), text.id()], ["GET", "", "/x?y", "id"]);
        assert_eq!(RequestText::default().path(), "");
    }
}
