//! Images of proxies: pods that run another one than injection would give them (IST0158), and `image: auto` that nobody
//! fills in (IST0146, IST0147).

use super::injection::{INJECTION, REVISION, injector_name, injector_values};
use crate::analyze::pods::PodView;
use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::{Kind, LabelSelector, Map, PodSpec};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn mismatches(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let mut wanted: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut others: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for pod in world.pods.written() {
        let Some(labels) = world.namespace_labels(&pod.object.id.namespace) else { continue };
        let injected = labels.get(INJECTION).is_some_and(|value| value == "enabled") || labels.contains_key(REVISION);
        let own = pod.annotations.get("sidecar.istio.io/proxyImage").is_some_and(|image| !image.is_empty());
        let Some(image) = pod.proxy_image().filter(|_| injected && !own) else { continue };
        let name = injector_name(labels.get(REVISION));
        let wanted = wanted.entry(name).or_insert_with_key(|name| proxy_image(&injector_values(world, name)?));
        let Some(wanted) = wanted else { continue };
        if image != wanted && image != format!("{wanted}-{}", image_type(world, pod)) {
            others.entry(&pod.object.id.namespace).or_default().push(&pod.object.id.name);
        }
    }
    for (namespace, mut pods) in others {
        pods.sort_unstable();
        if let Some(object) = world.find(Kind::Namespace, "", namespace) {
            let message =
                format!("these pods run another proxy than injection would give them now: {}", pods.join(", "));
            found.push(about(codes::PROXY_IMAGE_MISMATCH, object, "metadata.name", message));
        }
    }
}

/// The image that the injector's values name.
fn proxy_image(values: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_else(|| value.to_string());
    let global = &values["global"];
    let image = global["proxy"]["image"].as_str()?;
    if image.contains('/') {
        return Some(image.to_owned());
    }
    Some(format!("{}/{image}:{}", text(&global["hub"]), text(&global["tag"])))
}

/// The variant of the image that a pod asks for: what is closest to it counts.
fn image_type(world: &World<'_>, pod: &PodView<'_>) -> String {
    let mut chosen = String::new();
    let mut take = |asked: &str| {
        if !asked.is_empty() {
            chosen = asked.to_owned();
        }
    };
    let of_mesh = world.mesh.default_config.image.as_ref().and_then(|image| image.get("imageType")?.as_str());
    take(of_mesh.unwrap_or_default());
    let all: Vec<_> = world.proxy_configs().collect();
    let asked = |config: &crate::resource::sidecar::ProxyConfigResource| {
        config.image.as_ref().map(|image| image.image_type.clone()).unwrap_or_default()
    };
    for (_, config) in all.iter().filter(|(object, _)| *object.id.namespace == *world.mesh.root_namespace) {
        take(&asked(config));
    }
    let own: Vec<_> = all.iter().filter(|(object, _)| object.id.namespace == pod.object.id.namespace).collect();
    for (_, config) in own.iter().filter(|(_, config)| config.selector.is_none()) {
        take(&asked(config));
    }
    for (_, config) in
        own.iter().filter(|(_, config)| config.selector.as_ref().is_some_and(|it| it.matches(pod.labels)))
    {
        take(&asked(config));
    }
    if let Some(text) = pod.annotations.get("proxy.istio.io/config") {
        take(&annotated_image_type(text));
    }
    if chosen == "default" { String::new() } else { chosen }
}

fn annotated_image_type(text: &str) -> String {
    let parsed = crate::yaml::parse(&"".into(), text);
    let image = parsed.documents.first().and_then(|document| document.root().get("image")?.get("imageType"));
    image.map_or("", crate::yaml::Node::text).to_owned()
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Webhook {
    name: String,
    namespace_selector: LabelSelector,
    object_selector: LabelSelector,
}

pub(super) fn automatic(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let configurations = world.of(Kind::MutatingWebhookConfiguration).iter();
    let webhooks: Vec<Webhook> = configurations
        .flat_map(|object| object.read::<Vec<Webhook>>(&["webhooks"]))
        .filter(|webhook| webhook.name.ends_with("istio.io"))
        .collect();
    let none = Map::new();
    for pod in world.pods.all().iter().filter(|pod| is_automatic(pod.spec)) {
        let field = format!("{}.containers", pod.path);
        if pod.object.id.kind == Kind::Pod {
            let message = "the image of istio-proxy is still `auto`: the pod was not injected";
            found.push(about(codes::IMAGE_AUTO_POD, pod.object, &field, message));
            continue;
        }
        let namespace = world.namespace_labels(&pod.object.id.namespace).unwrap_or(&none);
        let injects = |it: &Webhook| it.namespace_selector.matches(namespace) && it.object_selector.matches(pod.labels);
        if !webhooks.iter().any(injects) {
            let message = "the image of istio-proxy is `auto`, and no webhook of the input injects these pods";
            found.push(about(codes::IMAGE_AUTO_DEPLOYMENT, pod.object, &field, message));
        }
    }
}

fn is_automatic(spec: &PodSpec) -> bool {
    spec.containers.iter().any(|container| container.name == "istio-proxy" && container.image == "auto")
}
