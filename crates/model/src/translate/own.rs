//! Own: what of a proxy's configuration is its pod's alone, beside what it shares with others of its view.
//!
//! `control` keeps it apart, so that a thousand proxies of one view cost one view and a thousand of these.

use super::node::{NodeKind, Scope};
use super::view::View;
use super::{Exclusion, Translation, checked, gateway, inbound, names, virtual_outbound};
use crate::config::{
    Cluster, ClusterEndpoints, Discovery, EndpointAddress, Listener, ProxyConfig, RouteConfig, VirtualHost,
};
use crate::snapshot::{Service, ServicePort, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// As much of a shared translation as decides what is a proxy's own.
#[derive(Debug, Clone, Default)]
pub struct Outline {
    /// Whose connections each listener takes; None: it has a socket of its own.
    listeners: BTreeMap<Arc<str>, Option<IpAddr>>,
    with_sockets: Vec<Arc<Listener>>,
    routes: BTreeSet<Arc<str>>,
    clusters: BTreeSet<Arc<str>>,
    /// Clusters all of whose endpoints are loopback addresses.
    on_this_machine: Vec<Arc<Cluster>>,
}

/// A proxy's own configuration.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// In the place of what is shared under the same name.
    pub config: ProxyConfig,
    /// Shared listeners that it does not get.
    pub without: BTreeSet<Arc<str>>,
    pub exclusions: Vec<Exclusion>,
}

impl Outline {
    pub fn of(shared: &Translation) -> Self {
        let config = &shared.config;
        let on_this_machine = |(name, cluster): &(&Arc<str>, &Arc<Cluster>)| {
            is_on_this_machine(cluster, config.endpoints.get(*name).map(|endpoints| &**endpoints))
        };
        let of_machine = config.clusters.iter().filter(on_this_machine);
        Self {
            listeners: config
                .listeners
                .iter()
                .map(|(name, l)| (name.clone(), (!l.bind_to_port).then(|| l.address.ip())))
                .collect(),
            with_sockets: config.listeners.values().filter(|l| l.bind_to_port).cloned().collect(),
            routes: config.routes.keys().cloned().collect(),
            clusters: config.clusters.keys().cloned().collect(),
            on_this_machine: of_machine.map(|(_, cluster)| cluster.clone()).collect(),
        }
    }
}

/// What is the pod's own: where its proxy listens, what is behind it, and clusters that are bound to its address.
pub fn translate_own(snapshot: &Snapshot, scope: &Scope, shared: &Outline) -> Own {
    let mut own = Own::default();
    if let Some(source) = scope.local.bind_source() {
        for cluster in &shared.on_this_machine {
            let bound = Cluster { bind_source: Some(source), ..(**cluster).clone() };
            own.config.clusters.insert(cluster.name.as_str().into(), Arc::new(bound));
        }
    }
    match scope.shared.kind {
        NodeKind::Gateway => {
            let view = View::of(snapshot, &scope.shared);
            let gateways = gateway::build(&view, scope, &mut own.exclusions);
            gateways.listeners.into_iter().for_each(|l| own.add_listener(l, shared));
            gateways.routes.into_iter().for_each(|r| own.add_routes(r, shared));
            for secret in gateways.secrets {
                own.config.secrets.insert(secret.name().into(), Arc::new(secret));
            }
        }
        NodeKind::Sidecar => {
            let view = View::own(snapshot, &scope.shared, scope.local.targets.iter().map(|t| &t.service));
            // Traffic to itself does not go through its own outbound side.
            let addresses = &scope.local.addresses;
            let to_itself = shared.listeners.iter().filter(|(_, ip)| ip.is_some_and(|ip| addresses.contains(&ip)));
            own.without.extend(to_itself.map(|(name, _)| name.clone()));
            if scope.local.place.is_some() {
                // One machine has all pods of `up`, and their applications dial by way of the capture.
                for listener in &shared.with_sockets {
                    let captured = Listener { bind_to_port: false, ..(**listener).clone() };
                    own.config.listeners.insert(listener.name.as_str().into(), Arc::new(captured));
                }
            }
            let inbound = inbound::build(&view, &scope.local, &|service| shared.has_service(service));
            inbound.listeners.into_iter().for_each(|l| own.add_listener(l, shared));
            inbound.clusters.into_iter().for_each(|c| own.add_cluster(c, shared));
            own.add_listener(virtual_outbound::build(&view, &scope.local), shared);
        }
    }
    own
}

impl Outline {
    /// Is there a cluster for one of its ports?
    fn has_service(&self, service: &Service) -> bool {
        let name = |port: &ServicePort| names::outbound_cluster(port.number, "", &service.host);
        service.ports.iter().any(|port| self.clusters.contains(name(port).as_str()))
    }

    /// Are all clusters there that a virtual host names?
    pub(super) fn has_clusters_of(&self, host: &VirtualHost) -> bool {
        host.clusters().all(|cluster| self.clusters.contains(cluster))
    }
}

impl Own {
    /// The whole of the proxy's configuration.
    pub fn over(self, shared: &Translation) -> Translation {
        let mut result = shared.clone();
        result.config.listeners.retain(|name, _| !self.without.contains(name));
        result.config.listeners.extend(self.config.listeners);
        result.config.routes.extend(self.config.routes);
        result.config.clusters.extend(self.config.clusters);
        result.config.endpoints.extend(self.config.endpoints);
        result.config.secrets.extend(self.config.secrets);
        result.exclusions.extend(self.exclusions);
        result
    }

    // What is shared comes first, and of two of one name the first counts.

    fn add_listener(&mut self, listener: Listener, shared: &Outline) {
        let name: Arc<str> = listener.name.as_str().into();
        if self.without.contains(&name) || !shared.listeners.contains_key(&name) {
            self.config.listeners.entry(name).or_insert_with(|| Arc::new(listener));
        }
    }

    fn add_routes(&mut self, routes: RouteConfig, shared: &Outline) {
        let name: Arc<str> = routes.name.as_str().into();
        if !shared.routes.contains(&name) {
            let is_there =
                |cluster: &str| shared.clusters.contains(cluster) || self.config.clusters.contains_key(cluster);
            let routes = checked(routes, is_there);
            self.config.routes.entry(name).or_insert_with(|| Arc::new(routes));
        }
    }

    fn add_cluster(&mut self, cluster: Cluster, shared: &Outline) {
        let name: Arc<str> = cluster.name.as_str().into();
        if !shared.clusters.contains(&name) {
            self.config.clusters.entry(name).or_insert_with(|| Arc::new(cluster));
        }
    }
}

/// Are all of a cluster's endpoints loopback addresses? From those no other network can be reached.
fn is_on_this_machine(cluster: &Cluster, endpoints: Option<&ClusterEndpoints>) -> bool {
    let endpoints = match &cluster.discovery {
        Discovery::Eds(_) => endpoints,
        Discovery::Static(endpoints) => Some(endpoints),
        // Of a headless service clients dial the pods.
        Discovery::OriginalDst { .. } => {
            return cluster.origins.iter().any(|origin| origin.kind == "Service");
        }
        Discovery::StrictDns(_) | Discovery::LogicalDns(_) | Discovery::DynamicDns(_) | Discovery::Opaque(_) => None,
    };
    let mut all = endpoints.into_iter().flat_map(|e| &e.localities).flat_map(|l| &l.endpoints);
    all.all(|e| matches!(&e.address, EndpointAddress::Socket(address) if address.ip().is_loopback()))
        && endpoints.is_some()
}
