//! VirtualServices of one host at one gateway: their rules are put together, the oldest's first. A rule whose every
//! match an older VirtualService has already is reached by no request.

use super::{at, in_order, named, namespaces};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::virtual_service::HttpMatch;
use crate::snapshot::{ResolvedVirtualService, Snapshot, origin_of};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) fn find(snapshot: &Snapshot) -> Vec<Diagnostic> {
    let mut by_host: BTreeMap<(&str, String), Vec<&Arc<ResolvedVirtualService>>> = BTreeMap::new();
    for vs in snapshot.virtual_services().iter().filter(|vs| !vs.http.is_empty()) {
        let hosts: BTreeSet<_> = vs.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        let gateways: BTreeSet<_> = vs.gateways.iter().filter(|g| *g != "mesh").collect();
        for gateway in gateways {
            for host in &hosts {
                by_host.entry((gateway, host.clone())).or_default().push(vs);
            }
        }
    }
    // By the rule: of several hosts and gateways that it has with others the first is told.
    let mut found: BTreeMap<(&str, &str, &str), Diagnostic> = BTreeMap::new();
    for ((gateway, host), all) in by_host.iter().filter(|(_, all)| all.len() > 1) {
        for namespace in namespaces(all.iter().map(|vs| &vs.export_to)) {
            let mut known: BTreeMap<String, &ResolvedVirtualService> = BTreeMap::new();
            for vs in in_order(all, namespace.as_deref()) {
                let mut own = BTreeSet::new();
                for rule in &vs.http {
                    let conditions = conditions(&rule.route.matches, gateway);
                    let taken = |c: &String| known.get(c).copied();
                    let winner =
                        conditions.first().and_then(taken).filter(|_| conditions.iter().all(|c| taken(c).is_some()));
                    if let Some(winner) = winner {
                        let key = (&*vs.id.namespace, &*vs.id.name, rule.origin.path.as_str());
                        found.entry(key).or_insert_with(|| {
                            let message = format!(
                                "no request comes to this rule: {} has one with the same match for {host} at gateway \
                                 {gateway}; of several VirtualServices for a host at a gateway all rules count, those \
                                 of the oldest first",
                                named(snapshot, &origin_of(&winner.id, ""))
                            );
                            at(snapshot, Diagnostic::warning(codes::SHADOWED, message), &rule.origin)
                        });
                    }
                    own.extend(conditions);
                }
                for condition in own {
                    known.entry(condition).or_insert(vs);
                }
            }
        }
    }
    found.into_values().collect()
}

/// The matches of a rule that can hold at a gateway, each as text; one that takes everything is empty.
fn conditions(matches: &[HttpMatch], gateway: &str) -> Vec<String> {
    if matches.is_empty() {
        return vec![String::new()];
    }
    let here = |m: &&HttpMatch| m.gateways.is_empty() || m.gateways.iter().any(|g| g == gateway);
    let text = |m: &HttpMatch| {
        let mut bare = HttpMatch { name: String::new(), stat_prefix: String::new(), gateways: Vec::new(), ..m.clone() };
        if bare.uri.as_ref().is_some_and(|uri| uri.prefix.as_deref() == Some("/")) {
            bare.uri = None;
        }
        if bare == HttpMatch::default() { String::new() } else { format!("{bare:?}") }
    };
    matches.iter().filter(here).map(text).collect()
}
