//! Objects of which a workload follows one (Sidecar, Telemetry): selectors without pods (AM-E13,
//! IST0101), several that choose
//! the same pods (IST0110, IST0159), several for a whole namespace (IST0111, IST0160).

use crate::analyze::world::{World, about, selector_text};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::{Kind, Map, MatchLabels, Object, ResourceId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a family says.
struct Family {
    /// A selector without pods.
    nothing: &'static str,
    selector_field: &'static str,
    several_of_pod: &'static str,
    several_of_namespace: &'static str,
}

type Chosen<'a> = (&'a Arc<Object>, Option<Map>);

pub(super) fn sidecars(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let family = Family {
        nothing: codes::CHOOSES_NOTHING,
        selector_field: "spec.workloadSelector.labels",
        several_of_pod: codes::SIDECARS_OF_ONE_POD,
        several_of_namespace: codes::SIDECARS_WITHOUT_SELECTOR,
    };
    let labels = |sidecar: &crate::resource::Sidecar| sidecar.workload_selector.as_ref().map(|it| it.labels.clone());
    let some = |labels: &Map| !labels.is_empty();
    let all: Vec<Chosen<'_>> =
        world.sidecars().map(|(object, sidecar)| (object, labels(sidecar).filter(some))).collect();
    let (ambient, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|chosen| is_ambient(world, chosen));
    for (object, _) in ambient {
        let message = "its workloads are in ambient mode and have no sidecar";
        found.push(about(codes::INEFFECTIVE_POLICY, object, "", message));
    }
    judge(world, &family, &others, found);
}

/// Whether what a Sidecar is for has no sidecars.
fn is_ambient(world: &World<'_>, (object, selector): &Chosen<'_>) -> bool {
    match selector {
        Some(selector) => {
            let pods: Vec<_> = world.pods.matching_in(&object.id.namespace, selector).collect();
            !pods.is_empty() && pods.iter().any(|pod| pod.is_ambient())
        }
        None => world.namespace_labels(&object.id.namespace).is_some_and(is_ambient_namespace),
    }
}

/// A label for injection goes before that of ambient mode.
pub(super) fn is_ambient_namespace(labels: &Map) -> bool {
    let is = |key: &str, value: &str| labels.get(key).is_some_and(|found| found == value);
    let is_injected = is("istio-injection", "enabled") || labels.get("istio.io/rev").is_some_and(|rev| !rev.is_empty());
    !is_injected && is("istio.io/dataplane-mode", "ambient")
}

pub(super) fn telemetries(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let family = Family {
        nothing: codes::NOT_FOUND,
        selector_field: "spec.selector.matchLabels",
        several_of_pod: codes::TELEMETRIES_OF_ONE_POD,
        several_of_namespace: codes::TELEMETRIES_WITHOUT_SELECTOR,
    };
    let selector = |object: &Arc<Object>| {
        let selector: Option<MatchLabels> = object.read(&["spec", "selector"]);
        selector.map(|selector| selector.match_labels)
    };
    let all: Vec<Chosen<'_>> = world.of(Kind::Telemetry).iter().map(|object| (*object, selector(object))).collect();
    judge(world, &family, &all, found);
}

fn judge(world: &World<'_>, family: &Family, all: &[Chosen<'_>], found: &mut Vec<Diagnostic>) {
    let mut of_namespace: BTreeMap<&str, Vec<&Arc<Object>>> = BTreeMap::new();
    let mut of_pod: BTreeMap<&ResourceId, Vec<&Arc<Object>>> = BTreeMap::new();
    for (object, selector) in all {
        let Some(selector) = selector else {
            of_namespace.entry(&object.id.namespace).or_default().push(object);
            continue;
        };
        if selector.is_empty() {
            continue;
        }
        let mut pods = world.pods.matching_in(&object.id.namespace, selector).peekable();
        if pods.peek().is_none() {
            let first = selector.keys().next().map_or("", String::as_str);
            let field = format!("{}[\"{first}\"]", family.selector_field);
            let message = format!("no pod of {} has the labels {}", object.id.namespace, selector_text(selector));
            found.push(about(family.nothing, object, &field, message));
        }
        for pod in pods {
            of_pod.entry(&pod.object.id).or_default().push(object);
        }
    }
    let mut told: BTreeSet<&ResourceId> = BTreeSet::new();
    for (pod, objects) in of_pod.iter().filter(|(_, objects)| objects.len() > 1) {
        for object in objects.iter().filter(|object| told.insert(&object.id)) {
            let message = format!("{pod} is chosen by {}; it follows one of them", names(objects));
            found.push(about(family.several_of_pod, object, "metadata.name", message));
        }
    }
    for (namespace, objects) in of_namespace.iter().filter(|(_, objects)| objects.len() > 1) {
        for object in objects {
            let message =
                format!("{} are all for the whole of namespace {namespace}; one of them counts", names(objects));
            found.push(about(family.several_of_namespace, object, "metadata.name", message));
        }
    }
}

fn names(objects: &[&Arc<Object>]) -> String {
    let names: Vec<&str> = objects.iter().map(|object| &*object.id.name).collect();
    names.join(", ")
}
