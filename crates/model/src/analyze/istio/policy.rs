//! Policies: workloads (IST0127) and namespaces (IST0101) that are not there, selectors that gateways of the Gateway API
//! do not follow (IST0166), and keys that are fetched from anywhere (IST0175).

use crate::analyze::pods::PodView;
use crate::analyze::world::{World, about, full_name, selector_text};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::security::TargetRef;
use crate::resource::{Kind, Map, MatchLabels};
use serde::Deserialize;

pub(super) fn workloads(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let in_mesh =
        |pod: &PodView<'_>| pod.is_ambient() || pod.is_in_mesh(world.namespace_labels(&pod.object.id.namespace));
    for (object, policy) in world.authorization_policies() {
        let namespace = &*object.id.namespace;
        let everywhere = namespace == world.mesh.root_namespace;
        let none = Map::new();
        let selector = policy.selector.as_ref().map(|selector| &selector.match_labels);
        let chosen = selector.unwrap_or(&none);
        let protects = match (everywhere, selector) {
            (true, None) => true,
            (true, Some(_)) => world.pods.matching(chosen).any(in_mesh),
            (false, None) => world.pods.of_namespace(namespace).any(in_mesh),
            (false, Some(_)) => world.pods.matching_in(namespace, chosen).any(in_mesh),
        };
        if !protects {
            let message = match selector {
                Some(selector) => format!("no workload of the mesh has the labels {}", selector_text(selector)),
                None => format!("no workload of {namespace} is in the mesh"),
            };
            found.push(about(codes::NO_WORKLOADS, object, "spec.selector", message));
        }
    }
}

pub(super) fn namespaces(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let is_there =
        |wanted: &str| world.of(Kind::Namespace).iter().any(|namespace| namespace_fits(&namespace.id.name, wanted));
    for (object, policy) in world.authorization_policies() {
        for (i, rule) in policy.rules.iter().enumerate() {
            for (j, source) in rule.from.iter().enumerate().filter_map(|(j, from)| Some((j, from.source.as_ref()?))) {
                for (list, names) in [("namespaces", &source.namespaces), ("notNamespaces", &source.not_namespaces)] {
                    for (k, name) in names.iter().enumerate().filter(|(_, name)| !is_there(name)) {
                        let field = format!("spec.rules[{i}].from[{j}].source.{list}[{k}]");
                        found.push(about(codes::NOT_FOUND, object, &field, format!("there is no namespace {name}")));
                    }
                }
            }
        }
    }
}

/// `*` at either end stands for anything.
fn namespace_fits(namespace: &str, wanted: &str) -> bool {
    match (wanted.strip_prefix('*'), wanted.strip_suffix('*')) {
        (Some(end), _) => namespace.ends_with(end),
        (None, Some(start)) => namespace.starts_with(start),
        (None, None) => namespace.eq_ignore_ascii_case(wanted),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Attached {
    selector: Option<MatchLabels>,
    target_ref: Option<TargetRef>,
    target_refs: Vec<TargetRef>,
}

pub(super) fn selectors(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
    for kind in [Kind::AuthorizationPolicy, Kind::RequestAuthentication, Kind::Telemetry, Kind::WasmPlugin] {
        for object in world.of(kind) {
            let Attached { selector, target_ref, target_refs } = object.read(&["spec"]);
            let Some(selector) = selector.filter(|_| target_ref.is_none() && target_refs.is_empty()) else { continue };
            let pods = world.pods.matching_in(&object.id.namespace, &selector.match_labels);
            if let Some(gateway) = pods.filter_map(|pod| pod.labels.get(GATEWAY_NAME)).next() {
                let message = format!("gateway {gateway} of the Gateway API does not follow selectors: use targetRefs");
                found.push(about(codes::INEFFECTIVE_SELECTOR, object, "spec.selector", message));
            }
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Container {
    env: Vec<Variable>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Variable {
    name: String,
    value: String,
}

pub(super) fn key_fetching(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    const BLOCKED: &str = "BLOCKED_CIDRS_IN_JWKS_URIS";
    let names: Vec<String> = world.request_authentications().map(|(object, _)| full_name(object)).collect();
    if names.is_empty() {
        return;
    }
    for (object, _) in
        world.deployments().filter(|(object, _)| object.meta.labels.get("app").is_some_and(|app| app == "istiod"))
    {
        let containers: Vec<Container> = object.read(&["spec", "template", "spec", "containers"]);
        let mut variables = containers.iter().flat_map(|container| &container.env);
        if !variables.any(|variable| variable.name == BLOCKED && !variable.value.is_empty()) {
            let shown = names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
            let message = format!(
                "{BLOCKED} is not set, and keys are fetched for {} RequestAuthentications ({shown})",
                names.len()
            );
            found.push(about(codes::JWKS_UNRESTRICTED, object, "spec.template.spec.containers", message));
        }
    }
}
