//! VirtualServices made ready to translate: short names resolved, exportTo decided, and every rule judged
//! sound or broken. `delegate` merges delegates into them.
//!
//! Called by `Snapshot::build`. The rule of bad objects: a rule with a sound match and a broken rest answers
//! 503, and from a rule whose match is broken downwards everything does, so that nothing falls through.

use super::broken::Broken;
use super::origin_of;
use super::service::{Age, ExportTo};
use crate::config::Origin;
use crate::diagnostic::{Diagnostic, codes};
use crate::host::{resolve_gateway, resolve_short};
use crate::resource::virtual_service::{Destination, HttpRoute, RouteDestination, TcpRoute, TlsRoute};
use crate::resource::{Object, ResourceId, VirtualService};
use crate::rule::check::{self, Problem};
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedVirtualService {
    pub id: ResourceId,
    pub age: Age,
    /// Fully qualified. None: a delegate.
    pub hosts: Vec<String>,
    /// `mesh` or `namespace/name`; never empty.
    pub gateways: Vec<String>,
    pub export_to: ExportTo,
    pub http: Vec<Rule<HttpRoute>>,
    pub tls: Vec<Rule<TlsRoute>>,
    pub tcp: Vec<Rule<TcpRoute>>,
}

/// One rule of a VirtualService, and the place that it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule<T> {
    pub route: Arc<T>,
    pub origin: Origin,
    pub health: Health,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Sound,
    /// What it matches is answered 503.
    BrokenAction,
    /// What it matches is unknown: all that comes to it is answered 503.
    BrokenMatch,
}

impl ResolvedVirtualService {
    pub fn is_delegate(&self) -> bool {
        self.hosts.is_empty()
    }

    pub fn has_delegates(&self) -> bool {
        self.http.iter().any(|rule| rule.route.delegate.is_some())
    }

    /// Every destination that it names, mirrors too.
    pub fn destinations(&self) -> impl Iterator<Item = &Destination> {
        let http = self.http.iter().flat_map(|rule| http_destinations(&rule.route));
        let tcp = self.tcp.iter().flat_map(|rule| l4_destinations(&rule.route.route));
        let tls = self.tls.iter().flat_map(|rule| l4_destinations(&rule.route.route));
        http.chain(tcp).chain(tls)
    }
}

pub fn http_destinations(route: &HttpRoute) -> impl Iterator<Item = &Destination> {
    route
        .route
        .iter()
        .filter_map(|r| r.destination.as_ref())
        .chain(&route.mirror)
        .chain(route.mirrors.iter().filter_map(|m| m.destination.as_ref()))
}

pub fn l4_destinations(route: &[RouteDestination]) -> impl Iterator<Item = &Destination> {
    route.iter().filter_map(|r| r.destination.as_ref())
}

/// Resolves one object; `default_export` is the mesh's. With it what was found wrong in its rules here.
pub(super) fn resolve(
    object: &Object,
    spec: &VirtualService,
    default_export: &[String],
) -> (ResolvedVirtualService, Vec<Diagnostic>) {
    let id = &object.id;
    let ns = &*id.namespace;
    let broken = Broken::of(object);
    let export = if spec.export_to.is_empty() { default_export } else { &spec.export_to };
    let mut diagnostics = Vec::new();
    let lists = ["spec.http", "spec.tls", "spec.tcp", "spec.hosts", "spec.gateways", "spec.exportTo"];
    let unread = |path| broken.unread(path, &lists);
    let http: Vec<_> = (spec.http.iter().enumerate())
        .map(|(i, route)| {
            let mut rule = rule(id, &broken, "http", i, resolve_http(route, ns));
            if rule.health == Health::Sound {
                let problems = check::problems(route);
                rule.health = health_of(&problems);
                diagnostics.extend(problems.iter().map(|p| unsound(object, &rule.origin, p)));
            }
            rule
        })
        .collect();
    let resolved = ResolvedVirtualService {
        id: id.clone(),
        age: Age::of(object),
        hosts: spec.hosts.iter().filter(|h| !h.is_empty()).map(|h| resolve_short(h, ns)).collect(),
        gateways: gateways(spec, ns, &broken),
        // Whom a broken list would have named is not known; its own namespace surely.
        export_to: if broken.at("spec.exportTo") {
            ExportTo::of(&[".".to_string()], ns)
        } else {
            ExportTo::of(export, ns)
        },
        http: unread("spec.http").map_or(http, |path| unknown_rules(id, path)),
        tls: match unread("spec.tls") {
            Some(path) => unknown_rules(id, path),
            None => rules(id, &broken, "tls", &spec.tls, |r| resolve_tls(r, ns)).into_iter().map(unmatched).collect(),
        },
        tcp: match unread("spec.tcp") {
            Some(path) => unknown_rules(id, path),
            None => rules(id, &broken, "tcp", &spec.tcp, |r| resolve_tcp(r, ns)),
        },
    };
    (resolved, diagnostics)
}

