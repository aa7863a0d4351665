//! What has another effect than it looks. `analyze` calls it.

use super::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::security::Action;

pub(super) fn find(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    allows_everything(world, found);
}

/// A rule without from, to and when holds for every request.
fn allows_everything(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    for (object, policy) in world.authorization_policies().filter(|(_, policy)| policy.action == Action::Allow) {
        let is_empty =
            |rule: &crate::resource::security::Rule| rule.from.is_empty() && rule.to.is_empty() && rule.when.is_empty();
        if let Some(index) = policy.rules.iter().position(is_empty) {
            let message = "this rule allows every request, so that no other ALLOW policy narrows anything here";
            found.push(about(codes::ALLOWS_EVERYTHING, object, &format!("spec.rules[{index}]"), message));
        }
    }
}
