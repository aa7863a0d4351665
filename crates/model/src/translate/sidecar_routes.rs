//! The outbound routes of sidecars: one configuration for each HTTP port, or for one service's port where its
//! protocol is detected.
//!
//! `translate` calls it for every route name that the outbound listeners ask for.

use super::domains::{Domains, bracketed};
use super::egress::Egress;
use super::memo::Memo;
use super::names;
use super::route::{self, RouteContext, plain_route, routes_of, to_cluster};
use super::view::{OutboundPolicy, View};
use super::{Exclusion, Reason};
use crate::config::{DirectResponse, Forward, Origin, Route, RouteAction, RouteConfig, VirtualHost, WeightedCluster};
use crate::host::{is_wildcard, overlaps};
use crate::protocol::Protocol;
use crate::rule::retry;
use crate::snapshot::{Resolution, ResolvedVirtualService, Service, ServicePort, origin_of};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Envoy's default of 4 KB is little for what users put into direct responses.
pub(super) const MAX_DIRECT_RESPONSE: u32 = 1024 * 1024;

/// The virtual hosts of one port, before they are taken apart by service.
pub(super) struct PortRoutes {
    hosts: Vec<Arc<VirtualHost>>,
    /// Of several ports, which are part of the domains.
    all_ports: bool,
}

/// Routes for services and hosts, to become virtual hosts on a port.
struct Bundle {
    port: u32,
    services: Vec<Arc<Service>>,
    /// Hosts of the VirtualService that are no services.
    other_hosts: Vec<String>,
    routes: Vec<Route>,
    origin: Option<Origin>,
}

impl PortRoutes {
    /// `port` 0: the listener is a generic HTTP proxy or a socket file, and all ports are served.
    pub(super) fn build(
        view: &View<'_>,
        egress: &Egress,
        port: u32,
        memo: &mut Memo,
        exclusions: &mut Vec<Exclusion>,
    ) -> Self {
        let port = port_of(egress, port);
        let services = services_on(egress, port);
        let mut bundles = Vec::new();
        let mut handled = BTreeSet::new();
        // Hosts that are no service count on port 80 alone.
        let virtual_services: Vec<_> = if port == 80 {
            egress.virtual_services.iter().collect()
        } else {
            egress.for_hosts(services.keys().map(String::as_str)).collect()
        };
        for vs in virtual_services {
            bundles.extend(bundles_of(view, egress, vs, &services, port));
        }
        for bundle in &bundles {
            handled.extend(bundle.services.iter().map(|s| s.host.clone()));
        }
        for service in services.values().filter(|s| !handled.contains(&s.host)) {
            if matches!(service.resolution, Resolution::Alias(_)) {
                continue;
            }
            bundles.extend(
                service.ports.iter().filter(|p| p.protocol.may_be_http()).map(|p| of_service(view, service, p)),
            );
        }
        let all_ports = port == 0;
        let mut hosts = virtual_hosts(view, bundles, all_ports, memo, exclusions);
        let found =
            if all_ports { hosts.into_values().flatten().collect() } else { hosts.remove(&port).unwrap_or_default() };
        Self { hosts: found, all_ports }
    }

    /// The shared configuration of the port.
    pub(super) fn shared(&self, name: &str, view: &View<'_>) -> RouteConfig {
        let mut hosts = self.hosts.clone();
        // A VirtualService for `*` leaves nothing to catch.
        if !hosts.iter().any(|h| h.domains.iter().any(|d| d == "*")) {
            hosts.push(Arc::new(catch_all(&view.outbound)));
        }
        RouteConfig { ignore_port_in_host: !self.all_ports, ..configuration(name, hosts) }
    }

    /// Of one service whose port is detected: all that comes to its address is meant for it.
    pub(super) fn of_one(&self, host: &str, port: u32) -> RouteConfig {
        let name = names::virtual_host(host, port);
        let mut hosts: Vec<Arc<VirtualHost>> =
            self.hosts.iter().filter(|h| h.domains.iter().any(|d| d == host || *d == name)).cloned().collect();
        if let [only] = hosts.as_mut_slice() {
            Arc::make_mut(only).domains = vec!["*".to_string()];
        }
        configuration(&name, hosts)
    }
}

