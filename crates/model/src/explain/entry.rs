//! How a request from outside comes to a gateway: DNS, load balancer, the gateway's Service, one of its pods.
//!
//! What is in front of a Service is recognised by its type, its node ports, and Ingresses that name it.

use super::question::{QuestionError, Scheme, Target};
use super::trace::{By, Hop, Lost, Shape, Stage, has_host};
use crate::resource::kube::{ServicePort, ServiceType};
use crate::resource::{Kind, Object, Spec, kube};
use crate::snapshot::{Pod, Service, Snapshot, origin_of, selects, target_in_pod};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The annotation of the AWS Load Balancer Controller that makes it send to pods.
const TARGET_TYPE: &str = "alb.ingress.kubernetes.io/target-type";
/// The port of a load balancer of one's own that has no Ingress here.
const HTTPS: u16 = 443;

pub(super) enum Arrival<'s> {
    /// `ended`: TLS of the client is ended before the gateway, which gets plaintext.
    Gateway {
        pod: &'s Arc<Pod>,
        port: u16,
        hops: Vec<Hop>,
        shape: Option<Shape>,
        ended: bool,
    },
    Nowhere {
        hops: Vec<Hop>,
        why: String,
        remedy: String,
        shape: Option<Shape>,
    },
}

/// The pods that Gateways choose and that have a server with the request's host, one of its very port first; where
/// none has, all of them.
fn gateways<'s>(snapshot: &'s Snapshot, target: &Target) -> Vec<&'s Arc<Pod>> {
    // A server of the very port goes before one of another.
    let serves = |pod: &Pod| -> u8 {
        let own = snapshot.gateways().iter().filter(|g| selects(&g.spec.selector, &pod.labels));
        let with_host = own.flat_map(|g| &g.spec.servers).filter(|server| has_host(server, &target.host));
        let ports = with_host.map(|server| server.port.as_ref().map(|p| p.number));
        ports.map(|port| if port == Some(u32::from(target.port)) { 2 } else { 1 }).max().unwrap_or(0)
    };
    let chosen = |pod: &&Arc<Pod>| snapshot.gateways().iter().any(|g| selects(&g.spec.selector, &pod.labels));
    let mut pods: Vec<_> = snapshot.pods().filter(chosen).collect();
    pods.sort_by_key(|pod| std::cmp::Reverse(serves(pod)));
    if pods.iter().any(|pod| serves(pod) > 0) {
        pods.retain(|pod| serves(pod) > 0);
    }
    pods
}

/// The gateway that has the host.
pub(super) fn gateway<'s>(snapshot: &'s Snapshot, target: &Target) -> Option<&'s Arc<Pod>> {
    gateways(snapshot, target).first().copied()
}

/// The gateways that are open to the outside, one of each workload. Where no Service is in front of one, it is taken to
/// be open.
pub(super) fn open_gateways<'s>(snapshot: &'s Snapshot, ingresses: &'s [Arc<Object>]) -> Vec<&'s Arc<Pod>> {
    let chosen = |pod: &&Arc<Pod>| snapshot.gateways().iter().any(|g| selects(&g.spec.selector, &pod.labels));
    let is_open = |object: &Object, service: &Service| match &object.spec {
        Spec::Service(spec) => match spec.spec.service_type {
            ServiceType::LoadBalancer | ServiceType::NodePort => true,
            ServiceType::ClusterIP => {
                ingresses.iter().any(|i| sends_to_pods(i) && backend(i, &service.namespace, &service.name).is_some())
            }
            ServiceType::ExternalName => false,
        },
        _ => false,
    };
    let mut seen = BTreeSet::new();
    let pods = snapshot.pods().filter(chosen);
    pods.filter(|pod| {
        let services = services_of(snapshot, pod);
        let open = services.is_empty() || services.iter().any(|(object, service)| is_open(object, service));
        open && seen.insert((&pod.namespace, &pod.workload.workload))
    })
    .collect()
}

