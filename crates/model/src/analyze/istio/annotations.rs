//! Istio's annotations: unknown ones (IST0108), those at the wrong kind (IST0107), values that cannot be read
//! (IST0125), and features that go away (IST0135) or are not settled (IST0136).

use super::annotation_table::{Annotation, Phase, TABLE};
use super::annotation_values::check;
use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::closest;
use crate::resource::{Kind, Object};

/// Set by the control plane itself.
const OWN: [&str; 3] = ["sidecar.istio.io/status", "gateway.istio.io/controller-version", "istio.io/rev"];
const INJECT: &str = "sidecar.istio.io/inject";

pub(super) fn find(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    for kind in [Kind::Namespace, Kind::Service, Kind::Pod, Kind::Deployment] {
        for object in world.of(kind) {
            let ours =
                object.meta.annotations.iter().filter(|(name, _)| is_istio(name) && !OWN.contains(&name.as_str()));
            for (name, value) in ours {
                judge(object, name, value, found);
            }
        }
    }
}

/// Whether the name is within istio.io, or one that Istio documents.
fn is_istio(name: &str) -> bool {
    name == "kubernetes.io/ingress.class" || name.split('/').next().is_some_and(|domain| domain.ends_with("istio.io"))
}

fn judge(object: &Object, name: &str, value: &str, found: &mut Vec<Diagnostic>) {
    let field = format!("metadata.annotations[\"{name}\"]");
    let Some(known) = TABLE.iter().find(|known| known.name == name) else {
        let mut unknown = about(codes::UNKNOWN_ANNOTATION, object, &field, format!("Istio has no annotation {name}"))
            .with_place(object.key_place("metadata.annotations", name));
        let of_kind = |known: &&Annotation| {
            known.kinds.iter().any(|kind| *kind == "Any" || *kind == object.id.kind.as_str()) && !known.deprecated
        };
        let names = TABLE.iter().filter(of_kind).map(|known| known.name);
        unknown.suggestion = closest(name, names).map(str::to_owned);
        return found.push(unknown);
    };
    let mut tell = |code, message: String| found.push(about(code, object, &field, message));
    // Who has the label too knows.
    if known.deprecated && !(name == INJECT && object.meta.labels.contains_key(INJECT)) {
        let instead = if name == INJECT { "; use the label of that name" } else { "" };
        tell(codes::DEPRECATED_ANNOTATION, format!("annotation {name} is deprecated{instead}"));
    }
    if known.phase == Phase::Alpha && !is_set_by_injection(object, known) {
        tell(codes::ALPHA_ANNOTATION, format!("annotation {name} is of a feature in alpha"));
    }
    if known.kinds == ["Any"] {
        return;
    }
    if !known.kinds.contains(&object.id.kind.as_str()) {
        return tell(codes::MISPLACED_ANNOTATION, format!("annotation {name} belongs to {}", known.kinds.join(", ")));
    }
    if let Err(problem) = check(name, value) {
        tell(codes::INVALID_ANNOTATION, format!("annotation {name}: {problem}"));
    }
}

/// What injection writes itself where traffic is captured by the CNI plugin.
fn is_set_by_injection(object: &Object, known: &Annotation) -> bool {
    const WRITTEN: [&str; 4] = [
        "sidecar.istio.io/interceptionMode",
        "traffic.sidecar.istio.io/includeInboundPorts",
        "traffic.sidecar.istio.io/excludeInboundPorts",
        "traffic.sidecar.istio.io/includeOutboundIPRanges",
    ];
    let crate::resource::Spec::Pod(pod) = &object.spec else { return false };
    WRITTEN.contains(&known.name) && pod.spec.init_containers.iter().all(|container| container.name != "istio-init")
}
