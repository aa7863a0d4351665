//! Where workloads are: region, zone and subzone, by Istio's label, by a WorkloadEntry's field, or by the labels of the
//! Node that a pod runs on.
//!
//! `pod` asks for each workload, `translate` for proxies whose pod is not known.

use super::DestinationRules;
use super::service::{Labels, Service, TrafficDistribution};
use crate::config::Locality;
use crate::resource::destination_rule::{LoadBalancer, LocalityLb, OutlierDetection, TrafficPolicy, ZoneAwareLb};
use crate::resource::{Kind, MeshConfig, ResourceSet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) const REGION: &str = "topology.kubernetes.io/region";
pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";
pub(crate) const SUBZONE: &str = "topology.istio.io/subzone";
pub(crate) const NETWORK: &str = "topology.istio.io/network";
pub(crate) const CLUSTER: &str = "topology.istio.io/cluster";
/// The Node's name.
pub(crate) const HOSTNAME: &str = "kubernetes.io/hostname";

/// Says where a workload is, whatever its Node says: `region/zone/subzone`, or with dots where no slash may stand.
const ISTIO_LOCALITY: &str = "istio-locality";

/// What older clusters write on Nodes.
const BETA_REGION: &str = "failure-domain.beta.kubernetes.io/region";
const BETA_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";

/// `region/zone/subzone`.
pub(crate) fn parse(text: &str) -> Locality {
    let mut parts = text.splitn(3, '/').map(str::to_string);
    let mut next = || parts.next().unwrap_or_default();
    Locality { region: next(), zone: next(), sub_zone: next() }
}

/// What the label of a workload says.
pub(crate) fn of_label(labels: &Labels) -> Option<Locality> {
    let text = labels.get(ISTIO_LOCALITY).filter(|text| !text.is_empty())?;
    Some(if text.contains('/') { parse(text) } else { parse(&text.replace('.', "/")) })
}

/// What the labels say that Kubernetes puts on Nodes.
pub(crate) fn of_topology(labels: &Labels) -> Locality {
    let of = |keys: &[&str]| keys.iter().find_map(|key| labels.get(*key)).cloned().unwrap_or_default();
    Locality { region: of(&[REGION, BETA_REGION]), zone: of(&[ZONE, BETA_ZONE]), sub_zone: of(&[SUBZONE]) }
}

/// Where each Node is.
pub(super) fn nodes(resources: &ResourceSet) -> BTreeMap<&str, Locality> {
    resources.of_kind(Kind::Node).map(|node| (&*node.id.name, of_topology(&node.meta.labels))).collect()
}

/// The value of one of the labels that a place stands for; None for all other labels.
pub(crate) fn label<'a>(locality: &'a Locality, node: &'a str, key: &str) -> Option<&'a str> {
    let text = match key {
        REGION => &locality.region,
        ZONE => &locality.zone,
        SUBZONE => &locality.sub_zone,
        HOSTNAME => node,
        _ => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

/// The labels by which a service's endpoints are preferred, the one that weighs most first.
pub(crate) fn preferred(distribution: TrafficDistribution) -> &'static [&'static str] {
    match distribution {
        TrafficDistribution::Any => &[],
        TrafficDistribution::SameZone => &[NETWORK, REGION, ZONE],
        TrafficDistribution::SameNode => &[NETWORK, REGION, ZONE, SUBZONE, HOSTNAME],
    }
}

/// The keys of the labels of clients that decide where their requests go; None where places decide nothing at all.
pub(super) fn sought(
    rules: &DestinationRules,
    services: &[Arc<Service>],
    mesh: &MeshConfig,
) -> Option<BTreeSet<String>> {
    let mut sought = Sought::default();
    let of_mesh = mesh.locality_lb_setting.as_ref().filter(|setting| setting.enabled != Some(false));
    let default = mesh.default_traffic_policy.as_ref().and_then(|policy| policy.outlier_detection.as_ref());
    sought.policy(None, default.filter(|_| of_mesh.is_some()));
    sought.locality(of_mesh.filter(|setting| !setting.distribute.is_empty() || !setting.failover_priority.is_empty()));
    sought.zones(mesh.zone_aware_lb_setting.as_ref());
    for service in services {
        sought.labels(preferred(service.distribution).iter().copied());
    }
    for rule in rules.all() {
        let of_subsets = rule.rule.subsets.iter().filter_map(|subset| subset.traffic_policy.as_deref());
        for policy in rule.rule.traffic_policy.as_deref().into_iter().chain(of_subsets) {
            let TrafficPolicy { load_balancer, outlier_detection, port_level_settings, .. } = policy;
            sought.policy(load_balancer.as_ref(), outlier_detection.as_ref());
            for port in port_level_settings {
                sought.policy(port.load_balancer.as_ref(), port.outlier_detection.as_ref());
            }
        }
    }
    sought.found.then_some(sought.keys)
}

#[derive(Default)]
struct Sought {
    found: bool,
    keys: BTreeSet<String>,
}

impl Sought {
    fn policy(&mut self, balancer: Option<&LoadBalancer>, outlier: Option<&OutlierDetection>) {
        // It brings failover by locality along.
        self.found |= outlier.is_some();
        self.locality(balancer.and_then(|b| b.locality_lb_setting.as_ref()));
        self.zones(balancer.and_then(|b| b.zone_aware_lb_setting.as_ref()));
    }

    fn locality(&mut self, setting: Option<&LocalityLb>) {
        if let Some(setting) = setting.filter(|setting| setting.enabled != Some(false)) {
            self.found = true;
            self.labels(setting.failover_priority.iter().map(String::as_str));
        }
    }

    fn zones(&mut self, setting: Option<&ZoneAwareLb>) {
        if let Some(setting) = setting.filter(|setting| setting.enabled != Some(false)) {
            self.found = true;
            self.labels(setting.failover_priority.iter().map(String::as_str));
        }
    }

    /// Of `label=value` the client's own value does not count.
    fn labels<'a>(&mut self, labels: impl IntoIterator<Item = &'a str>) {
        for label in labels {
            self.found = true;
            if !label.contains('=') {
                self.keys.insert(label.to_string());
            }
        }
    }
}
