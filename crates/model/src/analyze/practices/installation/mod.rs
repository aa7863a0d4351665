//! How the mesh is installed: control planes and gateways, from manifests, IstioOperators and the values of Istio's
//! charts `istiod` and `gateway`. The rules about both read it.
//!
//! What a chart or a profile sets by default is taken from Istio's: an autoscaler of at least 1, a gateway's Service of
//! type LoadBalancer, an ingress gateway in each profile that does not leave it out.

mod control_planes;
mod gateways;
mod scheduling;

pub(super) use control_planes::{ControlPlane, control_planes};
pub(super) use gateways::{is_egress, labelled, of_operators, service_of_values, workloads};

use crate::analyze::world::World;
use crate::resource::{Kind, Object};
use serde::Deserialize;
use std::sync::Arc;

/// `docker.io/istio/pilot:1.27.0` is `pilot`.
pub(super) fn image_name(image: &str) -> &str {
    let path = image.split('@').next().unwrap_or(image);
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split(':').next().unwrap_or(name)
}

/// A variable of a container's environment.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Variable {
    name: String,
    value: String,
}

/// The files of values of a chart.
pub(super) fn values_of<'a>(world: &World<'a>, chart: &'static str) -> impl Iterator<Item = &'a Arc<Object>> {
    let all: Vec<_> = world.of(Kind::ChartValues).to_vec();
    all.into_iter().filter(move |object| *object.id.name == *chart)
}

/// An IstioOperator's profile by its name.
fn profile(operator: &Object) -> String {
    let named = [read_text(operator, &["spec", "profile"]), read_text(operator, &["spec", "values", "profile"])];
    let named = named.into_iter().find(|profile| !profile.is_empty()).unwrap_or_else(|| "default".to_owned());
    // A path to a file of one's own has its name.
    named.rsplit('/').next().unwrap_or_default().trim_end_matches(".yaml").to_owned()
}

/// Where an IstioOperator puts the control plane, and all that does not say otherwise.
fn operator_namespace(operator: &Object) -> String {
    let named = [
        read_text(operator, &["spec", "namespace"]),
        read_text(operator, &["spec", "values", "global", "istioNamespace"]),
    ];
    named.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| "istio-system".to_owned())
}

fn read_text(object: &Object, keys: &[&str]) -> String {
    object.read(keys)
}

/// `spec` of a HorizontalPodAutoscaler.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Autoscaler {
    scale_target_ref: ScaleTarget,
    min_replicas: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ScaleTarget {
    kind: String,
    name: String,
}
