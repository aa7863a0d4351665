//! AM-E3: exportTo that hides a Service, ServiceEntry or DestinationRule from those whom a VirtualService or Sidecar
//! leads to it. `effect` calls it.
//!
//! What a VirtualService's own namespace does not see is told of its route (IST0101); here it is the clients that follow
//! the VirtualService: the pods of its gateways, workloads of its namespace and of those that it is exported to.

use crate::analyze::bindings::Bindings;
use crate::analyze::led::{Led, led};
use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::host::{is_wildcard, resolve_short};
use crate::resource::virtual_service::Destination;
use crate::resource::{Kind, Map, ResourceId};
use crate::snapshot::{ExportTo, ResolvedVirtualService, Service, Snapshot};
use crate::translate::Bound;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Who does not see an object: by object, the clients' namespace and what leads them to it.
type Hidden<'s> = BTreeMap<(&'s ResourceId, &'static str), (String, String)>;

pub(super) fn find(world: &World<'_>, snapshot: &Snapshot, bindings: &Bindings<'_>, found: &mut Vec<Diagnostic>) {
    let rules = Rules::of(world, snapshot);
    let workloads = workloads(world);
    let by_virtual_service = bindings.by_virtual_service();
    let mut hidden = Hidden::new();
    for vs in snapshot.virtual_services() {
        let bound = by_virtual_service.get(&vs.id).map_or(&[] as &[_], Vec::as_slice);
        for led in led(vs) {
            let destination = led.destination;
            let Some(services) = snapshot.services_of_host(&destination.host) else { continue };
            let is_restricted = services.values().any(|service| service.export_to != ExportTo::Everyone);
            let subset = rules.of_subset(destination);
            // What its own namespace does not see is told of the route.
            let from_own = |service: &&Arc<Service>| service.export_to.includes(&vs.id.namespace);
            let Some(service) = services.values().find(from_own).filter(|_| is_restricted || subset.is_some()) else {
                continue;
            };
            let leads = || format!("VirtualService {}/{} leads them there, to a 503", vs.id.namespace, vs.id.name);
            for client in clients_of(vs, &led, bound, bindings, &workloads) {
                if !services.values().any(|service| service.export_to.includes(client)) {
                    hidden.entry((&service.id, field_of(&service.id))).or_insert_with(|| (client.to_owned(), leads()));
                } else if let Some(rule) = subset
                    && !rules.sees_subset(snapshot, client, services, &destination.subset)
                {
                    let leads = || format!("{} (subset {})", leads(), destination.subset);
                    hidden.entry((rule, "spec.exportTo")).or_insert_with(|| (client.to_owned(), leads()));
                }
            }
        }
    }
    sidecars(world, snapshot, &mut hidden);
    for ((id, field), (client, leads)) in hidden {
        let Some(object) = world.find(id.kind, &id.namespace, &id.name) else { continue };
        let message = format!("clients in {client} do not see it, and {leads}");
        found.push(about(codes::HIDDEN, object, field, message));
    }
}

fn field_of(id: &ResourceId) -> &'static str {
    match id.kind {
        Kind::Service => "metadata.annotations[\"networking.istio.io/exportTo\"]",
        _ => "spec.exportTo",
    }
}

/// Namespaces with pods that get a sidecar and run no gateway; None where the input has no pods at all.
fn workloads<'a>(world: &World<'a>) -> Option<BTreeSet<&'a str>> {
    let selectors: BTreeSet<&Map> = world.gateways().map(|(_, gateway)| &gateway.selector).collect();
    let gateways = selectors.into_iter().flat_map(|selector| world.pods.matching(selector));
    let gateways: HashSet<&ResourceId> = gateways.map(|pod| &pod.object.id).collect();
    let mut labels = HashMap::new();
    let in_mesh = world.pods.all().iter().filter(|pod| {
        let namespace = &*pod.object.id.namespace;
        let labels = labels.entry(namespace).or_insert_with(|| world.namespace_labels(namespace));
        let is_gateway = pod.labels.get("istio").is_some_and(|name| name.ends_with("gateway"));
        !is_gateway && !gateways.contains(&pod.object.id) && pod.is_in_mesh(*labels)
    });
    let namespaces = in_mesh.map(|pod| &*pod.object.id.namespace).collect();
    (!world.pods.is_empty()).then_some(namespaces)
}

