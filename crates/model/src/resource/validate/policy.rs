//! The kinds of security.istio.io. Nothing enforces them yet; what is wrong in them is said all the same.

use super::report::Report;
use super::{header, names};
use crate::resource::security::*;
use crate::resource::{Map, MatchLabels};
use crate::yaml::Path;

pub(super) fn authorization(report: &mut Report<'_>, at: &Path<'_>, policy: &AuthorizationPolicy) {
    scope(report, at, policy.selector.as_ref(), policy.target_ref.as_ref(), &policy.target_refs);
    let custom = policy.action == Action::Custom;
    let provider = policy.provider.as_ref().map_or("", |provider| provider.name.as_str());
    if matches!(policy.action, Action::Custom | Action::Deny) && policy.rules.is_empty() {
        report.error(at, "without `rules` this never applies; an empty rule ({}) applies always");
    } else if custom && provider.is_empty() {
        report.error(at, "action CUSTOM needs `provider.name`");
    }
    if policy.provider.is_some() && !custom {
        report.error(&at.key("provider"), "a provider is for action CUSTOM alone");
    }
    let list = at.key("rules");
    for (index, rule) in policy.rules.iter().enumerate() {
        let at = list.index(index);
        let from = at.key("from");
        for (index, found) in rule.from.iter().enumerate() {
            let at = from.index(index);
            match &found.source {
                Some(found) => source(report, &at.key("source"), found, custom),
                None => report.error(&at, "`source` is missing"),
            }
        }
        let to = at.key("to");
        for (index, found) in rule.to.iter().enumerate() {
            let at = to.index(index);
            match &found.operation {
                Some(found) => operation(report, &at.key("operation"), found),
                None => report.error(&at, "`operation` is missing"),
            }
        }
        let when = at.key("when");
        for (index, found) in rule.when.iter().enumerate() {
            condition(report, &when.index(index), found, custom);
        }
    }
}

/// Which workloads a policy is for: by labels, or by what it is attached to.
fn scope(
    report: &mut Report<'_>,
    at: &Path<'_>,
    selector: Option<&MatchLabels>,
    target: Option<&TargetRef>,
    targets: &[TargetRef],
) {
    report.at_most_one(
        at,
        &[("selector", selector.is_some()), ("targetRef", target.is_some()), ("targetRefs", !targets.is_empty())],
    );
    if let Some(selector) = selector {
        let labels: &Map = &selector.match_labels;
        names::selector(report, &at.key("selector").key("matchLabels"), labels);
        if labels.is_empty() {
            report.warning(&at.key("selector"), "a selector without labels selects all workloads");
        }
    }
    if let Some(target) = target {
        target_ref(report, &at.key("targetRef"), target);
    }
    let list = at.key("targetRefs");
    for (index, target) in targets.iter().enumerate() {
        target_ref(report, &list.index(index), target);
    }
}

fn target_ref(report: &mut Report<'_>, at: &Path<'_>, target: &TargetRef) {
    if target.name.is_empty() {
        report.error(at, "`name` is missing");
    }
    if !target.namespace.is_empty() {
        report.error(&at.key("namespace"), "a policy is attached within its own namespace");
    }
    let known = matches!(
        (target.group.as_str(), target.kind.as_str()),
        ("" | "core", "Service")
            | ("networking.istio.io", "ServiceEntry")
            | ("gateway.networking.k8s.io", "Gateway" | "GatewayClass")
    );
    if !known {
        report.error(&at.key("kind"), "a policy is attached to a Service, ServiceEntry, Gateway or GatewayClass");
    }
}

fn source(report: &mut Report<'_>, at: &Path<'_>, source: &Source, custom: bool) {
    let identities = [
        ("principals", &source.principals),
        ("notPrincipals", &source.not_principals),
        ("requestPrincipals", &source.request_principals),
        ("notRequestPrincipals", &source.not_request_principals),
        ("namespaces", &source.namespaces),
        ("notNamespaces", &source.not_namespaces),
        ("serviceAccounts", &source.service_accounts),
        ("notServiceAccounts", &source.not_service_accounts),
        ("trustDomains", &source.trust_domains),
        ("notTrustDomains", &source.not_trust_domains),
    ];
    let addresses = [
        ("ipBlocks", &source.ip_blocks),
        ("notIpBlocks", &source.not_ip_blocks),
        ("remoteIpBlocks", &source.remote_ip_blocks),
        ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
    ];
    let accounts =
        [("serviceAccounts", &source.service_accounts), ("notServiceAccounts", &source.not_service_accounts)];
    let by_account = accounts.iter().find(|(_, list)| !list.is_empty());
    let otherwise = [&source.principals, &source.not_principals, &source.namespaces, &source.not_namespaces];
    if let Some((name, _)) = by_account
        && otherwise.iter().any(|list| !list.is_empty())
    {
        report.error(&at.key(name), "service accounts cannot stand together with namespaces or principals");
    }
    if identities.iter().chain(&addresses).all(|(_, list)| list.is_empty()) {
        report.error(at, "an empty source; leave `from` out for any");
    }
    for (name, list) in identities {
        if custom && !list.is_empty() {
            report.error(&at.key(name), "not with action CUSTOM");
        }
        let list_at = at.key(name);
        for (index, value) in list.iter().enumerate() {
            let result = match name {
                "serviceAccounts" | "notServiceAccounts" => service_account(value),
                "trustDomains" | "notTrustDomains" => trust_domain(value),
                _ => not_empty(value),
            };
            report.result(&list_at.index(index), result);
        }
    }
    for (name, _) in accounts.iter().filter(|(_, list)| list.len() > 16) {
        report.error(&at.key(name), "at most 16 service accounts");
    }
    for (name, list) in addresses {
        each(report, &at.key(name), list, names::subnet);
    }
}

