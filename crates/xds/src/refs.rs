//! What one resource names of others: the edges along which updates are ordered, at both ends.

use amime_model::config::{
    Cluster, Discovery, DownstreamTls, FilterChain, Forward, Listener, NetworkFilter, RouteAction, RouteConfig,
    RouteSource, UpstreamTls, VirtualHost,
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
    tls.certificate.iter().chain(&tls.validation).chain(&tls.crl).map(String::as_str)
}

fn downstream_secrets(tls: &DownstreamTls) -> impl Iterator<Item = &str> {
    tls.certificates.iter().chain(&tls.validation).chain(&tls.crl).map(String::as_str)
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

/// Whether a secret is a control plane's to give: files are the proxy's own (`file-cert:`, `file-root:`, as Istio names
/// them).
pub fn is_served(secret: &str) -> bool {
    !secret.starts_with("file-")
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
                    names.extend(routes.clusters());
                }
            }
            NetworkFilter::SniCluster | NetworkFilter::SniDynamicForwardProxy { .. } | NetworkFilter::Opaque(_) => {}
        }
    }
    names
}

/// The subscription to all virtual hosts of a route configuration.
pub fn hosts_of(route: &str) -> String {
    format!("{route}/*")
}

/// The resource name of a virtual host.
pub fn host_name(route: &str, host: &str) -> String {
    format!("{route}/{host}")
}

/// The route configuration that a virtual host belongs to, by its resource name, or by a subscription to all. Names
/// of virtual hosts have no slash; those of route configurations may, where a listener is a socket file.
pub fn route_of(host: &str) -> Option<&str> {
    host.rsplit_once('/').map(|(route, _)| route)
}

fn forwards(host: &VirtualHost) -> impl Iterator<Item = (&Forward, Option<Duration>)> {
    host.routes.iter().filter_map(|route| match &route.action {
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
    routes.virtual_hosts.iter().map(|host| host_linger(host)).max().unwrap_or_default()
}

/// As [`route_linger`], of one virtual host.
pub fn host_linger(host: &VirtualHost) -> Duration {
    forwards(host)
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
