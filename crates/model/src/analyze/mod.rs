//! What is wrong, or better done another way, with all that a user wrote, looked at together. Pure; `amime check` calls
//! it.
//!
//! `istio` has the findings that Istio's analyzer has too, a file a family; `effect` what does nothing or another thing
//! than it looks; `practices` what works and is better done another way. A rule is a function from the `World` to
//! diagnostics: it names a code, an object and a field in it, and severity and place follow from these.

mod bindings;
mod effect;
mod hosts;
mod istio;
mod led;
mod pods;
mod practices;
mod world;

use crate::conflict;
use crate::diagnostic::{Diagnostic, codes};
use crate::explain::with_pods;
use crate::resource::{MeshConfig, Object, ResourceSet};
use crate::snapshot::{Held, Snapshot};
use bindings::Bindings;
use std::collections::BTreeMap;
use std::sync::Arc;
use world::World;

/// What is looked at.
#[derive(Debug)]
pub struct Input<'a> {
    pub resources: &'a ResourceSet,
    /// Objects of kinds that the mesh leaves alone (`Loaded::for_tools`).
    pub for_tools: &'a [Arc<Object>],
    pub mesh: &'a MeshConfig,
    /// A MeshNetworks file, as an object.
    pub networks: Option<&'a Arc<Object>>,
    /// Whether practices are judged too.
    pub practices: bool,
    /// Seconds since 1970, for certificates' ends.
    pub now: u64,
}

/// All findings about several objects together, in no order. Those about one object are in it already.
pub fn analyze(input: &Input<'_>) -> Vec<Diagnostic> {
    let built = Snapshot::build(&with_pods(input.resources), input.mesh, &Held::default());
    let world = World::new(input);
    let bindings = Bindings::of(&world, &built.snapshot);
    let mut found = istio::find(&world);
    if input.practices {
        practices::find(&world, &built.snapshot, &bindings, &mut found);
    }
    let known = |code: &str| [codes::NOT_FOUND, codes::HELD].contains(&code);
    // What leads nowhere is told by `istio::find`, of each place.
    found.extend(built.diagnostics.into_iter().filter(|finding| !known(finding.code)));
    tell_conflicts(&mut found, conflict::find(&built.snapshot));
    effect::find(&world, &built.snapshot, &bindings, &mut found);
    found
}

/// Adds the conflicts that the mesh tells of the loser. Where one was found already of the same object, it gets to know
/// who wins and by which rule.
fn tell_conflicts(found: &mut Vec<Diagnostic>, conflicts: Vec<Diagnostic>) {
    let mut by_object = BTreeMap::new();
    for (index, finding) in found.iter().enumerate() {
        if let Some(resource) = &finding.resource {
            by_object.entry((finding.code, resource.clone())).or_insert(index);
        }
    }
    for conflict in conflicts {
        let earlier = conflict.resource.as_ref().and_then(|id| by_object.get(&(conflict.code, id.clone())));
        match earlier {
            Some(index) => found[*index].message = conflict.message,
            None if conflict.code == codes::MESH_HOST_TAKEN || conflict.code == codes::GATEWAYS_IN_CONFLICT => {}
            None => found.push(conflict),
        }
    }
}

#[cfg(test)]
#[path = "analyze_tests.rs"]
mod tests;
