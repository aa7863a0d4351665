//! From the route that takes a request to what is done with it, as one value.

use super::cors::CorsDecision;
use super::edits::Edits;
use super::request::{Draws, RequestView, within};
use super::rewrite;
use super::table::{RouteTable, Selection};
use crate::config::{self, Abort, HttpFilter, RequireTls, RouteAction, WeightedCluster};
use http::HeaderMap;
use std::time::Duration;

/// What is done with a request, and why.
#[derive(Debug)]
pub struct Decision<'t> {
    /// None where no route takes the request.
    pub selection: Option<Selection<'t>>,
    /// An injected delay that comes first (flag DI).
    pub delay: Option<Duration>,
    pub outcome: Outcome<'t>,
}

#[derive(Debug)]
pub enum Outcome<'t> {
    /// The proxy answers by itself.
    Respond(Respond<'t>),
    Forward(Forwarding<'t>),
}

#[derive(Debug, Default)]
pub struct Respond<'t> {
    pub status: u16,
    /// Envoy's response flag: `NR`, `FI`; None for an answer that was asked for (redirect, direct response).
    pub flag: Option<&'static str>,
    pub location: Option<String>,
    /// A gRPC status that goes with the answer.
    pub grpc_status: Option<u32>,
    pub body: &'t [u8],
    /// Of a CORS preflight.
    pub headers: HeaderMap,
    /// The response edits of route, virtual host and configuration apply to it.
    pub edited: bool,
}

#[derive(Debug)]
pub struct Forwarding<'t> {
    pub route: &'t config::Forward,
    pub cluster: &'t WeightedCluster,
    /// Index of `cluster` among the route's clusters.
    pub cluster_index: usize,
    /// The path and query to send; None where it stays.
    pub path: Option<String>,
    /// The authority to send; None where it stays.
    pub authority: Option<&'t str>,
    /// CORS headers for the response.
    pub cors: HeaderMap,
}

/// Which of the filters that act on routes a connection manager has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteFilters {
    pub cors: bool,
    pub fault: bool,
    /// Faults come before CORS, as Istio orders them: an aborted request is no preflight.
    pub fault_first: bool,
}

impl RouteFilters {
    pub fn of(filters: &[HttpFilter]) -> Self {
        let cors = filters.iter().position(|f| matches!(f, HttpFilter::Cors));
        let fault = filters.iter().position(|f| matches!(f, HttpFilter::Fault));
        Self { cors: cors.is_some(), fault: fault.is_some(), fault_first: fault < cors && fault.is_some() }
    }
}

/// Finds the route and decides.
pub fn decide<'t>(
    table: &'t RouteTable,
    request: &RequestView<'_>,
    filters: RouteFilters,
    draws: &Draws,
) -> Decision<'t> {
    // TLS is asked for before any route is looked at, as in Envoy.
    if request.scheme != "https"
        && table.virtual_host(request.authority).is_some_and(|host| host.require_tls == RequireTls::All)
    {
        let respond = Respond { status: 301, location: Some(rewrite::https_location(request)), ..Respond::default() };
        return Decision { selection: None, delay: None, outcome: Outcome::Respond(respond) };
    }
    match table.select(request, draws.fraction) {
        Some(selection) => selection.decide(request, filters, draws),
        None => Decision {
            selection: None,
            delay: None,
            outcome: Outcome::Respond(Respond { status: 404, flag: Some("NR"), ..Respond::default() }),
        },
    }
}

