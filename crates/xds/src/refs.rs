//! What one resource names of others: the edges along which updates are ordered, at both ends.

use amime_model::config::{
    Cluster, Discovery, DownstreamTls, FilterChain, Forward, Listener, NetworkFilter, RouteAction, RouteConfig,
    RouteSource, UpstreamTls,
};
use std::time::Duration;

/// The EDS name of a cluster that has one.
pub fn eds_name(cluster: &Cluster) -> Option<&str> {
    match &cluster.discovery {
        Discovery::Eds(name) if name.is_empty() => Some(&cluster.name),
        Discovery::Eds(name) => Some(name),
        _ => None,
    }
}

/// The SDS names of a cluster.
pub fn cluster_secrets(cluster: &Cluster) -> impl Iterator<Item = &str> {
    cluster
        .tls
        .iter()
        .chain(cluster.transport_socket_matches.iter().filter_map(|m| m.tls.as_ref()))
        .flat_map(upstream_secrets)
}

fn upstream_secrets(tls: &UpstreamTls) -> impl Iterator<Item = &str> {
    tls.certificate.iter().chain(&tls.validation).map(String::as_str)
}

fn downstream_secrets(tls: &DownstreamTls) -> impl Iterator<Item = &str> {
    tls.certificates.iter().chain(&tls.validation).map(String::as_str)
}

fn chains(listener: &Listener) -> impl Iterator<Item = &FilterChain> {
    listener.filter_chains.iter().chain(listener.default_filter_chain.as_deref())
}

fn filters(listener: &Listener) -> impl Iterator<Item = &NetworkFilter> {
    chains(listener).flat_map(|c| &c.filters)
}

/// The SDS names of a listener.
pub fn listener_secrets(listener: &Listener) -> impl Iterator<Item = &str> {
    chains(listener).filter_map(|c| c.tls.as_ref()).flat_map(downstream_secrets)
}

/// The RDS names of a listener.
pub fn listener_routes(listener: &Listener) -> impl Iterator<Item = &str> {
    filters(listener).filter_map(|f| match f {
        NetworkFilter::Http(hcm) => match &hcm.routes {
            RouteSource::Rds(name) => Some(name.as_str()),
            RouteSource::Inline(_) => None,
        },
        _ => None,
    })
}

/// The clusters that a listener names itself: in TCP proxies and inline routes.
pub fn listener_clusters(listener: &Listener) -> Vec<&str> {
    let mut names = Vec::new();
    for filter in filters(listener) {
        match filter {
            NetworkFilter::Tcp(tcp) => names.extend(tcp.clusters.iter().map(|c| c.name.as_str())),
            NetworkFilter::Http(hcm) => {
                if let RouteSource::Inline(routes) = &hcm.routes {
                    names.extend(route_clusters(routes));
                }
            }
            NetworkFilter::SniCluster | NetworkFilter::Opaque(_) => {}
        }
    }
    names
}

/// The clusters that a route configuration names, mirrors too; with repetitions.
pub fn route_clusters(routes: &RouteConfig) -> impl Iterator<Item = &str> {
    forwards(routes).flat_map(|(forward, _)| {
        let weighted = forward.clusters.iter().map(|c| c.name.as_str());
        weighted.chain(forward.mirrors.iter().map(|m| m.cluster.as_str()))
    })
}

fn forwards(routes: &RouteConfig) -> impl Iterator<Item = (&Forward, Option<Duration>)> {
    let routes = routes.virtual_hosts.iter().flat_map(|h| &h.routes);
    routes.filter_map(|route| match &route.action {
        RouteAction::Forward(forward) => {
            let delay = route.fault.as_ref().and_then(|f| f.delay);
            Some((forward.as_ref(), delay.map(|(_, time)| time)))
        }
        _ => None,
    })
}

/// How long after its replacement a request may still look up a cluster of this route configuration: the
/// longest fault delay with the retries that may follow it.
pub fn route_linger(routes: &RouteConfig) -> Duration {
    forwards(routes)
        .map(|(forward, delay)| {
            let delay = delay.unwrap_or_default();
            let whole = forward.timeout.filter(|t| !t.is_zero());
            let retries = forward.retry.as_ref().map_or(Duration::ZERO, |retry| {
                let each = retry.per_try_timeout.unwrap_or_default();
                let tries = each.saturating_mul(retry.attempts.saturating_add(1));
                whole.map_or(tries, |whole| if tries.is_zero() { whole } else { tries.min(whole) })
            });
            delay.saturating_add(retries)
        })
        .max()
        .unwrap_or_default()
}

/// As [`route_linger`], of a listener's inline routes.
pub fn listener_linger(listener: &Listener) -> Duration {
    filters(listener)
        .filter_map(|f| match f {
            NetworkFilter::Http(hcm) => match &hcm.routes {
                RouteSource::Inline(routes) => Some(route_linger(routes)),
                RouteSource::Rds(_) => None,
            },
            _ => None,
        })
        .max()
        .unwrap_or_default()
}
