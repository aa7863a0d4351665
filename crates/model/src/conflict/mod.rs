//! Conflicts: objects that want the same host, port or address, and which of them lose.
//!
//! Found once for a snapshot, from what all proxies share: no proxy's configuration is made for it. The winners are
//! those of `translate`, whose own merging is asked wherever it can be asked without a proxy. `control` tells what is
//! found after each build, the tools after theirs.

mod gateway_rules;
mod gateways;
mod listeners;
mod mesh_hosts;

use crate::config::Origin;
use crate::diagnostic::Diagnostic;
use crate::resource::{Kind, ResourceId};
use crate::snapshot::{ExportTo, ResolvedVirtualService, Snapshot};
use std::collections::BTreeSet;
use std::sync::Arc;

/// More names than this in one message say nothing more.
const NAMES: usize = 3;

/// All conflicts, each once: in the order of VirtualServices in the mesh and at gateways, Gateways, listeners.
pub fn find(snapshot: &Snapshot) -> Vec<Diagnostic> {
    let mut found = mesh_hosts::find(snapshot);
    found.extend(gateway_rules::find(snapshot));
    found.extend(gateways::find(snapshot));
    found.extend(listeners::find(snapshot));
    found
}

/// The conflicts of the snapshot that was last looked at.
#[derive(Debug, Default)]
pub struct Known {
    snapshot: Option<Arc<Snapshot>>,
    found: Vec<Diagnostic>,
}

impl Known {
    /// As `find`; not looked for again where nothing but endpoints has changed.
    pub fn of(&mut self, snapshot: &Arc<Snapshot>) -> &[Diagnostic] {
        if self.snapshot.as_ref().is_none_or(|earlier| snapshot.endpoints_changed_since(earlier).is_none()) {
            self.found = find(snapshot);
        }
        self.snapshot = Some(snapshot.clone());
        &self.found
    }
}

/// `VirtualService shop/reviews (mesh.yaml:12:1)`.
fn named(snapshot: &Snapshot, origin: &Origin) -> String {
    let name = format!("{} {}/{}", origin.kind, origin.namespace, origin.name);
    match snapshot.place(origin) {
        Some(place) => format!("{name} ({place})"),
        None => name,
    }
}

/// A finding at a place in an object.
fn at(snapshot: &Snapshot, finding: Diagnostic, origin: &Origin) -> Diagnostic {
    let kind = Kind::ALL.iter().copied().find(|kind| kind.as_str() == origin.kind);
    let finding = finding.with_field(origin.path.clone()).with_place(snapshot.place(origin));
    match kind {
        Some(kind) => finding.with_resource(&ResourceId::new(kind, origin.namespace.as_str(), origin.name.as_str())),
        None => finding,
    }
}

/// `a, b, c and 4 others`.
fn some_of<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let others = names.len().saturating_sub(NAMES);
    let shown = names.take(NAMES).collect::<Vec<_>>().join(", ");
    if others == 0 { shown } else { format!("{shown} and {others} others") }
}

/// The namespaces that see something that others do not, and None for all others.
fn namespaces<'a>(exports: impl IntoIterator<Item = &'a ExportTo>) -> Vec<Option<String>> {
    let mut named = BTreeSet::new();
    for export in exports {
        if let ExportTo::Namespaces(set) = export {
            named.extend(set.iter().cloned());
        }
    }
    std::iter::once(None).chain(named.into_iter().map(Some)).collect()
}

fn sees(namespace: Option<&str>, export: &ExportTo) -> bool {
    match (namespace, export) {
        (_, ExportTo::Everyone) => true,
        (None, ExportTo::Namespaces(_)) => false,
        (Some(namespace), export) => export.includes(namespace),
    }
}

/// Those that clients of a namespace see, in the order in which they win; `all` has the oldest first.
fn in_order<'s>(
    all: &[&'s Arc<ResolvedVirtualService>],
    namespace: Option<&str>,
) -> Vec<&'s Arc<ResolvedVirtualService>> {
    let mut seen: Vec<_> = all.iter().copied().filter(|vs| sees(namespace, &vs.export_to)).collect();
    seen.sort_by_key(|vs| match &vs.export_to {
        ExportTo::Everyone => 2,
        ExportTo::Namespaces(_) if Some(&*vs.id.namespace) == namespace => 0,
        ExportTo::Namespaces(_) => 1,
    });
    seen
}

#[cfg(test)]
#[path = "conflict_tests.rs"]
mod tests;
