//! The hops of routing: which virtual host has the request's name, which of its rules takes it, and what becomes of
//! headers and shares. Why a rule did not is what the matcher said (`RouteTable::candidates`).

use super::super::Target;
use super::super::verdict::{Edited, Verdict};
use super::super::walk::Connection;
use super::losers;
use super::{By, Hop, Known, Lost, Stage, destination, percent};
use crate::config::{Abort, Origin, Route, RouteAction, TcpProxy, ValueMatch, VirtualHost};
use crate::route::{Miss, RequestView, RouteTable, Selection};
use std::time::Duration;

/// What a remedy is found by.
#[derive(Debug, Default)]
pub(super) struct Decided {
    /// A virtual host has the request's name.
    pub has_host: bool,
    /// Rules that do not take the request, with what it lacks.
    pub misses: Vec<Lost>,
    /// A Secret that TLS needs is not there.
    pub secret: Option<String>,
}

pub(super) fn hops(
    known: &Known<'_>,
    connection: &Connection,
    target: &Target,
    table: &RouteTable,
    request: &RequestView<'_>,
    selection: Option<&Selection<'_>>,
    hops: &mut Vec<Hop>,
) -> Decided {
    let host = table.virtual_host(request.authority);
    let mut hop = match host {
        Some(host) => {
            // Istio tells of rules alone whose they are, not of virtual hosts.
            let origin = host.origin.as_ref().or_else(|| host.routes.iter().find_map(|route| route.origin.as_ref()));
            let by = origin.map(|origin| By::of(known.snapshot, origin));
            let catches_all = host.domains.iter().any(|domain| domain == "*");
            let what = match origin.map(|origin| origin.kind.as_str()) {
                Some("VirtualService") => format!("virtual host {} has {}", host.name, request.authority),
                None if catches_all => format!("none has the host {}: {}", request.authority, host.name),
                _ => format!("none: {} goes by the service itself", request.authority),
            };
            Hop::new(Stage::VirtualHost, what).by(by)
        }
        None => Hop::new(Stage::VirtualHost, format!("none has the host {}", request.authority)),
    };
    hop.lost = losers::virtual_services(known, connection, target, host);
    hops.push(hop);
    let Some(host) = host else { return Decided::default() };
    let misses: Vec<Lost> = table
        .candidates(request, u32::MAX)
        .into_iter()
        .filter_map(|(route, miss)| Some(Lost { by: by(known, route, host), why: lacks(&miss?, request) }))
        .collect();
    let mut hop = match selection {
        Some(selection) => {
            let mut hop = Hop::new(Stage::Rule, action(selection.route));
            hop.details = details(selection.route);
            hop.by(selection.route.origin.as_ref().map(|origin| By::of(known.snapshot, origin)))
        }
        None => Hop::new(Stage::Rule, "none takes the request"),
    };
    hop.lost.clone_from(&misses);
    let passed = selection.map_or(host.routes.len(), |selection| selection.route_index + 1);
    let later = |route: &Route| Lost { by: by(known, route, host), why: "a rule above takes the request".to_string() };
    hop.lost.extend(host.routes[passed..].iter().map(later));
    hop.lost.extend(losers::rules(known, connection, host));
    hops.push(hop);
    Decided { has_host: host.origin.is_some(), misses, secret: None }
}

/// What the matcher missed, told of this request.
fn lacks(miss: &Miss<'_>, request: &RequestView<'_>) -> String {
    match miss {
        Miss::Header(header) if header.matches != ValueMatch::Present && !header.name.starts_with(':') => {
            match request.header_lines(&header.name).next() {
                None => format!("header {} is absent (wanted: {})", header.name, header.matches),
                Some(found) => format!("{miss}, but `{found}`"),
            }
        }
        Miss::Path(_) => format!("{miss}, but {}", request.path_only()),
        _ => miss.to_string(),
    }
}

