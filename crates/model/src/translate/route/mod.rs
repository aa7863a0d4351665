//! From the rules of a VirtualService to routes, for one port of one proxy.
//!
//! Sidecars (`sidecar_routes`) and gateways (`gateway_routes`) call it. What can be decided now (port, source labels,
//! source namespace, gateway) is decided here; the rest is left to the matcher.

mod action;

pub(super) use action::{cluster_name, hash_policy};

use super::names;
use super::node::SharedScope;
use super::view::View;
use crate::config::{Forward, HeaderEdits, PathMatch, Route, RouteAction, RouteMatch, WeightedCluster};
use crate::resource::virtual_service::{HttpMatch, HttpRoute};
use crate::rule::{filters, matches};
use crate::snapshot::{Health, Labels, ResolvedVirtualService, Rule, Service, selects};
use std::sync::Arc;
use std::time::Duration;

/// For which listener routes are made, and what they may look up.
pub(super) struct RouteContext<'a> {
    pub view: &'a View<'a>,
    /// The port that was dialled, or of the gateway's server as written.
    pub port: u32,
    /// `mesh`, or the gateway's `namespace/name`.
    pub gateway: &'a str,
    /// Clients speak TLS to this server.
    pub tls: bool,
    /// The service that a destination without a port means, where it can be told.
    pub service: &'a dyn Fn(&str) -> Option<Arc<Service>>,
}

/// The routes of a VirtualService, in order. Empty: it has none for this listener.
pub(super) fn routes_of(vs: &ResolvedVirtualService, context: &RouteContext<'_>) -> Vec<Route> {
    let mut routes = Vec::new();
    for rule in &vs.http {
        if rule.health == Health::BrokenMatch {
            routes.push(unavailable(rule, RouteMatch::default(), String::new()));
            return routes;
        }
        if rule.route.matches.is_empty() {
            routes.push(route_of(rule, None, context));
            // It takes all: what follows is never reached.
            return routes;
        }
        for m in &rule.route.matches {
            if !applies(m, context) {
                continue;
            }
            routes.push(route_of(rule, Some(m), context));
            if routes.last().is_some_and(|route| takes_all(&route.matches)) {
                return routes;
            }
        }
    }
    routes
}

/// Does a route match every request? What comes after it in its VirtualService is left out.
pub(crate) fn takes_all(m: &RouteMatch) -> bool {
    let path = match &m.path {
        PathMatch::Prefix(prefix) | PathMatch::SegmentPrefix(prefix) => prefix == "/",
        PathMatch::Regex(regex) => regex == ".*",
        PathMatch::Exact(_) | PathMatch::Connect => false,
    };
    path && m.headers.is_empty() && m.query.is_empty()
}

/// Can the match hold at all for this listener?
fn applies(m: &HttpMatch, context: &RouteContext<'_>) -> bool {
    mismatch(m, context.port, context.gateway, context.view.scope).is_none()
}

/// What of a match can never hold for a listener, so that it is in no proxy's routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mismatch<'m> {
    Port(u32),
    Gateways(&'m [String]),
    SourceLabels(&'m Labels),
    SourceNamespace(&'m str),
}

/// `gateway` is `mesh` or `namespace/name`. Gateways, where they are named, stand for the source.
pub(crate) fn mismatch<'m>(m: &'m HttpMatch, port: u32, gateway: &str, scope: &SharedScope) -> Option<Mismatch<'m>> {
    if m.port != 0 && m.port != port {
        return Some(Mismatch::Port(m.port));
    }
    if !m.gateways.is_empty() {
        let named = m.gateways.iter().any(|name| name == gateway);
        return (!named).then_some(Mismatch::Gateways(&m.gateways));
    }
    if !selects(&m.source_labels, &scope.labels) {
        return Some(Mismatch::SourceLabels(&m.source_labels));
    }
    let elsewhere = !m.source_namespace.is_empty() && m.source_namespace != scope.namespace;
    elsewhere.then_some(Mismatch::SourceNamespace(&m.source_namespace))
}

impl std::fmt::Display for Mismatch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Port(port) => write!(f, "it is for port {port}"),
            Self::Gateways(names) => write!(f, "it is for {}", names.join(", ")),
            Self::SourceLabels(labels) => {
                let all: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(f, "it is for clients with {}", all.join(", "))
            }
            Self::SourceNamespace(namespace) => write!(f, "it is for clients in {namespace}"),
        }
    }
}

fn route_of(rule: &Rule<HttpRoute>, m: Option<&HttpMatch>, context: &RouteContext<'_>) -> Route {
    let spec = &*rule.route;
    let name = match m.map(|m| m.name.as_str()) {
        None | Some("") => spec.name.clone(),
        Some(name) => format!("{}.{name}", spec.name),
    };
    let matches = m.map(matches::of).unwrap_or_default();
    let Some((action, request_headers, response_headers)) =
        (rule.health == Health::Sound).then(|| action::of(spec, context)).flatten()
    else {
        return unavailable(rule, matches, name);
    };
    let mut route = Route {
        name,
        matches,
        action,
        fault: spec.fault.as_ref().and_then(filters::fault),
        cors: spec.cors_policy.as_ref().map(filters::cors),
        request_headers,
        response_headers,
        origin: Some(rule.origin.clone()),
        stat_prefix: m.map(|m| m.stat_prefix.clone()).unwrap_or_default(),
        operation: String::new(),
        opaque_filters: Vec::new(),
    };
    let only = spec.route.len() == 1;
    route.operation = operation(&route, only, &rule.origin.name, context.port);
    route
}

/// The answer of a rule that cannot be carried out: 503 with flag NC.
fn unavailable(rule: &Rule<HttpRoute>, matches: RouteMatch, name: String) -> Route {
    Route {
        name,
        matches,
        action: to_cluster(names::UNKNOWN_CLUSTER.to_string()),
        fault: None,
        cors: None,
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        origin: Some(rule.origin.clone()),
        stat_prefix: String::new(),
        operation: String::new(),
        opaque_filters: Vec::new(),
    }
}

/// To one cluster, without a timeout.
pub(super) fn to_cluster(cluster: String) -> RouteAction {
    RouteAction::Forward(Box::new(Forward {
        clusters: vec![WeightedCluster { name: cluster, weight: 100, ..WeightedCluster::default() }],
        timeout: Some(Duration::ZERO),
        max_grpc_timeout: Some(Duration::ZERO),
        ..Forward::default()
    }))
}

/// The one route of a service without a VirtualService, or of a catch-all.
pub(super) fn plain_route(name: &str, action: RouteAction, operation: String) -> Route {
    Route { name: name.to_string(), operation, ..Route::new(RouteMatch::default(), action) }
}

/// What traces call it: the host and port of the only destination that is written, else the VirtualService's name,
/// then the path.
fn operation(route: &Route, only: bool, name: &str, port: u32) -> String {
    let path = match &route.matches.path {
        PathMatch::Prefix(prefix) => format!("{prefix}*"),
        PathMatch::Exact(path) | PathMatch::Regex(path) => path.clone(),
        PathMatch::SegmentPrefix(_) | PathMatch::Connect => "/*".to_string(),
    };
    if only
        && let RouteAction::Forward(forward) = &route.action
        && let [cluster] = forward.clusters.as_slice()
        && let Some((port, _, host)) = names::parse_outbound(&cluster.name)
    {
        return format!("{host}:{port}{path}");
    }
    format!("{name}:{port}{path}")
}
