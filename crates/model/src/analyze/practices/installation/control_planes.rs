//! Control planes: Deployments of istiod, and the parts of IstioOperators and values that make one.

use super::scheduling::Scheduling;
use super::{Autoscaler, Variable, image_name, operator_namespace, profile, read_text, values_of};
use crate::analyze::world::World;
use crate::resource::{Kind, Map, Object, Workload};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What runs istiod.
pub(in crate::analyze::practices) struct ControlPlane<'a> {
    pub(in crate::analyze::practices) object: &'a Arc<Object>,
    /// Where the object speaks of it; empty is the whole.
    pub(in crate::analyze::practices) field: &'static str,
    pub(in crate::analyze::practices) namespace: String,
    /// Of its Deployment.
    pub(in crate::analyze::practices) name: String,
    pub(in crate::analyze::practices) revision: String,
    /// The cluster's name, where it is said.
    pub(in crate::analyze::practices) cluster: String,
    /// How few there may be, and which field says so.
    pub(in crate::analyze::practices) replicas: i64,
    pub(in crate::analyze::practices) counted_by: &'static str,
    pub(in crate::analyze::practices) scheduling: Scheduling,
    /// Which field says where they may be put.
    pub(in crate::analyze::practices) scheduled_by: &'static str,
    /// Of its pods.
    pub(in crate::analyze::practices) labels: Map,
    /// Whether sidecars are containers of Kubernetes' own kind for them, that end with the others.
    pub(in crate::analyze::practices) native_sidecars: bool,
}

/// The variable that makes sidecars native.
const NATIVE: &str = "ENABLE_NATIVE_SIDECARS";

/// All of the input.
pub(in crate::analyze::practices) fn control_planes<'a>(world: &World<'a>) -> Vec<ControlPlane<'a>> {
    let deployments = world.deployments().filter(|(object, workload)| runs_istiod(object, workload));
    let mut found: Vec<_> = deployments.map(|(object, workload)| of_deployment(world, object, workload)).collect();
    found.extend(world.of(Kind::IstioOperator).iter().copied().filter_map(of_operator));
    found.extend(values_of(world, "istiod").map(of_values));
    found
}

fn runs_istiod(object: &Object, workload: &Workload) -> bool {
    let is_istiod = |labels: &Map| labels.get("app").is_some_and(|app| app == "istiod");
    let is_pilot = workload.template.spec.containers.iter().any(|container| image_name(&container.image) == "pilot");
    is_pilot || is_istiod(&object.meta.labels) || is_istiod(&workload.template.metadata.labels)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Container {
    env: Vec<Variable>,
}

fn of_deployment<'a>(world: &World<'a>, object: &'a Arc<Object>, workload: &Workload) -> ControlPlane<'a> {
    let labels = &workload.template.metadata.labels;
    let containers: Vec<Container> = object.read(&["spec", "template", "spec", "containers"]);
    let variable = |name: &str| {
        let mut all = containers.iter().flat_map(|container| &container.env);
        all.find(|variable| variable.name == name).map(|variable| variable.value.clone()).unwrap_or_default()
    };
    let of_label = labels.get("istio.io/rev").or_else(|| object.meta.labels.get("istio.io/rev"));
    ControlPlane {
        object,
        field: "",
        namespace: object.id.namespace.to_string(),
        name: object.id.name.to_string(),
        revision: or_default(of_label.cloned().unwrap_or_else(|| variable("REVISION"))),
        cluster: variable("CLUSTER_ID"),
        replicas: autoscaled(world, object).unwrap_or_else(|| i64::from(workload.replicas.unwrap_or(1))),
        counted_by: "spec.replicas",
        scheduling: object.read(&["spec", "template", "spec"]),
        scheduled_by: "spec.template.spec.topologySpreadConstraints",
        labels: labels.clone(),
        native_sidecars: variable(NATIVE) == "true",
    }
}

/// As the chart calls the Deployment of a revision.
fn chart_name(revision: &str) -> String {
    if revision == "default" { "istiod".to_owned() } else { format!("istiod-{revision}") }
}

fn or_default(revision: String) -> String {
    if revision.is_empty() { "default".to_owned() } else { revision }
}

/// What an autoscaler of the Deployment may go down to.
fn autoscaled(world: &World<'_>, deployment: &Object) -> Option<i64> {
    let own = world.of(Kind::HorizontalPodAutoscaler).iter();
    let own = own.filter(|scaler| scaler.id.namespace == deployment.id.namespace);
    let mut specs = own.map(|scaler| scaler.read::<Autoscaler>(&["spec"]));
    let of_it = |scaler: &Autoscaler| {
        scaler.scale_target_ref.kind == "Deployment" && *scaler.scale_target_ref.name == *deployment.id.name
    };
    specs.find(of_it).map(|scaler| scaler.min_replicas.unwrap_or(1))
}

/// The labels of the pods that the chart makes.
fn chart_labels(revision: &str) -> Map {
    let labels = [("app", "istiod"), ("istio", "pilot"), ("istio.io/rev", revision)];
    labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// What the chart takes of its values, wherever they stand.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PilotValues {
    autoscale_enabled: Option<bool>,
    autoscale_min: Option<i64>,
    replica_count: Option<i64>,
    env: BTreeMap<String, serde_json::Value>,
}

impl PilotValues {
    fn is_autoscaled(&self) -> bool {
        self.autoscale_enabled.unwrap_or(true)
    }

    /// The chart's autoscaler goes before what is counted.
    fn replicas(&self) -> i64 {
        if self.is_autoscaled() { self.autoscale_min } else { self.replica_count }.unwrap_or(1)
    }

    fn has_native_sidecars(&self) -> bool {
        self.env.get(NATIVE).is_some_and(|value| *value == true || value == "true")
    }
}

/// `spec.components.pilot.k8s` of an IstioOperator.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ComponentSettings {
    replica_count: Option<i64>,
    hpa_spec: Option<Autoscaler>,
    env: Vec<Variable>,
}

