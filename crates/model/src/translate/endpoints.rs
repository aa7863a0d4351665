//! Endpoints of clusters, from those of a service port: the ready ones, those of the subset, by locality.
//!
//! Called by `cluster`. The result depends on the service and the subset alone, so proxies share it; but for clusters
//! that are balanced by locality, whose result proxies of one place share.

use super::locality::Balance;
use super::node::Place;
use crate::config::{
    ClusterEndpoints, Endpoint, EndpointAddress, Health, Locality, LocalityEndpoints, WorkloadIdentity,
};
use crate::resource::destination_rule::{ClientTls, ClientTlsMode};
use crate::snapshot::{EndpointHost, Labels, Service, ServiceEndpoint, TrafficDistribution};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Who answers for a port of a service, or a subset of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Among<'a> {
    pub service: &'a Service,
    pub endpoints: &'a [ServiceEndpoint],
    pub subset: Option<&'a Labels>,
    pub who: Who,
}

/// Which endpoints count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    All,
    /// Those with a sidecar that takes the mesh's own TLS: as injection labels them.
    OfMeshTls,
    Nobody,
}

/// What injection says of a pod whose sidecar takes the mesh's own TLS, and WorkloadEntries by themselves.
const TLS_MODE: &str = "security.istio.io/tlsMode";

impl Who {
    /// Those to whom clients speak the mesh's own TLS: what a DestinationRule says of TLS holds for all endpoints. (Whether
    /// a PeerAuthentication turns it off is not asked: none is enforced yet.)
    pub(super) fn of_own_tls(written: Option<&ClientTls>) -> Self {
        match written.map(|tls| tls.mode) {
            None => Self::OfMeshTls,
            Some(ClientTlsMode::IstioMutual) => Self::All,
            Some(ClientTlsMode::Disable | ClientTlsMode::Simple | ClientTlsMode::Mutual) => Self::Nobody,
        }
    }

    fn includes(self, endpoint: &ServiceEndpoint) -> bool {
        match self {
            Self::All => true,
            Self::OfMeshTls => endpoint.label(TLS_MODE) == "istio",
            Self::Nobody => false,
        }
    }
}

/// All of them alike, or as they are for clients of a place.
pub(super) fn of(cluster: &str, among: Among<'_>, balance: Option<(&Balance, &Place)>) -> ClusterEndpoints {
    let mut groups: BTreeMap<(&Locality, usize), Vec<Endpoint>> = BTreeMap::new();
    // Where those that are near are preferred, it takes the unready ones to tell how many of them are fit.
    let unready = among.service.distribution != TrafficDistribution::Any;
    let is_of = |endpoint: &ServiceEndpoint, labels: &Labels| labels.iter().all(|(key, v)| endpoint.label(key) == v);
    for endpoint in among.endpoints.iter().filter(|endpoint| among.who.includes(endpoint)) {
        if (endpoint.ready || unready) && among.subset.is_none_or(|labels| is_of(endpoint, labels)) {
            let distance = balance.map_or(0, |(balance, place)| balance.distance_by_labels(endpoint, place));
            groups.entry((&endpoint.locality, distance)).or_default().push(convert(endpoint));
        }
    }
    let groups = groups.into_iter().map(|((locality, distance), endpoints)| {
        let weight = Some(endpoints.iter().fold(0, |sum: u32, endpoint| sum.saturating_add(endpoint.weight)));
        (distance, LocalityEndpoints { locality: locality.clone(), priority: 0, weight, endpoints })
    });
    let localities = match balance {
        Some((balance, place)) => balance.arrange(groups.collect(), place),
        None => groups.map(|(_, group)| group).collect(),
    };
    ClusterEndpoints { cluster: cluster.to_string(), localities, overprovisioning_factor: None }
}

/// As Istio tells it to clients: the usual revision is left out.
fn told(workload: &WorkloadIdentity) -> WorkloadIdentity {
    let mut workload = workload.clone();
    if workload.canonical_revision == "latest" {
        workload.canonical_revision = String::new();
    }
    workload
}

fn convert(endpoint: &ServiceEndpoint) -> Endpoint {
    let address = match &endpoint.address {
        EndpointHost::Ip(ip) => EndpointAddress::Socket(SocketAddr::new(*ip, endpoint.bound_port)),
        EndpointHost::Name(host) => EndpointAddress::Name { host: host.clone(), port: endpoint.bound_port },
        EndpointHost::Unix(path) => EndpointAddress::Pipe(path.clone()),
    };
    Endpoint {
        address,
        weight: endpoint.weight.max(1),
        health: if endpoint.ready { Health::Unknown } else { Health::Unhealthy },
        hostname: endpoint.hostname.clone(),
        workload: told(&endpoint.workload),
        transport_labels: Vec::new(),
    }
}
