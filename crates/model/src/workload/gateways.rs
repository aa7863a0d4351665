//! Which pods are gateways: for each distinct selector of the Gateways one pod, made up where none matches.
//!
//! Called by `expand`. This machine has one address for all gateways, so of several replicas one remains.

use super::pods::{letters, ready_pod};
use super::{GatewayPortWant, PodKey, Seniority};
use crate::resource::{Gateway, Kind, Map, Object, ObjectMeta, OwnerReference, Pod, ResourceSet, Spec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where gateway pods are made up.
const NAMESPACE: &str = "istio-ingress";

/// A pod that is a gateway, and the ports that Gateways want of it.
pub(super) struct GatewayPod {
    pub pod: PodKey,
    ports: Vec<(u16, Seniority)>,
}

impl GatewayPod {
    pub(super) fn wants(&self) -> impl Iterator<Item = GatewayPortWant> + '_ {
        self.ports.iter().map(|(port, gateway)| GatewayPortWant {
            pod: self.pod.clone(),
            port: *port,
            gateway: gateway.clone(),
        })
    }
}

/// Chooses the gateways among the pods, adds those that are missing, and takes further replicas away.
pub(super) fn choose(resources: &ResourceSet, pods: &mut BTreeMap<PodKey, Arc<Object>>) -> Vec<GatewayPod> {
    let mut selectors: BTreeSet<Map> = BTreeSet::new();
    for (_, gateway) in gateways(resources) {
        selectors.insert(selector_of(gateway));
    }
    let mut chosen: BTreeSet<PodKey> = BTreeSet::new();
    let mut surplus: BTreeSet<PodKey> = BTreeSet::new();
    for selector in &selectors {
        let matching: Vec<_> =
            pods.iter().filter(|(_, pod)| matches(selector, pod)).map(|(key, _)| key.clone()).collect();
        // A pod that is a gateway by another selector serves this one too.
        let known = matching.iter().find(|key| chosen.contains(key)).or(matching.first()).cloned();
        match known {
            Some(key) => {
                surplus.extend(matching);
                chosen.insert(key);
            }
            None => {
                let object = made_up(selector);
                let key = PodKey { namespace: NAMESPACE.to_string(), name: object.id.name.to_string() };
                pods.insert(key.clone(), Arc::new(object));
                chosen.insert(key);
            }
        }
    }
    pods.retain(|key, _| chosen.contains(key) || !surplus.contains(key));
    chosen.into_iter().map(|pod| GatewayPod { ports: wanted(resources, &pods[&pod]), pod }).collect()
}

fn gateways(resources: &ResourceSet) -> impl Iterator<Item = (&Arc<Object>, &Gateway)> {
    resources.of_kind(Kind::Gateway).filter_map(|object| match &object.spec {
        Spec::Gateway(gateway) => Some((object, &**gateway)),
        _ => None,
    })
}

/// A Gateway without a selector is for every gateway there is; so that there is one, it asks for Istio's own.
fn selector_of(gateway: &Gateway) -> Map {
    if gateway.selector.is_empty() {
        Map::from([("istio".to_string(), "ingressgateway".to_string())])
    } else {
        gateway.selector.clone()
    }
}

fn matches(selector: &Map, pod: &Object) -> bool {
    selector.iter().all(|(key, value)| pod.meta.labels.get(key) == Some(value))
}

fn wanted(resources: &ResourceSet, pod: &Object) -> Vec<(u16, Seniority)> {
    let mut ports = Vec::new();
    for (object, gateway) in gateways(resources).filter(|(_, gateway)| matches(&gateway.selector, pod)) {
        let seniority = Seniority {
            created: object.meta.creation_timestamp.map_or(0, |t| t.seconds),
            name: object.id.name.to_string(),
            namespace: object.id.namespace.to_string(),
        };
        let numbers = gateway.servers.iter().filter_map(|s| u16::try_from(s.port.as_ref()?.number).ok());
        ports.extend(numbers.filter(|n| *n > 0).map(|port| (port, seniority.clone())));
    }
    ports
}

/// Named after what the selector says; the rest of it goes into the hash, so that each selector has its own.
fn made_up(selector: &Map) -> Object {
    let word = ["istio", "app"].iter().find_map(|key| selector.get(*key)).or(selector.values().next());
    let word = word.map_or("gateway", String::as_str);
    let text: Vec<_> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let name = format!("{word}-{}", letters(&text.join(","), 5));
    // The workload is called by the word alone, as people know it.
    let owner = OwnerReference { kind: "Deployment".to_string(), name: word.to_string(), controller: true };
    let meta = ObjectMeta { labels: selector.clone(), owners: vec![owner], ..ObjectMeta::default() };
    ready_pod(NAMESPACE, &name, meta, Pod::default())
}
