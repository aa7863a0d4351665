//! Webhooks of the control plane: which overlap or lead nowhere (IST0139), and those of an external control plane
//! (IST0163, IST0164).

use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::{Kind, LabelSelector, Map, Object};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

const REVISION: &str = "istio.io/rev";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Webhook {
    name: String,
    namespace_selector: LabelSelector,
    object_selector: LabelSelector,
    client_config: ClientConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ClientConfig {
    url: Option<String>,
    service: Option<ServiceName>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ServiceName {
    namespace: String,
    name: String,
}

/// A webhook of an object that injects.
type Injector<'a> = (&'a Arc<Object>, usize, Webhook);

pub(super) fn injectors(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let mut revisions = BTreeSet::new();
    let mut injectors: Vec<Injector<'_>> = Vec::new();
    for &object in world.of(Kind::MutatingWebhookConfiguration) {
        let webhooks: Vec<Webhook> = object.read(&["webhooks"]);
        let own = revisions_of(object, &webhooks);
        if own.is_empty() && !webhooks.iter().any(|webhook| webhook.name.ends_with("istio.io")) {
            continue;
        }
        revisions.extend(own);
        injectors.extend(webhooks.into_iter().enumerate().map(|(index, webhook)| (object, index, webhook)));
    }
    overlaps(&injectors, &revisions, found);
    for (object, index, webhook) in &injectors {
        let Some(service) = &webhook.client_config.service else { continue };
        if world.find(Kind::Service, &service.namespace, &service.name).is_none() {
            let message = format!(
                "webhook {} leads to Service {}/{}, which is not there",
                webhook.name, service.namespace, service.name
            );
            let field = format!("webhooks[{index}].clientConfig.service.name");
            found.push(about(codes::INVALID_WEBHOOK, object, &field, message));
        }
    }
}

/// The revisions that a configuration asks for.
fn revisions_of(object: &Object, webhooks: &[Webhook]) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = object.meta.labels.get(REVISION).cloned().into_iter().collect();
    for selector in webhooks.iter().flat_map(|webhook| [&webhook.namespace_selector, &webhook.object_selector]) {
        found.extend(selector.match_labels.get(REVISION).cloned());
        let of_revision = selector.match_expressions.iter().filter(|requirement| requirement.key == REVISION);
        found.extend(of_revision.flat_map(|requirement| requirement.values.iter().cloned()));
    }
    found
}

/// Namespaces or pods as they may be labelled: each way of asking for injection by that key, with each revision.
fn labelled(key: &str, values: [&str; 2], revisions: &BTreeSet<String>) -> Vec<Map> {
    let bases = [None, Some(values[0]), Some(values[1])];
    let of_revision = |revision: Option<&String>| {
        let revision = revision.map(|revision| (REVISION.to_owned(), revision.clone()));
        bases.map(|base| {
            base.map(|base| (key.to_owned(), base.to_owned())).into_iter().chain(revision.clone()).collect()
        })
    };
    std::iter::once(None).chain(revisions.iter().map(Some)).flat_map(of_revision).collect()
}

/// Whatever the labels are, at most one webhook may inject.
fn overlaps(injectors: &[Injector<'_>], revisions: &BTreeSet<String>, found: &mut Vec<Diagnostic>) {
    let namespaces = labelled("istio-injection", ["enabled", "disabled"], revisions);
    let pods = labelled("sidecar.istio.io/inject", ["true", "false"], revisions);
    let mut others: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); injectors.len()];
    for namespace in &namespaces {
        for pod in &pods {
            let chosen: Vec<usize> = (0..injectors.len())
                .filter(|index| injectors[*index].2.namespace_selector.matches(namespace))
                .filter(|index| injectors[*index].2.object_selector.matches(pod))
                .collect();
            for index in &chosen {
                others[*index].extend(chosen.iter().filter(|other| *other != index));
            }
        }
    }
    for ((object, index, webhook), others) in injectors.iter().zip(others).filter(|(_, others)| !others.is_empty()) {
        let names: Vec<String> = others
            .iter()
            .map(|other| format!("{}/{}", injectors[*other].0.id.name, injectors[*other].2.name))
            .collect();
        let message = format!(
            "webhook {} and {} choose the same pods: they may be injected twice",
            webhook.name,
            names.join(", ")
        );
        found.push(about(codes::INVALID_WEBHOOK, object, &format!("webhooks[{index}].name"), message));
    }
}

pub(super) fn external(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let injects = |name: &str| name.starts_with("istio-sidecar-injector");
    let validates = |name: &str| name == "istiod-default-validator" || name.starts_with("istio-validator");
    let mutating = world.of(Kind::MutatingWebhookConfiguration).iter().filter(|object| injects(&object.id.name));
    let validating = world.of(Kind::ValidatingWebhookConfiguration).iter().filter(|object| validates(&object.id.name));
    for object in mutating.chain(validating) {
        let webhooks: Vec<Webhook> = object.read(&["webhooks"]);
        for (index, webhook) in webhooks.iter().enumerate() {
            let field = format!("webhooks[{index}].clientConfig.url");
            let told = external_problem(webhook).map(|(code, message)| about(code, object, &field, message));
            found.extend(told);
        }
    }
}

fn external_problem(webhook: &Webhook) -> Option<(&'static str, String)> {
    let name = &webhook.name;
    let Some(url) = webhook.client_config.url.as_deref() else {
        let blank = webhook.client_config.service.is_none();
        return blank
            .then(|| (codes::EXTERNAL_CONTROL_PLANE, format!("webhook {name} has neither a url nor a service")));
    };
    let Some(host) = host_of(url) else {
        return Some((codes::EXTERNAL_CONTROL_PLANE, format!("webhook {name} has a url that cannot be read: {url}")));
    };
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    is_address.then(|| (codes::EXTERNAL_ADDRESS, format!("webhook {name} is reached by an address: {url}")))
}

/// The host of a URL; none where it is not one.
fn host_of(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    uri.host().map(str::to_owned)
}
