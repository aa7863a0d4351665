//! The pods that a Gateway chooses (AM-E13), and whether their Services have its ports (IST0162).

use crate::analyze::pods::PodView;
use crate::analyze::world::{World, about, selector_text};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::Gateway;
use std::collections::BTreeSet;

pub(in crate::analyze::istio) fn find(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    for (object, gateway) in world.gateways() {
        let mut pods = world.pods.matching(&gateway.selector).peekable();
        if pods.peek().is_none() {
            if !world.pods.is_empty() {
                let message = format!("no pod has the labels {}", selector_text(&gateway.selector));
                found.push(about(codes::CHOOSES_NOTHING, object, &selector_field(gateway), message));
            }
            continue;
        }
        let ports: BTreeSet<u32> = pods.flat_map(|pod| service_ports(world, pod)).collect();
        for (index, server) in gateway.servers.iter().enumerate() {
            let Some(port) = server.port.as_ref().filter(|port| !ports.contains(&port.number)) else { continue };
            let message = format!(
                "no Service of the pods with {} has port {}: it is not reached through one",
                selector_text(&gateway.selector),
                port.number
            );
            let field = format!("spec.servers[{index}].port.number");
            found.push(about(codes::PORT_NOT_ON_SERVICE, object, &field, message));
        }
    }
}

/// The field of the first label of a Gateway's selector.
fn selector_field(gateway: &Gateway) -> String {
    let first = gateway.selector.keys().next();
    first.map_or("spec.selector".to_owned(), |key| format!("spec.selector[\"{key}\"]"))
}

/// The ports by which Services lead to a pod: their own, and those at which the pod listens.
fn service_ports(world: &World<'_>, pod: &PodView<'_>) -> Vec<u32> {
    let mut ports = Vec::new();
    let of_namespace = world.services().filter(|(object, _)| object.id.namespace == pod.object.id.namespace);
    for (_, service) in of_namespace {
        let selector = &service.spec.selector;
        if selector.iter().any(|(key, value)| pod.labels.get(key) != Some(value)) {
            continue;
        }
        for port in service.spec.ports.iter().filter(|port| matches!(port.protocol.as_str(), "" | "TCP")) {
            let target = port.target_port.as_ref().and_then(|target| pod.spec.resolve_port(target)).map(u32::from);
            ports.extend(u32::try_from(port.port));
            ports.extend(target);
        }
    }
    ports
}
