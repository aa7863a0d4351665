//! Names of Services' ports, by which Istio tells their protocols (IST0118, IST0150).

use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::protocol::Protocol;
use crate::resource::kube::{ServicePort, ServiceType};
use crate::resource::{IntOrString, Map};

pub(super) fn port_names(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    for (object, service) in world.services() {
        if is_control_plane(&object.meta.labels) || object.meta.labels.contains_key("gateway.istio.io/managed") {
            continue;
        }
        let external = service.spec.service_type == ServiceType::ExternalName;
        for (index, port) in service.spec.ports.iter().enumerate() {
            if !(is_unknown(port) || external && port.name == "tcp") {
                continue;
            }
            let field = format!("spec.ports[{index}].port");
            let (code, message) = if external {
                (codes::EXTERNAL_NAME_PORT, format!("port {} of an ExternalName service is TCP", port.port))
            } else {
                let target = match &port.target_port {
                    Some(IntOrString::Int(number)) => number.to_string(),
                    Some(IntOrString::String(name)) => name.clone(),
                    None => port.port.to_string(),
                };
                let name = if port.name.is_empty() { "no name" } else { &port.name };
                (codes::PORT_NAME, format!("port {} ({name}, targetPort {target}) tells no protocol", port.port))
            };
            found.push(about(code, object, &field, message));
        }
    }
}

fn is_unknown(port: &ServicePort) -> bool {
    let number = u32::try_from(port.port).unwrap_or(0);
    let protocol = Protocol::of_service_port(number, &port.name, &port.protocol, port.app_protocol.as_deref());
    protocol == Protocol::Unspecified
}

/// Objects of Istio's own installation.
pub(super) fn is_control_plane(labels: &Map) -> bool {
    labels.contains_key("istio") || labels.get("release").is_some_and(|release| release == "istio")
}