impl<'t> Selection<'t> {
    /// What this route does with the request: faults and CORS in the order of the filters, then the action.
    pub fn decide(self, request: &RequestView<'_>, filters: RouteFilters, draws: &Draws) -> Decision<'t> {
        let (delay, abort) = self.draw_fault(filters, draws);
        if let (true, Some(abort)) = (filters.fault_first, abort) {
            return Decision { delay, ..self.abort(abort, HeaderMap::new()) };
        }
        // Faults that come after CORS are not met by what CORS answers.
        let before = delay.filter(|_| filters.fault_first);
        let mut cors_headers = HeaderMap::new();
        // As Envoy's filter, which leaves alone what has no cluster.
        let forwards = matches!(self.route.action, RouteAction::Forward(_));
        if let (true, Some(cors)) = (filters.cors && forwards, &self.compiled.cors) {
            match cors.decide(request) {
                CorsDecision::Preflight(headers) => {
                    let respond = Respond { status: 200, headers, edited: true, ..Respond::default() };
                    return Decision { delay: before, ..self.respond(respond) };
                }
                CorsDecision::Allowed(headers) => cors_headers = headers,
                CorsDecision::Plain => {}
            }
        }
        if let Some(abort) = abort {
            return Decision { delay, ..self.abort(abort, cors_headers) };
        }
        Decision { delay, ..self.act(request, draws, cors_headers) }
    }

    /// The delay and the abort that the draws fall into.
    fn draw_fault(&self, filters: RouteFilters, draws: &Draws) -> (Option<Duration>, Option<Abort>) {
        let Some(fault) = self.route.fault.as_ref().filter(|_| filters.fault) else { return (None, None) };
        let delay = fault.delay.filter(|(share, _)| within(draws.delay, *share)).map(|(_, length)| length);
        let abort = fault.abort.filter(|(share, _)| within(draws.abort, *share)).map(|(_, abort)| abort);
        (delay, abort)
    }

    fn abort(self, abort: Abort, headers: HeaderMap) -> Decision<'t> {
        let (status, grpc_status) = match abort {
            Abort::Http(status) => (status, None),
            Abort::Grpc(status) => (200, Some(status)),
        };
        self.respond(Respond {
            status,
            grpc_status,
            flag: Some("FI"),
            body: b"fault filter abort",
            headers,
            edited: true,
            ..Respond::default()
        })
    }

    fn act(self, request: &RequestView<'_>, draws: &Draws, cors: HeaderMap) -> Decision<'t> {
        match &self.route.action {
            RouteAction::Forward(forward) => {
                let index = self.draw_cluster(forward, draws.weight);
                let cluster = &forward.clusters[index];
                let outcome = Outcome::Forward(Forwarding {
                    route: forward,
                    cluster,
                    cluster_index: index,
                    path: rewrite::path(&self, &forward.rewrite, request),
                    authority: cluster.host_rewrite.as_deref().or(forward.host_rewrite.as_deref()),
                    cors,
                });
                Decision { selection: Some(self), delay: None, outcome }
            }
            RouteAction::Redirect(redirect) => self.respond(Respond {
                status: redirect.status,
                location: Some(rewrite::location(&self, redirect, request)),
                edited: true,
                ..Respond::default()
            }),
            RouteAction::Respond(response) => self.respond(Respond {
                status: response.status,
                body: &response.body,
                edited: true,
                ..Respond::default()
            }),
            RouteAction::Opaque(_) => self.respond(Respond { status: 500, edited: true, ..Respond::default() }),
        }
    }

    fn respond(self, respond: Respond<'t>) -> Decision<'t> {
        Decision { selection: Some(self), delay: None, outcome: Outcome::Respond(respond) }
    }

    /// The weighted cluster that a draw falls on. Where all weights are 0, the first.
    pub fn draw_cluster(&self, forward: &config::Forward, draw: u32) -> usize {
        if forward.clusters.len() == 1 {
            return 0;
        }
        let mut left = draw % self.compiled.total_weight;
        for (index, cluster) in forward.clusters.iter().enumerate() {
            match left.checked_sub(cluster.weight) {
                Some(rest) => left = rest,
                None => return index,
            }
        }
        0
    }

    /// Edits of the request on its way to a cluster, in the order in which they apply.
    pub fn request_edits(&self, cluster_index: usize) -> impl Iterator<Item = &'t Edits> {
        let cluster = self.compiled.cluster_edits.get(cluster_index).map(|(request, _)| request);
        cluster.into_iter().chain([
            &self.compiled.request_edits,
            &self.compiled_host.request_edits,
            &self.table.request_edits,
        ])
    }

    /// Edits of the response; without a cluster (None) those of an answer of the proxy's own.
    pub fn response_edits(&self, cluster_index: Option<usize>) -> impl Iterator<Item = &'t Edits> {
        let cluster = cluster_index.and_then(|i| self.compiled.cluster_edits.get(i)).map(|(_, response)| response);
        cluster.into_iter().chain([
            &self.compiled.response_edits,
            &self.compiled_host.response_edits,
            &self.table.response_edits,
        ])
    }
}
