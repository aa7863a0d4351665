//! Workloads: the proxy's own user (IST0144), and Services that disagree about a port (IST0116, IST0137).

use super::service::is_control_plane;
use crate::analyze::pods::PodView;
use crate::analyze::world::{World, about, full_name};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::kube::ServicePort;
use crate::resource::{IntOrString, Kind, Object};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The user that sidecars run as.
const PROXY_USER: i64 = 1337;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Security {
    run_as_user: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    name: String,
    security_context: Security,
}

pub(super) fn users(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    for pod in world.pods.all().iter().filter(|pod| !is_control_plane(&pod.object.meta.labels)) {
        let base: Vec<&str> = pod.path.split('.').collect();
        let within = |last: &'static str| [base.as_slice(), &[last]].concat();
        let own: Security = pod.object.read(&within("securityContext"));
        let containers: Vec<Container> = pod.object.read(&within("containers"));
        let is_proxy = |security: &Security| security.run_as_user == Some(PROXY_USER);
        let mut fields: Vec<String> =
            is_proxy(&own).then(|| format!("{}.securityContext", pod.path)).into_iter().collect();
        for (index, container) in containers.iter().enumerate() {
            let may = matches!(container.name.as_str(), "istio-proxy" | "istio-operator");
            if !may && is_proxy(&container.security_context) {
                fields.push(format!("{}.containers[{index}].securityContext", pod.path));
            }
        }
        for field in fields {
            let message = format!("user {PROXY_USER} is the proxy's: calls of this container pass by the mesh");
            found.push(about(codes::PROXY_UID, pod.object, &format!("{field}.runAsUser"), message));
        }
    }
}

/// A Service's name with one of its ports.
type NamedPort<'a> = (String, &'a ServicePort);

pub(super) fn services(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let by_namespace = services_by_namespace(world);
    for pod in world.pods.all().iter().filter(|pod| pod.object.id.kind == Kind::Deployment) {
        let waypoint =
            pod.object.meta.labels.get("gateway.istio.io/managed").is_some_and(|by| by == "istio.io-mesh-controller");
        if waypoint || !pod.is_in_mesh(world.namespace_labels(&pod.object.id.namespace)) {
            continue;
        }
        let of_namespace = by_namespace.get(&*pod.object.id.namespace).map_or(&[] as &[_], Vec::as_slice);
        let ports: Vec<NamedPort<'_>> = of_namespace
            .iter()
            .filter(|(_, service)| chooses(service, pod))
            .flat_map(|(object, service)| service.spec.ports.iter().map(|port| (full_name(object), port)))
            .collect();
        protocols(pod.object, &ports, found);
        target_ports(pod.object, &ports, found);
    }
}

type OfNamespace<'a> = Vec<(&'a Arc<Object>, &'a crate::resource::Service)>;

fn services_by_namespace<'a>(world: &World<'a>) -> BTreeMap<&'a str, OfNamespace<'a>> {
    let mut found: BTreeMap<&str, OfNamespace<'_>> = BTreeMap::new();
    for (object, service) in world.services() {
        found.entry(&object.id.namespace).or_default().push((object, service));
    }
    found
}

fn chooses(service: &crate::resource::Service, pod: &PodView<'_>) -> bool {
    let selector = &service.spec.selector;
    !selector.is_empty() && selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
}

fn protocols(object: &Object, ports: &[NamedPort<'_>], found: &mut Vec<Diagnostic>) {
    let mut by_port: BTreeMap<i32, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    for (name, port) in ports {
        let protocol = if port.protocol.is_empty() { "TCP" } else { &port.protocol };
        by_port.entry(port.port).or_default().entry(protocol).or_default().push(name);
    }
    for (port, by_protocol) in by_port.iter().filter(|(_, by_protocol)| by_protocol.len() > 1) {
        let mut names: Vec<&str> = by_protocol.values().flatten().copied().collect();
        names.sort_unstable();
        let protocols: Vec<&str> = by_protocol.keys().copied().collect();
        let message = format!("port {port} is {} in the Services {}", protocols.join(" and "), names.join(", "));
        found.push(about(codes::SERVICES_DISAGREE_ON_PROTOCOL, object, "metadata.name", message));
    }
}

fn target_ports(object: &Object, ports: &[NamedPort<'_>], found: &mut Vec<Diagnostic>) {
    let mut by_target: BTreeMap<String, BTreeMap<i32, &str>> = BTreeMap::new();
    for (name, port) in ports {
        let target = match &port.target_port {
            Some(IntOrString::Int(number)) if *number != 0 => number.to_string(),
            Some(IntOrString::String(name)) if !name.is_empty() => name.clone(),
            _ => port.port.to_string(),
        };
        by_target.entry(target).or_default().insert(port.port, name);
    }
    for (target, by_port) in by_target.iter().filter(|(_, by_port)| by_port.len() > 1) {
        let names: BTreeSet<&str> = by_port.values().copied().collect();
        let names: Vec<&str> = names.into_iter().collect();
        let numbers: Vec<String> = by_port.keys().map(ToString::to_string).collect();
        let message =
            format!("targetPort {target} is reached by the ports {} of {}", numbers.join(", "), names.join(", "));
        found.push(about(codes::SERVICES_DISAGREE_ON_PORT, object, "metadata.name", message));
    }
}
