//! Sidecar injection: namespaces that do not say whether (IST0102, IST0148) or say it twice (IST0123), and pods without
//! a proxy where they should have one (IST0103).

use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::{Kind, Map};
use serde_json::Value;

pub(super) const INJECTION: &str = "istio-injection";
pub(super) const REVISION: &str = "istio.io/rev";
const MODE: &str = "istio.io/dataplane-mode";

pub(super) fn namespaces(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    for object in world.of(Kind::Namespace).iter().filter(|object| *object.id.name != *world.mesh.root_namespace) {
        let labels = &object.meta.labels;
        let asked = injection_labels(labels);
        if asked.len() > 1 {
            let message = format!("the labels {} each say something about injection", asked.join(", "));
            found.push(about(codes::SEVERAL_INJECTION_LABELS, object, "metadata.labels", message));
        }
        let ambient = labels.get(MODE).is_some_and(|mode| mode == "ambient");
        let says = labels.get(INJECTION).is_some_and(|value| !value.is_empty()) || labels.contains_key(REVISION);
        if ambient || says {
            continue;
        }
        let (code, message) = if injects_by_default(world, labels) {
            (codes::INJECTED_BY_DEFAULT, "pods get a sidecar: the installation injects every namespace by default")
        } else {
            (codes::NAMESPACE_NOT_INJECTED, "pods get no sidecar; istio-injection: disabled would say that it is meant")
        };
        found.push(about(code, object, "metadata.name", message));
    }
}

/// The labels that ask for a proxy; others beside `istio-injection: disabled` ask for nothing.
fn injection_labels(labels: &Map) -> Vec<String> {
    let injection = labels.get(INJECTION);
    let mut asked: Vec<String> = injection.map(|value| format!("{INJECTION}={value}")).into_iter().collect();
    if injection.is_none_or(|value| value == "enabled") {
        let others = [REVISION, MODE].into_iter().filter_map(|key| Some(format!("{key}={}", labels.get(key)?)));
        asked.extend(others);
    }
    asked
}

/// The name of the injector's ConfigMap of a revision.
pub(in crate::analyze) fn injector_name(revision: Option<&String>) -> String {
    match revision.map(String::as_str) {
        None | Some("" | "default") => "istio-sidecar-injector".to_owned(),
        Some(revision) => format!("istio-sidecar-injector-{revision}"),
    }
}

/// The injector's values, from its ConfigMap.
pub(in crate::analyze) fn injector_values(world: &World<'_>, name: &str) -> Option<Value> {
    let (_, map) = world.config_maps().find(|(object, _)| *object.id.name == *name)?;
    serde_json::from_str(map.data.get("values")?).ok()
}

pub(in crate::analyze) fn injects_by_default(world: &World<'_>, labels: &Map) -> bool {
    let values = injector_values(world, &injector_name(labels.get(REVISION)));
    values.is_some_and(|values| values["sidecarInjectorWebhook"]["enableNamespacesByDefault"] == true)
}

pub(super) fn pods(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    const INJECT: &str = "sidecar.istio.io/inject";
    for pod in world.pods.written() {
        let namespace = &*pod.object.id.namespace;
        let labels = world.namespace_labels(namespace);
        let injected = labels.is_some_and(|labels| labels.get(INJECTION).is_some_and(|value| value == "enabled"));
        let ambient = labels.is_some_and(|labels| labels.get(MODE).is_some_and(|mode| mode == "ambient"));
        if !injected || ambient || namespace == world.mesh.root_namespace || pod.spec.host_network {
            continue;
        }
        let refuses = pod.labels.get(INJECT).or_else(|| pod.annotations.get(INJECT));
        if refuses.is_none_or(|value| !value.eq_ignore_ascii_case("false")) && pod.proxy_image().is_none() {
            let message =
                format!("namespace {namespace} is injected, and this pod has no proxy: it is outside of the mesh");
            found.push(about(codes::POD_WITHOUT_PROXY, pod.object, "spec.containers", message));
        }
    }
}
