//! The pods that there are, and those that workloads will make, found by their labels. Made once for the `World`.

use crate::resource::{Kind, Map, Object, PodSpec, ResourceSet, Spec};
use std::collections::HashMap;
use std::sync::Arc;

/// A pod, or the template of a workload's pods.
#[derive(Debug, Clone, Copy)]
pub(in crate::analyze) struct PodView<'a> {
    pub(super) object: &'a Arc<Object>,
    pub(super) labels: &'a Map,
    pub(super) annotations: &'a Map,
    pub(super) spec: &'a PodSpec,
    /// Where the pod's spec stands in the object.
    pub(super) path: &'static str,
}

#[derive(Debug)]
pub(in crate::analyze) struct Pods<'a> {
    all: Vec<PodView<'a>>,
    by_label: HashMap<(&'a str, &'a str), Vec<usize>>,
    by_namespace: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Pods<'a> {
    pub(super) fn of(resources: &'a ResourceSet) -> Self {
        let all: Vec<PodView<'a>> = resources.iter().filter_map(view).collect();
        let mut by_label: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
        let mut by_namespace: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, pod) in all.iter().enumerate() {
            by_namespace.entry(&pod.object.id.namespace).or_default().push(index);
            for (key, value) in pod.labels {
                by_label.entry((key, value)).or_default().push(index);
            }
        }
        Self { all, by_label, by_namespace }
    }

    /// Pods and templates.
    pub(super) fn all(&self) -> &[PodView<'a>] {
        &self.all
    }

    /// Whether the input has no workloads at all: then what they would need to be there may well be elsewhere.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Pods that are written as such.
    pub(super) fn written(&self) -> impl Iterator<Item = &PodView<'a>> {
        self.all.iter().filter(|pod| pod.object.id.kind == Kind::Pod)
    }

    /// Those that have all of these labels; no labels choose all.
    pub(super) fn matching<'s>(&'s self, selector: &'s Map) -> impl Iterator<Item = &'s PodView<'a>> {
        let first = selector.iter().next();
        let few = first.map(|(key, value)| self.by_label.get(&(key.as_str(), value.as_str())));
        let few = few.map(|few| few.map_or(&[] as &[usize], Vec::as_slice));
        let all = if few.is_none() { self.all.as_slice() } else { &[] };
        let holds = |pod: &&PodView<'_>| selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value));
        few.unwrap_or_default().iter().map(|index| &self.all[*index]).chain(all).filter(holds)
    }

    /// As `matching`, of one namespace.
    pub(super) fn matching_in<'s>(
        &'s self,
        namespace: &'s str,
        selector: &'s Map,
    ) -> impl Iterator<Item = &'s PodView<'a>> {
        self.matching(selector).filter(move |pod| &*pod.object.id.namespace == namespace)
    }

    pub(super) fn of_namespace(&self, namespace: &str) -> impl Iterator<Item = &PodView<'a>> {
        self.by_namespace.get(namespace).into_iter().flatten().map(|index| &self.all[*index])
    }
}

impl PodView<'_> {
    /// `pod web-1`, `Deployment web`.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.object.id.kind, self.object.id.name)
    }

    /// The image of its proxy, where it has one.
    pub(super) fn proxy_image(&self) -> Option<&str> {
        let containers = self.spec.containers.iter().chain(&self.spec.init_containers);
        containers.filter(|c| c.name == "istio-proxy").map(|c| c.image.as_str()).find(|image| !image.is_empty())
    }

    pub(super) fn is_ambient(&self) -> bool {
        self.annotations.get("ambient.istio.io/redirection").is_some_and(|value| value == "enabled")
    }

    /// Whether it has a sidecar, or gets one: what it says itself goes before its namespace's label.
    pub(super) fn is_in_mesh(&self, namespace_labels: Option<&Map>) -> bool {
        const INJECT: &str = "sidecar.istio.io/inject";
        if self.proxy_image().is_some() {
            return true;
        }
        match self.labels.get(INJECT).or_else(|| self.annotations.get(INJECT)) {
            Some(asked) => asked == "true",
            None => namespace_labels
                .is_some_and(|labels| labels.get("istio-injection").is_some_and(|value| value == "enabled")),
        }
    }
}

fn view(object: &Arc<Object>) -> Option<PodView<'_>> {
    let (template, path) = match &object.spec {
        Spec::Pod(pod) => {
            let (labels, annotations) = (&object.meta.labels, &object.meta.annotations);
            return Some(PodView { object, labels, annotations, spec: &pod.spec, path: "spec" });
        }
        Spec::Deployment(it) | Spec::StatefulSet(it) | Spec::DaemonSet(it) | Spec::ReplicaSet(it) | Spec::Job(it) => {
            (&it.template, "spec.template.spec")
        }
        Spec::CronJob(it) => (&it.job_template.spec.template, "spec.jobTemplate.spec.template.spec"),
        _ => return None,
    };
    let (labels, annotations) = (&template.metadata.labels, &template.metadata.annotations);
    Some(PodView { object, labels, annotations, spec: &template.spec, path })
}