/// In the order of names, which is that of clients that get virtual hosts one by one.
pub(super) fn configuration(name: &str, mut virtual_hosts: Vec<Arc<VirtualHost>>) -> RouteConfig {
    virtual_hosts.sort_by(|a, b| a.name.cmp(&b.name));
    RouteConfig {
        name: name.to_string(),
        virtual_hosts,
        validate_clusters: false,
        ignore_port_in_host: true,
        max_direct_response_body_bytes: Some(MAX_DIRECT_RESPONSE),
        ..RouteConfig::default()
    }
}

/// The services that have the port, with that port alone, by host.
fn services_on(egress: &Egress, port: u32) -> BTreeMap<String, Arc<Service>> {
    egress.services.iter().filter_map(|service| on_port(service, port)).collect()
}

/// The service with that port alone, where it has it, and the host by which it is known.
pub(super) fn on_port(service: &Arc<Service>, port: u32) -> Option<(String, Arc<Service>)> {
    if port == 0 {
        return Some((service.host.clone(), service.clone()));
    }
    let service_port = service.port(port)?;
    let host = service.host.to_ascii_lowercase();
    let mut service = (*service.with_ports(vec![service_port.clone()])).clone();
    service.host.clone_from(&host);
    Some((host, Arc::new(service)))
}

/// The port that a listener's routes are made for; 0: it is a generic HTTP proxy, and all ports are served.
pub(super) fn port_of(egress: &Egress, port: u32) -> u32 {
    match &egress.port {
        Some(p) if p.protocol == Protocol::HttpProxy => 0,
        _ => port,
    }
}

fn bundles_of(
    view: &View<'_>,
    egress: &Egress,
    vs: &ResolvedVirtualService,
    services: &BTreeMap<String, Arc<Service>>,
    port: u32,
) -> Vec<Bundle> {
    let lookup = |host: &str| services.get(host).cloned();
    let context = RouteContext { view, port, gateway: "mesh", tls: false, service: &lookup };
    let routes = routes_of(vs, &context);
    if routes.is_empty() {
        return Vec::new();
    }
    let (matched, other_hosts) = split_hosts(egress, vs, services);
    let mut by_port: BTreeMap<u32, Vec<Arc<Service>>> = BTreeMap::new();
    for service in &matched {
        for p in service.ports.iter().filter(|p| p.protocol.may_be_http()) {
            by_port.entry(p.number).or_default().push(service.clone());
        }
    }
    if by_port.is_empty() && port == 80 {
        by_port.insert(80, Vec::new());
    }
    by_port
        .into_iter()
        .map(|(port, services)| Bundle {
            port,
            services,
            other_hosts: other_hosts.clone(),
            routes: routes.clone(),
            origin: Some(origin_of(&vs.id, "")),
        })
        .collect()
}

/// The hosts of a VirtualService that are services, and the others. A wildcard stands for those services for which
/// no other VirtualService is more specific.
fn split_hosts(
    egress: &Egress,
    vs: &ResolvedVirtualService,
    services: &BTreeMap<String, Arc<Service>>,
) -> (Vec<Arc<Service>>, Vec<String>) {
    let mut matched = Vec::new();
    let mut others = Vec::new();
    let (wildcards, exact): (Vec<_>, Vec<_>) = vs.hosts.iter().partition(|h| is_wildcard(h));
    for host in exact {
        match services.get(&host.to_ascii_lowercase()) {
            Some(service) => matched.push(service.clone()),
            None => others.push(host.clone()),
        }
    }
    for host in wildcards {
        let host = host.to_ascii_lowercase();
        let mut any = false;
        for (name, service) in services.iter().filter(|(name, _)| overlaps(name, &host)) {
            any = true;
            if egress.most_specific(name) == Some(&vs.id) {
                matched.push(service.clone());
            }
        }
        if !any {
            others.push(host);
        }
    }
    (matched, others)
}

/// A service without a VirtualService.
fn of_service(view: &View<'_>, service: &Arc<Service>, port: &ServicePort) -> Bundle {
    let cluster = names::outbound_cluster(port.number, "", &service.host);
    let mut action = to_cluster(cluster);
    if let RouteAction::Forward(forward) = &mut action {
        forward.retry = retry::policy(view.snapshot.mesh.default_http_retry_policy.as_ref(), false);
        let policy = view.rule(&service.host).and_then(|merged| merged.rule.traffic_policy.as_deref());
        let of_port = policy
            .and_then(|p| {
                p.port_level_settings.iter().find(|s| s.port.as_ref().is_some_and(|n| n.number == port.number))
            })
            .and_then(|s| s.load_balancer.as_ref()?.consistent_hash.as_ref());
        let hash = of_port.or_else(|| policy?.load_balancer.as_ref()?.consistent_hash.as_ref());
        forward.hash.extend(hash.and_then(route::hash_policy));
    }
    let mut route = plain_route("default", action, format!("{}:{}/*", service.host, port.number));
    route.origin = Some(origin_of(&service.id, ""));
    Bundle {
        port: port.number,
        services: vec![service.clone()],
        other_hosts: Vec::new(),
        routes: vec![route],
        origin: Some(origin_of(&service.id, "")),
    }
}

