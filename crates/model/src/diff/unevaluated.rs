//! Objects that differ and that nobody evaluates: what they do to requests is not known, and never passed over.

use super::{NotEvaluated, Side};
use crate::resource::{Kind, Object, ResourceId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Kinds that proxies of Istio obey, or that decide what they present, and that no answer of `explain` looks into.
fn is_silent(kind: Kind) -> bool {
    kind.is_security()
        || kind == Kind::Secret
        || matches!(kind.group(), "gateway.networking.k8s.io" | "extensions.istio.io" | "telemetry.istio.io")
        || kind.as_str() == "EnvoyFilter"
}

pub(super) fn between(before: &Side<'_>, after: &Side<'_>) -> Vec<NotEvaluated> {
    let (one, other) = (objects(before), objects(after));
    let mut found = Vec::new();
    for (id, object) in &one {
        match other.get(id) {
            None => found.push(NotEvaluated { object: id.to_string(), what: "removed" }),
            Some(later) if !same(object, later) => found.push(NotEvaluated { object: id.to_string(), what: "changed" }),
            Some(_) => {}
        }
    }
    let added = other.keys().filter(|id| !one.contains_key(*id));
    found.extend(added.map(|id| NotEvaluated { object: id.to_string(), what: "added" }));
    found.sort_by(|one, other| one.object.cmp(&other.object));
    found
}

fn objects<'s>(side: &Side<'s>) -> BTreeMap<&'s ResourceId, &'s Arc<Object>> {
    let all = side.snapshot.in_force().chain(side.for_tools);
    all.filter(|object| is_silent(object.id.kind)).map(|object| (&object.id, object)).collect()
}

/// By what they say; where none has a type, by how it is written.
fn same(one: &Object, other: &Object) -> bool {
    let written = |object: &Object| object.source.as_ref().map(|source| source.root().to_flow());
    match one.spec {
        crate::resource::Spec::Untyped => written(one) == written(other),
        _ => one.spec == other.spec,
    }
}
