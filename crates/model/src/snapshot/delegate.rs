//! Delegates: a root VirtualService's rule that hands over to another VirtualService takes in that one's rules.
//!
//! Called by `Snapshot::build`. Istio's rules of merging: the delegate's matches must each lie within one of
//! the root's, else the delegate's rule is left out; what the delegate leaves open the root fills in.

use super::virtual_service::{Health, ResolvedVirtualService, Rule};
use crate::config::Origin;
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::virtual_service::{HttpMatch, HttpRoute, StringMatch};
use crate::resource::{Kind, ResourceId, ResourceSet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The one place where requests do fall through: Istio's meshes are written with it in mind (a root that delegates to
/// what teams have not written yet), and recorded answers of Istio hold it.
const FALLS_THROUGH: &str = "as in Istio the rule is left out, and its requests go to the rules below it";

/// Why a rule of a delegating VirtualService, or of its delegate, is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// No VirtualService of that name without hosts.
    NotFound {
        origin: Origin,
        delegate: String,
    },
    NotExported {
        origin: Origin,
        delegate: String,
    },
    /// The delegate's rule asks for what the root's excludes.
    Conflict {
        origin: Origin,
    },
    /// The delegate's rule delegates in turn.
    Nested {
        origin: Origin,
    },
}

impl Left {
    pub(super) fn diagnostic(&self, resources: &ResourceSet) -> Diagnostic {
        let (code, origin, message) = match self {
            Self::NotFound { origin, delegate } => (
                codes::NOT_FOUND,
                origin,
                format!("there is no VirtualService {delegate} without hosts; {FALLS_THROUGH}"),
            ),
            Self::NotExported { origin, delegate } => {
                (codes::NOT_FOUND, origin, format!("VirtualService {delegate} is not exported here; {FALLS_THROUGH}"))
            }
            Self::Conflict { origin } => (
                codes::DELEGATE,
                origin,
                "matches nothing that the delegating rule lets through; it is left out".to_string(),
            ),
            Self::Nested { origin } => {
                (codes::DELEGATE, origin, "a delegate cannot delegate in turn; its requests get 503".to_string())
            }
        };
        let id = ResourceId::new(Kind::VirtualService, origin.namespace.as_str(), origin.name.as_str());
        let place = resources.get(&id).and_then(|object| object.place(&origin.path));
        Diagnostic::warning(code, message).with_resource(&id).with_field(origin.path.clone()).with_place(place)
    }
}

/// The rules of `root` with those of its delegates in their place. `find` gives VirtualServices without hosts.
pub(super) fn merge<'a>(
    root: &ResolvedVirtualService,
    find: &dyn Fn(&str, &str) -> Option<&'a ResolvedVirtualService>,
) -> (Vec<Rule<HttpRoute>>, Vec<Left>) {
    let mut rules = Vec::new();
    let mut left = Vec::new();
    for rule in &root.http {
        let Some(reference) = &rule.route.delegate else {
            rules.push(rule.clone());
            continue;
        };
        if rule.health != Health::Sound {
            rules.push(rule.clone());
            continue;
        }
        let namespace = match reference.namespace.as_str() {
            "" => &*root.id.namespace,
            namespace => namespace,
        };
        let name = || format!("{namespace}/{}", reference.name);
        match find(namespace, &reference.name) {
            None => left.push(Left::NotFound { origin: rule.origin.clone(), delegate: name() }),
            Some(delegate) if !delegate.export_to.includes(&root.id.namespace) => {
                left.push(Left::NotExported { origin: rule.origin.clone(), delegate: name() });
            }
            Some(delegate) => merge_one(rule, delegate, &mut rules, &mut left),
        }
    }
    (rules, left)
}

fn merge_one(
    root: &Rule<HttpRoute>,
    delegate: &ResolvedVirtualService,
    rules: &mut Vec<Rule<HttpRoute>>,
    left: &mut Vec<Left>,
) {
    for (index, rule) in delegate.http.iter().enumerate() {
        // The object that decides is the root; the path tells the place in the delegate.
        let origin = Origin { path: format!("{}.delegate.http[{index}]", root.origin.path), ..root.origin.clone() };
        let rejected = |health| {
            let route = HttpRoute { matches: root.route.matches.clone(), ..HttpRoute::default() };
            Rule { route: Arc::new(route), origin: origin.clone(), health }
        };
        if rule.health == Health::BrokenMatch {
            // What comes to the delegate from here on is unknown, but no more than the root's match.
            rules.push(rejected(Health::BrokenAction));
            return;
        }
        if rule.route.delegate.is_some() {
            left.push(Left::Nested { origin: rule.origin.clone() });
            rules.push(rejected(Health::BrokenAction));
            continue;
        }
        match merge_matches(&root.route.matches, &rule.route.matches) {
            Some(matches) => {
                let route = Arc::new(merge_routes(&root.route, &rule.route, matches));
                rules.push(Rule { route, origin, health: rule.health });
            }
            None => left.push(Left::Conflict { origin: rule.origin.clone() }),
        }
    }
}

