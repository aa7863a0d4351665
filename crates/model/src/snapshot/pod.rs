//! The pods and WorkloadEntries of the mesh: what runs where, and with which labels.
//!
//! Read by `endpoints` (who answers for a service) and by `translate` (what a proxy is in front of).

use super::locality;
use super::service::Labels;
use crate::config::{Locality, WorkloadIdentity};
use crate::resource::{self, Kind, Object, PodSpec, ResourceSet, Spec, WorkloadEntry};
use crate::workload::Placement;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub labels: Arc<Labels>,
    /// The first is the pod's own.
    pub addresses: Vec<IpAddr>,
    pub ready: bool,
    pub spec: Arc<resource::Pod>,
    pub workload: WorkloadIdentity,
    pub locality: Locality,
}

impl Pod {
    /// One that nobody wrote, which no selector knows.
    pub(crate) fn anyone_in(namespace: &str) -> Self {
        let name = "anyone".to_string();
        let labels = Labels::new();
        Self {
            namespace: namespace.to_string(),
            workload: identity(&labels, &name, namespace),
            name,
            labels: Arc::new(labels),
            addresses: Vec::new(),
            ready: true,
            spec: Arc::default(),
            locality: Locality::default(),
        }
    }

    pub fn placement(&self) -> Option<&Placement> {
        self.spec.placement.as_ref()
    }

    pub fn pod_spec(&self) -> &PodSpec {
        &self.spec.spec
    }

    /// The port that is really opened for one of the pod's.
    pub fn bound(&self, port: u16) -> u16 {
        self.placement().map_or(port, |placement| placement.bound(port))
    }
}

/// By namespace and name.
pub(super) fn pods(resources: &ResourceSet) -> BTreeMap<(String, String), Arc<Pod>> {
    let mut pods = BTreeMap::new();
    let nodes = locality::nodes(resources);
    for object in resources.of_kind(Kind::Pod) {
        let Spec::Pod(spec) = &object.spec else { continue };
        let mut pod = from_object(object, spec);
        let of_node = || nodes.get(spec.spec.node_name.as_str()).cloned();
        pod.locality = locality::of_label(&pod.labels).or_else(of_node).unwrap_or_default();
        let pod = Arc::new(pod);
        pods.insert((pod.namespace.clone(), pod.name.clone()), pod);
    }
    pods
}

fn from_object(object: &Object, spec: &Arc<resource::Pod>) -> Pod {
    let status = &spec.status;
    let mut addresses: Vec<IpAddr> = match &spec.placement {
        Some(placement) => vec![placement.pod_ip],
        None => status.pod_ip.parse().ok().into_iter().collect(),
    };
    if spec.placement.is_none() {
        for ip in status.pod_ips.iter().filter_map(|p| p.ip.parse().ok()) {
            if !addresses.contains(&ip) {
                addresses.push(ip);
            }
        }
    }
    let ready = status.conditions.iter().find(|c| c.condition == "Ready").is_none_or(|c| c.status == "True");
    let done = matches!(status.phase.as_str(), "Succeeded" | "Failed");
    Pod {
        namespace: object.id.namespace.to_string(),
        name: object.id.name.to_string(),
        labels: Arc::new(object.meta.labels.clone()),
        addresses,
        ready: ready && !done,
        spec: spec.clone(),
        workload: identity(&object.meta.labels, &workload_name(object), &object.id.namespace),
        locality: Locality::default(),
    }
}

/// Istio's name of a mesh's one cluster.
pub(crate) const CLUSTER: &str = "Kubernetes";

/// Who a workload is for telemetry: the canonical name and revision by Istio's labels, else by `app` and `version`.
pub(super) fn identity(labels: &Labels, workload: &str, namespace: &str) -> WorkloadIdentity {
    let first = |keys: &[&str]| keys.iter().find_map(|k| labels.get(*k)).cloned();
    WorkloadIdentity {
        workload: workload.to_string(),
        namespace: namespace.to_string(),
        canonical_service: first(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"])
            .unwrap_or_else(|| workload.to_string()),
        canonical_revision: first(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"])
            .unwrap_or_else(|| "latest".to_string()),
        cluster: CLUSTER.to_string(),
        network: String::new(),
    }
}

/// The Deployment (or other controller) that made the pod; a ReplicaSet's name without its hash; else the pod's own.
pub fn workload_name(object: &Object) -> String {
    let owner = object.meta.owners.iter().find(|o| o.controller).or(object.meta.owners.first());
    match owner {
        Some(owner) if owner.kind == "ReplicaSet" => match object.meta.labels.get("pod-template-hash") {
            Some(hash) => owner.name.strip_suffix(&format!("-{hash}")).unwrap_or(&owner.name).to_string(),
            None => owner.name.clone(),
        },
        Some(owner) => owner.name.clone(),
        None => object.id.name.to_string(),
    }
}

/// A WorkloadEntry with the labels of its metadata, which win.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub namespace: String,
    pub name: String,
    pub labels: Arc<Labels>,
    pub spec: Arc<WorkloadEntry>,
}

pub(super) fn workload_entries(resources: &ResourceSet) -> Vec<Entry> {
    let mut entries = Vec::new();
    for object in resources.of_kind(Kind::WorkloadEntry) {
        let Spec::WorkloadEntry(spec) = &object.spec else { continue };
        let mut labels = spec.labels.clone();
        labels.extend(object.meta.labels.clone());
        entries.push(Entry {
            namespace: object.id.namespace.to_string(),
            name: object.id.name.to_string(),
            labels: Arc::new(labels),
            spec: spec.clone(),
        });
    }
    entries
}
