//! Which fields have no effect yet: the one list of what is read and not done, so that setting one is said.
//!
//! To implement a field, delete its line (or, for MeshConfig, add one). `load` asks for each object.

use super::Object;
use super::meta::Kind;
use crate::diagnostic::{Diagnostic, codes};
use crate::yaml::{Node, Path, View};

/// Paths under `spec` without effect, by kind. `[]` stands for any item, and what is below a path is meant too;
/// after `=` stand the values that have no effect, where others do. `POLICY` stands for each place of a
/// DestinationRule's traffic policy.
const WITHOUT_EFFECT: &[(Kind, &[&str])] = &[
    (
        Kind::DestinationRule,
        &[
            "POLICY.loadBalancer.backendUtilization",
            "POLICY.loadBalancer.localityLbSetting",
            "POLICY.loadBalancer.zoneAwareLbSetting",
            "POLICY.loadBalancer.warmup",
            "POLICY.loadBalancer.warmupDurationSecs",
            "POLICY.tls.mode=SIMPLE|MUTUAL|ISTIO_MUTUAL",
            "POLICY.tunnel",
            "POLICY.proxyProtocol",
        ],
    ),
    (Kind::Gateway, &["servers[].tls.mode=SIMPLE|MUTUAL|ISTIO_MUTUAL|OPTIONAL_MUTUAL|AUTO_PASSTHROUGH"]),
    (Kind::ServiceEntry, &["subjectAltNames", "endpoints[].network", "endpoints[].locality"]),
    (Kind::WorkloadEntry, &["network", "locality"]),
    (Kind::WorkloadGroup, &["metadata", "template", "probe"]),
    (Kind::Sidecar, &["ingress[].tls"]),
    (Kind::ProxyConfig, &["selector", "concurrency", "environmentVariables", "image"]),
];

/// Where a traffic policy can stand in a DestinationRule.
const POLICIES: &[&str] = &[
    "trafficPolicy",
    "trafficPolicy.portLevelSettings[]",
    "subsets[].trafficPolicy",
    "subsets[].trafficPolicy.portLevelSettings[]",
];

/// Fields of MeshConfig that do have an effect; all others are named when they are set.
const MESH_FIELDS_WITH_EFFECT: &[&str] = &[
    "accessLogEncoding",
    "accessLogFile",
    "accessLogFormat",
    "connectTimeout",
    "defaultConfig.gatewayTopology.numTrustedProxies",
    "defaultDestinationRuleExportTo",
    "defaultHttpRetryPolicy",
    "defaultServiceExportTo",
    "defaultTrafficPolicy",
    "defaultVirtualServiceExportTo",
    "disableEnvoyListenerLog",
    "dnsRefreshRate",
    "h2UpgradePolicy",
    "outboundTrafficPolicy.mode",
    "pathNormalization",
    "protocolDetectionTimeout",
    "proxyInboundListenPort",
    "proxyListenPort",
    "rootNamespace",
    "tcpKeepalive",
    "trustDomain",
];

/// Names the fields of an object that have no effect, and policies as not enforced.
pub(super) fn without_effect(object: &Object) -> Vec<Diagnostic> {
    let kind = object.id.kind;
    if kind.is_security() {
        let message = format!("NOT ENFORCED: {} is read, and nothing enforces it yet", object.id);
        return vec![Diagnostic::warning(codes::NOT_ENFORCED, message).with_place(object.place(""))];
    }
    let Some(spec) = object.source.as_ref().and_then(|source| source.root().get("spec")) else { return Vec::new() };
    let root = Path::ROOT.key("spec");
    let mut found = Vec::new();
    for (_, paths) in WITHOUT_EFFECT.iter().filter(|(of, _)| *of == kind) {
        for path in *paths {
            match path.strip_prefix("POLICY.") {
                Some(rest) => {
                    for policy in POLICIES {
                        named(spec, &format!("{policy}.{rest}"), &root, &mut found);
                    }
                }
                None => named(spec, path, &root, &mut found),
            }
        }
    }
    found.into_iter().map(|(field, node)| report(Diagnostic::warning, &field, node)).collect()
}

/// Collects the fields that a pattern stands for and that are set.
fn named<'a>(node: Node<'a>, pattern: &str, path: &Path<'_>, found: &mut Vec<(String, Node<'a>)>) {
    if let Some(rest) = pattern.strip_prefix("[]") {
        let View::Sequence(items) = node.view() else { return };
        for (index, item) in items.enumerate() {
            named(item, rest, &path.index(index), found);
        }
        return;
    }
    if let Some(values) = pattern.strip_prefix('=') {
        if values.split('|').any(|value| value == node.text()) {
            found.push((path.to_string(), node));
        }
        return;
    }
    let pattern = pattern.strip_prefix('.').unwrap_or(pattern);
    let end = pattern.find(['.', '[', '=']).unwrap_or(pattern.len());
    let (name, rest) = pattern.split_at(end);
    let View::Mapping(entries) = node.view() else { return };
    for (key, value) in entries.filter(|(key, value)| is_field(*key, name) && !value.is_null()) {
        let text = key.key_text();
        let path = path.key(&text);
        if rest.is_empty() {
            found.push((path.to_string(), key));
        } else {
            named(value, rest, &path, found);
        }
    }
}

/// Fields may also be written in snake_case.
fn is_field(key: Node<'_>, name: &str) -> bool {
    key.text() == name || super::spelling::camel_case(key.text()) == name
}

/// Names the fields of a MeshConfig that are set and have no effect.
pub(super) fn mesh_fields_without_effect(root: Node<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    mesh_fields(root, "", &mut found);
    found.into_iter().map(|(field, node)| report(Diagnostic::info, &field, node)).collect()
}

fn mesh_fields<'a>(node: Node<'a>, prefix: &str, found: &mut Vec<(String, Node<'a>)>) {
    let View::Mapping(entries) = node.view() else { return };
    for (key, value) in entries.filter(|(_, value)| !value.is_null()) {
        let field = format!("{prefix}{}", super::spelling::camel_case(key.text()));
        let below = format!("{field}.");
        if MESH_FIELDS_WITH_EFFECT.contains(&field.as_str()) {
            continue;
        }
        if MESH_FIELDS_WITH_EFFECT.iter().any(|effective| effective.starts_with(&below)) {
            mesh_fields(value, &below, found);
        } else {
            found.push((field, key));
        }
    }
}

/// `node`: the field's key, or a value that has no effect.
fn report(make: fn(&'static str, String) -> Diagnostic, field: &str, node: Node<'_>) -> Diagnostic {
    let name = field.rsplit('.').next().unwrap_or(field);
    let said = if is_field(node, name) { node.text().to_owned() } else { format!("{name}: {}", node.text()) };
    make(codes::NO_EFFECT, format!("`{said}` has no effect yet")).with_place(Some(node.place())).with_field(field)
}

#[cfg(test)]
#[path = "support_tests.rs"]
mod tests;
