//! Endpoints: where a cluster's traffic goes (Envoy's ClusterLoadAssignment).

use std::net::SocketAddr;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClusterEndpoints {
    /// The cluster's name.
    pub cluster: String,
    pub localities: Vec<LocalityEndpoints>,
    /// None is 140.
    pub overprovisioning_factor: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct LocalityEndpoints {
    pub locality: Locality,
    /// 0 is the highest.
    pub priority: u32,
    pub weight: Option<u32>,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Locality {
    pub region: String,
    pub zone: String,
    pub sub_zone: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    pub address: EndpointAddress,
    /// Relative; 1 where not written.
    pub weight: u32,
    pub health: Health,
    pub hostname: String,
    /// Who answers there, for telemetry and the log (`filter_metadata["istio"].workload`).
    pub workload: WorkloadIdentity,
    /// Metadata `envoy.transport_socket_match` (`tlsMode: istio`).
    pub transport_labels: Vec<(String, String)>,
}

impl Endpoint {
    pub fn at(address: SocketAddr) -> Self {
        Self::new(EndpointAddress::Socket(address))
    }

    pub fn new(address: EndpointAddress) -> Self {
        Self {
            address,
            weight: 1,
            health: Health::Unknown,
            hostname: String::new(),
            workload: WorkloadIdentity::default(),
            transport_labels: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointAddress {
    Socket(SocketAddr),
    /// A name that DNS resolves (DNS clusters).
    Name {
        host: String,
        port: u16,
    },
    /// The path of a Unix socket; of an abstract one its name after `@`.
    Pipe(String),
    /// An internal listener, and the real destination behind it (tunnels).
    Internal {
        listener: String,
        endpoint_id: String,
    },
}

/// Unknown counts as healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Health {
    #[default]
    Unknown,
    Healthy,
    Unhealthy,
    Draining,
    Timeout,
    Degraded,
}

impl Health {
    /// New requests may go there.
    pub fn takes_requests(self) -> bool {
        matches!(self, Self::Unknown | Self::Healthy | Self::Degraded)
    }
}

/// Istio's endpoint metadata: `name;namespace;canonical-name;canonical-revision;cluster`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct WorkloadIdentity {
    /// The workload (Deployment …), not the pod.
    pub workload: String,
    pub namespace: String,
    pub canonical_service: String,
    pub canonical_revision: String,
    pub cluster: String,
    pub network: String,
}
