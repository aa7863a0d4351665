//! Expansion: the pods that the user's objects would have in a cluster, each with its place on this machine.
//!
//! `up` calls it after every read of the files, before `Snapshot::build`. Names and addresses follow from a hash of
//! namespace, name and index, so that no other edit moves them. Nothing depends on the order of objects.

use super::gateways::{self, GatewayPod};
use super::pods;
use super::{AddressPlan, OpenedPort, Placement, PodKey};
use crate::protocol::Protocol;
use crate::resource::{IntOrString, Kind, Object, Pod, ResourceSet, Spec};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The resources with all pods, and where the gateways' ports are.
#[derive(Debug, Clone)]
pub struct Expanded {
    /// The user's objects, but for pods that have no place here (a gateway's further replicas), and with the pods
    /// that were made up. Each pod has a `placement`; a gateway's has `bind` addresses.
    pub resources: ResourceSet,
    /// Which port is opened for each port of each gateway.
    pub gateways: BTreeMap<PodKey, BTreeMap<u16, OpenedPort>>,
    /// Pods for which the plan has no address left.
    pub unplaced: Vec<PodKey>,
}

/// Adds the pods, and settles them in the plan.
pub fn expand(resources: &ResourceSet, plan: &mut AddressPlan) -> Expanded {
    let mut all: BTreeMap<PodKey, Arc<Object>> = BTreeMap::new();
    for object in resources.of_kind(Kind::Pod) {
        all.insert(key(object), object.clone());
    }
    for object in pods::made_up(resources) {
        all.entry(key(&object)).or_insert_with(|| Arc::new(object));
    }
    let chosen = gateways::choose(resources, &mut all);
    plan.settle(&all.keys().cloned().collect());
    let wants: Vec<_> = chosen.iter().flat_map(GatewayPod::wants).collect();
    let opened = plan.gateway_ports(&wants);
    let mut result = Expanded { resources: without_pods(resources), gateways: BTreeMap::new(), unplaced: Vec::new() };
    let targets = Targets::of(resources);
    for (key, object) in all {
        let Some(addresses) = plan.addresses(&key) else {
            result.unplaced.push(key);
            continue;
        };
        let Spec::Pod(pod) = &object.spec else { continue };
        let (pod_ip, app_ip) = (IpAddr::V4(addresses.pod_ip), IpAddr::V4(addresses.app_ip));
        let placement = match chosen.iter().find(|gateway| gateway.pod == key) {
            Some(_) => {
                let ports = opened.get(&key).cloned().unwrap_or_default();
                let bound = ports.iter().map(|(port, place)| (*port, place.opened)).collect();
                result.gateways.insert(key.clone(), ports);
                Placement {
                    pod_ip,
                    app_ip,
                    ports: bound,
                    replaced: BTreeMap::new(),
                    bind: plan.gateway_bind().to_vec(),
                }
            }
            None => {
                let ports = ports_of(&object, pod, &targets);
                let replaced = plan.replaced(&key.namespace, &workload_of(&object), &ports);
                Placement { pod_ip, app_ip, ports: plan.bound_ports(&ports), replaced, bind: Vec::new() }
            }
        };
        result.resources.replace(Arc::new(placed(&object, pod, placement)));
    }
    result
}

fn key(object: &Object) -> PodKey {
    PodKey { namespace: object.id.namespace.to_string(), name: object.id.name.to_string() }
}

/// The workload that a pod belongs to, as `--replace` names it.
pub fn workload_of(object: &Object) -> String {
    crate::snapshot::workload_name(object)
}

fn without_pods(resources: &ResourceSet) -> ResourceSet {
    let mut rest = resources.clone();
    for object in resources.of_kind(Kind::Pod) {
        rest.remove(&object.id);
    }
    rest
}

fn placed(object: &Object, pod: &Pod, placement: Placement) -> Object {
    let mut pod = pod.clone();
    pod.placement = Some(placement);
    Object { spec: Spec::Pod(Arc::new(pod)), ..object.clone() }
}

/// The TCP ports of a pod: those that its containers name, and those that Services send to.
fn ports_of(object: &Object, pod: &Pod, targets: &Targets<'_>) -> BTreeSet<u16> {
    let containers = pod.spec.containers.iter().chain(&pod.spec.init_containers);
    let mut ports: BTreeSet<u16> = containers
        .flat_map(|c| &c.ports)
        .filter(|p| !p.protocol.eq_ignore_ascii_case("UDP"))
        .filter_map(|p| u16::try_from(p.container_port).ok())
        .collect();
    ports.extend(targets.of_pod(object, pod));
    ports.remove(&0);
    ports
}

/// Where Services and ServiceEntries send to, by namespace.
struct Targets<'a> {
    by_namespace: BTreeMap<&'a str, Vec<Target<'a>>>,
}

struct Target<'a> {
    selector: &'a BTreeMap<String, String>,
    ports: Vec<IntOrString>,
}

impl<'a> Targets<'a> {
    fn of(resources: &'a ResourceSet) -> Self {
        let mut by_namespace: BTreeMap<&str, Vec<Target<'_>>> = BTreeMap::new();
        for object in resources.of_kind(Kind::Service).chain(resources.of_kind(Kind::ServiceEntry)) {
            let target = match &object.spec {
                Spec::Service(service) if !service.spec.selector.is_empty() => {
                    let tcp = service.spec.ports.iter().filter(|p| !p.protocol.eq_ignore_ascii_case("UDP"));
                    let number = |p: &crate::resource::kube::ServicePort| IntOrString::Int(p.port);
                    let ports = tcp.map(|p| p.target_port.clone().unwrap_or_else(|| number(p))).collect();
                    Target { selector: &service.spec.selector, ports }
                }
                Spec::ServiceEntry(entry) => {
                    let Some(selector) = &entry.workload_selector else { continue };
                    let tcp = entry.ports.iter().filter(|p| Protocol::parse(&p.protocol) != Protocol::Udp);
                    let number = |n: u32| IntOrString::Int(i32::try_from(n).unwrap_or_default());
                    let ports = tcp.map(|p| number(if p.target_port == 0 { p.number } else { p.target_port }));
                    Target { selector: &selector.labels, ports: ports.collect() }
                }
                _ => continue,
            };
            by_namespace.entry(&object.id.namespace).or_default().push(target);
        }
        Self { by_namespace }
    }

    fn of_pod<'b>(&'b self, object: &'b Object, pod: &'b Pod) -> impl Iterator<Item = u16> + 'b {
        let targets = self.by_namespace.get(&*object.id.namespace).into_iter().flatten();
        targets
            .filter(|t| t.selector.iter().all(|(key, value)| object.meta.labels.get(key) == Some(value)))
            .flat_map(|t| t.ports.iter().filter_map(|port| pod.spec.resolve_port(port)))
    }
}

#[cfg(test)]
#[path = "expand_tests.rs"]
mod tests;
