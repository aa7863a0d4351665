//! VirtualServices made ready to translate: short names resolved, exportTo decided, and every rule judged
//! sound or broken. `delegate` merges delegates into them.
//!
//! Called by `Snapshot::build`. The rule of bad objects: a rule with a sound match and a broken rest answers
//! 503, and from a rule whose match is broken downwards everything does, so that nothing falls through.

use super::origin_of;
use super::service::{Age, ExportTo};
use crate::config::Origin;
use crate::diagnostic::Severity;
use crate::host::{resolve_gateway, resolve_short};
use crate::resource::virtual_service::{Destination, HttpRoute, RouteDestination, TcpRoute, TlsRoute};
use crate::resource::{Object, ResourceId, VirtualService};
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

/// Resolves one object; `default_export` is the mesh's.
pub(super) fn resolve(object: &Object, spec: &VirtualService, default_export: &[String]) -> ResolvedVirtualService {
    let id = &object.id;
    let ns = &*id.namespace;
    let broken = Broken::of(object);
    let export = if spec.export_to.is_empty() { default_export } else { &spec.export_to };
    let mut http: Vec<_> = (spec.http.iter().enumerate())
        .map(|(i, route)| rule(id, &broken, "http", i, resolve_http(route, ns)))
        .collect();
    if broken.exactly("spec.http") {
        http = vec![Rule {
            route: Arc::new(HttpRoute::default()),
            origin: origin_of(id, "spec.http"),
            health: Health::BrokenMatch,
        }];
    }
    let gateways = match spec.gateways.as_slice() {
        [] => vec!["mesh".to_string()],
        names => names.iter().map(|g| resolve_gateway(g, ns)).collect(),
    };
    ResolvedVirtualService {
        id: id.clone(),
        age: Age::of(object),
        hosts: spec.hosts.iter().filter(|h| !h.is_empty()).map(|h| resolve_short(h, ns)).collect(),
        gateways,
        export_to: ExportTo::of(export, ns),
        http,
        tls: (spec.tls.iter().enumerate())
            .map(|(i, route)| rule(id, &broken, "tls", i, resolve_tls(route, ns)))
            .collect(),
        tcp: (spec.tcp.iter().enumerate())
            .map(|(i, route)| rule(id, &broken, "tcp", i, resolve_tcp(route, ns)))
            .collect(),
    }
}

fn rule<T>(id: &ResourceId, broken: &Broken, list: &str, index: usize, route: T) -> Rule<T> {
    let path = format!("spec.{list}[{index}]");
    let health = broken.health(&path);
    Rule { route: Arc::new(route), origin: origin_of(id, path), health }
}

/// The broken fields of one object.
struct Broken<'a> {
    fields: Vec<&'a str>,
}

impl<'a> Broken<'a> {
    fn of(object: &'a Object) -> Self {
        let errors = object.errors.iter().filter(|d| d.severity == Severity::Error);
        Self { fields: errors.map(|d| d.field.as_str()).collect() }
    }

    fn exactly(&self, path: &str) -> bool {
        self.fields.contains(&path)
    }

    /// Of the rule at `path`. A rule that is no mapping decodes to one that matches everything, so that it
    /// needs no case of its own.
    fn health(&self, path: &str) -> Health {
        let mut health = Health::Sound;
        for field in &self.fields {
            let Some(rest) = field.strip_prefix(path) else { continue };
            if is_field(rest, ".match") {
                return Health::BrokenMatch;
            }
            if rest.is_empty() || rest.starts_with(['.', '[']) {
                health = Health::BrokenAction;
            }
        }
        health
    }
}

/// Is `rest` this field or something in it?
fn is_field(rest: &str, field: &str) -> bool {
    rest.strip_prefix(field).is_some_and(|r| r.is_empty() || r.starts_with(['.', '[']))
}

fn resolve_http(route: &HttpRoute, ns: &str) -> HttpRoute {
    let mut route = route.clone();
    for m in &mut route.matches {
        resolve_gateways(&mut m.gateways, ns);
    }
    for destination in &mut route.route {
        resolve_destination(destination.destination.as_mut(), ns);
    }
    resolve_destination(route.mirror.as_mut(), ns);
    for mirror in &mut route.mirrors {
        resolve_destination(mirror.destination.as_mut(), ns);
    }
    route
}

fn resolve_tls(route: &TlsRoute, ns: &str) -> TlsRoute {
    let mut route = route.clone();
    for m in &mut route.matches {
        resolve_gateways(&mut m.gateways, ns);
    }
    for destination in &mut route.route {
        resolve_destination(destination.destination.as_mut(), ns);
    }
    route
}

fn resolve_tcp(route: &TcpRoute, ns: &str) -> TcpRoute {
    let mut route = route.clone();
    for m in &mut route.matches {
        resolve_gateways(&mut m.gateways, ns);
    }
    for destination in &mut route.route {
        resolve_destination(destination.destination.as_mut(), ns);
    }
    route
}

fn resolve_gateways(gateways: &mut [String], ns: &str) {
    for gateway in gateways {
        *gateway = resolve_gateway(gateway, ns);
    }
}

fn resolve_destination(destination: Option<&mut Destination>, ns: &str) {
    if let Some(destination) = destination {
        destination.host = resolve_short(&destination.host, ns);
    }
}

/// Is something at this path, or in it, an error?
pub(super) fn is_broken(object: &Object, path: &str) -> bool {
    Broken::of(object).health(path) != Health::Sound
}
