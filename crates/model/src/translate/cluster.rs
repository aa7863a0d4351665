//! Outbound clusters: one for each service port, and one for each subset.
//!
//! `translate` calls it for every service that a view sees.

use super::endpoints::Who;
use super::locality::{self, Balance};
use super::node::{NodeKind, Place};
use super::view::View;
use super::{client_tls, endpoints, names, policy};
use crate::config::{
    Cluster, ClusterEndpoints, ClusterService, Discovery, DnsCache, DnsOptions, LbPolicy, UpstreamProtocol,
};
use crate::host::is_wildcard;
use crate::protocol::Protocol;
use crate::resource::destination_rule::{Subset, TrafficPolicy};
use crate::snapshot::{
    Labels, MergedRule, Registry, Resolution, Service, ServicePort, TargetPort, TrafficDistribution, origin_of,
};
use std::sync::Arc;
use std::time::Duration;

/// A cluster with its endpoints, where these come by EDS.
#[derive(Debug, Clone)]
pub(super) struct Built {
    pub name: Arc<str>,
    pub cluster: Arc<Cluster>,
    pub endpoints: Option<Arc<ClusterEndpoints>>,
    /// Where endpoints are not the same for clients everywhere.
    pub placing: Option<Arc<Placing>>,
}

/// What makes the endpoints of a cluster depend on where its clients are.
#[derive(Debug)]
pub(super) struct Placing {
    pub balance: Balance,
    port: u32,
    subset: Option<Labels>,
    who: Who,
}

impl Built {
    /// Does it go to the address that the client dialled?
    fn goes_where_dialled(&self) -> bool {
        matches!(self.cluster.discovery, Discovery::OriginalDst { .. })
    }

    /// The cluster for clients of a place; the same endpoints as for all others, where the place makes no difference.
    pub(super) fn placed(&self, view: &View<'_>, service: &Service, place: &Place) -> Self {
        let discovery = &self.cluster.discovery;
        let general = match (discovery, &self.endpoints) {
            (_, Some(endpoints)) => &**endpoints,
            (Discovery::StrictDns(endpoints), None) => endpoints,
            _ => return self.clone(),
        };
        let Some(placing) = &self.placing else { return self.clone() };
        if general.localities.len() < 2 && !placing.balance.looks_into_localities() {
            return self.clone();
        }
        let endpoints = view.snapshot.endpoints(service, placing.port);
        let among = endpoints::Among { service, endpoints, subset: placing.subset.as_ref(), who: placing.who };
        let placed = endpoints::of(&self.name, among, Some((&placing.balance, place)));
        if placed == *general {
            return self.clone();
        }
        match discovery {
            Discovery::StrictDns(_) => {
                let cluster = Cluster { discovery: Discovery::StrictDns(placed), ..(*self.cluster).clone() };
                Self { cluster: Arc::new(cluster), ..self.clone() }
            }
            _ => Self { endpoints: Some(Arc::new(placed)), ..self.clone() },
        }
    }
}

/// What a cluster is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// The proxy's own connections.
    Own,
    /// TLS that it passes on unopened (`AUTO_PASSTHROUGH`).
    Passed,
}

/// All clusters of a service.
pub(super) fn of_service(view: &View<'_>, service: &Arc<Service>) -> Vec<Built> {
    if matches!(service.resolution, Resolution::Alias(_)) {
        return Vec::new();
    }
    let rule = view.rule(&service.host);
    if rule.is_some_and(|r| r.denies) {
        return Vec::new();
    }
    let mut built = Vec::new();
    for port in service.ports.iter().filter(|p| p.protocol != Protocol::Udp) {
        let general = rule.and_then(|r| r.rule.traffic_policy.as_deref());
        let of_port = policy::over_mesh(policy::for_port(general, port.number), &view.snapshot.mesh);
        let uses: &[Use] = if passes(view, service, port) { &[Use::Own, Use::Passed] } else { &[Use::Own] };
        let mut as_dialled = false;
        for purpose in uses {
            let whole = one(view, service, port, (None, *purpose), rule, of_port.clone());
            as_dialled |= whole.as_ref().is_some_and(|whole| whole.goes_where_dialled());
            built.extend(whole);
        }
        for subset in rule.into_iter().flat_map(|r| &r.rule.subsets) {
            let merged = policy::for_subset(of_port.clone(), subset.traffic_policy.as_deref(), port.number);
            // PASSTHROUGH of the whole, or in general of the subset, is not taken back by what follows for a port.
            let as_dialled = as_dialled || subset.traffic_policy.as_deref().is_some_and(policy::is_passthrough);
            for purpose in uses {
                built.extend(one(view, service, port, (Some((subset, as_dialled)), *purpose), rule, merged.clone()));
            }
        }
    }
    built
}

