//! View: the services, VirtualServices and DestinationRules that one group of proxies sees, and through which
//! of its listeners: exportTo, Sidecars, and which of several services of one name counts.
//!
//! Made once for a translation; routes, listeners and clusters are built from it.

use super::egress::{Egress, HostFilter};
use super::node::{NodeKind, SharedScope};
use crate::resource::mesh_config::OutboundMode;
use crate::resource::sidecar::{SidecarOutboundMode, SidecarOutboundPolicy};
use crate::resource::virtual_service::{Destination, HttpRoute};
use crate::snapshot::{
    MergedRule, Registry, ResolvedVirtualService, Service, ServiceKey, ServicePort, SidecarObject, Snapshot,
    for_client, http_destinations, l4_destinations,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) struct View<'s> {
    pub snapshot: &'s Snapshot,
    pub scope: &'s SharedScope,
    pub sidecar: Option<&'s SidecarObject>,
    /// One for a gateway or where no Sidecar applies.
    pub egress: Vec<Egress>,
    /// All services that have clusters, in the order in which they were found.
    pub services: Vec<Arc<Service>>,
    by_host: BTreeMap<String, usize>,
    rules: BTreeMap<String, Arc<MergedRule>>,
    pub outbound: OutboundPolicy,
}

/// What happens to traffic for destinations that the mesh does not know.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum OutboundPolicy {
    AllowAny,
    /// To this destination instead.
    Proxy(Destination),
    RegistryOnly,
}

impl<'s> View<'s> {
    /// Of a sidecar's own side: these hosts' services alone, and nothing of what others offer.
    pub(super) fn own(
        snapshot: &'s Snapshot,
        scope: &'s SharedScope,
        hosts: impl IntoIterator<Item = &'s ServiceKey>,
    ) -> Self {
        let mut view = Self::empty(snapshot, scope);
        for key in hosts {
            let service = snapshot.services_of_host(&key.host).and_then(|s| s.get(&key.namespace));
            service.into_iter().for_each(|service| view.add(service.clone()));
        }
        view.find_rules();
        view
    }

    /// As much of a view as tells of these of its services.
    pub(super) fn among(
        snapshot: &'s Snapshot,
        scope: &'s SharedScope,
        services: impl IntoIterator<Item = Arc<Service>>,
    ) -> Self {
        let mut view = Self::empty(snapshot, scope);
        services.into_iter().for_each(|service| view.add(service));
        view.find_rules();
        view
    }

    pub(super) fn of(snapshot: &'s Snapshot, scope: &'s SharedScope) -> Self {
        let mut view = Self::empty(snapshot, scope);
        match scope.kind {
            NodeKind::Gateway => {
                for service in snapshot.services_for(&scope.namespace) {
                    view.add(service.clone());
                }
            }
            NodeKind::Sidecar => view.add_egress(),
        }
        view.find_rules();
        view
    }

    fn empty(snapshot: &'s Snapshot, scope: &'s SharedScope) -> Self {
        let sidecar = match scope.kind {
            NodeKind::Gateway => None,
            NodeKind::Sidecar => snapshot.sidecar_of(&scope.namespace, &scope.labels),
        };
        Self {
            snapshot,
            scope,
            sidecar,
            egress: Vec::new(),
            services: Vec::new(),
            by_host: BTreeMap::new(),
            rules: BTreeMap::new(),
            outbound: outbound_policy(snapshot, sidecar),
        }
    }

    /// The service of that host name that this view means.
    pub(super) fn service(&self, host: &str) -> Option<&Arc<Service>> {
        self.by_host.get(host).map(|index| &self.services[*index])
    }

    /// The DestinationRule for a host that has a service.
    pub(super) fn rule(&self, host: &str) -> Option<&Arc<MergedRule>> {
        self.rules.get(host)
    }

    /// The DestinationRule for a service that is for all clients, whatever rule there is for those of this view.
    pub(super) fn rule_for_all(&self, service: &Service) -> Option<Arc<MergedRule>> {
        let candidates = self.snapshot.destination_rules.candidates(&self.scope.namespace, service);
        candidates.into_iter().rfind(|rule| rule.client_labels().is_none())
    }

    /// Do clients of this view see the service?
    pub(super) fn sees(&self, service: &Service) -> bool {
        service.export_to.includes(&self.scope.namespace)
    }

    fn add_egress(&mut self) {
        let listeners = match self.sidecar {
            Some(sidecar) if !sidecar.spec.egress.is_empty() => sidecar.spec.egress.as_slice(),
            _ => &[],
        };
        if listeners.is_empty() {
            self.egress.push(Egress::everything(self.snapshot, self.scope));
        }
        for listener in listeners {
            let filter = HostFilter::of(&listener.hosts, &self.scope.namespace);
            self.egress.push(Egress::of(self.snapshot, self.scope, listener, &filter));
        }
        for index in 0..self.egress.len() {
            let egress = &self.egress[index];
            let own = egress.services.clone();
            let virtual_services = egress.virtual_services.clone();
            let match_port = egress.match_port();
            for service in own {
                self.add(service);
            }
            for vs in virtual_services {
                self.add_destinations(&vs, match_port);
            }
        }
    }