/// None written means `mesh`; but where a broken list leaves none, it is bound nowhere.
fn gateways(spec: &VirtualService, ns: &str, broken: &Broken<'_>) -> Vec<String> {
    match spec.gateways.as_slice() {
        [] if broken.at("spec.gateways") => Vec::new(),
        [] => vec!["mesh".to_string()],
        names => names.iter().filter(|g| !g.is_empty()).map(|g| resolve_gateway(g, ns)).collect(),
    }
}

fn health_of(problems: &[Problem]) -> Health {
    if problems.iter().any(Problem::in_match) {
        Health::BrokenMatch
    } else if problems.is_empty() {
        Health::Sound
    } else {
        Health::BrokenAction
    }
}

fn unsound(object: &Object, origin: &Origin, problem: &Problem) -> Diagnostic {
    let field = format!("{}.{}", origin.path, problem.field);
    Diagnostic::error(codes::SCHEMA, problem.message.clone())
        .with_resource(&object.id)
        .with_place(object.place(&field))
        .with_field(field)
}

/// With an error beside the rules (a misspelt `http`, a map where a list belongs) there may be rules that are not
/// known, so that all that comes to the hosts is refused.
fn unknown_rules<T: Default>(id: &ResourceId, path: &str) -> Vec<Rule<T>> {
    vec![Rule { route: Arc::new(T::default()), origin: origin_of(id, path), health: Health::BrokenMatch }]
}

/// A `tls` rule without a match takes nothing; where something in it is broken, that may have been its match.
fn unmatched(rule: Rule<TlsRoute>) -> Rule<TlsRoute> {
    let unknown = rule.health != Health::Sound && rule.route.matches.is_empty();
    Rule { health: if unknown { Health::BrokenMatch } else { rule.health }, ..rule }
}

fn rules<T>(
    id: &ResourceId,
    broken: &Broken<'_>,
    list: &str,
    written: &[T],
    resolve: impl Fn(&T) -> T,
) -> Vec<Rule<T>> {
    written.iter().enumerate().map(|(i, route)| rule(id, broken, list, i, resolve(route))).collect()
}

fn rule<T>(id: &ResourceId, broken: &Broken<'_>, list: &str, index: usize, route: T) -> Rule<T> {
    let path = format!("spec.{list}[{index}]");
    let health = broken.health(&path);
    Rule { route: Arc::new(route), origin: origin_of(id, path), health }
}

fn resolve_http(route: &HttpRoute, ns: &str) -> HttpRoute {
    let mut route = route.clone();
    resolve_gateways(route.matches.iter_mut().map(|m| &mut m.gateways), ns);
    resolve_destinations(route.route.iter_mut().map(|to| to.destination.as_mut()), ns);
    resolve_destination(route.mirror.as_mut(), ns);
    resolve_destinations(route.mirrors.iter_mut().map(|to| to.destination.as_mut()), ns);
    route
}

fn resolve_tls(route: &TlsRoute, ns: &str) -> TlsRoute {
    let mut route = route.clone();
    resolve_gateways(route.matches.iter_mut().map(|m| &mut m.gateways), ns);
    resolve_destinations(route.route.iter_mut().map(|to| to.destination.as_mut()), ns);
    route
}

fn resolve_tcp(route: &TcpRoute, ns: &str) -> TcpRoute {
    let mut route = route.clone();
    resolve_gateways(route.matches.iter_mut().map(|m| &mut m.gateways), ns);
    resolve_destinations(route.route.iter_mut().map(|to| to.destination.as_mut()), ns);
    route
}

fn resolve_gateways<'a>(lists: impl Iterator<Item = &'a mut Vec<String>>, ns: &str) {
    for gateway in lists.flatten() {
        *gateway = resolve_gateway(gateway, ns);
    }
}

fn resolve_destinations<'a>(destinations: impl Iterator<Item = Option<&'a mut Destination>>, ns: &str) {
    destinations.for_each(|destination| resolve_destination(destination, ns));
}

fn resolve_destination(destination: Option<&mut Destination>, ns: &str) {
    if let Some(destination) = destination {
        destination.host = resolve_short(&destination.host, ns);
    }
}
