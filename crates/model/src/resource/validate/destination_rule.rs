//! DestinationRules: hosts, subsets, traffic policies.

use super::report::Report;
use super::{connection, load_balancer, names};
use crate::resource::destination_rule::{TrafficPolicy, Tunnel};
use crate::resource::{DestinationRule, Object};
use crate::yaml::Path;

pub(super) fn check(report: &mut Report<'_>, at: &Path<'_>, rule: &DestinationRule, object: &Object) {
    let namespace = &*object.id.namespace;
    report.result(&at.key("host"), names::wildcard_domain(&rule.host));
    if let Some(policy) = &rule.traffic_policy {
        traffic_policy(report, &at.key("trafficPolicy"), policy, namespace);
    }
    let list = at.key("subsets");
    for (index, subset) in rule.subsets.iter().enumerate() {
        let at = list.index(index);
        report.result(&at.key("name"), names::dns_label(&subset.name));
        if rule.subsets[..index].iter().any(|earlier| earlier.name == subset.name) {
            report.error(&at.key("name"), format!("the subset `{}` is there twice", subset.name));
        }
        names::labels(report, &at.key("labels"), &subset.labels);
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy(report, &at.key("trafficPolicy"), policy, namespace);
        }
    }
    names::export_to(report, at, namespace, &rule.export_to, false);
    if let Some(selector) = &rule.workload_selector {
        names::selector(report, &at.key("workloadSelector").key("matchLabels"), &selector.match_labels);
        if selector.match_labels.is_empty() {
            report.warning(&at.key("workloadSelector"), "a selector without labels selects all workloads");
        }
        let own = rule.export_to.iter().all(|to| to == "." || to == namespace);
        if !own || rule.export_to.len() > 1 {
            report.error(&at.key("exportTo"), "with a workloadSelector a rule is for its own namespace alone");
        }
    }
}

fn traffic_policy(report: &mut Report<'_>, at: &Path<'_>, policy: &TrafficPolicy, namespace: &str) {
    if *policy == TrafficPolicy::default() {
        return report.error(at, "a traffic policy needs at least one field");
    }
    report.at_most_one(at, &[("tunnel", policy.tunnel.is_some()), ("proxyProtocol", policy.proxy_protocol.is_some())]);
    if let Some(outlier) = &policy.outlier_detection {
        connection::outlier(report, &at.key("outlierDetection"), outlier);
    }
    if let Some(pool) = &policy.connection_pool {
        connection::pool(report, &at.key("connectionPool"), pool);
    }
    if let Some(balancer) = &policy.load_balancer {
        load_balancer::check(report, &at.key("loadBalancer"), balancer, policy.outlier_detection.is_some());
    }
    if let Some(tls) = &policy.tls {
        connection::client_tls(report, &at.key("tls"), tls, namespace);
    }
    let list = at.key("portLevelSettings");
    for (index, port) in policy.port_level_settings.iter().enumerate() {
        let at = list.index(index);
        match &port.port {
            Some(selector) => report.result(&at.key("port").key("number"), names::port(selector.number)),
            None => report.error(&at, "`port` is missing"),
        }
        let nothing = port.load_balancer.is_none() && port.connection_pool.is_none();
        if nothing && port.outlier_detection.is_none() && port.tls.is_none() {
            report.error(&at, "a port's traffic policy needs at least one field beside `port`");
        }
        if let Some(outlier) = &port.outlier_detection {
            connection::outlier(report, &at.key("outlierDetection"), outlier);
        }
        if let Some(pool) = &port.connection_pool {
            connection::pool(report, &at.key("connectionPool"), pool);
        }
        if let Some(balancer) = &port.load_balancer {
            load_balancer::check(report, &at.key("loadBalancer"), balancer, port.outlier_detection.is_some());
        }
        if let Some(tls) = &port.tls {
            connection::client_tls(report, &at.key("tls"), tls, namespace);
        }
    }
    if let Some(settings) = &policy.tunnel {
        tunnel(report, &at.key("tunnel"), settings);
    }
    if let Some(percent) = policy.retry_budget.as_ref().and_then(|budget| budget.percent)
        && !(0.0..=100.0).contains(&percent)
    {
        report.error(&at.key("retryBudget").key("percent"), "a percentage is from 0 to 100");
    }
}

fn tunnel(report: &mut Report<'_>, at: &Path<'_>, tunnel: &Tunnel) {
    if !matches!(tunnel.protocol.as_str(), "" | "CONNECT" | "POST") {
        report.error(&at.key("protocol"), "a tunnel's protocol is CONNECT or POST");
    }
    if !names::is_ip(&tunnel.target_host) {
        report.result(&at.key("targetHost"), names::fqdn(&tunnel.target_host));
    }
    report.result(&at.key("targetPort"), names::port(tunnel.target_port));
}
