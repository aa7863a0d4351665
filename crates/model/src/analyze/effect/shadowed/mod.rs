//! AM-E11: rules that earlier ones leave no request, by the order in which proxies try them: first those of the same
//! VirtualService, at a gateway also those of older ones for the same host.
//!
//! Told where it can be proved alone: for every place in which the rule is in force, each of its matches is covered by
//! one that is surely in force there too and goes first.

mod http;
mod plain;
mod reach;

use crate::analyze::bindings::Bindings;
use crate::analyze::world::{World, about};
use crate::config::Origin;
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::{Kind, ResourceId};
use crate::snapshot::{ExportTo, Health, ResolvedVirtualService, Rule, Snapshot};
use std::collections::{BTreeSet, HashSet};

/// More winners than this in one message say nothing more.
const NAMES: usize = 3;

/// A rule, with how many matches it has and the rules that take what it would.
struct Shadowed<'s> {
    virtual_service: &'s ResolvedVirtualService,
    rule: &'s Origin,
    matches: usize,
    winners: BTreeSet<&'s Origin>,
}

/// Quiet where a code of `told` says the same at the same place.
pub(super) fn find(
    world: &World<'_>,
    snapshot: &Snapshot,
    bindings: &Bindings<'_>,
    told: &[Diagnostic],
) -> Vec<Diagnostic> {
    let mut shadowed = http::find(snapshot, bindings);
    shadowed.extend(plain::find(snapshot, bindings));
    let same = [codes::UNREACHABLE_RULE, codes::INEFFECTIVE_MATCH, codes::SHADOWED];
    let of_rules = told.iter().filter(|finding| same.contains(&finding.code));
    let known: HashSet<(&ResourceId, &str)> =
        of_rules.filter_map(|finding| Some((finding.resource.as_ref()?, finding.field.as_str()))).collect();
    let tell = |shadow: &Shadowed<'_>| {
        let id = &shadow.virtual_service.id;
        let object = world.find(Kind::VirtualService, &id.namespace, &id.name)?;
        let rule = &shadow.rule.path;
        let match_told = |index: usize| {
            let field = format!("{rule}.match[{index}]");
            known.contains(&(id, format!("{field}.uri.prefix").as_str())) || known.contains(&(id, field.as_str()))
        };
        let is_told =
            known.contains(&(id, rule.as_str())) || (shadow.matches > 0 && (0..shadow.matches).all(match_told));
        (!is_told).then(|| about(codes::SHADOWED_RULE, object, rule, message(snapshot, shadow)))
    };
    shadowed.iter().filter_map(tell).collect()
}

fn message(snapshot: &Snapshot, shadow: &Shadowed<'_>) -> String {
    let name = |origin: &Origin| {
        let own =
            origin.namespace == *shadow.virtual_service.id.namespace && origin.name == *shadow.virtual_service.id.name;
        let whose = if own { String::new() } else { format!("{} {}/{} ", origin.kind, origin.namespace, origin.name) };
        let path = origin.path.strip_prefix("spec.").unwrap_or(&origin.path);
        match snapshot.place(origin) {
            Some(place) => format!("{whose}{path} ({place})"),
            None => format!("{whose}{path}"),
        }
    };
    let names: Vec<String> = shadow.winners.iter().take(NAMES).map(|origin| name(origin)).collect();
    let takes = if let [_] = names.as_slice() { "takes" } else { "together take" };
    format!("no request comes to this rule: {} before it {takes} all that it matches", names.join(", "))
}

/// The rules that count, up to one of which it is not known what it matches.
fn known_rules<T>(rules: &[Rule<T>]) -> impl Iterator<Item = &Rule<T>> {
    rules.iter().take_while(|rule| rule.health != Health::BrokenMatch)
}

/// Do rules of `older` go before those of `other` for all clients that see the latter?
fn goes_first(older: &ResolvedVirtualService, other: &ResolvedVirtualService) -> bool {
    match (&older.export_to, &other.export_to) {
        (ExportTo::Everyone, ExportTo::Everyone) => true,
        (ExportTo::Namespaces(one), ExportTo::Namespaces(seen)) => {
            // In its own namespace a VirtualService goes before those that others export to it.
            let own = &*other.id.namespace;
            !seen.is_empty() && seen.is_subset(one) && (!seen.contains(own) || *older.id.namespace == *own)
        }
        _ => false,
    }
}

#[cfg(test)]
#[path = "shadowed_tests.rs"]
mod tests;