/// Whether a gateway passes the mesh's own TLS on to a port: of every service within the mesh.
pub(super) fn passes(view: &View<'_>, service: &Service, port: &ServicePort) -> bool {
    view.scope.passes_tls
        && !service.mesh_external
        && port.protocol != Protocol::Udp
        && !matches!(service.resolution, Resolution::Alias(_) | Resolution::DynamicDns)
}

/// None: a DNS cluster of which no endpoint is known. With a subset whether it goes to the address that was dialled.
fn one(
    view: &View<'_>,
    service: &Arc<Service>,
    port: &ServicePort,
    (subset, purpose): (Option<(&Subset, bool)>, Use),
    rule: Option<&Arc<MergedRule>>,
    policy: Option<TrafficPolicy>,
) -> Option<Built> {
    let mesh = &view.snapshot.mesh;
    let (subset, as_dialled) = subset.map_or((None, false), |(subset, as_dialled)| (Some(subset), as_dialled));
    let subset_name = subset.map_or("", |s| s.name.as_str());
    let tls = policy.as_ref().and_then(|p| p.tls.as_ref());
    let (name, who) = match purpose {
        Use::Own => (names::outbound_cluster(port.number, subset_name, &service.host), Who::All),
        Use::Passed => (names::passed_cluster(port.number, subset_name, &service.host), Who::of_own_tls(tls)),
    };
    let endpoints = view.snapshot.endpoints(service, port.number);
    let among = endpoints::Among { service, endpoints, subset: subset.map(|s| &s.labels), who };
    let found = endpoints::of(&name, among, None);
    let sidecar = view.scope.kind == NodeKind::Sidecar;
    let dialled = || Discovery::OriginalDst {
        header: false,
        port: (service.resolution == Resolution::Passthrough).then(|| other_port(view, service, port)).flatten(),
    };
    let discovery = match service.resolution {
        Resolution::DynamicDns if subset.is_some() || !is_dynamic(service, port) => return None,
        Resolution::DynamicDns => Discovery::DynamicDns(dns_cache(view)),
        _ if as_dialled => dialled(),
        Resolution::Dns if found.localities.is_empty() => return None,
        Resolution::DnsRoundRobin if found.localities.is_empty() => return None,
        Resolution::Dns => Discovery::StrictDns(found.clone()),
        Resolution::DnsRoundRobin => Discovery::LogicalDns(found.clone()),
        // A gateway's clients have dialled the gateway: only endpoints tell where to go.
        Resolution::Passthrough if sidecar => dialled(),
        _ => Discovery::Eds(String::new()),
    };
    let mut cluster = Cluster::new(name, discovery);
    if matches!(cluster.discovery, Discovery::StrictDns(_) | Discovery::LogicalDns(_)) {
        cluster.dns = DnsOptions {
            refresh: Some(mesh.dns_refresh_rate.into()),
            respect_ttl: true,
            jitter: Some(Duration::from_millis(100)),
            family: view.scope.dns_family,
        };
    }
    policy::protocol(&mut cluster, port.protocol, sidecar);
    policy::apply(&mut cluster, policy.as_ref(), port.protocol, mesh);
    match (purpose, tls) {
        (Use::Own, Some(tls)) => client_tls::apply(&mut cluster, tls, service),
        (Use::Own, None) => {}
        // What is passed on is the client's own bytes from the first.
        (Use::Passed, _) => cluster.proxy_protocol = None,
    }
    cluster.origins = rule.map(|r| r.origins.clone()).unwrap_or_default();
    cluster.origins.push(origin_of(&service.id, ""));
    cluster.service = Some(ClusterService {
        host: service.host.clone(),
        name: service.name.clone(),
        namespace: service.namespace.clone(),
        external: service.mesh_external,
    });
    let balance = match cluster.discovery {
        Discovery::DynamicDns(_) => None,
        _ => locality::of_cluster(policy.as_ref(), service, mesh),
    };
    cluster.locality_weighted = balance.as_ref().is_some_and(|balance| balance.weighted);
    let balance = balance.filter(|_| matches!(cluster.discovery, Discovery::Eds(_) | Discovery::StrictDns(_)));
    if service.distribution != TrafficDistribution::Any {
        // Endpoints that are not ready are known to the proxy, to be counted alone.
        cluster.panic_threshold = cluster.panic_threshold.or(Some(0));
    }
    let subset = subset.map(|subset| subset.labels.clone());
    let placing = balance.map(|balance| Arc::new(Placing { balance, port: port.number, subset, who }));
    let endpoints = matches!(cluster.discovery, Discovery::Eds(_)).then(|| Arc::new(found));
    Some(Built { name: cluster.name.as_str().into(), cluster: Arc::new(cluster), endpoints, placing })
}

