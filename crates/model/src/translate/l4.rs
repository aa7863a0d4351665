//! Connections that are not HTTP: TCP proxies, and the rules of `tcp` and `tls` as filter chains.
//!
//! Called by the outbound listeners of sidecars and by gateways.

use super::cluster::is_dynamic;
use super::egress::Egress;
use super::log;
use super::names;
use super::route::cluster_name;
use super::view::View;
use crate::config::{Origin, TcpCluster, TcpProxy, Tunnel};
use crate::resource::DestinationRule;
use crate::resource::virtual_service::{L4Match, RouteDestination, TlsMatch};
use crate::snapshot::{Health, Labels, Service, selects};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A filter chain in the making.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct L4Chain {
    /// `*` among them, or none: any.
    pub sni: Vec<String>,
    /// Addresses and CIDR blocks; none: any.
    pub cidrs: Vec<String>,
    pub proxy: TcpProxy,
    /// The port at which the SNI's own addresses are dialled, where the cluster is one of dynamic DNS.
    pub by_sni: Option<u16>,
}

impl L4Chain {
    fn new(sni: Vec<String>, cidrs: Vec<String>, proxy: TcpProxy) -> Self {
        Self { sni, cidrs, proxy, by_sni: None }
    }
}

/// A TCP proxy to one cluster.
pub(super) fn to_one(view: &View<'_>, cluster: String, subset: &str, rule: Option<&DestinationRule>) -> TcpProxy {
    let clusters = vec![TcpCluster { name: cluster.clone(), weight: 100 }];
    proxy(view, cluster, clusters, subset, rule)
}

/// A TCP proxy by the destinations of a rule.
pub(super) fn to_destinations(
    view: &View<'_>,
    routes: &[RouteDestination],
    port: u32,
    origin: &Origin,
    health: Health,
) -> TcpProxy {
    let destinations: Vec<_> = routes
        .iter()
        .filter(|r| r.weight > 0 || routes.len() == 1)
        .filter_map(|r| Some((r.destination.as_ref()?, u32::try_from(r.weight).unwrap_or_default())))
        .collect();
    if health != Health::Sound || destinations.is_empty() {
        let mut proxy = to_one(view, names::UNKNOWN_CLUSTER.to_string(), "", None);
        proxy.origin = Some(origin.clone());
        return proxy;
    }
    // The settings are those of the first destination's rule.
    let first = routes.iter().find_map(|r| r.destination.as_ref());
    let rule = first.and_then(|d| view.rule(&d.host)).map(|merged| &merged.rule);
    let named = |(destination, weight): &(&crate::resource::virtual_service::Destination, u32)| TcpCluster {
        name: cluster_name(destination, view.service(&destination.host), port),
        weight: *weight,
    };
    let mut clusters: Vec<_> = destinations.iter().map(named).collect();
    let mut proxy = if let [(destination, _)] = destinations.as_slice() {
        clusters[0].weight = 100;
        proxy(view, clusters[0].name.clone(), clusters, &destination.subset, rule)
    } else {
        proxy(view, format!("{}.{}", origin.name, origin.namespace), clusters, "", rule)
    };
    proxy.origin = Some(origin.clone());
    proxy
}

fn proxy(
    view: &View<'_>,
    stat_prefix: String,
    clusters: Vec<TcpCluster>,
    subset: &str,
    rule: Option<&DestinationRule>,
) -> TcpProxy {
    // What a rule says of subsets and ports is its clusters' matter, and of HTTP alone.
    let tcp = rule.and_then(|r| r.traffic_policy.as_deref()?.connection_pool.as_ref()?.tcp.as_ref());
    TcpProxy {
        stat_prefix,
        clusters,
        idle_timeout: tcp.and_then(|tcp| tcp.idle_timeout).map(Into::into),
        max_duration: tcp.and_then(|tcp| tcp.max_connection_duration).map(Into::into),
        max_connect_attempts: 1,
        hash_source_ip: rule.is_some_and(|rule| hashes_source(rule, subset)),
        tunnel: rule.and_then(|rule| tunnel(rule, subset)),
        access_log: log::of_traffic(&view.snapshot.mesh),
        origin: None,
    }
}

/// A subset's own, where one is meant: it takes over nothing.
fn tunnel(rule: &DestinationRule, subset: &str) -> Option<Tunnel> {
    let policy = if subset.is_empty() {
        rule.traffic_policy.as_deref()
    } else {
        rule.subsets.iter().find(|s| s.name == subset)?.traffic_policy.as_deref()
    };
    let written = policy?.tunnel.as_ref()?;
    let (host, port) = (&written.target_host, written.target_port);
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    Some(Tunnel { authority, post: written.protocol == "POST" })
}

/// Connections stick by their source address: a subset with a load balancer of its own decides for itself.
fn hashes_source(rule: &DestinationRule, subset: &str) -> bool {
    let of = |policy: Option<&crate::resource::destination_rule::TrafficPolicy>| {
        policy
            .and_then(|p| p.load_balancer.as_ref())
            .map(|lb| lb.consistent_hash.as_ref().and_then(|hash| hash.use_source_ip).unwrap_or(false))
    };
    let subset = rule.subsets.iter().find(|s| s.name == subset);
    of(subset.and_then(|s| s.traffic_policy.as_deref())).or(of(rule.traffic_policy.as_deref())).unwrap_or(false)
}

