//! Outbound clusters: one for each service port, and one for each subset.
//!
//! `translate` calls it for every service that a view sees.

use super::node::NodeKind;
use super::view::View;
use super::{client_tls, endpoints, names, policy};
use crate::config::{Cluster, ClusterEndpoints, ClusterService, Discovery, DnsOptions, LbPolicy, UpstreamProtocol};
use crate::protocol::Protocol;
use crate::resource::destination_rule::{Subset, TrafficPolicy};
use crate::snapshot::{MergedRule, Registry, Resolution, Service, ServicePort, TargetPort, origin_of};
use std::sync::Arc;
use std::time::Duration;

/// A cluster with its endpoints, where these come by EDS.
pub(super) struct Built {
    pub cluster: Cluster,
    pub endpoints: Option<ClusterEndpoints>,
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
        let general = rule.and_then(|r| r.rule.traffic_policy.as_ref());
        let of_port = policy::over_mesh(policy::for_port(general, port.number), &view.snapshot.mesh);
        built.extend(one(view, service, port, None, rule, of_port));
        for subset in rule.into_iter().flat_map(|r| &r.rule.subsets) {
            let merged = policy::for_subset(general, subset.traffic_policy.as_ref(), port.number);
            let merged = policy::over_mesh(merged, &view.snapshot.mesh);
            built.extend(one(view, service, port, Some(subset), rule, merged));
        }
    }
    built
}

/// None: a DNS cluster of which no endpoint is known.
fn one(
    view: &View<'_>,
    service: &Arc<Service>,
    port: &ServicePort,
    subset: Option<&Subset>,
    rule: Option<&Arc<MergedRule>>,
    policy: Option<TrafficPolicy>,
) -> Option<Built> {
    let mesh = &view.snapshot.mesh;
    let name = names::outbound_cluster(port.number, subset.map_or("", |s| s.name.as_str()), &service.host);
    let found = endpoints::of(&name, view.snapshot.endpoints(service, port.number), subset.map(|s| &s.labels));
    let sidecar = view.scope.kind == NodeKind::Sidecar;
    let discovery = match service.resolution {
        Resolution::Dns if found.localities.is_empty() => return None,
        Resolution::DnsRoundRobin if found.localities.is_empty() => return None,
        Resolution::Dns => Discovery::StrictDns(found.clone()),
        Resolution::DnsRoundRobin => Discovery::LogicalDns(found.clone()),
        // A gateway's clients have dialled the gateway: only endpoints tell where to go.
        Resolution::Passthrough if sidecar => {
            Discovery::OriginalDst { header: false, port: other_port(view, service, port) }
        }
        _ => Discovery::Eds(String::new()),
    };
    let mut cluster = Cluster::new(name, discovery);
    if matches!(cluster.discovery, Discovery::StrictDns(_) | Discovery::LogicalDns(_)) {
        cluster.dns = DnsOptions {
            refresh: Some(mesh.dns_refresh_rate.into()),
            respect_ttl: true,
            jitter: Some(Duration::from_millis(100)),
            ..DnsOptions::default()
        };
    }
    policy::protocol(&mut cluster, port.protocol, sidecar);
    policy::apply(&mut cluster, policy.as_ref(), port.protocol, mesh);
    if let Some(tls) = policy.as_ref().and_then(|p| p.tls.as_ref()) {
        client_tls::apply(&mut cluster, tls, service);
    }
    cluster.origins = rule.map(|r| r.origins.clone()).unwrap_or_default();
    cluster.origins.push(origin_of(&service.id, ""));
    cluster.service = Some(ClusterService {
        host: service.host.clone(),
        name: service.name.clone(),
        namespace: service.namespace.clone(),
        external: service.mesh_external,
    });
    let endpoints = matches!(cluster.discovery, Discovery::Eds(_)).then_some(found);
    Some(Built { cluster, endpoints })
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