fn merge_routes(root: &HttpRoute, delegate: &HttpRoute, matches: Vec<HttpMatch>) -> HttpRoute {
    let d = delegate.clone();
    let r = root.clone();
    HttpRoute {
        matches,
        name: join_names(&r.name, &d.name),
        rewrite: d.rewrite.or(r.rewrite),
        direct_response: d.direct_response.or(r.direct_response),
        timeout: d.timeout.or(r.timeout),
        retries: d.retries.or(r.retries),
        fault: d.fault.or(r.fault),
        mirror: d.mirror.or(r.mirror),
        mirror_percent: d.mirror_percent.or(r.mirror_percent),
        mirror_percentage: d.mirror_percentage.or(r.mirror_percentage),
        cors_policy: d.cors_policy.or(r.cors_policy),
        mirrors: if d.mirrors.is_empty() { r.mirrors } else { d.mirrors },
        headers: d.headers.or(r.headers),
        route: d.route,
        redirect: d.redirect,
        delegate: None,
    }
}

fn join_names(root: &str, delegate: &str) -> String {
    match (root, delegate) {
        (name, "") | ("", name) => name.to_string(),
        (root, delegate) => format!("{root}-{delegate}"),
    }
}

/// None: a match of the delegate lies in none of the root's.
fn merge_matches(root: &[HttpMatch], delegate: &[HttpMatch]) -> Option<Vec<HttpMatch>> {
    if root.is_empty() {
        return Some(delegate.to_vec());
    }
    if delegate.is_empty() {
        return Some(root.to_vec());
    }
    let mut merged = Vec::new();
    for leaf in delegate {
        let before = merged.len();
        merged.extend(root.iter().filter(|r| !conflict(r, leaf)).map(|r| merge_match(r, leaf)));
        if merged.len() == before {
            return None;
        }
    }
    Some(merged)
}

fn merge_match(root: &HttpMatch, leaf: &HttpMatch) -> HttpMatch {
    let l = leaf.clone();
    let r = root.clone();
    HttpMatch {
        name: join_names(&r.name, &l.name),
        uri: l.uri.or(r.uri),
        scheme: l.scheme.or(r.scheme),
        method: l.method.or(r.method),
        authority: l.authority.or(r.authority),
        headers: merge_maps(r.headers, l.headers),
        without_headers: merge_maps(r.without_headers, l.without_headers),
        query_params: merge_maps(r.query_params, l.query_params),
        ignore_uri_case: l.ignore_uri_case,
        port: if l.port == 0 { r.port } else { l.port },
        source_labels: merge_maps(r.source_labels, l.source_labels),
        source_namespace: if l.source_namespace.is_empty() { r.source_namespace } else { l.source_namespace },
        gateways: if l.gateways.is_empty() { r.gateways } else { l.gateways },
        stat_prefix: if l.stat_prefix.is_empty() { r.stat_prefix } else { l.stat_prefix },
    }
}

fn merge_maps<V>(mut root: BTreeMap<String, V>, leaf: BTreeMap<String, V>) -> BTreeMap<String, V> {
    root.extend(leaf);
    root
}

fn conflict(root: &HttpMatch, leaf: &HttpMatch) -> bool {
    let pairs = [
        (&root.uri, &leaf.uri),
        (&root.scheme, &leaf.scheme),
        (&root.method, &leaf.method),
        (&root.authority, &leaf.authority),
    ];
    let maps = [
        (&root.headers, &leaf.headers),
        (&root.without_headers, &leaf.without_headers),
        (&root.query_params, &leaf.query_params),
    ];
    pairs.iter().any(|(r, l)| strings_conflict(r.as_ref(), l.as_ref()))
        || maps.iter().any(|(r, l)| l.iter().any(|(key, value)| strings_conflict(r.get(key), Some(value))))
        || root.ignore_uri_case != leaf.ignore_uri_case
        || (root.port > 0 && leaf.port > 0 && root.port != leaf.port)
        || (!root.source_namespace.is_empty() && leaf.source_namespace != root.source_namespace)
        || leaf.source_labels.iter().any(|(key, value)| root.source_labels.get(key).is_some_and(|v| v != value))
        || gateways_conflict(&root.gateways, &leaf.gateways)
}

/// The root's gateways must hold the delegate's.
fn gateways_conflict(root: &[String], leaf: &[String]) -> bool {
    if root.is_empty() || leaf.is_empty() {
        return false;
    }
    let known: BTreeSet<_> = root.iter().collect();
    root.len() < leaf.len() || leaf.iter().any(|gateway| !known.contains(gateway))
}

fn strings_conflict(root: Option<&StringMatch>, leaf: Option<&StringMatch>) -> bool {
    let (Some(root), Some(leaf)) = (root, leaf) else { return false };
    let some = |text: &Option<String>| text.as_deref().is_some_and(|t| !t.is_empty());
    let any = |m: &StringMatch| some(&m.exact) || some(&m.prefix) || some(&m.regex);
    if (some(&root.regex) && any(leaf)) || (some(&leaf.regex) && any(root)) {
        return true;
    }
    if some(&root.exact) {
        return some(&leaf.prefix) || leaf.exact != root.exact;
    }
    if let Some(prefix) = root.prefix.as_deref().filter(|p| !p.is_empty()) {
        if some(&leaf.prefix) {
            return !leaf.prefix.as_deref().unwrap_or("").starts_with(prefix);
        }
        if some(&leaf.exact) {
            return !leaf.exact.as_deref().unwrap_or("").starts_with(prefix);
        }
    }
    true
}