/// A Service in front of a gateway, by the port that a client dials.
struct Door<'s> {
    object: &'s Object,
    service: &'s Service,
    kind: ServiceType,
    port: ServicePort,
    ingress: Option<&'s Object>,
    shape: Option<Shape>,
}

pub(super) fn arrival<'s>(
    snapshot: &'s Snapshot,
    ingresses: &'s [Arc<Object>],
    target: &Target,
) -> Result<Arrival<'s>, QuestionError> {
    let pods = gateways(snapshot, target);
    let Some(first) = pods.first() else { return Err(QuestionError::NoGateway) };
    let mut closed = Vec::new();
    let mut in_front = 0;
    for pod in &pods {
        for (object, service) in services_of(snapshot, pod) {
            in_front += 1;
            match door(object, service, ingresses, target) {
                Ok(door) => return Ok(through(snapshot, &door, pod, closed, target)),
                Err(why) => closed.push(Lost { by: By::of_object(object, "spec.ports"), why }),
            }
        }
    }
    if in_front == 0 {
        let what = format!("no Service selects the gateway's pod {}/{}", first.namespace, first.name);
        let detail = format!("taken as if port {} of it were reached", target.port);
        let hop = Hop::new(Stage::GatewayService, what).detail(detail);
        return Ok(Arrival::Gateway { pod: first, port: target.port, hops: vec![hop], shape: None, ended: false });
    }
    let why = format!("no Service of a gateway takes port {} from outside", target.port);
    let by = closed.first().map(|lost| lost.by.to_string()).unwrap_or_default();
    let remedy = match closed.first() {
        Some(lost) => format!("{by}: {}", lost.why),
        None => why.clone(),
    };
    let hop = Hop { lost: closed, ..Hop::new(Stage::GatewayService, why.clone()) };
    Ok(Arrival::Nowhere { hops: vec![hop], why, remedy, shape: None })
}

fn services_of<'s>(snapshot: &'s Snapshot, pod: &Pod) -> Vec<(&'s Object, &'s Service)> {
    let selecting = |service: &&'s Arc<Service>| {
        service.id.kind == Kind::Service
            && service.namespace == pod.namespace
            && !service.selector.is_empty()
            && selects(&service.selector, &pod.labels)
    };
    let services = snapshot.services().iter().filter(selecting);
    services.filter_map(|service| Some((&**snapshot.object(&service.id)?, &**service))).collect()
}

/// Err: why a client outside cannot come in by this Service.
fn door<'s>(
    object: &'s Object,
    service: &'s Service,
    ingresses: &'s [Arc<Object>],
    target: &Target,
) -> Result<Door<'s>, String> {
    let Spec::Service(spec) = &object.spec else { return Err("it is no Service".to_string()) };
    let spec = &spec.spec;
    let ingress = ingresses.iter().map(|i| &**i).find(|ingress| {
        ingress.id.kind == Kind::Ingress && backend(ingress, &service.namespace, &service.name).is_some()
    });
    let of_ingress = ingress.and_then(|ingress| backend(ingress, &service.namespace, &service.name)).flatten();
    let number = |wanted: u16| spec.ports.iter().find(|p| p.port == i32::from(wanted)).cloned();
    let behind = || of_ingress.and_then(number).or_else(|| number(target.port)).or_else(|| spec.ports.first().cloned());
    let made = |port, shape| Ok(Door { object, service, kind: spec.service_type, port, ingress, shape: Some(shape) });
    let ports = || spec.ports.iter().map(|p| p.port.to_string()).collect::<Vec<_>>().join(", ");
    match spec.service_type {
        ServiceType::LoadBalancer => match number(target.port) {
            Some(port) => made(port, Shape::R1),
            None => Err(format!("its ports are {}, not {}", ports(), target.port)),
        },
        ServiceType::NodePort => {
            let direct = spec.ports.iter().find(|p| p.node_port == i32::from(target.port) && p.node_port != 0);
            match direct {
                Some(port) => made(port.clone(), Shape::R2),
                None if ingress.is_some() || number(target.port).is_some() || target.port == HTTPS => {
                    behind().map_or_else(|| Err("it has no ports".to_string()), |port| made(port, Shape::R3))
                }
                None => {
                    let nodes: Vec<_> = spec.ports.iter().map(|p| p.node_port.to_string()).collect();
                    Err(format!(
                        "its ports are {} and its node ports {}, not {}",
                        ports(),
                        nodes.join(", "),
                        target.port
                    ))
                }
            }
        }
        ServiceType::ClusterIP if ingress.is_some_and(sends_to_pods) => {
            behind().map_or_else(|| Err("it has no ports".to_string()), |port| made(port, Shape::R4))
        }
        ServiceType::ClusterIP => Err(format!(
            "type ClusterIP is not reached from outside: make it NodePort, or write an Ingress with {TARGET_TYPE}: ip"
        )),
        ServiceType::ExternalName => Err("type ExternalName has no pods".to_string()),
    }
}

