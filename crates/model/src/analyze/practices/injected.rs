//! Which pods Istio gives a sidecar, by the labels of namespace and pod, as its webhooks and its injector read them.
//! The practices about sidecars ask.

use crate::analyze::istio::injects_by_default;
use crate::analyze::pods::PodView;
use crate::analyze::world::World;
use crate::resource::Kind;

const INJECT: &str = "sidecar.istio.io/inject";
const REVISION: &str = "istio.io/rev";

/// Namespaces that the injector leaves alone whatever they are labelled.
const NEVER: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

/// Whether the pod has a sidecar, or would get one.
pub(super) fn has_sidecar(world: &World<'_>, pod: &PodView<'_>) -> bool {
    if pod.proxy_image().is_some() {
        return true;
    }
    let home = &*pod.object.id.namespace;
    if pod.spec.host_network || NEVER.contains(&home) {
        return false;
    }
    let asked = pod.labels.get(INJECT).map(String::as_str);
    // The annotation counts only where a webhook chose the pod.
    if asked.or(pod.annotations.get(INJECT).map(String::as_str)) == Some("false") {
        return false;
    }
    let labels = world.namespace_labels(home);
    let of_namespace = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    match (of_namespace("istio-injection"), of_namespace(REVISION)) {
        (Some(value), _) => value == "enabled",
        (None, Some(_)) => true,
        (None, None) => {
            let by_default = labels.is_some_and(|labels| asked.is_none() && injects_by_default(world, labels));
            asked == Some("true") || pod.labels.contains_key(REVISION) || by_default
        }
    }
}

/// Whether the pod itself says that it wants one.
pub(super) fn asks_for_sidecar(pod: &PodView<'_>) -> bool {
    pod.labels.get(INJECT).is_some_and(|value| value == "true")
}

/// Whether what made it is in the input too, and is told of in its place.
pub(super) fn is_made_by_another(world: &World<'_>, pod: &PodView<'_>) -> bool {
    pod.object.meta.owners.iter().any(|owner| {
        let kind = Kind::ALL.iter().find(|kind| kind.as_str() == owner.kind);
        kind.is_some_and(|kind| world.find(*kind, &pod.object.id.namespace, &owner.name).is_some())
    })
}
