//! Endpoints of clusters, from those of a service port: the ready ones, those of the subset, by locality.
//!
//! Called by `cluster`. The result depends on the service and the subset alone, so proxies share it.

use crate::config::{
    ClusterEndpoints, Endpoint, EndpointAddress, Health, Locality, LocalityEndpoints, WorkloadIdentity,
};
use crate::snapshot::{EndpointHost, Labels, ServiceEndpoint, selects};
use std::collections::BTreeMap;
use std::net::SocketAddr;

pub(super) fn of(cluster: &str, endpoints: &[ServiceEndpoint], subset: Option<&Labels>) -> ClusterEndpoints {
    let mut by_locality: BTreeMap<Locality, Vec<Endpoint>> = BTreeMap::new();
    for endpoint in endpoints {
        if endpoint.ready && subset.is_none_or(|labels| selects(labels, &endpoint.labels)) {
            by_locality.entry(endpoint.locality.clone()).or_default().push(convert(endpoint));
        }
    }
    let localities = by_locality.into_iter().map(|(locality, endpoints)| LocalityEndpoints {
        locality,
        priority: 0,
        weight: Some(endpoints.iter().fold(0, |sum: u32, endpoint| sum.saturating_add(endpoint.weight))),
        endpoints,
    });
    ClusterEndpoints { cluster: cluster.to_string(), localities: localities.collect(), overprovisioning_factor: None }
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
        health: Health::Unknown,
        hostname: endpoint.hostname.clone(),
        workload: told(&endpoint.workload),
        transport_labels: Vec::new(),
    }
}
