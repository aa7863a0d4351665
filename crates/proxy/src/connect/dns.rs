//! Endpoints that are names: resolved in the background, the last good answer kept.

use amime_model::config::{
    Cluster, ClusterEndpoints, Discovery, DnsFamily, Endpoint, EndpointAddress, LocalityEndpoints,
};
use std::net::SocketAddr;
use std::time::Duration;

/// Envoy's default.
pub(crate) const REFRESH: Duration = Duration::from_secs(5);

/// The endpoints that a DNS cluster's names have now. Names that do not resolve give none; None where none
/// does, so that what was known stays. Other clusters have nothing to resolve.
pub(crate) async fn resolve(cluster: &Cluster) -> Option<ClusterEndpoints> {
    let (endpoints, every) = match &cluster.discovery {
        Discovery::StrictDns(endpoints) => (endpoints, true),
        Discovery::LogicalDns(endpoints) => (endpoints, false),
        _ => return None,
    };
    let mut resolved = ClusterEndpoints { localities: Vec::new(), ..endpoints.clone() };
    let mut any = false;
    for locality in &endpoints.localities {
        let mut found = Vec::new();
        for endpoint in &locality.endpoints {
            let addresses = match &endpoint.address {
                EndpointAddress::Name { host, port } => lookup(host, *port, cluster.dns.family).await,
                _ => None,
            };
            match addresses {
                Some(addresses) => {
                    any = true;
                    let most = if every { addresses.len() } else { 1 };
                    found.extend(addresses.into_iter().take(most).map(|address| at(endpoint, address)));
                }
                None if matches!(endpoint.address, EndpointAddress::Socket(_)) => {
                    any = true;
                    found.push(endpoint.clone());
                }
                None => {}
            }
        }
        resolved.localities.push(LocalityEndpoints { endpoints: found, ..locality.clone() });
    }
    any.then_some(resolved)
}

fn at(endpoint: &Endpoint, address: SocketAddr) -> Endpoint {
    let hostname = match (&endpoint.address, endpoint.hostname.is_empty()) {
        (EndpointAddress::Name { host, .. }, true) => host.clone(),
        _ => endpoint.hostname.clone(),
    };
    Endpoint { address: EndpointAddress::Socket(address), hostname, ..endpoint.clone() }
}

/// Addresses in a stable order; None where the name does not resolve.
async fn lookup(host: &str, port: u16, family: DnsFamily) -> Option<Vec<SocketAddr>> {
    let found = match tokio::net::lookup_host((host, port)).await {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(host, %error, "a name does not resolve");
            return None;
        }
    };
    let (mut v4, mut v6): (Vec<SocketAddr>, Vec<SocketAddr>) = found.partition(SocketAddr::is_ipv4);
    v4.sort_unstable();
    v4.dedup();
    v6.sort_unstable();
    v6.dedup();
    let addresses = match family {
        DnsFamily::V4Only => v4,
        DnsFamily::V6Only => v6,
        DnsFamily::V4Preferred if !v4.is_empty() => v4,
        DnsFamily::V4Preferred => v6,
        DnsFamily::Auto if !v6.is_empty() => v6,
        DnsFamily::Auto => v4,
        DnsFamily::All => v4.into_iter().chain(v6).collect(),
    };
    (!addresses.is_empty()).then_some(addresses)
}