/// The rule, else the virtual host that it is in.
fn by(known: &Known<'_>, route: &Route, host: &VirtualHost) -> By {
    match route.origin.as_ref().or(host.origin.as_ref()) {
        Some(origin) => By::of(known.snapshot, origin),
        None => By { object: format!("route {}", route.name), place: None },
    }
}

fn action(route: &Route) -> String {
    match &route.action {
        RouteAction::Forward(forward) => match forward.clusters.as_slice() {
            [one] => format!("forwards to {}", destination::readable(&one.name)),
            many => format!("forwards to {} destinations by weight", many.len()),
        },
        RouteAction::Redirect(redirect) => format!("redirects ({})", redirect.status),
        RouteAction::Respond(response) => format!("answers {} itself", response.status),
        RouteAction::Opaque(what) => format!("is not understood: {what}"),
    }
}

fn details(route: &Route) -> Vec<String> {
    let mut details = Vec::new();
    if let Some((share, delay)) = route.fault.as_ref().and_then(|fault| fault.delay) {
        details.push(format!("fault: {} % are delayed by {delay:?} (DI)", share.percent()));
    }
    if let Some((share, abort)) = route.fault.as_ref().and_then(|fault| fault.abort) {
        let with = match abort {
            Abort::Http(status) => status.to_string(),
            Abort::Grpc(status) => format!("gRPC status {status}"),
        };
        details.push(format!("fault: {} % are aborted with {with} (FI)", share.percent()));
    }
    let RouteAction::Forward(forward) = &route.action else { return details };
    match forward.timeout {
        None => details.push("timeout 15s".to_string()),
        Some(Duration::ZERO) => details.push("no timeout".to_string()),
        Some(timeout) => details.push(format!("timeout {timeout:?}")),
    }
    if let Some(retry) = &forward.retry {
        details.push(format!("up to {} retries on {}", retry.attempts, retry.on.join(", ")));
    }
    details
}

pub(super) fn tcp(known: &Known<'_>, proxy: &TcpProxy) -> Hop {
    let names: Vec<_> = proxy.clusters.iter().map(|cluster| destination::readable(&cluster.name)).collect();
    let by = proxy.origin.as_ref().map(|origin: &Origin| By::of(known.snapshot, origin));
    Hop::new(Stage::Rule, format!("a TCP connection, to {}", names.join(", "))).by(by)
}

/// What is sent on, where it is not what came in.
pub(super) fn edits(verdict: &Verdict, target: &Target, hops: &mut Vec<Hop>) {
    let mut lines = Vec::new();
    if let Some(request) = &verdict.request {
        if request.path != target.path {
            lines.push(format!("path {} → {}", target.path, request.path));
        }
        if request.authority != target.authority {
            lines.push(format!("authority → {}", request.authority));
        }
        lines.extend(lines_of("request", &request.edited));
    }
    lines.extend(verdict.response.iter().flat_map(|edited| lines_of("response", edited)));
    for to in &verdict.destinations {
        let of = |what: &str| format!("{what} of {}", to.name());
        lines.extend(to.request.iter().flat_map(|edited| lines_of(&of("request"), edited)));
        lines.extend(to.response.iter().flat_map(|edited| lines_of(&of("response"), edited)));
    }
    if !lines.is_empty() {
        hops.push(Hop { details: lines, ..Hop::new(Stage::Edits, "edited") });
    }
}

fn lines_of(what: &str, edited: &Edited) -> Vec<String> {
    let set = edited.set_headers.iter().map(|(name, values)| format!("{what}: {name}: {}", values.join(", ")));
    let removed = edited.removed_headers.iter().map(|name| format!("{what}: {name} is removed"));
    set.chain(removed).collect()
}

pub(super) fn weights(verdict: &Verdict, hops: &mut Vec<Hop>) {
    let all: u64 = verdict.destinations.iter().map(|d| u64::from(d.weight)).sum();
    let shares = verdict.destinations.iter().map(|d| format!("{} % {}", percent(d.weight, all), d.name()));
    let shares: Vec<_> = shares.collect();
    if shares.len() > 1 {
        hops.push(Hop::new(Stage::Weights, shares.join(", ")));
    }
}