fn operation(report: &mut Report<'_>, at: &Path<'_>, operation: &Operation) {
    let words = [
        ("hosts", &operation.hosts),
        ("notHosts", &operation.not_hosts),
        ("methods", &operation.methods),
        ("notMethods", &operation.not_methods),
    ];
    let paths = [("paths", &operation.paths), ("notPaths", &operation.not_paths)];
    let ports = [("ports", &operation.ports), ("notPorts", &operation.not_ports)];
    if words.iter().chain(&paths).chain(&ports).all(|(_, list)| list.is_empty()) {
        report.error(at, "an empty operation; leave `to` out for any");
    }
    for (name, list) in words {
        each(report, &at.key(name), list, not_empty);
    }
    for (name, list) in paths {
        each(report, &at.key(name), list, path);
    }
    for (name, list) in ports {
        each(report, &at.key(name), list, port);
    }
}

fn each(report: &mut Report<'_>, at: &Path<'_>, list: &[String], rule: fn(&str) -> Result<(), String>) {
    for (index, value) in list.iter().enumerate() {
        report.result(&at.index(index), rule(value));
    }
}

fn not_empty(value: &str) -> Result<(), String> {
    if value.is_empty() { Err("an empty value matches nothing".to_owned()) } else { Ok(()) }
}

/// A port in text; 0 is allowed here, as in Istio.
fn port(value: &str) -> Result<(), String> {
    value.parse::<u16>().map(|_| ()).map_err(|_| format!("\"{value}\" is no port"))
}

/// `ACCOUNT` or `NAMESPACE/ACCOUNT`.
fn service_account(value: &str) -> Result<(), String> {
    if value.contains('*') || value.len() > 320 || value.split('/').any(str::is_empty) || value.matches('/').count() > 1
    {
        return Err(format!("\"{value}\" is not of the form ACCOUNT or NAMESPACE/ACCOUNT"));
    }
    Ok(())
}

fn trust_domain(value: &str) -> Result<(), String> {
    wildcard_word(value)?;
    if value.contains('/') { Err("a trust domain has no /".to_owned()) } else { Ok(()) }
}

/// `x`, `x*`, `*x` or `*`.
fn wildcard_word(value: &str) -> Result<(), String> {
    not_empty(value)?;
    let inner = value.strip_prefix('*').or_else(|| value.strip_suffix('*')).unwrap_or(value);
    if inner.contains('*') { Err(format!("\"{value}\": one * at the start or the end, or none")) } else { Ok(()) }
}

