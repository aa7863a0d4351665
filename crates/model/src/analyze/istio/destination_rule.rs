//! DestinationRules: servers that nobody verifies (IST0128, IST0129), hosts without a service (IST0174) and subsets
//! without pods (IST0173).

use crate::analyze::pods::PodView;
use crate::analyze::world::{World, about, selector_text};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::destination_rule::{ClientTls, ClientTlsMode, DestinationRule, Subset};
use crate::resource::{Kind, Map};

pub(super) fn verification(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    for (object, rule) in world.destination_rules() {
        let Some(policy) = &rule.traffic_policy else { continue };
        let unverified = |tls: &Option<ClientTls>| tls.as_ref().is_some_and(|tls| takes_any_server(rule, tls));
        if unverified(&policy.tls) {
            let message = format!("TLS to {} takes any certificate: caCertificates is not set", rule.host);
            found.push(about(codes::NO_SERVER_VERIFICATION, object, "spec.trafficPolicy.tls", message));
        }
        for (index, of_port) in policy.port_level_settings.iter().enumerate().filter(|(_, port)| unverified(&port.tls))
        {
            let port = of_port.port.as_ref().map_or(0, |port| port.number);
            let message =
                format!("TLS to port {port} of {} takes any certificate: caCertificates is not set", rule.host);
            let field = format!("spec.trafficPolicy.portLevelSettings[{index}].tls");
            found.push(about(codes::NO_SERVER_VERIFICATION_OF_PORT, object, &field, message));
        }
    }
}

/// A Secret counts only where the rule says whose it is.
fn takes_any_server(rule: &DestinationRule, tls: &ClientTls) -> bool {
    let has_secret = !tls.credential_name.is_empty() && rule.workload_selector.is_some();
    matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual) && tls.ca_certificates.is_empty() && !has_secret
}

pub(super) fn subsets(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    for (object, rule) in world.destination_rules() {
        let Some(service) = world.hosts.find(&object.id.namespace, &rule.export_to, &rule.host) else {
            let message = format!("no service has the host {}", rule.host);
            found.push(about(codes::UNKNOWN_RULE_HOST, object, "spec.host", message));
            continue;
        };
        for (index, subset) in rule.subsets.iter().enumerate() {
            let mut selector = service.selector.cloned().unwrap_or_default();
            selector.extend(subset.labels.clone());
            if !has_pods(world, &selector) {
                let message = unused_subset(subset, &selector);
                found.push(about(codes::SUBSET_WITHOUT_PODS, object, &format!("spec.subsets[{index}].name"), message));
            }
        }
    }
}

fn unused_subset(subset: &Subset, selector: &Map) -> String {
    format!(
        "no pod has the labels of subset {} ({}): requests to it get 503 (UH)",
        subset.name,
        selector_text(selector)
    )
}

/// Pods have the labels of their place too.
fn has_pods(world: &World<'_>, selector: &Map) -> bool {
    if world.pods.matching(selector).next().is_some() {
        return true;
    }
    let is_of_place = |key: &str| key.starts_with("topology.") || key == "kubernetes.io/hostname";
    let (place, own): (Map, Map) = selector.clone().into_iter().partition(|(key, _)| is_of_place(key));
    !place.is_empty() && world.pods.matching(&own).any(|pod| is_at(world, pod, &place))
}

fn is_at(world: &World<'_>, pod: &PodView<'_>, place: &Map) -> bool {
    let node_name = pod.spec.node_name.as_str();
    let node = world.find(Kind::Node, "", node_name);
    place.iter().all(|(key, value)| match key.as_str() {
        "kubernetes.io/hostname" => value == node_name,
        _ => node.is_some_and(|node| node.meta.labels.get(key) == Some(value)),
    })
}
