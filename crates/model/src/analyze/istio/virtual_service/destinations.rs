//! What routes and mirrors lead to: hosts, ports and subsets that are not there (IST0101, IST0112), and subsets that a
//! gateway does not follow (IST0140).

use crate::analyze::hosts::Destination as Found;
use crate::analyze::world::{World, about, full_name};
use crate::diagnostic::{Diagnostic, codes};
use crate::host::resolve_short;
use crate::resource::virtual_service::Destination;
use crate::resource::{Object, VirtualService};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A destination, and where it stands.
struct Target<'a> {
    destination: &'a Destination,
    /// Of the destination: `spec.http[0].route[0].destination`.
    field: String,
    mirror: bool,
}

impl Target<'_> {
    fn about(&self, code: &'static str, object: &Object, field: &str, message: String) -> Diagnostic {
        about(code, object, &format!("{}.{field}", self.field), message)
    }

    fn word(&self) -> &'static str {
        if self.mirror { "mirror" } else { "host" }
    }
}

/// All destinations of a VirtualService.
fn targets(vs: &VirtualService) -> Vec<Target<'_>> {
    let mut found = Vec::new();
    let mut add = |destination, field, mirror| {
        if let Some(destination) = destination {
            found.push(Target { destination, field, mirror });
        }
    };
    for (i, rule) in vs.http.iter().enumerate() {
        for (j, route) in rule.route.iter().enumerate() {
            add(route.destination.as_ref(), format!("spec.http[{i}].route[{j}].destination"), false);
        }
        add(rule.mirror.as_ref(), format!("spec.http[{i}].mirror"), true);
        for (j, mirror) in rule.mirrors.iter().enumerate() {
            add(mirror.destination.as_ref(), format!("spec.http[{i}].mirrors[{j}].destination"), true);
        }
    }
    let tcp = vs.tcp.iter().enumerate().map(|(i, rule)| ("tcp", i, &rule.route));
    let tls = vs.tls.iter().enumerate().map(|(i, rule)| ("tls", i, &rule.route));
    for (list, i, route) in tcp.chain(tls) {
        for (j, destination) in route.iter().enumerate() {
            add(destination.destination.as_ref(), format!("spec.{list}[{i}].route[{j}].destination"), false);
        }
    }
    found
}

/// Hosts that no service has, and ports that the service of a host does not have.
pub(in crate::analyze::istio) fn hosts(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    if world.hosts.is_empty() {
        return;
    }
    for (object, vs) in world.virtual_services() {
        for target in targets(vs) {
            let host = &target.destination.host;
            match world.hosts.find(&object.id.namespace, &vs.export_to, host) {
                Some(service) => found.extend(port(object, &target, service)),
                None => {
                    let message = format!("there is no {} {host}: its share of the requests gets 503", target.word());
                    found.push(target.about(missing_code(world, host), object, "host", message));
                }
            }
        }
    }
}

/// The full name of a service that the input has nowhere may well be one whose manifest lives elsewhere; a short name, a
/// name of another kind and one that is hidden from here cannot.
fn missing_code(world: &World<'_>, host: &str) -> &'static str {
    let is_full = host.ends_with(".svc.cluster.local");
    if is_full && !world.hosts.has(host) { codes::SERVICE_NOT_GIVEN } else { codes::NOT_FOUND }
}

fn port(object: &Object, target: &Target<'_>, service: &Found<'_>) -> Option<Diagnostic> {
    let host = &target.destination.host;
    match &target.destination.port {
        None if service.ports.len() > 1 => {
            let message = format!("{host} has the ports {:?}: say which one is meant", service.ports);
            Some(target.about(codes::PORT_REQUIRED, object, "host", message))
        }
        Some(port) if !service.ports.contains(&port.number) => {
            let message = format!("{host} has no port {}, only {:?}", port.number, service.ports);
            Some(target.about(codes::NOT_FOUND, object, "host", message))
        }
        _ => None,
    }
}

/// Subsets that no DestinationRule of the host has. Where the input has neither rules nor workloads it is a part of
/// what there is, and order is all that can be asked for: see the practices.
pub(in crate::analyze::istio) fn subsets(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    if !world.is_partial_without_rules() {
        missing_subsets(world, codes::NOT_FOUND, found);
    }
}

/// As `subsets`, by the code that is told.
pub(in crate::analyze) fn missing_subsets(world: &World<'_>, code: &'static str, found: &mut Vec<Diagnostic>) {
    let mut known: HashSet<(String, &str)> = HashSet::new();
    for (object, rule) in world.destination_rules() {
        let host = resolve_short(&rule.host, &object.id.namespace);
        known.extend(rule.subsets.iter().map(|subset| (host.clone(), subset.name.as_str())));
    }
    for (object, vs) in world.virtual_services() {
        for target in targets(vs) {
            let Destination { host, subset, .. } = target.destination;
            let key = (resolve_short(host, &object.id.namespace), subset.as_str());
            if !subset.is_empty() && !known.contains(&key) {
                let message =
                    format!("no DestinationRule of {host} has the subset {subset}: its share of the requests gets 503");
                found.push(target.about(code, object, "host", message));
            }
        }
    }
}

/// Routes of a gateway to a host without a subset, where another VirtualService gives the host's own requests one.
pub(in crate::analyze::istio) fn ingress_subsets(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let mut split: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (object, vs) in world.virtual_services() {
        let routes = vs.http.iter().flat_map(|rule| &rule.route).filter_map(|route| route.destination.as_ref());
        for destination in routes.filter(|to| !to.subset.is_empty() && vs.hosts.contains(&to.host)) {
            split.entry(&destination.host).or_default().insert(full_name(object));
        }
    }
    for (object, vs) in world.virtual_services().filter(|(_, vs)| !vs.gateways.is_empty()) {
        let http = targets(vs).into_iter().filter(|target| target.field.contains(".http[") && !target.mirror);
        for target in http.filter(|target| target.destination.subset.is_empty()) {
            let Some(others) = split.get(target.destination.host.as_str()) else { continue };
            for other in others {
                let message = format!(
                    "the subsets that VirtualService {other} routes {} to do not hold for requests through this one's \
                     gateways",
                    target.destination.host
                );
                found.push(target.about(codes::SUBSET_NOT_AT_GATEWAY, object, "host", message));
            }
        }
    }
}
