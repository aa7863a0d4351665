//! The pods that Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs and CronJobs would have.
//!
//! Called by `expand`. A workload whose pods are there already (an export of a cluster has them) gets no others.

use super::AddressPlan;
use crate::resource::workload::{PodCondition, PodStatus};
use crate::resource::{
    Kind, Object, ObjectMeta, OwnerReference, Pod, PodTemplate, ResourceId, ResourceSet, Spec, Workload,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use xxhash_rust::xxh64::xxh64;

/// Kubernetes' alphabet for names: no vowels, and nothing that looks like another.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// In the order of kinds, namespaces and names.
pub(super) fn made_up(resources: &ResourceSet) -> Vec<Object> {
    let owned = owned_controllers(resources);
    let mut pods = Vec::new();
    for object in resources.iter() {
        let id = &object.id;
        if owned.contains(&(id.kind.as_str().to_string(), id.namespace.to_string(), id.name.to_string()))
            || has_owner_in(resources, object)
        {
            continue;
        }
        match &object.spec {
            Spec::Deployment(workload) => {
                let set = format!("{}-{}", id.name, letters(&format!("{}/{}", id.namespace, id.name), 9));
                let names = (0..replicas(workload)).map(|i| random_name(&set, id, i)).collect();
                pods.extend(of_template(object, &workload.template, names));
            }
            Spec::ReplicaSet(workload) => {
                let names = (0..replicas(workload)).map(|i| random_name(&id.name, id, i)).collect();
                pods.extend(of_template(object, &workload.template, names));
            }
            Spec::StatefulSet(workload) => pods.extend(of_stateful_set(object, workload)),
            Spec::DaemonSet(workload) => {
                pods.extend(of_template(object, &workload.template, vec![random_name(&id.name, id, 0)]));
            }
            Spec::Job(workload) if !workload.suspend => {
                let names = (0..count(workload.parallelism)).map(|i| random_name(&id.name, id, i)).collect();
                pods.extend(of_template(object, &workload.template, names));
            }
            Spec::CronJob(job) if !job.suspend && !job.job_template.spec.suspend => {
                let template = &job.job_template.spec.template;
                pods.extend(of_template(object, template, vec![random_name(&id.name, id, 0)]));
            }
            _ => {}
        }
    }
    pods
}

fn replicas(workload: &Workload) -> u32 {
    count(workload.replicas)
}

/// A bit more than there are addresses at most (of so many, some have one name), so that what has no place is told
/// of.
fn count(wanted: Option<i32>) -> u32 {
    u32::try_from(wanted.unwrap_or(1)).unwrap_or_default().min(AddressPlan::PODS + 1000)
}

/// The controllers, as (kind, namespace, name), that have a pod in the set, or a ReplicaSet with one.
fn owned_controllers(resources: &ResourceSet) -> BTreeSet<(String, String, String)> {
    let mut owned = BTreeSet::new();
    for pod in resources.of_kind(Kind::Pod) {
        let mut at = vec![pod.clone()];
        while let Some(object) = at.pop() {
            for owner in &object.meta.owners {
                let namespace = object.id.namespace.to_string();
                if owned.insert((owner.kind.clone(), namespace, owner.name.clone())) {
                    at.extend(owner_object(resources, &object, owner).cloned());
                }
            }
        }
    }
    owned
}

fn owner_object<'a>(resources: &'a ResourceSet, object: &Object, owner: &OwnerReference) -> Option<&'a Arc<Object>> {
    let kind = Kind::ALL.iter().copied().find(|k| k.as_str() == owner.kind)?;
    resources.get(&ResourceId::new(kind, object.id.namespace.clone(), owner.name.as_str()))
}

/// A ReplicaSet of a Deployment that is here, a Job of a CronJob that is here.
fn has_owner_in(resources: &ResourceSet, object: &Object) -> bool {
    object.meta.owners.iter().any(|owner| owner_object(resources, object, owner).is_some())
}

fn of_stateful_set(object: &Arc<Object>, workload: &Workload) -> Vec<Object> {
    let names = (0..replicas(workload)).map(|i| format!("{}-{i}", object.id.name)).collect();
    let mut pods = of_template(object, &workload.template, names);
    for pod in &mut pods {
        let name = pod.id.name.to_string();
        pod.meta.labels.insert("statefulset.kubernetes.io/pod-name".to_string(), name.clone());
        if let Spec::Pod(spec) = &mut pod.spec {
            let spec = Arc::make_mut(spec);
            spec.spec.hostname = name;
            spec.spec.subdomain.clone_from(&workload.service_name);
        }
    }
    pods
}

fn of_template(owner: &Arc<Object>, template: &PodTemplate, names: Vec<String>) -> Vec<Object> {
    let pod = |name: String| {
        let owner = OwnerReference {
            kind: owner.id.kind.as_str().to_string(),
            name: owner.id.name.to_string(),
            controller: true,
        };
        let meta = ObjectMeta {
            labels: template.metadata.labels.clone(),
            annotations: template.metadata.annotations.clone(),
            creation_timestamp: None,
            owners: vec![owner],
        };
        (name, meta)
    };
    names
        .into_iter()
        .map(pod)
        .map(|(name, meta)| {
            ready_pod(&owner.id.namespace, &name, meta, Pod { spec: template.spec.clone(), ..Pod::default() })
        })
        .collect()
}

/// A pod that runs.
pub(super) fn ready_pod(namespace: &str, name: &str, meta: ObjectMeta, pod: Pod) -> Object {
    let ready = PodCondition { condition: "Ready".to_string(), status: "True".to_string() };
    let status = PodStatus { phase: "Running".to_string(), conditions: vec![ready], ..PodStatus::default() };
    let id = ResourceId::new(Kind::Pod, namespace, name);
    Object::made_up(id, meta, Spec::Pod(Arc::new(Pod { status, ..pod })))
}

fn random_name(prefix: &str, owner: &ResourceId, index: u32) -> String {
    let seed = format!("{} {}/{} {index}", owner.kind, owner.namespace, owner.name);
    format!("{prefix}-{}", letters(&seed, 5))
}

/// Letters from a hash of the text.
pub(super) fn letters(text: &str, count: usize) -> String {
    let mut hash = xxh64(text.as_bytes(), 0);
    let size = LETTERS.len() as u64;
    let mut found = String::with_capacity(count);
    for _ in 0..count {
        // The remainder is below 27, so it fits.
        found.push(char::from(LETTERS[(hash % size) as usize]));
        hash /= size;
    }
    found
}