/// The port of a listener, and the service whose connections come to it.
pub(super) struct L4Listener<'a> {
    pub service: &'a Arc<Service>,
    pub port: u32,
    /// The service's own addresses where the listener is on the wildcard one.
    pub cidrs: Vec<String>,
    /// Listens on an address that is the service's alone.
    pub own_address: bool,
}

/// The chains of a port that carries TLS: by SNI where a VirtualService says so, else straight to the service.
pub(super) fn tls_chains(view: &View<'_>, egress: &Egress, at: &L4Listener<'_>) -> Vec<L4Chain> {
    let mut chains = Vec::new();
    let mut seen = BTreeSet::new();
    let mut cidrs = at.cidrs.clone();
    for vs in egress.for_hosts([at.service.host.as_str()]) {
        for rule in vs.tls.iter().filter(|r| !r.route.route.is_empty() || r.health != Health::Sound) {
            if rule.health == Health::BrokenMatch {
                chains.push(L4Chain::new(Vec::new(), cidrs.clone(), refuse(view, &rule.origin)));
                return chains;
            }
            for m in rule.route.matches.iter().filter(|m| tls_applies(m, view, at.port)) {
                if !m.destination_subnets.is_empty() && at.port > 0 {
                    cidrs.clone_from(&m.destination_subnets);
                }
                if seen.insert((m.sni_hosts.clone(), m.destination_subnets.clone())) {
                    let proxy = to_destinations(view, &rule.route.route, at.port, &rule.origin, rule.health);
                    chains.push(L4Chain::new(m.sni_hosts.clone(), cidrs.clone(), proxy));
                }
            }
        }
    }
    if chains.is_empty() {
        // On the wildcard address, or in a range, only the SNI tells which service is meant.
        let by_sni = at.service.ports.iter().find(|p| p.number == at.port && is_dynamic(at.service, p));
        let told = !cidrs.is_empty() || !at.own_address || by_sni.is_some();
        let sni = if told { server_names(at.service) } else { Vec::new() };
        let by_sni = by_sni.and_then(|port| u16::try_from(port.number).ok());
        chains.push(L4Chain { by_sni, ..L4Chain::new(sni, cidrs, to_service(view, at)) });
    }
    chains
}

fn server_names(service: &Service) -> Vec<String> {
    std::iter::once(&service.host).chain(&service.aliases).cloned().collect()
}

/// The chains of a port that carries anything else.
pub(super) fn tcp_chains(view: &View<'_>, egress: &Egress, at: &L4Listener<'_>) -> Vec<L4Chain> {
    let mut chains = Vec::new();
    let mut same_as_service = false;
    for vs in egress.for_hosts([at.service.host.as_str()]) {
        for rule in vs.tcp.iter().filter(|r| !r.route.route.is_empty() || r.health != Health::Sound) {
            let chain = |cidrs: Vec<String>| {
                let proxy = to_destinations(view, &rule.route.route, at.port, &rule.origin, rule.health);
                L4Chain::new(Vec::new(), cidrs, proxy)
            };
            if rule.health == Health::BrokenMatch {
                chains.push(L4Chain::new(Vec::new(), at.cidrs.clone(), refuse(view, &rule.origin)));
                return chains;
            }
            if rule.route.matches.is_empty() {
                chains.push(chain(at.cidrs.clone()));
                return chains;
            }
            let mut subnets = Vec::new();
            for m in rule.route.matches.iter().filter(|m| tcp_applies(m, view, at.port)) {
                if m.destination_subnets.is_empty() || at.port == 0 {
                    // Any address: nothing after it is reached.
                    chains.push(chain(at.cidrs.clone()));
                    return chains;
                }
                subnets.extend(m.destination_subnets.iter().cloned());
            }
            if !subnets.is_empty() {
                let sorted = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
                same_as_service |= sorted(&subnets) == sorted(&at.cidrs);
                chains.push(chain(subnets));
            }
        }
    }
    if !same_as_service {
        chains.push(L4Chain::new(Vec::new(), at.cidrs.clone(), to_service(view, at)));
    }
    chains
}

/// To the service itself: its only port, else the one that was dialled.
fn to_service(view: &View<'_>, at: &L4Listener<'_>) -> TcpProxy {
    let port = match at.service.ports.as_slice() {
        [only] => only.number,
        _ => at.port,
    };
    let cluster = names::outbound_cluster(port, "", &at.service.host);
    let mut proxy = to_one(view, cluster, "", view.rule(&at.service.host).map(|merged| &merged.rule));
    proxy.origin = Some(crate::snapshot::origin_of(&at.service.id, ""));
    proxy
}

/// Connections that a broken rule takes are closed.
fn refuse(view: &View<'_>, origin: &Origin) -> TcpProxy {
    to_destinations(view, &[], 0, origin, Health::BrokenAction)
}

fn tls_applies(m: &TlsMatch, view: &View<'_>, port: u32) -> bool {
    l4_applies(&m.gateways, &m.source_labels, m.port, &m.source_namespace, view, port)
}

fn tcp_applies(m: &L4Match, view: &View<'_>, port: u32) -> bool {
    l4_applies(&m.gateways, &m.source_labels, m.port, &m.source_namespace, view, port)
}

fn l4_applies(
    gateways: &[String],
    source_labels: &Labels,
    match_port: u32,
    source_namespace: &str,
    view: &View<'_>,
    port: u32,
) -> bool {
    (gateways.is_empty() || gateways.iter().any(|g| g == "mesh"))
        && selects(source_labels, &view.scope.labels)
        && (match_port == 0 || match_port == port)
        && (source_namespace.is_empty() || source_namespace == view.scope.namespace)
}
