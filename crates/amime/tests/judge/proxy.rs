//! A proxy of some kind, as a gateway or as a sidecar, and where a client reaches it.

use super::envoy::{Envoy, Who, Wire};
use super::ours::Ours;
use super::output::{Output, signal};
use super::plane::Plane;
use super::ports::Port;
use amime_testkit::client::Raw;
use bytes::Bytes;
use rustix::process::Signal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// What runs: a real Envoy or ours.
pub enum Proxy {
    Envoy(Envoy),
    Ours(Ours),
}

impl Proxy {
    /// Of a kind: `envoy-sotw…`, `envoy…` (delta), or ours. It need not be ready when this returns.
    pub async fn start(binary: &Path, kind: &str, who: &Who, control: SocketAddr) -> Self {
        if kind.starts_with("envoy") {
            let wire = if kind.starts_with("envoy-sotw") { Wire::StateOfTheWorld } else { Wire::Delta };
            Self::Envoy(Envoy::start(binary, who, control, wire).await)
        } else {
            Self::Ours(Ours::start(who, &[control]))
        }
    }

    pub fn output(&self) -> &Output {
        match self {
            Self::Envoy(envoy) => envoy.output(),
            Self::Ours(ours) => ours.output(),
        }
    }

    /// What an Envoy's statistics complain of; ours complains to the control plane.
    pub async fn faults(&self) -> Vec<String> {
        match self {
            Self::Envoy(envoy) => envoy.faults().await,
            Self::Ours(_) => Vec::new(),
        }
    }

    pub fn signal(&self, wanted: Signal) {
        match self {
            Self::Envoy(envoy) => signal(envoy.child(), wanted),
            Self::Ours(ours) => signal(ours.child(), wanted),
        }
    }
}

/// Where a proxy's client connects, and what it says first.
pub struct Door {
    pub target: SocketAddr,
    /// Of a sidecar: a PROXY header, in the place of the kernel's redirection.
    pub preface: Bytes,
    _port: Option<Port>,
}

/// The port that a sidecar's client believes to connect to; nobody listens there but the sidecar's configuration.
const DIALLED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80);

impl Door {
    pub fn gateway(port: Port) -> Self {
        Self { target: port.address(), preface: Bytes::new(), _port: Some(port) }
    }

    /// The sidecar of one of the plane's workloads, by whose capture port all of its application's connections leave.
    pub fn sidecar(who: &Who) -> Self {
        let ip: IpAddr = who.ip.parse().expect("an address");
        let preface = format!("PROXY TCP4 {ip} {} 40000 {}\r\n", DIALLED.ip(), DIALLED.port());
        Self { target: SocketAddr::new(ip, 15001), preface: preface.into(), _port: None }
    }

    /// A connection, behind its preface.
    pub async fn connect(&self) -> Raw {
        let mut client = Raw::connect(self.target).await;
        client.send(&self.preface).await;
        client
    }

    /// A gateway's who is its kind's; a sidecar's is what the control plane asked for.
    pub fn who(plane: &Plane, kind: &str) -> Who {
        if is_sidecar(kind) { plane.sidecar(kind) } else { Who::gateway(kind) }
    }
}

/// By its kind's name.
pub fn is_sidecar(kind: &str) -> bool {
    kind.ends_with("-sidecar")
}