fn of_operator(object: &Arc<Object>) -> Option<ControlPlane<'_>> {
    const COMPONENT: [&str; 3] = ["spec", "components", "pilot"];
    const SETTINGS: [&str; 4] = ["spec", "components", "pilot", "k8s"];
    const VALUES: [&str; 3] = ["spec", "values", "pilot"];
    let enabled: Option<bool> = object.read(&[&COMPONENT[..], &["enabled"]].concat());
    let profile = profile(object);
    // The remote profile has the injector's webhook alone.
    if profile == "remote" || !enabled.unwrap_or(profile != "empty") {
        return None;
    }
    let values: PilotValues = object.read(&VALUES);
    let settings: ComponentSettings = object.read(&SETTINGS);
    let (replicas, counted_by) = match (&settings.hpa_spec, settings.replica_count) {
        (Some(scaler), _) if values.is_autoscaled() => {
            (scaler.min_replicas.unwrap_or(1), "spec.components.pilot.k8s.hpaSpec.minReplicas")
        }
        (_, Some(count)) if !values.is_autoscaled() => (count, "spec.components.pilot.k8s.replicaCount"),
        (_, Some(_)) => (values.replicas(), "spec.components.pilot.k8s.replicaCount"),
        _ => (values.replicas(), "spec.values.pilot.autoscaleMin"),
    };
    let revisions = [read_text(object, &["spec", "revision"]), read_text(object, &["spec", "values", "revision"])];
    let revision = or_default(revisions.into_iter().find(|revision| !revision.is_empty()).unwrap_or_default());
    let is_native = |variable: &Variable| variable.name == NATIVE && variable.value == "true";
    Some(ControlPlane {
        object,
        field: "spec.components.pilot",
        namespace: operator_namespace(object),
        labels: chart_labels(&revision),
        name: chart_name(&revision),
        revision,
        cluster: read_text(object, &["spec", "values", "global", "multiCluster", "clusterName"]),
        replicas,
        counted_by,
        scheduling: object.read::<Scheduling>(&SETTINGS).and(object.read(&VALUES)),
        scheduled_by: "spec.components.pilot.k8s",
        native_sidecars: values.has_native_sidecars() || settings.env.iter().any(is_native),
    })
}

/// The control plane's own values stand at the root, in older charts under `pilot`.
fn of_values(object: &Arc<Object>) -> ControlPlane<'_> {
    let (own, older): (PilotValues, PilotValues) = (object.read(&[]), object.read(&["pilot"]));
    let native_sidecars = own.has_native_sidecars() || older.has_native_sidecars();
    let values = PilotValues {
        autoscale_enabled: own.autoscale_enabled.or(older.autoscale_enabled),
        autoscale_min: own.autoscale_min.or(older.autoscale_min),
        replica_count: own.replica_count.or(older.replica_count),
        env: BTreeMap::new(),
    };
    let namespace = read_text(object, &["global", "istioNamespace"]);
    let revision = or_default(read_text(object, &["revision"]));
    ControlPlane {
        object,
        field: "",
        namespace: if namespace.is_empty() { "istio-system".to_owned() } else { namespace },
        labels: chart_labels(&revision),
        name: chart_name(&revision),
        revision,
        cluster: read_text(object, &["global", "multiCluster", "clusterName"]),
        replicas: values.replicas(),
        counted_by: if values.is_autoscaled() { "autoscaleMin" } else { "replicaCount" },
        scheduling: object.read::<Scheduling>(&[]).and(object.read(&["pilot"])),
        scheduled_by: "topologySpreadConstraints",
        native_sidecars,
    }
}