/// A path, with `{*}` for one segment and `{**}` for all the rest.
fn path(value: &str) -> Result<(), String> {
    not_empty(value)?;
    let is_template = value.contains("{*}") || value.contains("{**}");
    let mut ended = false;
    for segment in value.trim_matches('/').split('/') {
        match segment {
            "{*}" | "{**}" if ended => return Err(format!("\"{value}\": {{**}} stands last")),
            "{*}" => {}
            "{**}" => ended = true,
            _ if segment.contains(['{', '}']) => return Err(format!("\"{value}\": only {{*}} and {{**}} are known")),
            _ if is_template && !is_path_text(segment) => {
                return Err(format!("\"{value}\": \"{segment}\" cannot stand in a template"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_path_text(segment: &str) -> bool {
    let special = b"-._~%!$&'()+,;:@=";
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || special.contains(&byte))
}

fn condition(report: &mut Report<'_>, at: &Path<'_>, condition: &Condition, custom: bool) {
    let key = condition.key.as_str();
    let key_at = at.key("key");
    if key.is_empty() {
        return report.error(&key_at, "`key` is missing");
    }
    if condition.values.is_empty() && condition.not_values.is_empty() {
        report.error(at, "a condition needs `values` or `notValues`");
    }
    let identity = ["source.namespace", "source.serviceAccount", "source.trustDomain", "source.principal"];
    if custom && (identity.contains(&key) || key.starts_with("request.auth.")) {
        report.error(&key_at, "not with action CUSTOM");
    }
    let rule: fn(&str) -> Result<(), String> = match key {
        "source.ip" | "remote.ip" | "destination.ip" => names::subnet,
        "source.serviceAccount" => service_account,
        "source.trustDomain" => wildcard_word,
        "destination.port" => port,
        "source.namespace"
        | "source.principal"
        | "request.auth.principal"
        | "request.auth.audiences"
        | "request.auth.presenter"
        | "connection.sni" => not_empty,
        _ => {
            let with_name = ["request.headers", "request.auth.claims", "experimental.envoy.filters."];
            if !with_name.iter().any(|start| key.starts_with(start)) {
                return report.error(&key_at, format!("\"{key}\" is no attribute of a request"));
            }
            let open = key.find('[').filter(|open| *open > 0 && key.ends_with(']') && open + 2 < key.len());
            if open.is_none() {
                report.error(&key_at, format!("\"{key}\" is not of the form {}[NAME]", key.trim_end_matches('.')));
            }
            not_empty
        }
    };
    for (name, list) in [("values", &condition.values), ("notValues", &condition.not_values)] {
        each(report, &at.key(name), list, rule);
    }
}

pub(super) fn peer(report: &mut Report<'_>, at: &Path<'_>, policy: &PeerAuthentication) {
    if let Some(selector) = &policy.selector {
        names::selector(report, &at.key("selector").key("matchLabels"), &selector.match_labels);
    }
    let Some(ports) = &policy.port_level_mtls else { return };
    let at = at.key("portLevelMtls");
    if ports.is_empty() {
        report.error(&at, "name a port, or leave it out");
    }
    if policy.selector.as_ref().is_none_or(|selector| selector.match_labels.is_empty()) {
        report.error(&at, "settings by port need a `selector`");
    }
    for port in ports.keys() {
        let result = port.parse::<u32>().map_err(|_| format!("\"{port}\" is no port")).and_then(names::port);
        report.result(&at.key(port), result);
    }
}

pub(super) fn request(report: &mut Report<'_>, at: &Path<'_>, policy: &RequestAuthentication) {
    scope(report, at, policy.selector.as_ref(), policy.target_ref.as_ref(), &policy.target_refs);
    let list = at.key("jwtRules");
    for (index, rule) in policy.jwt_rules.iter().enumerate() {
        jwt_rule(report, &list.index(index), rule);
    }
}

fn jwt_rule(report: &mut Report<'_>, at: &Path<'_>, rule: &JwtRule) {
    if rule.issuer.is_empty() && rule.jwks_uri.is_empty() {
        report.error(at, "a rule needs `issuer` or `jwksUri`");
    }
    report.at_most_one(at, &[("jwksUri", !rule.jwks_uri.is_empty()), ("jwks", !rule.jwks.is_empty())]);
    let scheme = rule.jwks_uri.split_once("://").map(|(scheme, _)| scheme);
    if !rule.jwks_uri.is_empty() && !matches!(scheme, Some("http" | "https")) {
        report.error(&at.key("jwksUri"), "a JWKS is fetched by http:// or https://");
    }
    let keys = serde_json::from_str::<serde_json::Value>(&rule.jwks);
    if !rule.jwks.is_empty() && !keys.is_ok_and(|keys| keys.get("keys").or(keys.get("kty")).is_some()) {
        report.error(&at.key("jwks"), "this is no JSON web key set");
    }
    for (name, list) in
        [("audiences", &rule.audiences), ("fromParams", &rule.from_params), ("fromCookies", &rule.from_cookies)]
    {
        each(report, &at.key(name), list, not_empty);
    }
    let list = at.key("fromHeaders");
    for (index, _) in rule.from_headers.iter().enumerate().filter(|(_, header)| header.name.is_empty()) {
        report.error(&list.index(index), "`name` is missing");
    }
    let list = at.key("outputClaimToHeaders");
    for (index, output) in rule.output_claim_to_headers.iter().enumerate() {
        let at = list.index(index);
        if output.claim.is_empty() {
            report.error(&at, "`claim` is missing");
        }
        if !header::is_header_name(&output.header) {
            report.error(&at.key("header"), format!("\"{}\" is no name of a header", output.header));
        }
    }
    names::duration(report, at, "timeout", rule.timeout);
}
