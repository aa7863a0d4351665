//! Endpoints that are names: resolved in the background, the last good answer for each kept.

use amime_model::config::{
    Cluster, ClusterEndpoints, Discovery, DnsFamily, Endpoint, EndpointAddress, LocalityEndpoints,
};
use futures_util::future::join_all;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

/// Envoy's default.
pub(crate) const REFRESH: Duration = Duration::from_secs(5);

/// The last good answer for each name and port.
pub(crate) type Known = HashMap<(String, u16), Vec<SocketAddr>>;

/// The endpoints that a DNS cluster's names have now. A name that does not resolve keeps what is known of it; None where
/// nothing is known of any. Other clusters have nothing to resolve.
pub(crate) async fn resolve(cluster: &Cluster, known: &mut Known) -> Option<ClusterEndpoints> {
    let (endpoints, every) = match &cluster.discovery {
        Discovery::StrictDns(endpoints) => (endpoints, true),
        Discovery::LogicalDns(endpoints) => (endpoints, false),
        _ => return None,
    };
    let names: BTreeSet<_> = endpoints.localities.iter().flat_map(|l| &l.endpoints).filter_map(name_of).collect();
    let lookups = names.into_iter().map(|(host, port)| async move {
        let answer = lookup(host, port, cluster.dns.family).await;
        answer.map(|addresses| ((host.to_owned(), port), addresses))
    });
    known.extend(join_all(lookups).await.into_iter().flatten());
    let mut resolved = ClusterEndpoints { localities: Vec::new(), ..endpoints.clone() };
    let mut any = false;
    for locality in &endpoints.localities {
        let mut found = Vec::new();
        for endpoint in &locality.endpoints {
            match name_of(endpoint) {
                Some((host, port)) => {
                    let Some(addresses) = known.get(&(host.to_owned(), port)) else { continue };
                    let most = if every { addresses.len() } else { 1 };
                    found.extend(addresses.iter().take(most).map(|address| at(endpoint, *address)));
                }
                None if matches!(endpoint.address, EndpointAddress::Socket(_)) => found.push(endpoint.clone()),
                None => continue,
            }
            any = true;
        }
        resolved.localities.push(LocalityEndpoints { endpoints: found, ..locality.clone() });
    }
    any.then_some(resolved)
}

fn name_of(endpoint: &Endpoint) -> Option<(&str, u16)> {
    match &endpoint.address {
        EndpointAddress::Name { host, port } => Some((host, *port)),
        _ => None,
    }
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

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
