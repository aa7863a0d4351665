//! AM-T7: VirtualServices, DestinationRules and ServiceEntries that every namespace takes over, though nothing in the input
//! uses them from another one.
//!
//! A use is a Gateway or a delegating VirtualService elsewhere; for the other two a route of somebody elsewhere, which is
//! also who follows a VirtualService at a gateway; for all a Sidecar's egress that names them.

use crate::analyze::bindings::Bindings;
use crate::analyze::led::led;
use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::host::{is_wildcard, overlaps, resolve_gateway, resolve_short, subset_of};
use crate::resource::{Kind, Object, VirtualService};
use crate::snapshot::{ExportTo, Snapshot};
use std::collections::{BTreeSet, HashMap, HashSet};

pub(super) fn find(world: &World<'_>, snapshot: &Snapshot, bindings: &Bindings<'_>, found: &mut Vec<Diagnostic>) {
    let egress = Egress::of(world);
    let delegates = delegates(world);
    let routes = Routes::of(snapshot, bindings);
    let mesh = world.mesh;
    for (object, vs) in world.virtual_services() {
        let home = &*object.id.namespace;
        let is_used = delegates.contains(&(home, &object.id.name))
            || at_gateways(vs, home, bindings)
            || egress.names(home, &vs.hosts);
        tell(object, &vs.export_to, &mesh.default_virtual_service_export_to, is_used, found);
    }
    for (object, rule) in world.destination_rules() {
        let home = &*object.id.namespace;
        let hosts = std::slice::from_ref(&rule.host);
        // One with a selector is for its own namespace, one of the root namespace for all that have none.
        let is_scoped = rule.workload_selector.is_some() || *home == *mesh.root_namespace;
        let is_used = is_scoped || routes.lead_to(home, hosts) || egress.names(home, hosts);
        tell(object, &rule.export_to, &mesh.default_destination_rule_export_to, is_used, found);
    }
    for (object, entry) in world.service_entries() {
        let home = &*object.id.namespace;
        let is_used = routes.lead_to(home, &entry.hosts) || egress.names(home, &entry.hosts);
        tell(object, &entry.export_to, &mesh.default_service_export_to, is_used, found);
    }
}

fn tell(object: &Object, written: &[String], default: &[String], is_used: bool, found: &mut Vec<Diagnostic>) {
    let in_force = if written.is_empty() { default } else { written };
    let for_all = in_force.is_empty() || in_force.iter().any(|to| to == "*");
    if is_used || !for_all {
        return;
    }
    let how = if written.is_empty() { "without exportTo" } else { "by exportTo" };
    let message = format!("{how} every namespace takes it over, and nothing here uses it from another one");
    let finding = about(codes::EXPORTED_TO_ALL, object, "spec.exportTo", message);
    found.push(finding.with_suggestion("exportTo: [\".\"]"));
}

/// VirtualServices that others, in another namespace, delegate to.
fn delegates<'a>(world: &World<'a>) -> HashSet<(&'a str, &'a str)> {
    let mut found = HashSet::new();
    for (object, vs) in world.virtual_services() {
        for delegate in vs.http.iter().filter_map(|rule| rule.delegate.as_ref()) {
            if !delegate.namespace.is_empty() && *delegate.namespace != *object.id.namespace {
                found.insert((delegate.namespace.as_str(), delegate.name.as_str()));
            }
        }
    }
    found
}

/// Whether a gateway of it, or the gateway's pods, are in another namespace.
fn at_gateways(vs: &VirtualService, home: &str, bindings: &Bindings<'_>) -> bool {
    let of_rules = vs.http.iter().flat_map(|rule| &rule.matches).flat_map(|m| &m.gateways);
    let named = vs.gateways.iter().chain(of_rules).map(|name| resolve_gateway(name, home));
    named.filter(|name| name != "mesh").any(|name| {
        name.split_once('/').is_some_and(|(namespace, _)| namespace != home)
            || bindings.namespaces(&name).any(|namespace| namespace != home)
    })
}

/// Who routes to a host: the namespaces of the VirtualServices, of their gateways, and of those whom they are exported to
/// by name.
struct Routes {
    by_host: HashMap<String, BTreeSet<String>>,
}

impl Routes {
    fn of(snapshot: &Snapshot, bindings: &Bindings<'_>) -> Self {
        let mut by_host: HashMap<String, BTreeSet<String>> = HashMap::new();
        for vs in snapshot.virtual_services() {
            let mut clients = BTreeSet::from([vs.id.namespace.to_string()]);
            for gateway in vs.gateways.iter().filter(|gateway| *gateway != "mesh") {
                clients.extend(gateway.split_once('/').map(|(namespace, _)| namespace.to_owned()));
                clients.extend(bindings.namespaces(gateway).map(str::to_owned));
            }
            if let ExportTo::Namespaces(named) = &vs.export_to {
                clients.extend(named.iter().cloned());
            }
            let mirrors = vs.http.iter().flat_map(|rule| {
                let several = rule.route.mirrors.iter().filter_map(|mirror| mirror.destination.as_ref());
                rule.route.mirror.iter().chain(several)
            });
            for destination in led(vs).iter().map(|led| led.destination).chain(mirrors) {
                by_host.entry(destination.host.clone()).or_default().extend(clients.iter().cloned());
            }
        }
        Self { by_host }
    }

    /// Whether somebody in another namespace routes to one of these hosts.
    fn lead_to(&self, home: &str, hosts: &[String]) -> bool {
        let elsewhere = |clients: &BTreeSet<String>| clients.iter().any(|client| client != home);
        hosts.iter().map(|host| resolve_short(host, home)).any(|host| {
            if is_wildcard(&host) {
                return self.by_host.iter().any(|(to, clients)| subset_of(to, &host) && elsewhere(clients));
            }
            self.by_host.get(&host).is_some_and(elsewhere)
        })
    }
}

/// What Sidecars name of other namespaces.
struct Egress<'a> {
    /// By the namespace that an entry names, or `*`: hosts, and whose Sidecar it is.
    by_namespace: HashMap<&'a str, Vec<(&'a str, &'a str)>>,
}

impl<'a> Egress<'a> {
    fn of(world: &World<'a>) -> Self {
        let mut by_namespace: HashMap<&str, Vec<(&str, &str)>> = HashMap::new();
        for object in world.of(Kind::Sidecar) {
            let crate::resource::Spec::Sidecar(sidecar) = &object.spec else { continue };
            for entry in sidecar.egress.iter().flat_map(|egress| &egress.hosts) {
                // `*/*` is every service of the mesh, which shows nothing of any.
                if let Some((namespace, host)) = entry.split_once('/').filter(|named| *named != ("*", "*")) {
                    by_namespace.entry(namespace).or_default().push((host, &object.id.namespace));
                }
            }
        }
        Self { by_namespace }
    }

    /// Whether a Sidecar of another namespace names one of these hosts.
    fn names(&self, home: &str, hosts: &[String]) -> bool {
        let entries = [home, "*"].into_iter().filter_map(|namespace| self.by_namespace.get(namespace)).flatten();
        let mut elsewhere = entries.filter(|(_, client)| *client != home).peekable();
        if elsewhere.peek().is_none() {
            return false;
        }
        let hosts: Vec<String> = hosts.iter().map(|host| resolve_short(host, home)).collect();
        elsewhere.any(|(named, _)| hosts.iter().any(|host| overlaps(host, named)))
    }
}
