//! The ports of a control plane, all opened before anything else, so that one that is taken is known at once.

use super::Options;
use crate::serve;
use amime_control::listen::Port;
use anyhow::Context;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::TcpListener;

/// Open, and nobody is answered yet.
pub(super) struct Ports {
    pub(super) grpc: Port,
    pub(super) grpc_tls: Port,
    pub(super) http: TcpListener,
    pub(super) monitoring: TcpListener,
}

impl Ports {
    pub(super) async fn open(options: &Options) -> anyhow::Result<Self> {
        let at = |port| SocketAddr::new(options.bind, port);
        let taken = |flag, port| format!("port {port} cannot be opened (--{flag} N takes another, 0 any free one)");
        let grpc = Port::open(at(options.grpc_port)).await.map_err(named(at(options.grpc_port)));
        let grpc_tls = Port::open(at(options.tls_port)).await.map_err(named(at(options.tls_port)));
        let http = serve::listen(at(options.http_port)).await;
        let monitoring = serve::listen(at(options.monitoring_port)).await;
        Ok(Self {
            grpc: grpc.with_context(|| taken("grpc-port", options.grpc_port))?,
            grpc_tls: grpc_tls.with_context(|| taken("tls-port", options.tls_port))?,
            http: http.with_context(|| taken("http-port", options.http_port))?,
            monitoring: monitoring.with_context(|| taken("monitoring-port", options.monitoring_port))?,
        })
    }

    /// A line for each, as scripts read them: a name, and the address.
    pub(super) fn lines(&self) -> io::Result<Vec<String>> {
        Ok(vec![
            format!("grpc {}", self.grpc.address()?),
            format!("grpc-tls {}", self.grpc_tls.address()?),
            format!("http {}", self.http.local_addr()?),
            format!("monitoring {}", self.monitoring.local_addr()?),
        ])
    }
}

/// How a program of this machine reaches what listens there.
pub(super) fn reached(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn named(address: SocketAddr) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{address}: {error}"))
}