/// Whether the AWS Load Balancer Controller makes of it a load balancer that goes to the pods themselves.
pub(crate) fn sends_to_pods(ingress: &Object) -> bool {
    ingress.meta.annotations.get(TARGET_TYPE).is_some_and(|value| value == "ip")
}

/// Whether an Ingress names the Service, and the port of it.
pub(crate) fn backend(ingress: &Object, namespace: &str, name: &str) -> Option<Option<u16>> {
    if *ingress.id.namespace != *namespace {
        return None;
    }
    let spec: IngressSpec = ingress.read(&["spec"]);
    let paths = spec.rules.into_iter().flat_map(|rule| rule.http.paths).map(|path| path.backend);
    let backends = paths.chain(spec.default_backend).map(|backend| backend.service);
    backends.filter(|named| named.name == name).map(|named| named.port.number).next()
}

/// The fields of an Ingress that name Services.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct IngressSpec {
    rules: Vec<IngressRule>,
    default_backend: Option<IngressBackend>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct IngressRule {
    http: IngressPaths,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct IngressPaths {
    paths: Vec<IngressPath>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct IngressPath {
    backend: IngressBackend,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct IngressBackend {
    service: IngressService,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct IngressService {
    name: String,
    port: IngressPort,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct IngressPort {
    /// None where the port is named.
    number: Option<u16>,
}

fn through<'s>(
    snapshot: &'s Snapshot,
    door: &Door<'s>,
    pod: &'s Arc<Pod>,
    closed: Vec<Lost>,
    target: &Target,
) -> Arrival<'s> {
    let mut hops = Vec::new();
    if door.shape != Some(Shape::R2) {
        hops.push(dns(door, target));
    }
    let port = number_of(snapshot, door, pod);
    let ended = ends_tls(snapshot, door, pod, target);
    let balancer = balancer(door, target);
    hops.push(if ended { balancer.detail("it ends TLS; the gateway gets plaintext") } else { balancer });
    let to = service_port(door.service, &door.port).and_then(|p| target_in_pod(pod, &p.target)).unwrap_or(port);
    let mut hop =
        Hop::new(Stage::GatewayService, format!("{:?}, port {} → {to} of the pod", door.kind, door.port.port))
            .by(Some(By::of(Some(snapshot), &origin_of(&door.service.id, ""))))
            .detail(format!("a gateway pod: {}/{}", pod.namespace, pod.name));
    hop.lost = closed;
    hops.push(hop);
    Arrival::Gateway { pod, port, hops, shape: door.shape, ended }
}

/// An L7 load balancer speaks to a gateway as the gateway's server is: in plaintext where that has no TLS.
fn ends_tls(snapshot: &Snapshot, door: &Door<'_>, pod: &Pod, target: &Target) -> bool {
    let number = u32::try_from(door.port.port).unwrap_or_default();
    let in_pod = service_port(door.service, &door.port).and_then(|p| target_in_pod(pod, &p.target)).map(u32::from);
    let own = snapshot.gateways().iter().filter(|g| selects(&g.spec.selector, &pod.labels));
    let mut servers = own
        .flat_map(|g| &g.spec.servers)
        .filter(|server| server.port.as_ref().is_some_and(|p| p.number == number || Some(p.number) == in_pod));
    let plain = servers.any(|server| server.port.as_ref().is_some_and(|p| p.protocol.eq_ignore_ascii_case("HTTP")));
    matches!(door.shape, Some(Shape::R3 | Shape::R4)) && target.scheme == Scheme::Https && plain
}

fn service_port<'s>(service: &'s Service, port: &ServicePort) -> Option<&'s crate::snapshot::ServicePort> {
    service.port(u32::try_from(port.port).ok()?)
}

/// The number by which the gateway's listener is found: what a server writes, the Service's port or the pod's own.
fn number_of(snapshot: &Snapshot, door: &Door<'_>, pod: &Pod) -> u16 {
    let number = u16::try_from(door.port.port).unwrap_or_default();
    let in_pod = service_port(door.service, &door.port).and_then(|p| target_in_pod(pod, &p.target)).unwrap_or(number);
    let own = snapshot.gateways().iter().filter(|g| selects(&g.spec.selector, &pod.labels));
    let mut written = own.flat_map(|g| &g.spec.servers).filter_map(|server| Some(server.port.as_ref()?.number));
    // Where a server writes the Service's port, its listener is the pod's port, but for pods that have a place.
    let of_service = written.any(|port| port == u32::from(number));
    if of_service && pod.placement().is_some() { number } else { in_pod }
}

fn dns(door: &Door<'_>, target: &Target) -> Hop {
    let Spec::Service(spec) = &door.object.spec else { return Hop::new(Stage::Dns, target.host.clone()) };
    let addresses = match door.ingress {
        Some(_) => Vec::new(),
        None => addresses(spec),
    };
    let what = match addresses.is_empty() {
        true => format!("{}: an address of the load balancer (not in these files)", target.host),
        false => format!("{}: {}", target.host, addresses.join(", ")),
    };
    let name = door.object.meta.annotations.get("external-dns.alpha.kubernetes.io/hostname");
    match name {
        Some(name) => Hop::new(Stage::Dns, what).detail(format!("external-dns makes the name {name}")),
        None => Hop::new(Stage::Dns, what),
    }
}

fn addresses(service: &kube::Service) -> Vec<String> {
    let of_status = service.status.load_balancer.ingress.iter();
    let of_status = of_status.map(|i| if i.ip.is_empty() { i.hostname.clone() } else { i.ip.clone() });
    of_status.chain(service.spec.external_ips.iter().cloned()).collect()
}

fn balancer(door: &Door<'_>, target: &Target) -> Hop {
    let shape = door.shape.map(|shape| shape.to_string()).unwrap_or_default();
    let by = match (door.shape, door.ingress) {
        (Some(Shape::R3 | Shape::R4), Some(ingress)) => Some(By::of_object(ingress, "")),
        _ => Some(By::of_object(door.object, "spec.type")),
    };
    let hop = Hop::new(Stage::LoadBalancer, shape).by(by);
    match door.shape {
        Some(Shape::R2) => hop.detail(format!("a node's own address and port {}", target.port)),
        Some(Shape::R3) => hop.detail(format!(
            "one that you run, on port {}; it sends to {} of every node",
            target.port,
            if door.port.node_port == 0 { "a node port".to_string() } else { format!("port {}", door.port.node_port) }
        )),
        Some(Shape::R4) => hop.detail("it sends to the gateway's pods, past the Service's address"),
        _ => hop.detail("the cloud's controller makes it for the Service"),
    }
}