/// Whether the names of a port's requests are looked up when they come: those of hosts with a wildcard, where HTTP or
/// TLS tells the name.
pub(super) fn is_dynamic(service: &Service, port: &ServicePort) -> bool {
    service.resolution == Resolution::DynamicDns
        && is_wildcard(&service.host)
        && matches!(port.protocol, Protocol::Http | Protocol::Http2 | Protocol::Grpc | Protocol::Tls)
}

/// One for all, so that one filter looks up for all clusters.
pub(super) fn dns_cache(view: &View<'_>) -> DnsCache {
    DnsCache { name: names::DNS_CACHE.to_string(), family: view.scope.dns_family, ..DnsCache::default() }
}

/// The port to dial where it is not the one that was dialled: a ServiceEntry's target port, or the port that
/// `amime up` opened for one that it cannot bind.
fn other_port(view: &View<'_>, service: &Service, port: &ServicePort) -> Option<u16> {
    let number = u16::try_from(port.number).ok()?;
    let found = match (service.registry, &port.target) {
        (Registry::ServiceEntry, TargetPort::Number(target)) => u16::try_from(*target).ok(),
        (Registry::ServiceEntry, TargetPort::Name(_)) => None,
        (Registry::Kubernetes, _) => {
            let mut endpoints = view.snapshot.endpoints(service, port.number).iter();
            endpoints.find(|e| e.ready && e.port == number).map(|e| e.bound_port)
        }
    };
    found.filter(|found| *found != number)
}

/// To the address that was dialled, whatever it is.
pub(super) fn passthrough(view: &View<'_>, name: &str) -> Cluster {
    let mesh = &view.snapshot.mesh;
    let mut cluster = Cluster::new(name, Discovery::OriginalDst { header: false, port: None });
    cluster.lb = LbPolicy::ClusterProvided;
    cluster.protocol = UpstreamProtocol::UseDownstream;
    let pool = mesh.default_traffic_policy.as_ref().and_then(|p| p.connection_pool.as_ref());
    policy::connection_pool(&mut cluster, pool, None, mesh);
    // Connections to nobody that the mesh knows are not kept long.
    cluster.idle_timeout = cluster.idle_timeout.or(Some(Duration::from_secs(300)));
    cluster.protocol = UpstreamProtocol::UseDownstream;
    cluster
}

/// Has no endpoint: connections are closed, requests get 503.
pub(super) fn black_hole(view: &View<'_>) -> Cluster {
    let name = names::BLACK_HOLE_CLUSTER;
    let nothing = ClusterEndpoints { cluster: name.to_string(), ..ClusterEndpoints::default() };
    let mut cluster = Cluster::new(name, Discovery::Static(nothing));
    cluster.connect_timeout = Some(view.snapshot.mesh.connect_timeout.into());
    cluster
}
