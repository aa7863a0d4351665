//! `/debug/sidecarz` and `/debug/instancesz`: what of a proxy decides its configuration, and who shares it.

use super::proxy;
use super::syncz::kind;
use super::view::{Asked, View, proxy_name};
use crate::serve::{Answer, json};
use amime_control::ProxyStatus;
use amime_model::snapshot::{Labels, Snapshot};
use amime_model::translate::{NodeKind, Scope, SharedScope};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::HashMap;

/// So many proxies of a scope are named.
const MOST_NAMED: usize = 20;

#[derive(Debug, Serialize)]
struct Shared<'a> {
    kind: &'static str,
    namespace: &'a str,
    /// Those that some selector looks at.
    labels: &'a Labels,
    dns_capture: bool,
    /// The Sidecar that is in force for these proxies, and the hosts that it lets them see.
    sidecar: Option<String>,
    hosts: Vec<&'a str>,
    /// How many share all but what is their pods' own; the first are named.
    proxies: usize,
    names: Vec<String>,
}

pub(super) fn page(view: &View, asked: &Asked) -> Answer {
    match proxy::chosen(view, asked) {
        Ok(proxies) => json_of(view, &proxies),
        Err(answer) => *answer,
    }
}

fn json_of(view: &View, proxies: &[&ProxyStatus]) -> Answer {
    let mut by_scope: HashMap<SharedScope, Vec<&ProxyStatus>> = HashMap::new();
    for proxy in proxies {
        by_scope.entry(Scope::of(view.snapshot(), &proxy.node).shared).or_default().push(proxy);
    }
    let mut scopes: Vec<_> =
        by_scope.iter().map(|(scope, proxies)| describe(view.snapshot(), scope, proxies)).collect();
    scopes.sort_by(|a, b| {
        (a.kind, a.namespace, a.labels, a.dns_capture).cmp(&(b.kind, b.namespace, b.labels, b.dns_capture))
    });
    json(&scopes)
}

fn describe<'a>(snapshot: &'a Snapshot, scope: &'a SharedScope, proxies: &[&ProxyStatus]) -> Shared<'a> {
    let is_sidecar = scope.kind == NodeKind::Sidecar;
    let sidecar = is_sidecar.then(|| snapshot.sidecar_of(&scope.namespace, &scope.labels)).flatten();
    let egress = sidecar.into_iter().flat_map(|sidecar| &sidecar.spec.egress);
    Shared {
        kind: if is_sidecar { "sidecar" } else { "gateway" },
        namespace: &scope.namespace,
        labels: &scope.labels,
        dns_capture: scope.dns_capture,
        sidecar: sidecar.map(|sidecar| sidecar.id.to_string()),
        hosts: egress.flat_map(|egress| egress.hosts.iter().map(String::as_str)).collect(),
        proxies: proxies.len(),
        names: proxies.iter().take(MOST_NAMED).map(|proxy| proxy_name(proxy)).collect(),
    }
}

pub(super) fn instances(view: &View, asked: &Asked) -> Answer {
    match proxy::chosen(view, asked) {
        Ok(proxies) => json(&proxies.into_iter().map(|proxy| of_proxy(view, proxy)).collect::<Vec<_>>()),
        Err(answer) => *answer,
    }
}

fn of_proxy(view: &View, proxy: &ProxyStatus) -> Value {
    let scope = Scope::of(view.snapshot(), &proxy.node);
    let targets = scope
        .local
        .targets
        .iter()
        .map(|t| json!({ "service": t.service.host, "port": t.port, "targetPort": t.target_port }));
    json!({
        "proxy": proxy_name(proxy),
        "kind": kind(&proxy.node),
        "addresses": scope.local.addresses,
        "services": targets.collect::<Vec<_>>(),
    })
}