    /// A destination of a VirtualService is seen although no egress host names it.
    fn add_destinations(&mut self, vs: &ResolvedVirtualService, match_port: Option<u32>) {
        let namespace = self.scope.namespace.as_str();
        for (host, ports) in destinations(vs, namespace) {
            let Some(by_namespace) = self.snapshot.services_of_host(&host) else { continue };
            let service = match by_namespace.get(namespace) {
                Some(service) => Some(service),
                None => best_visible(by_namespace, namespace),
            };
            let trimmed = service.and_then(|service| match match_port {
                Some(port) => with_port(service, port),
                None => with_some_ports(service, &ports),
            });
            if let Some(service) = trimmed {
                self.add(service);
            }
        }
    }

    /// Adds a service; of several of one host name the first counts, a Kubernetes Service before a ServiceEntry,
    /// and parts of one service are put together.
    fn add(&mut self, service: Arc<Service>) {
        let Some(index) = self.by_host.get(&service.host).copied() else {
            self.by_host.insert(service.host.clone(), self.services.len());
            self.services.push(service);
            return;
        };
        let existing = &self.services[index];
        if Arc::ptr_eq(existing, &service) {
            return;
        }
        let kubernetes = |s: &Service| s.registry == Registry::Kubernetes;
        if kubernetes(existing) && !kubernetes(&service) {
            return;
        }
        if !kubernetes(existing) && kubernetes(&service) {
            self.services[index] = service;
            return;
        }
        if existing.ports == service.ports || !can_merge(existing, &service) {
            return;
        }
        let mut merged = (**existing).clone();
        for port in &service.ports {
            if merged.port(port.number).is_none() {
                merged.ports.push(port.clone());
            }
        }
        self.services[index] = Arc::new(merged);
    }

    fn find_rules(&mut self) {
        for service in &self.services {
            let candidates = self.snapshot.destination_rules.candidates(&self.scope.namespace, service);
            if let Some(rule) = for_client(&candidates, &self.scope.namespace, &self.scope.labels) {
                self.rules.insert(service.host.clone(), rule.clone());
            }
        }
    }
}

fn outbound_policy(snapshot: &Snapshot, sidecar: Option<&SidecarObject>) -> OutboundPolicy {
    match sidecar.and_then(|s| s.spec.outbound_traffic_policy.as_ref()) {
        Some(SidecarOutboundPolicy { mode: SidecarOutboundMode::RegistryOnly, .. }) => OutboundPolicy::RegistryOnly,
        Some(SidecarOutboundPolicy { egress_proxy: Some(destination), .. }) => {
            OutboundPolicy::Proxy(destination.clone())
        }
        Some(_) => OutboundPolicy::AllowAny,
        None => match snapshot.mesh.outbound_traffic_policy.mode {
            OutboundMode::RegistryOnly => OutboundPolicy::RegistryOnly,
            OutboundMode::AllowAny | OutboundMode::AllowAnyDynamicDns => OutboundPolicy::AllowAny,
        },
    }
}

/// A Kubernetes Service that is visible, else the oldest ServiceEntry's.
fn best_visible<'a>(by_namespace: &'a BTreeMap<String, Arc<Service>>, namespace: &str) -> Option<&'a Arc<Service>> {
    let visible = || by_namespace.values().filter(|s| s.export_to.includes(namespace));
    visible().find(|s| s.registry == Registry::Kubernetes).or_else(|| visible().min_by_key(|s| s.age.clone()))
}

fn can_merge(a: &Service, b: &Service) -> bool {
    a.namespace == b.namespace
        && a.resolution == b.resolution
        && a.registry == b.registry
        && a.labels == b.labels
        && a.selector == b.selector
        && a.export_to == b.export_to
}

/// The service with this port alone; None where it has not got it.
pub(super) fn with_port(service: &Arc<Service>, number: u32) -> Option<Arc<Service>> {
    let port = service.port(number)?.clone();
    Some(service.with_ports(vec![port]))
}

/// The service with those of the ports that it has; 0 among them means all.
fn with_some_ports(service: &Arc<Service>, ports: &BTreeSet<u32>) -> Option<Arc<Service>> {
    if ports.is_empty() || ports.contains(&0) {
        return Some(service.clone());
    }
    let found: Vec<ServicePort> = service.ports.iter().filter(|p| ports.contains(&p.number)).cloned().collect();
    (!found.is_empty()).then(|| service.with_ports(found))
}

/// The hosts that a VirtualService sends to, with the ports; 0 where a destination names none. Rules for sources
/// of other namespaces do not count.
fn destinations(vs: &ResolvedVirtualService, namespace: &str) -> BTreeMap<String, BTreeSet<u32>> {
    let mut found: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    let mut add = |destination: &Destination| {
        let port = destination.port.as_ref().map_or(0, |p| p.number);
        found.entry(destination.host.clone()).or_default().insert(port);
    };
    for rule in vs.http.iter().filter(|rule| from_here(&rule.route, namespace)) {
        http_destinations(&rule.route).for_each(&mut add);
    }
    vs.tcp.iter().for_each(|rule| l4_destinations(&rule.route.route).for_each(&mut add));
    vs.tls.iter().for_each(|rule| l4_destinations(&rule.route.route).for_each(&mut add));
    found
}

/// As Istio's: all matches are looked at, and the last one that names a namespace counts unless an earlier fits.
fn from_here(route: &HttpRoute, namespace: &str) -> bool {
    let mut fits = true;
    for m in route.matches.iter().filter(|m| !m.source_namespace.is_empty()) {
        fits = m.source_namespace == namespace;
        if fits {
            break;
        }
    }
    fits
}
