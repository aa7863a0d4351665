//! Last good versions: what goes on serving while what was written is broken or refers to what is not there.
//!
//! Two steps. First each object with an error gives way, as a whole, to the version that was last without
//! (`Held::replace_broken`, which `control` calls too, before pods are made up from the objects). Then one whose
//! reference (a subset, a host, a Secret, a delegate) went away stays at the version that was last whole; what that
//! refers to is added where it is missing, and never put in the place of something newer. What was never good is
//! compiled as it stands. Security policies are never held.

use super::references::{self, Index, Reference};
use crate::diagnostic::{Diagnostic, Severity, codes};
use crate::resource::{DestinationRule, Kind, Object, ResourceId, ResourceSet, Spec};
use crate::rule::check;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The kinds that are never held: an old policy would go on allowing what the new one denies.
const POLICIES: [Kind; 3] = [Kind::AuthorizationPolicy, Kind::PeerAuthentication, Kind::RequestAuthentication];

/// The kinds that refer to others.
const KINDS_THAT_REFER: [Kind; 2] = [Kind::VirtualService, Kind::Gateway];

/// The last good version of each object, and what each referred to. Empty at first.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// Without an error, whatever they refer to.
    pub(super) sound: BTreeMap<ResourceId, Arc<Object>>,
    /// Of the kinds that refer to others: sound, and all that they refer to was there.
    pub(super) whole: BTreeMap<ResourceId, Whole>,
}

#[derive(Debug, Clone)]
pub(super) struct Whole {
    pub(super) object: Arc<Object>,
    /// Each reference with the objects that it led to.
    pub(super) refers: Vec<(Reference, Vec<Arc<Object>>)>,
}

impl Held {
    /// What is in force of an object: its last sound version, where it is broken and there is one.
    pub(super) fn in_force<'a>(&'a self, object: &'a Arc<Object>) -> &'a Arc<Object> {
        if is_broken(object) { self.sound.get(&object.id).unwrap_or(object) } else { object }
    }

    /// As before, but for one object, which is sound, or gone.
    pub(super) fn note(&mut self, id: &ResourceId, object: Option<&Arc<Object>>) {
        match object {
            Some(object) => self.sound.insert(id.clone(), object.clone()),
            None => self.sound.remove(id),
        };
    }

    /// The resources with the last sound versions in the place of broken ones, and what to say of these. What is
    /// sound is remembered. `Snapshot::build` does this first; whoever changes objects before it (makes up pods)
    /// does so before that.
    pub fn replace_broken(&mut self, resources: &ResourceSet) -> (ResourceSet, Vec<Diagnostic>) {
        let mut fit = resources.clone();
        let mut diagnostics = Vec::new();
        let mut sound = BTreeMap::new();
        for object in resources.iter().filter(|o| !POLICIES.contains(&o.id.kind)) {
            let earlier = self.sound.get(&object.id);
            let version = if is_broken(object) {
                let Some(earlier) = earlier else { continue };
                fit.replace(earlier.clone());
                diagnostics.push(stays(object));
                earlier
            } else if is_placed(object) {
                // Not what the user wrote, but what was made of it.
                let Some(earlier) = earlier else { continue };
                earlier
            } else {
                object
            };
            sound.insert(object.id.clone(), version.clone());
        }
        self.sound = sound;
        (fit, diagnostics)
    }
}

/// An object that refers to something that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub object: ResourceId,
    /// The field that refers to it: `spec.http[0].route[1].destination.subset`.
    pub field: String,
    /// `subset v3 of host reviews.shop.svc.cluster.local`.
    pub waits_for: String,
    /// Its last good version goes on; else it is in force as it stands.
    pub held: bool,
}

pub(super) struct Effective {
    /// What is in force.
    pub(super) resources: ResourceSet,
    pub(super) held: Held,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) pending: Vec<Pending>,
    /// The references that were brought back.
    back: BTreeSet<Reference>,
}

/// The resources, with last good versions in the place of what is not fit, and with what these refer to.
pub(super) fn effective(resources: &ResourceSet, held: &Held) -> Effective {
    let mut next = Held { sound: held.sound.clone(), whole: BTreeMap::new() };
    let (fit, diagnostics) = next.replace_broken(resources);
    // What is there is judged by what is in force, not by what is broken.
    let index = Index::of(&fit);
    let mut result =
        Effective { resources: fit.clone(), held: next, diagnostics, pending: Vec::new(), back: BTreeSet::new() };
    let mut go_on: Vec<&Whole> = Vec::new();
    for object in KINDS_THAT_REFER.into_iter().flat_map(|kind| fit.of_kind(kind)) {
        if !result.held.sound.contains_key(&object.id) {
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
        if missing.is_empty() {
            result.held.whole.insert(object.id.clone(), Whole { object: object.clone(), refers });
            continue;
        }
        // What never was whole holds nothing back: the share of what is missing is refused, and no more.
        let whole = held.whole.get(&object.id);
        result.pending.extend(missing.iter().map(|(field, reference)| Pending {
            object: object.id.clone(),
            field: field.clone(),
            waits_for: reference.to_string(),
            held: whole.is_some(),
        }));
        // Of a delegate that is not there the merging tells.
        let is_told = |r: &Reference| whole.is_some() || !matches!(r, Reference::Delegate(_));
        let told = missing
            .iter()
            .filter(|(_, reference)| is_told(reference))
            .map(|(field, reference)| reference.missing(object, field, whole.is_some()));
        result.diagnostics.extend(told);
        go_on.extend(whole);
    }
    for whole in go_on {
        result.keep(whole, &index);
    }
    result
}

impl Effective {
    /// What is in force and was not written so.
    pub(super) fn in_place(&self, written: &ResourceSet) -> BTreeMap<ResourceId, Arc<Object>> {
        // Whatever is put in the place of something is told of.
        if self.diagnostics.is_empty() {
            return BTreeMap::new();
        }
        let is_written = |object: &Arc<Object>| written.get(&object.id).is_some_and(|w| Arc::ptr_eq(w, object));
        self.resources.iter().filter(|o| !is_written(o)).map(|o| (o.id.clone(), o.clone())).collect()
    }

    /// Puts a last good version into force, with what it refers to and is no longer there.
    fn keep(&mut self, whole: &Whole, fit: &Index<'_>) {
        self.resources.replace(whole.object.clone());
        for (reference, objects) in &whole.refers {
            if fit.find(reference).is_empty() && self.back.insert(reference.clone()) {
                for object in objects {
                    self.bring_back(reference, object);
                }
            }
        }
        self.held.whole.insert(whole.object.id.clone(), whole.clone());
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

/// A pod that `workload::expand` gave its place.
fn is_placed(object: &Object) -> bool {
    matches!(&object.spec, Spec::Pod(pod) if pod.placement.is_some())
}

fn stays(object: &Object) -> Diagnostic {
    Diagnostic::warning(codes::HELD, format!("{} stays at its last good version", object.id))
        .with_resource(&object.id)
        .with_place(object.place(""))
}

#[cfg(test)]
#[path = "held_tests.rs"]
mod tests;
