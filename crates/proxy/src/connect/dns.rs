//! Endpoints that are names: which names a cluster has, what it has where these stand for addresses, and when to ask
//! again. `proxy::resolving` does the asking.

use super::names::Answer;
use amime_model::config::{
    Cluster, ClusterEndpoints, Discovery, DnsFamily, DnsOptions, Endpoint, EndpointAddress, LocalityEndpoints,
};
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Envoy's default.
const REFRESH: Duration = Duration::from_secs(5);
/// The first pause after a failure; each further one is twice as long, up to the refresh rate.
const AGAIN: Duration = Duration::from_secs(1);
/// No name is asked for more often.
const SHORTEST: Duration = Duration::from_millis(100);

/// The last good answer for each name.
pub(crate) type Known = HashMap<String, Answer>;

/// The endpoints of a cluster whose endpoints may be names, and whether every address of a name counts.
fn named(cluster: &Cluster) -> Option<(&ClusterEndpoints, bool)> {
    match &cluster.discovery {
        Discovery::StrictDns(endpoints) => Some((endpoints, true)),
        Discovery::LogicalDns(endpoints) => Some((endpoints, false)),
        _ => None,
    }
}

/// The names of a cluster.
pub(crate) fn names(cluster: &Cluster) -> BTreeSet<&str> {
    let endpoints = named(cluster).into_iter().flat_map(|(endpoints, _)| &endpoints.localities);
    endpoints.flat_map(|locality| &locality.endpoints).filter_map(|endpoint| Some(name_of(endpoint)?.0)).collect()
}

/// The endpoints that a DNS cluster has by what is known; None where nothing is known of any. Other clusters have
/// none here.
pub(crate) fn endpoints(cluster: &Cluster, known: &Known) -> Option<ClusterEndpoints> {
    let (endpoints, every) = named(cluster)?;
    let mut resolved = ClusterEndpoints { localities: Vec::new(), ..endpoints.clone() };
    let mut any = false;
    for locality in &endpoints.localities {
        let mut found = Vec::new();
        for endpoint in &locality.endpoints {
            match name_of(endpoint) {
                Some((host, port)) => {
                    let Some(answer) = known.get(host) else { continue };
                    let addresses = chosen(answer, cluster.dns.family, every);
                    found.extend(addresses.into_iter().map(|ip| at(endpoint, SocketAddr::new(ip, port))));
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

/// All in a stable order, so that an answer in another order changes nothing; or the first, whichever the name server
/// has put there.
fn chosen(answer: &Answer, family: DnsFamily, every: bool) -> Vec<IpAddr> {
    let mut addresses = answer.addresses(family);
    match every {
        true => {
            addresses.sort_unstable();
            addresses.dedup();
        }
        false => addresses.truncate(1),
    }
    addresses
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

/// How long an answer is kept before its name is asked for again. `draw` is uniform in [0, 1).
pub(crate) fn good_for(options: &DnsOptions, answer: &Answer, draw: f64) -> Duration {
    let said = answer.valid.filter(|valid| options.respect_ttl && !valid.is_zero());
    let pause = said.or(options.refresh).unwrap_or(REFRESH);
    (pause + options.jitter.unwrap_or_default().mul_f64(draw)).max(SHORTEST)
}

/// How long after so many failures in a row (from 1) a name is asked for again: sooner than the refresh rate, which
/// Envoy waits for, for whoever asks has old addresses or none. `draw` is uniform in [0, 1).
pub(crate) fn again_after(options: &DnsOptions, failures: u32, draw: f64) -> Duration {
    let pause = AGAIN.saturating_mul(1 << (failures.clamp(1, 12) - 1));
    let pause = pause.min(options.refresh.unwrap_or(REFRESH));
    pause.mul_f64(0.5 + draw / 2.0).max(SHORTEST)
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
