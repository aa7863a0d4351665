//! AM-T1 to AM-T3: where gateways live, and by which type of Service they are reached.

use super::installation::{ControlPlane, is_egress, labelled, of_operators, service_of_values, values_of, workloads};
use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::explain::{backend, sends_to_pods};
use crate::resource::kube::{ServiceSpec, ServiceType};
use crate::resource::{Kind, Map, Object};
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) fn find(world: &World<'_>, planes: &[ControlPlane<'_>], found: &mut Vec<Diagnostic>) {
    beside_control_plane(world, planes, found);
    services(world, found);
    of_installation(world, found);
}

/// AM-T1.
fn beside_control_plane(world: &World<'_>, planes: &[ControlPlane<'_>], found: &mut Vec<Diagnostic>) {
    let mut homes: BTreeSet<&str> = planes.iter().map(|plane| plane.namespace.as_str()).collect();
    if homes.is_empty() {
        homes.insert(&world.mesh.root_namespace);
    }
    let written = workloads(world).map(|(gateway, _)| gateway);
    for gateway in written.chain(of_operators(world)).filter(|gateway| !gateway.egress) {
        if homes.contains(gateway.namespace.as_str()) {
            let message = format!(
                "the ingress gateway {} is in {}, the namespace of the control plane",
                gateway.name, gateway.namespace
            );
            found.push(about(codes::GATEWAY_BESIDE_CONTROL_PLANE, gateway.object, &gateway.field, message));
        }
    }
}

/// A Service that chooses a gateway's pods, and whether requests leave the mesh by these.
struct Front<'a> {
    object: &'a Arc<Object>,
    spec: &'a ServiceSpec,
    egress: bool,
}

/// AM-T2 and AM-T3 of Services.
fn services(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let gateways: Vec<_> = workloads(world).map(|(gateway, pod)| (gateway.namespace, pod.labels)).collect();
    let holds = |selector: &Map, labels: &Map| selector.iter().all(|(key, value)| labels.get(key) == Some(value));
    let front = |object, spec| {
        let front: Front<'_> = Front { object, spec, egress: is_egress(&spec.selector) };
        if spec.selector.is_empty() || spec.cluster_ip == "None" {
            return None;
        }
        let own: Vec<&Map> = (gateways.iter())
            .filter(|(namespace, labels)| **namespace == *front.object.id.namespace && holds(&spec.selector, labels))
            .map(|(_, labels)| *labels)
            .collect();
        let egress = front.egress || (!own.is_empty() && own.iter().all(|labels| is_egress(labels)));
        (labelled(&spec.selector) || !own.is_empty()).then_some(Front { egress, ..front })
    };
    let fronts: Vec<Front<'_>> =
        world.services().filter_map(|(object, service)| front(object, &service.spec)).collect();
    for one in &fronts {
        let name = format!("the Service {} of a gateway", one.object.id.name);
        let reached_otherwise = || {
            fronts.iter().any(|other| {
                other.object.id.namespace == one.object.id.namespace
                    && other.spec.selector == one.spec.selector
                    && matches!(other.spec.service_type, ServiceType::NodePort | ServiceType::LoadBalancer)
            })
        };
        let has_ingress = || to_pods(world, &one.object.id.namespace, &one.object.id.name);
        if let Some((code, message)) = judge(&name, one.spec.service_type, one.egress, has_ingress)
            && (one.spec.service_type != ServiceType::ClusterIP || !reached_otherwise())
        {
            found.push(about(code, one.object, "spec.type", message));
        }
    }
}

/// AM-T2 and AM-T3 of what IstioOperators and values of the chart `gateway` make.
fn of_installation(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    for gateway in of_operators(world) {
        let Some((written, field)) = &gateway.service else { continue };
        let Some(kind) = service_type(written) else { continue };
        let name = format!("the Service of the gateway {}", gateway.name);
        let has_ingress = || to_pods(world, &gateway.namespace, &gateway.name);
        if let Some((code, message)) = judge(&name, kind, gateway.egress, has_ingress) {
            found.push(about(code, gateway.object, field, message));
        }
    }
    for object in values_of(world, "gateway") {
        let Some((written, field)) = service_of_values(object) else { continue };
        // What the gateway will be called is said when the chart is installed.
        let any = || written == "ClusterIP" && world.of(Kind::Ingress).iter().any(|ingress| sends_to_pods(ingress));
        let Some((code, message)) =
            service_type(&written).and_then(|kind| judge("the chart's Service", kind, false, any))
        else {
            continue;
        };
        found.push(about(code, object, field, message));
    }
}

fn service_type(written: &str) -> Option<ServiceType> {
    match written {
        "LoadBalancer" => Some(ServiceType::LoadBalancer),
        "NodePort" => Some(ServiceType::NodePort),
        "ClusterIP" => Some(ServiceType::ClusterIP),
        _ => None,
    }
}

/// What is wrong with that type; `has_ingress`: whether a load balancer goes to the pods themselves.
fn judge(
    name: &str,
    kind: ServiceType,
    egress: bool,
    has_ingress: impl Fn() -> bool,
) -> Option<(&'static str, String)> {
    match kind {
        ServiceType::LoadBalancer => {
            let message = format!("{name} is of type LoadBalancer: whose the load balancer is, is blurred");
            Some((codes::GATEWAY_LOAD_BALANCER, message))
        }
        // By an egress gateway nobody comes in.
        ServiceType::ClusterIP if !egress && !has_ingress() => {
            let message = format!(
                "{name} is of type ClusterIP, and no Ingress with alb.ingress.kubernetes.io/target-type: ip leads to it"
            );
            Some((codes::GATEWAY_CLUSTER_IP, message))
        }
        ServiceType::NodePort if has_ingress() => {
            let message = format!(
                "{name} is of type NodePort, and an Ingress with alb.ingress.kubernetes.io/target-type: ip goes to its pods themselves"
            );
            Some((codes::GATEWAY_CLUSTER_IP, message))
        }
        _ => None,
    }
}

/// Whether an Ingress whose load balancer goes to pods names that Service.
fn to_pods(world: &World<'_>, namespace: &str, name: &str) -> bool {
    let ingresses = world.of(Kind::Ingress).iter();
    ingresses.filter(|ingress| sends_to_pods(ingress)).any(|ingress| backend(ingress, namespace, name).is_some())
}