/// The namespaces of proxies that follow a rule.
fn clients_of<'a>(
    vs: &'a ResolvedVirtualService,
    led: &Led<'_>,
    bound: &[&Bound<'_>],
    bindings: &'a Bindings<'_>,
    workloads: &Option<BTreeSet<&'a str>>,
) -> BTreeSet<&'a str> {
    let here = bound.iter().filter(|bound| bound.carries == led.kind && led.at(&bound.gateway, bound.port));
    let mut clients: BTreeSet<&str> = here.flat_map(|bound| bindings.namespaces(&bound.gateway)).collect();
    if vs.gateways.iter().any(|gateway| gateway == "mesh") && led.at("mesh", 0) {
        match (&vs.export_to, workloads) {
            (ExportTo::Namespaces(named), None) => clients.extend(named.iter().map(String::as_str)),
            (ExportTo::Everyone, None) => drop(clients.insert(&vs.id.namespace)),
            (_, Some(workloads)) => clients.extend(workloads.iter().copied()),
        }
    }
    clients.retain(|namespace| vs.export_to.includes(namespace));
    clients
}

/// Rules that are not for everybody, by the subsets that they define.
struct Rules<'s> {
    by_subset: HashMap<(String, &'s str), &'s ResourceId>,
}

impl<'s> Rules<'s> {
    fn of(world: &World<'s>, snapshot: &Snapshot) -> Self {
        let default = &snapshot.mesh.default_destination_rule_export_to;
        let mut by_subset = HashMap::new();
        for (object, rule) in world.destination_rules().filter(|(_, rule)| rule.workload_selector.is_none()) {
            let export_to = if rule.export_to.is_empty() { default } else { &rule.export_to };
            let is_public = export_to.is_empty() || export_to.iter().any(|to| to == "*");
            let host = resolve_short(&rule.host, &object.id.namespace);
            if !is_public && !is_wildcard(&host) {
                by_subset.extend(rule.subsets.iter().map(|subset| ((host.clone(), subset.name.as_str()), &object.id)));
            }
        }
        Self { by_subset }
    }

    /// The rule, not for everybody, that defines a destination's subset.
    fn of_subset(&self, destination: &Destination) -> Option<&'s ResourceId> {
        if destination.subset.is_empty() || self.by_subset.is_empty() {
            return None;
        }
        self.by_subset.get(&(destination.host.clone(), destination.subset.as_str())).copied()
    }

    fn sees_subset(
        &self,
        snapshot: &Snapshot,
        client: &str,
        services: &BTreeMap<String, Arc<Service>>,
        subset: &str,
    ) -> bool {
        let mut seen = services.values().filter(|service| service.export_to.includes(client));
        seen.any(|service| {
            let rules = snapshot.destination_rules.candidates(client, service);
            rules.iter().flat_map(|merged| &merged.rule.subsets).any(|known| known.name == subset)
        })
    }
}

/// Services that a Sidecar's egress names and that its workloads do not see.
fn sidecars<'s>(world: &World<'_>, snapshot: &'s Snapshot, hidden: &mut Hidden<'s>) {
    for (object, sidecar) in world.sidecars() {
        let client = &*object.id.namespace;
        for entry in sidecar.egress.iter().flat_map(|egress| &egress.hosts) {
            let Some((namespace, host)) = entry.split_once('/').filter(|(_, host)| !is_wildcard(host)) else {
                continue;
            };
            let service = snapshot.services_of_host(host).and_then(|services| services.get(namespace));
            if let Some(service) = service.filter(|service| !service.export_to.includes(client)) {
                let leads = || format!("Sidecar {client}/{} names it ({entry})", object.id.name);
                hidden.entry((&service.id, field_of(&service.id))).or_insert_with(|| (client.to_owned(), leads()));
            }
        }
    }
}
