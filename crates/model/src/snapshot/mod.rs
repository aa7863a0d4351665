//! The snapshot: all that users wrote, validated, resolved and indexed; immutable.
//!
//! Only `Snapshot::build` makes one. `translate` and the tools read it.

mod again;
mod broken;
mod delegate;
mod destination_rule;
mod endpoints;
mod held;
pub(crate) mod locality;
mod names;
mod pod;
mod references;
mod registry;
mod saved;
mod service;
mod sidecar;
mod since;
mod vip;
mod virtual_service;

pub use delegate::Left;
pub use destination_rule::{DestinationRules, MergedRule, for_client};
pub use endpoints::{is_dns, target_in_pod};
pub use held::{Held, Pending};
pub(crate) use pod::CLUSTER;
pub use pod::{Pod, workload_name};
pub use saved::{Archive, SavedHeld, SavedObject};
pub use service::{
    Age, EndpointHost, EndpointsByPort, ExportTo, Labels, Registry, Resolution, Service, ServiceAddress,
    ServiceEndpoint, ServiceKey, ServicePort, TargetPort, TrafficDistribution, selects,
};
pub use since::RulesChange;
pub use virtual_service::{Health, ResolvedVirtualService, Rule, http_destinations, l4_destinations};

use broken::Broken;

use crate::config::Origin;
use crate::diagnostic::{Diagnostic, Place};
use crate::resource::{Gateway, Kind, MeshConfig, Object, ResourceId, ResourceSet, Secret, Sidecar, Spec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What `Snapshot::build` gives.
#[derive(Debug, Clone)]
pub struct Built {
    pub snapshot: Arc<Snapshot>,
    /// To be passed to the next build.
    pub held: Held,
    pub diagnostics: Vec<Diagnostic>,
}

#[derive(Debug, Clone)]
pub struct Snapshot {
    parts: Arc<Parts>,
    endpoints: Endpoints,
    objects: ResourceSet,
}

/// The endpoints of all services; of those that a change does not concern, the same ones as before it.
type Endpoints = BTreeMap<ServiceKey, Arc<EndpointsByPort>>;

/// All of a snapshot but for endpoints, which change far more often; see [`Snapshot::endpoints_changed_since`].
#[derive(Debug)]
pub struct Parts {
    pub mesh: MeshConfig,
    /// The oldest first.
    services: Vec<Arc<Service>>,
    by_host: BTreeMap<String, BTreeMap<String, Arc<Service>>>,
    pods: BTreeMap<(String, String), Arc<Pod>>,
    /// Roots with their delegates merged in, the oldest first.
    virtual_services: Vec<Arc<ResolvedVirtualService>>,
    /// Indexes into `virtual_services` by `mesh` or gateway.
    by_gateway: BTreeMap<String, Vec<usize>>,
    pub destination_rules: DestinationRules,
    /// The oldest first.
    gateways: Vec<GatewayObject>,
    /// Those for some workloads first, then the oldest first.
    sidecars: Vec<SidecarObject>,
    secrets: BTreeMap<(String, String), Arc<Secret>>,
    /// What is in force and was not written so: last good versions, and what these refer to.
    in_place: BTreeMap<ResourceId, Arc<Object>>,
    pending: Vec<Pending>,
    /// The label keys that decide something for a sidecar (sourceLabels and workload selectors).
    label_keys: BTreeSet<String>,
    /// The label keys of clients that decide which endpoints are near; None where no client's place decides anything.
    place_keys: Option<BTreeSet<String>>,
    left: Vec<Left>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct GatewayObject {
    pub id: ResourceId,
    pub spec: Arc<Gateway>,
    /// Indexes of servers that are not understood: their ports are not opened.
    pub broken: BTreeSet<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SidecarObject {
    pub id: ResourceId,
    pub spec: Arc<Sidecar>,
}

impl std::ops::Deref for Snapshot {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Snapshot {
    /// The one way to a snapshot. `held` is what the build before gave; empty for tools that read files once.
    pub fn build(resources: &ResourceSet, mesh: &MeshConfig, held: &Held) -> Built {
        Self::build_after(resources, mesh, held, None)
    }

    /// As `build`, with what the build before gave, whose parts it takes over where they are the same: what comes
    /// out is equal, but whoever made something of those parts can tell that it still holds.
    pub fn build_after(resources: &ResourceSet, mesh: &MeshConfig, held: &Held, last: Option<&Built>) -> Built {
        if let Some(built) = last.and_then(|last| again::endpoints_alone(resources, mesh, held, last)) {
            return built;
        }
        let effective = held::effective(resources, held);
        let (mut parts, endpoints, found) = Parts::of(&effective.resources, mesh, last.map(|last| &*last.snapshot));
        parts.in_place = effective.in_place(resources);
        parts.pending = effective.pending;
        let snapshot = Self { parts: Arc::new(parts), endpoints, objects: resources.clone() };
        let mut diagnostics = effective.diagnostics;
        diagnostics.extend(found);
        Built { snapshot: Arc::new(snapshot), held: effective.held, diagnostics }
    }
}

impl Parts {
    fn of(resources: &ResourceSet, mesh: &MeshConfig, last: Option<&Snapshot>) -> (Self, Endpoints, Vec<Diagnostic>) {
        let mut services = registry::services(resources, mesh);
        let pods = pod::pods(resources);
        let entries = pod::workload_entries(resources);
        let mut endpoints = endpoints::Sources::new(resources, &pods, &entries).all(&services);
        let (virtual_services, left, mut diagnostics) = resolve_virtual_services(resources, mesh);
        diagnostics.extend(left.iter().map(|l| l.diagnostic(resources)));
        let mut by_gateway: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, vs) in virtual_services.iter().enumerate() {
            for gateway in vs.gateways.iter().collect::<BTreeSet<_>>() {
                by_gateway.entry(gateway.clone()).or_default().push(index);
            }
        }
        let rules: Vec<_> = resources
            .of_kind(Kind::DestinationRule)
            .filter_map(|object| match &object.spec {
                Spec::DestinationRule(rule) if !rule.host.is_empty() => Some((&**object, &**rule)),
                _ => None,
            })
            .collect();
        let mut destination_rules =
            DestinationRules::build(&rules, &mesh.default_destination_rule_export_to, &mesh.root_namespace);
        if let Some(last) = last {
            again::keep_services(&mut services, last);
            again::keep_endpoints(&mut endpoints, last);
            destination_rules.keep(&last.destination_rules);
        }
        let sidecars = sidecars(resources);
        let label_keys = label_keys(&virtual_services, &destination_rules, &sidecars);
        let place_keys = locality::sought(&destination_rules, &services, mesh);
        let parts = Self {
            mesh: mesh.clone(),
            by_host: by_host(&services),
            services,
            pods,
            virtual_services,
            by_gateway,
            destination_rules,
            gateways: gateways(resources),
            sidecars,
            secrets: secrets(resources),
            in_place: BTreeMap::new(),
            pending: Vec::new(),
            label_keys,
            place_keys,
            left,
        };
        (parts, endpoints, diagnostics)
    }
}

impl Snapshot {
    /// All services, the oldest first.
    pub fn services(&self) -> &[Arc<Service>] {
        &self.services
    }

    /// Those that a namespace may see: the ones for some namespaces first, then those for everyone.
    pub fn services_for(&self, namespace: &str) -> impl Iterator<Item = &Arc<Service>> {
        let some = self.services.iter().filter(move |s| match &s.export_to {
            ExportTo::Everyone => false,
            ExportTo::Namespaces(set) => set.contains(namespace),
        });
        some.chain(self.services.iter().filter(|s| s.export_to == ExportTo::Everyone))
    }

    /// The services of one host name, by namespace.
    pub fn services_of_host(&self, host: &str) -> Option<&BTreeMap<String, Arc<Service>>> {
        self.by_host.get(host)
    }

    /// All endpoints of a service: the same ones as in the snapshot before, where they have not changed.
    pub(crate) fn all_endpoints(&self, service: &Service) -> Option<&Arc<EndpointsByPort>> {
        self.endpoints.get(&service.key())
    }

    /// The endpoints of a service port.
    pub fn endpoints(&self, service: &Service, port: u32) -> &[ServiceEndpoint] {
        self.endpoints.get(&service.key()).and_then(|ports| ports.get(&port)).map_or(&[], Vec::as_slice)
    }

    pub fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.values()
    }

    pub fn pod(&self, namespace: &str, name: &str) -> Option<&Arc<Pod>> {
        self.pods.get(&(namespace.to_string(), name.to_string()))
    }

    /// The oldest first.
    pub fn virtual_services(&self) -> &[Arc<ResolvedVirtualService>] {
        &self.virtual_services
    }

    /// The VirtualServices of a gateway (`mesh` or `namespace/name`) that a namespace may see: its own private
    /// ones first, then those for it among others, then those for everyone, each the oldest first.
    pub fn virtual_services_for(&self, namespace: &str, gateway: &str) -> Vec<&Arc<ResolvedVirtualService>> {
        let seen = |vs: &&Arc<ResolvedVirtualService>| vs.export_to.includes(namespace);
        let mut found: Vec<_> = self.virtual_services_of(gateway).filter(seen).collect();
        found.sort_by_key(|vs| match &vs.export_to {
            ExportTo::Everyone => 2,
            ExportTo::Namespaces(_) if &*vs.id.namespace == namespace => 0,
            ExportTo::Namespaces(_) => 1,
        });
        found
    }

    /// The VirtualServices of a gateway, whoever may see them, the oldest first.
    pub fn virtual_services_of(&self, gateway: &str) -> impl Iterator<Item = &Arc<ResolvedVirtualService>> {
        self.by_gateway.get(gateway).into_iter().flatten().map(|index| &self.virtual_services[*index])
    }

    pub fn gateways(&self) -> &[GatewayObject] {
        &self.gateways
    }

    /// The Sidecar of a workload: its namespace's, else the root namespace's.
    pub fn sidecar_of(&self, namespace: &str, labels: &Labels) -> Option<&SidecarObject> {
        let applies = |s: &&SidecarObject| s.spec.workload_selector.as_ref().is_none_or(|w| selects(&w.labels, labels));
        let of = |ns: &str| self.sidecars.iter().filter(|s| &*s.id.namespace == ns).find(applies);
        let root = self.mesh.root_namespace.as_str();
        let of_root = || self.sidecars.iter().find(|s| &*s.id.namespace == root && s.spec.workload_selector.is_none());
        of(namespace).or_else(of_root)
    }

    /// Whether there is a Secret at all: where there is none, certificates are kept elsewhere.
    pub fn has_secrets(&self) -> bool {
        !self.secrets.is_empty()
    }

    pub fn secret(&self, namespace: &str, name: &str) -> Option<&Arc<Secret>> {
        self.secrets.get(&(namespace.to_string(), name.to_string()))
    }

    /// Label keys by which something chooses among workloads: a sidecar's view depends on no others.
    pub fn label_keys(&self) -> &BTreeSet<String> {
        &self.label_keys
    }

    /// The label keys that, with its locality, decide which endpoints are near to a proxy; None where its place decides
    /// nothing.
    pub fn place_keys(&self) -> Option<&BTreeSet<String>> {
        self.place_keys.as_ref()
    }

    /// What delegation left out.
    pub fn left(&self) -> &[Left] {
        &self.left
    }

    /// The object as written.
    pub fn object(&self, id: &ResourceId) -> Option<&Arc<Object>> {
        self.objects.get(id)
    }

    /// The objects in force, by kind, namespace and name: last good versions in the place of what is not fit.
    pub fn in_force(&self) -> impl Iterator<Item = &Arc<Object>> {
        let written = self.objects.iter().filter(|object| !self.in_place.contains_key(&object.id));
        let mut all: Vec<_> = written.chain(self.in_place.values()).collect();
        all.sort_by(|one, other| one.id.cmp(&other.id));
        all.into_iter()
    }

    /// Whether an object in force is not the one that was written.
    pub fn is_held(&self, id: &ResourceId) -> bool {
        self.in_place.contains_key(id)
    }

    /// The references that lead nowhere, in the order of the objects.
    pub fn pending(&self) -> &[Pending] {
        &self.pending
    }

    /// File, line and column of what compiled into something.
    pub fn place(&self, origin: &Origin) -> Option<Place> {
        let kind = Kind::ALL.iter().copied().find(|k| k.as_str() == origin.kind)?;
        let id = ResourceId::new(kind, origin.namespace.as_str(), origin.name.as_str());
        self.objects.get(&id)?.place(&origin.path)
    }
}

/// An origin in this object.
pub fn origin_of(id: &ResourceId, path: impl Into<String>) -> Origin {
    Origin {
        kind: id.kind.as_str().to_string(),
        namespace: id.namespace.to_string(),
        name: id.name.to_string(),
        path: path.into(),
    }
}

fn resolve_virtual_services(
    resources: &ResourceSet,
    mesh: &MeshConfig,
) -> (Vec<Arc<ResolvedVirtualService>>, Vec<Left>, Vec<Diagnostic>) {
    let mut roots = Vec::new();
    let mut delegates = BTreeMap::new();
    let mut diagnostics = Vec::new();
    for object in resources.of_kind(Kind::VirtualService) {
        let Spec::VirtualService(spec) = &object.spec else { continue };
        let (resolved, found) = virtual_service::resolve(object, spec, &mesh.default_virtual_service_export_to);
        diagnostics.extend(found);
        if resolved.is_delegate() {
            delegates.insert((resolved.id.namespace.to_string(), resolved.id.name.to_string()), resolved);
        } else {
            roots.push(resolved);
        }
    }
    roots.sort_by(|a, b| a.age.cmp(&b.age));
    let find = |namespace: &str, name: &str| delegates.get(&(namespace.to_string(), name.to_string()));
    let mut left = Vec::new();
    for root in roots.iter_mut().filter(|r| r.has_delegates()) {
        let (rules, out) = delegate::merge(root, &find);
        root.http = rules;
        left.extend(out);
    }
    (roots.into_iter().map(Arc::new).collect(), left, diagnostics)
}

/// Of services of one host in one namespace the oldest counts, a Kubernetes Service before a ServiceEntry.
fn by_host(services: &[Arc<Service>]) -> BTreeMap<String, BTreeMap<String, Arc<Service>>> {
    let mut by_host: BTreeMap<String, BTreeMap<String, Arc<Service>>> = BTreeMap::new();
    for service in services {
        let of_host = by_host.entry(service.host.clone()).or_default();
        match of_host.get(&service.namespace) {
            Some(known) if !(known.registry == Registry::ServiceEntry && service.registry == Registry::Kubernetes) => {}
            _ => {
                of_host.insert(service.namespace.clone(), service.clone());
            }
        }
    }
    by_host
}

fn gateways(resources: &ResourceSet) -> Vec<GatewayObject> {
    let mut found: Vec<_> = resources
        .of_kind(Kind::Gateway)
        .filter_map(|object| match &object.spec {
            Spec::Gateway(spec) => {
                let fields = Broken::of(object);
                // With the selector unknown, no pod may serve any of it.
                let all = fields.at("spec.selector") || fields.whole("spec") || fields.has_unknown(&["servers"]);
                let broken =
                    (0..spec.servers.len()).filter(|i| all || fields.at(&format!("spec.servers[{i}]"))).collect();
                Some((Age::of(object), GatewayObject { id: object.id.clone(), spec: spec.clone(), broken }))
            }
            _ => None,
        })
        .collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found.into_iter().map(|(_, gateway)| gateway).collect()
}

fn sidecars(resources: &ResourceSet) -> Vec<SidecarObject> {
    let mut found: Vec<_> = resources
        .of_kind(Kind::Sidecar)
        .filter_map(|object| match &object.spec {
            Spec::Sidecar(spec) => {
                let spec = sidecar::effective(object, spec)?;
                Some((Age::of(object), SidecarObject { id: object.id.clone(), spec }))
            }
            _ => None,
        })
        .collect();
    found.sort_by(|(a, sa), (b, sb)| {
        (sa.spec.workload_selector.is_none(), a).cmp(&(sb.spec.workload_selector.is_none(), b))
    });
    found.into_iter().map(|(_, sidecar)| sidecar).collect()
}

fn secrets(resources: &ResourceSet) -> BTreeMap<(String, String), Arc<Secret>> {
    resources
        .of_kind(Kind::Secret)
        .filter_map(|object| match &object.spec {
            Spec::Secret(secret) => {
                Some(((object.id.namespace.to_string(), object.id.name.to_string()), secret.clone()))
            }
            _ => None,
        })
        .collect()
}

fn label_keys(
    virtual_services: &[Arc<ResolvedVirtualService>],
    rules: &DestinationRules,
    sidecars: &[SidecarObject],
) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for vs in virtual_services {
        let http = vs.http.iter().flat_map(|r| r.route.matches.iter().map(|m| &m.source_labels));
        let tls = vs.tls.iter().flat_map(|r| r.route.matches.iter().map(|m| &m.source_labels));
        let tcp = vs.tcp.iter().flat_map(|r| r.route.matches.iter().map(|m| &m.source_labels));
        keys.extend(http.chain(tls).chain(tcp).flat_map(|labels| labels.keys().cloned()));
    }
    keys.extend(rules.all().filter_map(|r| r.client_labels()).flat_map(|labels| labels.keys().cloned()));
    keys.extend(
        sidecars.iter().filter_map(|s| s.spec.workload_selector.as_ref()).flat_map(|w| w.labels.keys().cloned()),
    );
    keys
}
