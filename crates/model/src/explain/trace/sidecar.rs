//! Whether the server's pod has a sidecar, by what Istio's injection looks at: the pod's own label and annotation, its
//! network, the labels of its namespace (`pkg/kube/inject`, and the selectors of its webhooks).

use super::{By, Hop, Known, Stage};
use crate::config::ClusterEndpoints;
use crate::resource::{Kind, ResourceId};
use crate::snapshot::{Pod, Snapshot};

const INJECT: &str = "sidecar.istio.io/inject";
const INJECTION: &str = "istio-injection";
const REVISION: &str = "istio.io/rev";
const PROXY: &str = "istio-proxy";

pub(super) fn hop(known: &Known<'_>, endpoints: Option<&ClusterEndpoints>, pods: &[&Pod]) -> Hop {
    let told = endpoints.into_iter().flat_map(|e| &e.localities).flat_map(|l| &l.endpoints);
    if told.flat_map(|e| &e.transport_labels).any(|(key, value)| key == "tlsMode" && value == "istio") {
        return has("its endpoints say so");
    }
    match (known.snapshot, pods.first()) {
        (Some(snapshot), Some(pod)) => injected(snapshot, pod),
        _ => Hop::new(Stage::Sidecar, NOT_KNOWN),
    }
}

/// Why a pod surely has no sidecar.
pub(super) fn why_none(snapshot: &Snapshot, pod: &Pod) -> Option<String> {
    let hop = injected(snapshot, pod);
    (hop.what == NONE).then(|| hop.details.into_iter().next()).flatten()
}

const NONE: &str = "none";
const NOT_KNOWN: &str = "not known";

fn has(why: impl Into<String>) -> Hop {
    Hop::new(Stage::Sidecar, "of the pod").detail(why)
}

fn none(why: impl Into<String>) -> Hop {
    Hop::new(Stage::Sidecar, NONE).detail(why)
}

fn injected(snapshot: &Snapshot, pod: &Pod) -> Hop {
    let object = snapshot.object(&ResourceId::new(Kind::Pod, pod.namespace.as_str(), pod.name.as_str()));
    let annotation = object.and_then(|object| object.meta.annotations.get(INJECT)).map(String::as_str);
    let label = |key: &str| pod.labels.get(key).map(String::as_str);
    let spec = pod.pod_spec();
    if spec.containers.iter().chain(&spec.init_containers).any(|container| container.name == PROXY) {
        return has(format!("the pod has a container {PROXY}"));
    }
    if spec.host_network {
        return none("the pod has hostNetwork, where nothing is injected");
    }
    if label(INJECT) == Some("false") {
        return none(format!("the pod is labelled {INJECT}=false"));
    }
    let namespace = snapshot.object(&ResourceId::new(Kind::Namespace, "", pod.namespace.as_str()));
    let by = || namespace.map(|object| By::of_object(object, "metadata.labels"));
    let of_namespace = |key: &str| namespace.and_then(|object| object.meta.labels.get(key)).map(String::as_str);
    let asks = match (of_namespace(INJECTION), of_namespace(REVISION)) {
        (Some("enabled"), _) => Some(format!("{INJECTION}=enabled")),
        (Some(value), _) => return none(format!("{INJECTION}={value}")).by(by()),
        (None, Some(revision)) => Some(format!("{REVISION}={revision}")),
        (None, None) => None,
    };
    match (label(INJECT), annotation, asks) {
        // The pod's label goes before its annotation, and does without one of the namespace.
        (Some("true"), _, _) => has(format!("the pod is labelled {INJECT}=true")),
        (_, Some("false"), _) => none(format!("the pod is annotated {INJECT}: false")),
        (_, _, Some(asks)) => has(asks).by(by()),
        (_, _, None) if label(REVISION).is_some() => {
            has(format!("the pod is labelled {REVISION}={}", label(REVISION).unwrap_or_default()))
        }
        (_, annotation, None) => {
            let hop = match namespace {
                Some(_) => none(format!("namespace {} has neither {INJECTION} nor {REVISION}", pod.namespace)).by(by()),
                None => Hop::new(Stage::Sidecar, NOT_KNOWN)
                    .detail(format!("nothing here says whether namespace {} is injected", pod.namespace)),
            };
            match annotation {
                Some(value) => {
                    hop.detail(format!("the pod's annotation {INJECT}: {value} counts in injected namespaces alone"))
                }
                None => hop,
            }
        }
    }
}
