//! What a proxy knows of its clusters now, for the pages of the binary: endpoints with their health, and what is in
//! use of each limit.

use super::Proxy;
use crate::balance::host::known_by;
use crate::balance::outlier::millis;
use crate::cluster::ClusterShared;
use crate::proxy_worker::endpoints;
use amime_model::config::{Cluster, Discovery, Endpoint, Locality};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// A cluster of the configuration.
#[derive(Debug, Clone)]
pub struct ClusterStatus {
    pub cluster: Arc<Cluster>,
    /// Over all workers.
    pub usage: UsageStatus,
    /// In the configuration's order; those that were dialled, for a cluster of original destinations.
    pub endpoints: Vec<EndpointStatus>,
}

/// What is in use of a cluster's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsageStatus {
    pub connections: u32,
    pub pending: u32,
    pub requests: u32,
    pub retries: u32,
}

/// One endpoint of a cluster.
#[derive(Debug, Clone)]
pub struct EndpointStatus {
    pub address: SocketAddr,
    /// None for an address that no endpoint names.
    pub endpoint: Option<Arc<Endpoint>>,
    pub locality: Locality,
    pub priority: u32,
    pub weight: u32,
    /// Outlier detection keeps it out for now.
    pub ejected: bool,
    /// Requests and TCP connections under way.
    pub active: u32,
}

impl Proxy {
    /// The clusters of the configuration, in the order of their names.
    pub async fn clusters(&self) -> Vec<ClusterStatus> {
        let Some(runtime) = self.0.state.lock().await.config.clone() else { return Vec::new() };
        let now = millis(Instant::now());
        let status = |(name, cluster): (&Arc<str>, &Arc<Cluster>)| {
            let shared = self.0.shared.known_cluster(name);
            let usage = shared.as_ref().map(|shared| UsageStatus {
                connections: shared.usage.active_connections(),
                pending: shared.usage.pending_requests(),
                requests: shared.usage.active_requests(),
                retries: shared.usage.active_retries(),
            });
            let of_address = |address: SocketAddr| {
                let host = shared.as_ref().and_then(|shared| shared.known_host(address));
                EndpointStatus {
                    address,
                    endpoint: None,
                    locality: Locality::default(),
                    priority: 0,
                    weight: 1,
                    ejected: host.as_ref().is_some_and(|host| host.health.ejected(now)),
                    active: host.map_or(0, |host| host.active.get()),
                }
            };
            let all = match (&cluster.discovery, &shared) {
                (Discovery::OriginalDst { .. } | Discovery::DynamicDns(_), Some(shared)) => {
                    shared.known_addresses().into_iter().map(of_address).collect()
                }
                _ => {
                    let unused = || ClusterShared::new(Arc::clone(name));
                    let of = endpoints(&runtime, name, &shared.clone().unwrap_or_else(unused));
                    let mut all = Vec::new();
                    for locality in &of.localities {
                        for endpoint in &locality.endpoints {
                            let Some(address) = known_by(&endpoint.address) else { continue };
                            all.push(EndpointStatus {
                                locality: locality.locality.clone(),
                                priority: locality.priority,
                                weight: endpoint.weight,
                                endpoint: Some(Arc::new(endpoint.clone())),
                                ..of_address(address)
                            });
                        }
                    }
                    all
                }
            };
            ClusterStatus { cluster: Arc::clone(cluster), usage: usage.unwrap_or_default(), endpoints: all }
        };
        runtime.config.clusters.iter().map(status).collect()
    }

    /// The addresses of each bound listener, as its sockets have them.
    pub async fn listening(&self) -> Vec<(Arc<str>, Vec<SocketAddr>)> {
        let state = self.0.state.lock().await;
        let Some(runtime) = &state.config else { return Vec::new() };
        let mut all: Vec<(Arc<str>, Vec<SocketAddr>)> = Vec::new();
        for (address, listener) in runtime.listeners.sockets() {
            let bound = state.sockets.get(&address).copied().unwrap_or(address);
            match all.last_mut().filter(|(name, _)| *name == listener.name) {
                Some((_, addresses)) => addresses.push(bound),
                None => all.push((Arc::clone(&listener.name), vec![bound])),
            }
        }
        all
    }
}
