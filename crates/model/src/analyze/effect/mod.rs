//! What has no effect, or another than it looks: by the precedence that proxies go by, which `snapshot`, `translate` and
//! `route` are asked for. `analyze` calls it last, for it is quiet where another code has told the same.

mod bound;
mod exported;
mod foreign;
mod mtls;
mod policy;
mod ports;
mod shadowed;
mod sidecar;

use super::bindings::Bindings;
use super::world::World;
use crate::diagnostic::Diagnostic;
use crate::snapshot::Snapshot;

pub(super) fn find(world: &World<'_>, snapshot: &Snapshot, bindings: &Bindings<'_>, found: &mut Vec<Diagnostic>) {
    policy::find(world, found);
    foreign::find(world, snapshot, found);
    bound::find(world, snapshot, bindings, found);
    exported::find(world, snapshot, bindings, found);
    ports::find(world, snapshot, found);
    sidecar::find(world, snapshot, found);
    mtls::find(world, snapshot, found);
    let shadowed = shadowed::find(world, snapshot, bindings, found);
    found.extend(shadowed);
}

#[cfg(test)]
#[path = "effect_tests.rs"]
mod tests;
