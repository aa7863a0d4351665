//! AM-E2, AM-E5: DestinationRules for services of other namespaces. `effect` calls it.

use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::host::resolve_short;
use crate::snapshot::{MergedRule, Service, Snapshot};
use std::collections::BTreeSet;
use std::sync::Arc;

/// DestinationRules for services of other namespaces: those that no client finds (AM-E2), and those that take the place
/// of the owner's without its subsets (AM-E5). The root namespace's are for all.
pub(super) fn find(world: &World<'_>, snapshot: &Snapshot, found: &mut Vec<Diagnostic>) {
    let all = |object: &str| object == world.mesh.root_namespace;
    for (object, rule) in world.destination_rules().filter(|(_, rule)| rule.workload_selector.is_none()) {
        let home = &*object.id.namespace;
        let services = snapshot.services_of_host(&resolve_short(&rule.host, home));
        let Some(services) = services.filter(|of| !of.contains_key(home) && !all(home)) else { continue };
        if !world.pods.is_empty() && world.pods.of_namespace(home).next().is_none() {
            let message = format!(
                "{} is a service of another namespace, and {home} has no workload: no client looks for the rule here",
                rule.host
            );
            found.push(about(codes::RULE_NOT_FOUND_BY_LOOK_UP, object, "spec.host", message));
            continue;
        }
        for service in services.values() {
            let dropped = dropped_subsets(snapshot, home, service);
            if !dropped.is_empty() {
                let dropped: Vec<&str> = dropped.iter().map(String::as_str).collect();
                let message = format!(
                    "for clients in {home} this rule takes the place of that in {}, and with it of the subsets {}",
                    service.namespace,
                    dropped.join(", ")
                );
                found.push(about(codes::SUBSETS_DROPPED, object, "spec.host", message));
            }
        }
    }
}

/// Subsets that the service's own namespace shows to clients of another, whose own rules do not have them.
fn dropped_subsets(snapshot: &Snapshot, client: &str, service: &Service) -> BTreeSet<String> {
    let names = |rules: &[Arc<MergedRule>]| -> BTreeSet<String> {
        rules.iter().flat_map(|merged| &merged.rule.subsets).map(|subset| subset.name.clone()).collect()
    };
    let rules = &snapshot.destination_rules;
    let winners = rules.candidates(client, service);
    if winners.iter().all(|merged| merged.namespace != client) {
        return BTreeSet::new();
    }
    let shown = |merged: &Arc<MergedRule>| merged.namespace == service.namespace && merged.is_shown_to(client);
    let owners: Vec<_> = rules.candidates(&service.namespace, service).into_iter().filter(shown).collect();
    names(&owners).difference(&names(&winners)).cloned().collect()
}
