//! MeshConfig, as far as something reads it. `resource::mesh_config` calls it.

use super::report::Report;
use super::{connection, http_route, load_balancer, names};
use crate::access_log;
use crate::diagnostic::Diagnostic;
use crate::resource::MeshConfig;
use crate::resource::mesh_config::AccessLogEncoding;
use crate::yaml::Path;

/// What is wrong in a MeshConfig, by fields; the caller knows their places.
pub(in crate::resource) fn mesh_config(config: &MeshConfig) -> Vec<Diagnostic> {
    let mut report = Report::without_object();
    let at = &Path::ROOT;
    let ports =
        [("proxyListenPort", config.proxy_listen_port), ("proxyInboundListenPort", config.proxy_inbound_listen_port)];
    for (name, port) in ports {
        report.result(&at.key(name), names::port(port));
    }
    let connect = config.connect_timeout;
    names::duration(&mut report, at, "connectTimeout", Some(connect));
    if connect.as_secs_f64() > 30.0 {
        report.error(&at.key("connectTimeout"), "the time to connect is 30s at most");
    }
    if !config.protocol_detection_timeout.is_zero() {
        names::duration(&mut report, at, "protocolDetectionTimeout", Some(config.protocol_detection_timeout));
    }
    report.result(&at.key("trustDomain"), trust_domain(&config.trust_domain));
    let list = at.key("trustDomainAliases");
    for (index, alias) in config.trust_domain_aliases.iter().enumerate() {
        report.result(&list.index(index), trust_domain(alias));
    }
    report.result(&at.key("rootNamespace"), names::dns_label(&config.root_namespace));
    for (name, list) in [
        ("defaultServiceExportTo", &config.default_service_export_to),
        ("defaultVirtualServiceExportTo", &config.default_virtual_service_export_to),
        ("defaultDestinationRuleExportTo", &config.default_destination_rule_export_to),
    ] {
        let at = at.key(name);
        for (index, entry) in list.iter().enumerate() {
            if !matches!(entry.as_str(), "." | "*" | "~") {
                report.result(&at.index(index), names::dns_label(entry));
            }
        }
    }
    let settings = at.key("serviceSettings");
    for (index, setting) in config.service_settings.iter().enumerate() {
        let at = settings.index(index);
        let hosts = at.key("hosts");
        for (index, host) in setting.hosts.iter().enumerate() {
            report.result(&hosts.index(index), names::wildcard_domain(host));
        }
    }
    if let Some(setting) = &config.locality_lb_setting {
        load_balancer::locality(&mut report, &at.key("localityLbSetting"), setting, true);
    }
    for (name, policy) in [
        ("defaultHttpRetryPolicy", &config.default_http_retry_policy),
        ("defaultInboundHttpRetryPolicy", &config.default_inbound_http_retry_policy),
    ] {
        if let Some(policy) = policy {
            http_route::retries(&mut report, &at.key(name), policy);
        }
    }
    if let Some(policy) = &config.default_traffic_policy {
        let at = at.key("defaultTrafficPolicy");
        if let Some(pool) = &policy.connection_pool {
            connection::pool(&mut report, &at.key("connectionPool"), pool);
        }
        if let Some(outlier) = &policy.outlier_detection {
            connection::outlier(&mut report, &at.key("outlierDetection"), outlier);
        }
    }
    access_log(&mut report, at, config);
    report.into_findings()
}

/// Commands that Envoy does not know print nothing; a JSON format that cannot be read gives way to Istio's.
fn access_log(report: &mut Report<'_>, at: &Path<'_>, config: &MeshConfig) {
    let at = at.key("accessLogFormat");
    let format = config.access_log_format.as_str();
    let problems = match config.access_log_encoding {
        AccessLogEncoding::Json if format.is_empty() => return,
        AccessLogEncoding::Json => access_log::json_problems(format),
        AccessLogEncoding::Text => Ok(access_log::problems(format)),
    };
    match problems {
        Ok(problems) => problems.iter().for_each(|problem| report.warning(&at, problem)),
        Err(error) => report.error(&at, format!("no JSON object, so Istio's format is used: {error}")),
    }
}

fn trust_domain(domain: &str) -> Result<(), String> {
    let mut labels = domain.split('.').peekable();
    while let Some(label) = labels.next() {
        let is_end = labels.peek().is_none() && label.is_empty() && !domain.is_empty();
        if !is_end && !names::is_dns_label(label) {
            return Err(format!("\"{domain}\" is no trust domain"));
        }
    }
    Ok(())
}
