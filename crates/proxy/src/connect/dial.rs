//! Opening TCP connections to endpoints.

use amime_model::config::{Cluster, TcpKeepalive};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// What of a cluster a connection depends on. Where it changes, pooled connections are not used again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ConnectSettings {
    pub(crate) timeout: Duration,
    pub(crate) source: Option<IpAddr>,
    /// Where the cluster names no source, and for destinations on the loopback network alone: an address of that
    /// network reaches no other.
    pub(crate) loopback_source: Option<IpAddr>,
    pub(crate) keepalive: Option<TcpKeepalive>,
    /// A PROXY protocol header of this version goes first.
    pub(crate) proxy_protocol: Option<u8>,
}

impl ConnectSettings {
    pub(crate) fn of(cluster: &Cluster, loopback_source: Option<IpAddr>) -> Self {
        Self {
            timeout: cluster.connect_timeout.unwrap_or(Duration::from_secs(5)),
            source: cluster.bind_source,
            loopback_source,
            keepalive: cluster.tcp_keepalive,
            proxy_protocol: cluster.proxy_protocol,
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("no answer in time")]
    TimedOut,
    #[error("{0}")]
    Failed(io::Error),
}

/// Connects within the timeout.
pub(crate) async fn dial(address: SocketAddr, settings: &ConnectSettings) -> Result<TcpStream, DialError> {
    let socket = prepare(address, settings).map_err(DialError::Failed)?;
    match tokio::time::timeout(settings.timeout, socket.connect(address)).await {
        Err(_) => Err(DialError::TimedOut),
        Ok(Err(error)) => Err(DialError::Failed(error)),
        Ok(Ok(stream)) => Ok(stream),
    }
}

fn prepare(address: SocketAddr, settings: &ConnectSettings) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    if let Some(keepalive) = &settings.keepalive {
        let mut options = socket2::TcpKeepalive::new();
        if let Some(seconds) = keepalive.time {
            options = options.with_time(Duration::from_secs(u64::from(seconds)));
        }
        if let Some(seconds) = keepalive.interval {
            options = options.with_interval(Duration::from_secs(u64::from(seconds)));
        }
        if let Some(probes) = keepalive.probes {
            options = options.with_retries(probes);
        }
        socket2::SockRef::from(&socket).set_tcp_keepalive(&options)?;
    }
    // A source of the other family (an IPv6 endpoint of a pod with an IPv4 address) cannot be bound.
    let source = settings.source.or(settings.loopback_source.filter(|_| address.ip().is_loopback()));
    if let Some(source) = source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
        // The port is chosen at connect, by the whole four-tuple: 3 µs instead of 191 µs at 15,000 sockets,
        // and no limit of 28,000 ports over all destinations.
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?;
        socket.bind(SocketAddr::new(source, 0))?;
    }
    Ok(socket)
}
