//! `/debug/mesh`: the mesh configuration in force, the fields that decide something here.

use super::view::View;
use crate::serve::{Answer, json};
use amime_model::resource::Duration;
use serde_json::{Value, json};

pub(super) fn page(view: &View) -> Answer {
    json(&fields(view))
}

fn fields(view: &View) -> Value {
    let mesh = &view.snapshot().mesh;
    json!({
        "accessLogEncoding": upper(&mesh.access_log_encoding),
        "accessLogFile": mesh.access_log_file,
        "accessLogFormat": mesh.access_log_format,
        "connectTimeout": seconds(mesh.connect_timeout),
        "defaultDestinationRuleExportTo": mesh.default_destination_rule_export_to,
        "defaultServiceExportTo": mesh.default_service_export_to,
        "defaultVirtualServiceExportTo": mesh.default_virtual_service_export_to,
        "dnsRefreshRate": seconds(mesh.dns_refresh_rate),
        "enableAutoMtls": mesh.enable_auto_mtls,
        "enablePrometheusMerge": mesh.enable_prometheus_merge,
        "enableTracing": mesh.enable_tracing,
        "outboundTrafficPolicy": { "mode": upper(&mesh.outbound_traffic_policy.mode) },
        "pathNormalization": { "normalization": upper(&mesh.path_normalization.normalization) },
        "protocolDetectionTimeout": seconds(mesh.protocol_detection_timeout),
        "proxyInboundListenPort": mesh.proxy_inbound_listen_port,
        "proxyListenPort": mesh.proxy_listen_port,
        "rootNamespace": mesh.root_namespace,
        "trustDomain": mesh.trust_domain,
        "trustDomainAliases": mesh.trust_domain_aliases,
    })
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}

/// `AllowAny` as Istio writes it: `ALLOW_ANY`.
fn upper(value: &impl std::fmt::Debug) -> String {
    let mut text = String::new();
    for c in format!("{value:?}").chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_uppercase());
    }
    text
}
