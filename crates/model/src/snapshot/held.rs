//! Last good versions: what goes on serving while what was written is broken or refers to what is not there.
//!
//! Called by `Snapshot::build` alone. An object with an error stays, as a whole, at the version that was last
//! without; so does one whose reference (a subset, a host, a Secret, a delegate) went away. What a version that goes
//! on refers to is added where it is missing, and never put in the place of something newer. What was never good is
//! compiled as it stands. Objects of other kinds (policies above all) are never held.

use super::references::{self, Index, Reference};
use crate::diagnostic::{Diagnostic, Severity, codes};
use crate::resource::{DestinationRule, Kind, Object, ResourceId, ResourceSet, Spec};
use crate::rule::check;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The kinds that are held.
const KINDS: [Kind; 5] =
    [Kind::VirtualService, Kind::DestinationRule, Kind::Gateway, Kind::ServiceEntry, Kind::Sidecar];

/// The last good version of each object, and what each referred to. Empty at first.
#[derive(Debug, Clone, Default)]
pub struct Held {
    good: BTreeMap<ResourceId, Good>,
}

#[derive(Debug, Clone)]
struct Good {
    object: Arc<Object>,
    /// Each reference with the objects that it led to.
    refers: Vec<(Reference, Vec<Arc<Object>>)>,
}

pub(super) struct Effective {
    /// What is in force.
    pub(super) resources: ResourceSet,
    pub(super) held: Held,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// The references that were brought back.
    back: BTreeSet<Reference>,
}

/// The resources, with last good versions in the place of what is not fit, and with what these refer to.
pub(super) fn effective(resources: &ResourceSet, held: &Held) -> Effective {
    let mut result = Effective {
        resources: resources.clone(),
        held: Held::default(),
        diagnostics: Vec::new(),
        back: BTreeSet::new(),
    };
    let index = Index::of(resources);
    let mut go_on: Vec<&Good> = Vec::new();
    for object in resources.iter().filter(|o| KINDS.contains(&o.id.kind)) {
        let good = held.good.get(&object.id);
        if is_broken(object) {
            if let Some(good) = good {
                result.diagnostics.push(stays(object));
                go_on.push(good);
            }
            continue;
        }
        let mut missing = Vec::new();
        let mut refers = Vec::new();
        for (field, reference) in references::of(object) {
            match index.find(&reference) {
                found if found.is_empty() => missing.push((field, reference)),
                found => refers.push((reference, found.into_iter().cloned().collect())),
            }
        }
        // What never was whole holds nothing back: the share of what is missing is refused, and no more.
        let good = good.filter(|_| !missing.is_empty());
        // Of a delegate that is not there the merging tells.
        let is_told = |r: &Reference| good.is_some() || !matches!(r, Reference::Delegate(_));
        let told = missing
            .iter()
            .filter(|(_, reference)| is_told(reference))
            .map(|(field, reference)| reference.missing(object, field, good.is_some()));
        result.diagnostics.extend(told);
        if let Some(good) = good {
            go_on.push(good);
        } else if missing.is_empty() {
            result.held.good.insert(object.id.clone(), Good { object: object.clone(), refers });
        }
    }
    for good in go_on {
        result.keep(good, &index);
    }
    result
}

impl Effective {
    /// Puts a last good version into force, with what it refers to and is no longer written.
    fn keep(&mut self, good: &Good, written: &Index<'_>) {
        self.resources.replace(good.object.clone());
        for (reference, objects) in &good.refers {
            if written.find(reference).is_empty() && self.back.insert(reference.clone()) {
                for object in objects {
                    self.bring_back(reference, object);
                }
            }
        }
        self.held.good.insert(good.object.id.clone(), good.clone());
    }

    /// Adds what is missing, and nothing else of the object that it was in.
    fn bring_back(&mut self, reference: &Reference, object: &Arc<Object>) {
        let (Reference::Subset { name, .. }, Spec::DestinationRule(old)) = (reference, &object.spec) else {
            if self.resources.get(&object.id).is_none() {
                self.resources.replace(object.clone());
            }
            return;
        };
        let Some(subset) = references::subset(old, name) else { return };
        let now = self.resources.get(&object.id).cloned();
        let mut rule = match now.as_ref().map(|o| &o.spec) {
            Some(Spec::DestinationRule(rule)) => (**rule).clone(),
            // Gone as a whole: its general policy is no longer anyone's but this subset's.
            _ => DestinationRule { traffic_policy: None, subsets: Vec::new(), ..(**old).clone() },
        };
        let mut subset = subset.clone();
        if now.is_none() {
            subset.traffic_policy = subset.traffic_policy.or_else(|| old.traffic_policy.clone());
        }
        rule.subsets.push(subset);
        let base = now.unwrap_or_else(|| object.clone());
        self.resources.replace(Arc::new(Object { spec: Spec::DestinationRule(Arc::new(rule)), ..(*base).clone() }));
    }
}

/// Has an error, or a rule that the matcher cannot compile.
fn is_broken(object: &Object) -> bool {
    object.errors.iter().any(|d| d.severity == Severity::Error)
        || match &object.spec {
            Spec::VirtualService(vs) => vs.http.iter().any(|rule| !check::problems(rule).is_empty()),
            _ => false,
        }
}

fn stays(object: &Object) -> Diagnostic {
    Diagnostic::warning(codes::HELD, format!("{} stays at its last good version", object.id))
        .with_resource(&object.id)
        .with_place(object.place(""))
}

#[cfg(test)]
#[path = "held_tests.rs"]
mod tests;
