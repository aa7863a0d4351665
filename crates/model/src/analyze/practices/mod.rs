//! What works and is better done another way: the practices, a file each but for the short ones about VirtualServices. `analyze` calls it, unless practices are left out.

mod control_planes;
mod exported;
mod gateway_services;
mod injected;
mod installation;
mod jobs;
mod monitoring;
mod shared_gateway;
mod shell;
mod shell_syntax;

use super::bindings::Bindings;
use super::istio::missing_subsets;
use super::world::{World, about};
use crate::diagnostic::{Diagnostic, Severity, codes};
use crate::host::is_wildcard;
use crate::resource::virtual_service::HttpRoute;
use crate::snapshot::Snapshot;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn find(world: &World<'_>, snapshot: &Snapshot, bindings: &Bindings<'_>, found: &mut Vec<Diagnostic>) {
    let planes = installation::control_planes(world);
    control_planes::find(&planes, found);
    gateway_services::find(world, &planes, found);
    monitoring::find(world, found);
    jobs::find(world, &planes, found);
    shared_gateway::find(world, snapshot, bindings, found);
    exported::find(world, snapshot, bindings, found);
    several_subsets(world, found);
    several_hosts(world, found);
    if world.is_partial_without_rules() {
        missing_subsets(world, codes::SUBSET_BEFORE_RULE, found);
    }
}

/// AM-T5: a host's traffic goes to one named version. Weights tell a canary, which is a note.
fn several_subsets(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    for (object, vs) in world.virtual_services() {
        let mut by_host: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let destinations = vs.http.iter().flat_map(|rule| &rule.route).filter_map(|route| route.destination.as_ref());
        for destination in destinations.filter(|destination| !destination.subset.is_empty()) {
            by_host.entry(&destination.host).or_default().insert(&destination.subset);
        }
        let canary = vs.http.iter().any(has_weights);
        for (host, subsets) in by_host.iter().filter(|(_, subsets)| subsets.len() > 1) {
            let subsets: Vec<&str> = subsets.iter().copied().collect();
            let message = format!("{host} is routed to the subsets {}", subsets.join(", "));
            let mut finding = about(codes::SEVERAL_SUBSETS, object, "spec.http", message);
            if canary {
                finding.severity = Severity::Info;
                finding.message.push_str(": a canary, by its weights");
            }
            found.push(finding);
        }
    }
}

fn has_weights(rule: &HttpRoute) -> bool {
    rule.route.iter().filter(|route| route.weight > 0).count() > 1
}

/// AM-T6: hosts name one service; a wildcard only at gateways.
fn several_hosts(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    for (object, vs) in world.virtual_services() {
        if vs.hosts.len() > 1 {
            let message = format!("{} hosts in one VirtualService", vs.hosts.len());
            found.push(about(codes::SEVERAL_HOSTS, object, "spec.hosts", message));
        }
        let wildcard = vs.hosts.iter().position(|host| is_wildcard(host)).filter(|_| vs.gateways.is_empty());
        if let Some(index) = wildcard {
            let message = format!("{} without gateways is for every host in the mesh that it fits", vs.hosts[index]);
            found.push(about(codes::SEVERAL_HOSTS, object, &format!("spec.hosts[{index}]"), message));
        }
    }
}

#[cfg(test)]
#[path = "practices_tests.rs"]
mod tests;