/// Virtual hosts by port. Of two of one name, and of a domain in two, the first counts.
fn virtual_hosts(
    view: &View<'_>,
    bundles: Vec<Bundle>,
    all_ports: bool,
    memo: &mut Memo,
    exclusions: &mut Vec<Exclusion>,
) -> BTreeMap<u32, Vec<Arc<VirtualHost>>> {
    let mut by_port: BTreeMap<u32, Vec<Arc<VirtualHost>>> = BTreeMap::new();
    let mut names_taken: BTreeMap<String, Option<Origin>> = BTreeMap::new();
    let mut domains_taken = BTreeSet::new();
    let mut known = BTreeSet::new();
    for bundle in &bundles {
        for service in &bundle.services {
            known.insert(names::virtual_host(&service.host, bundle.port));
            known.insert(service.host.clone());
        }
    }
    for bundle in bundles {
        let Bundle { port, services, other_hosts, routes, origin } = bundle;
        let others = other_hosts.iter().map(|host| {
            let host = host.to_ascii_lowercase();
            (host.clone(), Domains { all: vec![bracketed(&host)], short: Vec::new() })
        });
        let of_services = services.iter().map(|s| (s.host.clone(), Domains::of(s, view.scope)));
        for (host, domains) in others.chain(of_services) {
            let name = names::virtual_host(&host, port);
            if let Some(winner) = names_taken.get(&name) {
                let lost = |origin| Exclusion { origin, reason: Reason::HostTaken { host }, winner: winner.clone() };
                exclusions.extend(origin.clone().map(lost));
                continue;
            }
            names_taken.insert(name.clone(), origin.clone());
            let mut kept = Vec::new();
            let written = domains.all.into_iter().flat_map(|domain| {
                let stands_for_other = domains.short.contains(&domain) && known.contains(&domain);
                let with_ports = if all_ports { with_port(&domain, port) } else { vec![domain] };
                with_ports.into_iter().map(move |domain| (domain, stands_for_other))
            });
            for (domain, stands_for_other) in written {
                if !stands_for_other && domains_taken.insert(domain.to_ascii_lowercase()) {
                    kept.push(domain);
                }
            }
            if kept.is_empty() {
                continue;
            }
            by_port.entry(port).or_default().push(memo.host(VirtualHost {
                name,
                domains: kept,
                routes: routes.clone(),
                include_request_attempt_count: true,
                origin: origin.clone(),
                ..VirtualHost::default()
            }));
        }
    }
    by_port
}

/// For a listener of all ports (Istio leaves the port out of the host that it looks up, so that only port 80 is ever
/// found): a name without a port means 80.
fn with_port(domain: &str, port: u32) -> Vec<String> {
    let with = format!("{domain}:{port}");
    if port == 80 { vec![domain.to_string(), with] } else { vec![with] }
}

/// What happens to hosts that the mesh does not know.
fn catch_all(policy: &OutboundPolicy) -> VirtualHost {
    let (name, action) = match policy {
        OutboundPolicy::AllowAny => (names::ALLOW_ANY, to_cluster(names::PASSTHROUGH_CLUSTER.to_string())),
        OutboundPolicy::Proxy(destination) => {
            let cluster = route::cluster_name(destination, None, 0);
            let forward = Forward {
                clusters: vec![WeightedCluster { name: cluster, weight: 100, ..WeightedCluster::default() }],
                timeout: Some(std::time::Duration::ZERO),
                max_grpc_timeout: Some(std::time::Duration::ZERO),
                ..Forward::default()
            };
            (names::ALLOW_ANY, RouteAction::Forward(Box::new(forward)))
        }
        OutboundPolicy::RegistryOnly => {
            (names::BLOCK_ALL, RouteAction::Respond(DirectResponse { status: 502, body: Vec::new() }))
        }
    };
    VirtualHost {
        name: name.to_string(),
        domains: vec!["*".to_string()],
        routes: vec![plain_route(name, action, String::new())],
        include_request_attempt_count: true,
        ..VirtualHost::default()
    }
}
