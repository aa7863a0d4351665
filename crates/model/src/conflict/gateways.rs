//! Gateways whose servers want the same port or host of the same pods: Istio's IST0145, but told of the server that
//! loses, and only where it does lose (plaintext servers of one port are put together).
//!
//! Asked for each set of Gateways that some pod is chosen by, or could be.

use super::{at, named};
use crate::diagnostic::{Diagnostic, codes};
use crate::snapshot::{Labels, Pod, Snapshot, selects};
use crate::translate::{Exclusion, Reason, gateway_exclusions};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) fn find(snapshot: &Snapshot) -> Vec<Diagnostic> {
    let mut found = BTreeMap::new();
    for (chosen, pod) in sets(snapshot) {
        if chosen.is_empty() {
            continue;
        }
        for Exclusion { origin, reason, winner } in gateway_exclusions(snapshot, &chosen, pod.map(|pod| &**pod)) {
            let Some(winner) = winner.filter(|winner| *winner != origin) else { continue };
            let rule = match &reason {
                Reason::HostTaken { .. } => {
                    "of several servers with TLS for a host and port the oldest Gateway's counts"
                }
                _ => "a port has one protocol and one kind of server, those of the oldest Gateway",
            };
            let message = format!(
                "{} is in conflict: {reason}: {}{}; {rule}, and by name where none tells its age",
                if origin.kind == "Gateway" { "this server" } else { "this match" },
                named(snapshot, &winner),
                if winner.path.is_empty() { String::new() } else { format!(" {}", winner.path) },
            );
            let finding = || at(snapshot, Diagnostic::error(codes::GATEWAYS_IN_CONFLICT, message), &origin);
            found.entry(origin.clone()).or_insert_with(finding);
        }
    }
    found.into_values().collect()
}

/// Selectors with the Gateways that have them.
type Selectors<'a> = Vec<(&'a Labels, &'a Vec<usize>)>;

/// The sets of Gateways (as indexes) that choose one pod, with such a pod where there is one.
fn sets(snapshot: &Snapshot) -> BTreeMap<Vec<usize>, Option<&Arc<Pod>>> {
    let gateways = snapshot.gateways();
    let mut by_selector: BTreeMap<&Labels, Vec<usize>> = BTreeMap::new();
    for (index, gateway) in gateways.iter().enumerate() {
        by_selector.entry(&gateway.spec.selector).or_default().push(index);
    }
    // A pod is asked only about selectors whose first label it has.
    let mut by_label: BTreeMap<Option<(&String, &String)>, Selectors<'_>> = BTreeMap::new();
    for (selector, of_selector) in &by_selector {
        by_label.entry(selector.iter().next()).or_default().push((*selector, of_selector));
    }
    let chosen = |labels: &Labels| {
        let first = labels.iter().map(Some).chain(Some(None));
        let may = first.filter_map(|label| by_label.get(&label)).flatten();
        let all =
            may.filter(|(selector, _)| selects(selector, labels)).flat_map(|(_, indexes)| indexes.iter().copied());
        all.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    let mut sets: BTreeMap<Vec<usize>, Option<&Arc<Pod>>> = BTreeMap::new();
    if by_selector.is_empty() {
        return sets;
    }
    for pod in snapshot.pods() {
        sets.entry(chosen(&pod.labels)).or_insert(Some(pod));
    }
    for selector in by_selector.keys() {
        sets.entry(chosen(selector)).or_insert(None);
    }
    sets
}
