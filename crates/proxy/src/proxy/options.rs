//! How a proxy runs, as whoever starts it chooses.

use crate::capture_ports::CapturePorts;
use crate::connect::dial::{OwnPorts, Reach};
use crate::connect::names::Names;
use crate::telemetry::{ProxyIdentity, RecordSender};
use std::net::IpAddr;
use std::time::Duration;
use tokio::runtime::Handle;

/// How a proxy runs.
#[derive(Debug, Clone)]
pub struct ProxyOptions {
    /// Who it is, as its records say.
    pub identity: ProxyIdentity,
    pub placement: Placement,
    /// Where records go; None: none are made.
    pub records: Option<RecordSender>,
    /// Put the response flags of the proxy's own answers into `x-amime-flag`, on outbound listeners alone.
    pub flag_header: bool,
    /// Count requests and connections for `metrics`.
    pub metrics: bool,
    /// Client connections at once; more are closed as they come.
    pub max_connections: u32,
    /// How long a connection of a removed listener may stay idle before it is closed.
    pub drain: Duration,
    /// The address that upstream sockets are bound to where the cluster names none and the destination is on the
    /// loopback network: the pod's, for a proxy that is not in its pod.
    pub loopback_source: Option<IpAddr>,
    /// How long the next bytes of a request's body may take while it has no answer, whatever the configuration says
    /// (Istio's sets no limit): 408 then. Zero: no limit. gRPC's streams, which may be silent for long, have none.
    pub body_timeout: Duration,
    /// Where addresses are really reached, where that is not what they say.
    pub reach: Option<Reach>,
    /// What is passed through never goes to these: the proxy's own pages, which trust who is on their machine.
    pub own: OwnPorts,
    /// Other ports than the configuration's for the listeners that take redirected connections.
    pub capture_ports: CapturePorts,
    /// Who is asked for names.
    pub names: Names,
    /// The runtime of what is no data path: DNS, xDS.
    pub background: Handle,
}

/// Which workers a proxy lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// One of them, in turn: for sidecars.
    One,
    /// All of them, each with sockets of its own (SO_REUSEPORT): for gateways.
    All,
}

impl ProxyOptions {
    /// A proxy on one worker without records, and the defaults of everything else.
    pub fn new(identity: ProxyIdentity, background: Handle) -> Self {
        Self {
            identity,
            placement: Placement::One,
            records: None,
            flag_header: false,
            metrics: true,
            max_connections: 100_000,
            drain: Duration::from_secs(45),
            loopback_source: None,
            body_timeout: Duration::from_secs(300),
            reach: None,
            own: OwnPorts::default(),
            capture_ports: CapturePorts::default(),
            names: Names::system(),
            background,
        }
    }
}
