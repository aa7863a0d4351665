//! Gateways: workloads that are one, and the parts of IstioOperators that make one.

use super::super::injected::is_made_by_another;
use super::{operator_namespace, profile, read_text};
use crate::analyze::pods::PodView;
use crate::analyze::world::World;
use crate::resource::{Kind, Map, Object};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A gateway, wherever it is described.
pub(in crate::analyze::practices) struct Gateway<'a> {
    pub(in crate::analyze::practices) object: &'a Arc<Object>,
    /// Where the object speaks of it.
    pub(in crate::analyze::practices) field: String,
    pub(in crate::analyze::practices) name: String,
    pub(in crate::analyze::practices) namespace: String,
    /// Whether requests leave the mesh by it.
    pub(in crate::analyze::practices) egress: bool,
    /// Of an IstioOperator: the type of the Service that it makes, and the field that says it.
    pub(in crate::analyze::practices) service: Option<(String, String)>,
}

const INGRESS: &str = "ingressgateway";
const EGRESS: &str = "egressgateway";

/// Whether labels, or a selector, are those of Istio's own gateways.
pub(in crate::analyze::practices) fn labelled(labels: &Map) -> bool {
    labels.get("istio").is_some_and(|value| value == INGRESS || value == EGRESS)
}

/// Whether labels, or a selector, are those of a gateway by which requests leave the mesh.
pub(in crate::analyze::practices) fn is_egress(labels: &Map) -> bool {
    labels.get("istio").is_some_and(|value| value == EGRESS)
}

/// Whether a workload's pods are a gateway: a Gateway chooses them, they are labelled as Istio's own, or their own
/// container is the proxy.
fn is_gateway(world: &World<'_>, pod: &PodView<'_>) -> bool {
    let is_own =
        pod.spec.containers.iter().any(|container| container.name == "istio-proxy" && container.image == "auto");
    labelled(pod.labels) || is_own || runs_router(pod) || is_chosen(world, pod.labels)
}

/// A proxy that is told to be a router is none beside an application.
fn runs_router(pod: &PodView<'_>) -> bool {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Container {
        name: String,
        args: Vec<String>,
    }
    if pod.spec.containers.iter().all(|container| container.name != "istio-proxy") {
        return false;
    }
    let keys: Vec<&str> = pod.path.split('.').chain(["containers"]).collect();
    let containers: Vec<Container> = pod.object.read(&keys);
    let is_router = |container: &Container| container.args.iter().map(String::as_str).take(2).eq(["proxy", "router"]);
    containers.iter().any(|container| container.name == "istio-proxy" && is_router(container))
}

/// Whether a Gateway chooses pods with these labels; one without a selector chooses nobody in particular.
fn is_chosen(world: &World<'_>, labels: &Map) -> bool {
    let holds = |selector: &Map| selector.iter().all(|(key, value)| labels.get(key) == Some(value));
    world.gateways().any(|(_, gateway)| !gateway.selector.is_empty() && holds(&gateway.selector))
}

/// Those of the input; pods that another object of it makes are told of there.
pub(in crate::analyze::practices) fn workloads<'w, 'a>(
    world: &'w World<'a>,
) -> impl Iterator<Item = (Gateway<'a>, &'w PodView<'a>)> {
    let own = world.pods.all().iter().filter(|pod| !is_made_by_another(world, pod));
    own.filter(|pod| is_gateway(world, pod)).map(|pod| (of_workload(pod), pod))
}

fn of_workload<'a>(pod: &PodView<'a>) -> Gateway<'a> {
    Gateway {
        object: pod.object,
        field: "metadata.namespace".to_owned(),
        name: pod.object.id.name.to_string(),
        namespace: pod.object.id.namespace.to_string(),
        egress: is_egress(pod.labels),
        service: None,
    }
}

/// A gateway in an IstioOperator.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Component {
    name: String,
    namespace: String,
    enabled: Option<bool>,
    k8s: ComponentSettings,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ComponentSettings {
    service: ServiceSettings,
}

/// `spec.values.gateways.NAME`, and `k8s.service`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ServiceSettings {
    #[serde(rename = "type")]
    service_type: String,
}

/// Those that an IstioOperator makes: the ones that it lists and its profile's own.
pub(in crate::analyze::practices) fn of_operators<'a>(world: &World<'a>) -> Vec<Gateway<'a>> {
    let operators = world.of(Kind::IstioOperator).iter();
    operators.flat_map(|object| of_list(object, INGRESS).into_iter().chain(of_list(object, EGRESS))).collect()
}

fn of_list<'a>(object: &'a Arc<Object>, word: &str) -> Vec<Gateway<'a>> {
    let egress = word == EGRESS;
    let list = if egress { "egressGateways" } else { "ingressGateways" };
    let profile = profile(object);
    let of_profile = match egress {
        true => profile == "demo",
        false => !["minimal", "empty", "remote", "ambient", "openshift-ambient"].contains(&profile.as_str()),
    };
    let default_name = format!("istio-{word}");
    let listed: Vec<Component> = object.read(&["spec", "components", list]);
    let values: BTreeMap<String, ServiceSettings> = object.read(&["spec", "values", "gateways"]);
    let of_values = values.get(&default_name).map(|values| values.service_type.clone()).unwrap_or_default();
    let control_plane = operator_namespace(object);
    let make = |component: &Component, at: String| {
        let own = [(&component.k8s.service.service_type, format!("{at}.k8s.service.type"))];
        let (service_type, field) = own.into_iter().find(|(written, _)| !written.is_empty()).map_or_else(
            || {
                (
                    of_values.clone(),
                    if of_values.is_empty() { at.clone() } else { format!("spec.values.gateways.{default_name}.type") },
                )
            },
            |(written, field)| (written.clone(), field),
        );
        let by_default = if egress { "ClusterIP" } else { "LoadBalancer" };
        let service_type = if service_type.is_empty() { by_default.to_owned() } else { service_type };
        Gateway {
            object,
            field: at,
            name: if component.name.is_empty() { default_name.clone() } else { component.name.clone() },
            namespace: if component.namespace.is_empty() { control_plane.clone() } else { component.namespace.clone() },
            egress,
            service: Some((service_type, field)),
        }
    };
    let is_default = |component: &&Component| component.name.is_empty() || component.name == default_name;
    let mut found: Vec<Gateway<'a>> = Vec::new();
    if of_profile && listed.iter().find(is_default).is_none() {
        found.push(make(&Component::default(), "spec.profile".to_owned()));
    }
    for (index, component) in listed.iter().enumerate() {
        let by_profile = of_profile && is_default(&component);
        if component.enabled.unwrap_or(by_profile) {
            found.push(make(component, format!("spec.components.{list}[{index}]")));
        }
    }
    found
}

/// The type of the Service that values of the chart `gateway` make, and the field that says it; none where they make none.
pub(in crate::analyze::practices) fn service_of_values(object: &Object) -> Option<(String, &'static str)> {
    let written = read_text(object, &["service", "type"]);
    // The chart's own defaults, as `helm show values` prints them.
    let inherited = read_text(object, &["_internal_defaults_do_not_set", "service", "type"]);
    let own = [written, inherited].into_iter().find(|own| !own.is_empty()).unwrap_or_else(|| "LoadBalancer".to_owned());
    (own != "None").then_some((own, "service.type"))
}
