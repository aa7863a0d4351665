//! The life of a request: prepare, decide, then answer or forward.

use super::body::ResponseBody;
use super::connection::{ConnState, protocol};
use super::exchange::Exchange;
use super::format::Values;
use super::forward::{self, Job};
use super::prepare::{Prepared, prepare};
use super::respond::{self, Own};
use crate::cluster::ClusterLocal;
use crate::flags::Flags;
use crate::proxy_worker::Current;
use crate::telemetry::Rule;
use amime_model::config::RouteSource;
use amime_model::route::{Decision, Draws, Outcome, Respond, RouteTable, Selection, decide};
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

/// hyper's service: one call a request.
pub(crate) async fn handle(
    conn: Rc<ConnState>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let exchange = Exchange::begin(&conn, protocol(request.version()));
    conn.exchange_begun();
    if hyper::body::Body::is_end_stream(request.body()) {
        exchange.end_request();
    }
    // The request keeps the configuration that it began with.
    let config = conn.proxy.config();
    let own_routes = conn.own_routes();
    let mut response = match decide(&exchange, &config, own_routes.as_ref(), request) {
        Err(response) => response,
        Ok(decided) => {
            let mut held = None;
            if let Some(delay) = decided.decision.delay {
                if let Outcome::Forward(forwarding) = &decided.decision.outcome {
                    held = conn.proxy.cluster(&forwarding.cluster.name);
                }
                exchange.flag(Flags::DI);
                Box::pin(tokio::time::sleep(delay)).await;
                exchange.touch();
                if exchange.request_done_at.get().is_some() {
                    // The route's time does not begin before the request goes on.
                    exchange.end_request();
                }
            }
            match decided.act(&exchange, held) {
                Ok(mut job) => job.run().await,
                Err(response) => response,
            }
        }
    };
    if response.status() != 101 && conn.held.replace(false) {
        // The connection does not become a tunnel.
        conn.wake_reader();
    }
    let own = matches!(response.body(), ResponseBody::Own(_));
    respond::finish(&exchange, &mut response, own);
    Ok(response)
}

/// A request and what is to be done with it. On the heap, for a delay may lie between.
struct Decided<'t> {
    prepared: Prepared,
    decision: Decision<'t>,
    mirror_draw: u32,
}

/// Prepares a request and decides; an answer where that fails.
#[allow(clippy::result_large_err)] // Either becomes the answer, and is moved once.
fn decide<'t>(
    exchange: &Rc<Exchange>,
    config: &'t Current,
    own_routes: Option<&'t Arc<RouteTable>>,
    request: Request<Incoming>,
) -> Result<Box<Decided<'t>>, Response<ResponseBody>> {
    let conn = &exchange.conn;
    let prepared = prepare(exchange, request).map_err(|rejected| respond::rejected(exchange, rejected))?;
    if conn.hcm.opaque {
        let own = Own::new(500, Flags::NFCF, "filter_not_understood", "");
        return Err(own.into_response(exchange, prepared.grpc));
    }
    exchange.grpc.set(prepared.grpc);
    let table = match &conn.hcm.config.routes {
        RouteSource::Inline(_) => own_routes,
        RouteSource::Rds(name) => config.tables.get(name.as_str()).or(own_routes),
    };
    let Some(table) = table else {
        exchange.keep_authority(&prepared.authority);
        let own = Own::new(404, Flags::NR, "route_configuration_not_found", "");
        return Err(own.into_response(exchange, prepared.grpc));
    };
    let rng = &conn.proxy.rng;
    let draws = Draws {
        fraction: rng.next_u32(),
        weight: rng.next_u32(),
        delay: rng.next_u32(),
        abort: rng.next_u32(),
        mirror: rng.next_u32(),
    };
    let decision = decide::decide(table, &prepared.view(), conn.hcm.filters, &draws);
    if let Some(selection) = &decision.selection
        && (exchange.recorded() || exchange.logged())
    {
        exchange.told.borrow_mut().rule = Some(Rule {
            config: Arc::clone(table.config()),
            virtual_host: selection.host_index,
            route: selection.route_index,
        });
    }
    Ok(Box::new(Decided { prepared, decision, mirror_draw: draws.mirror }))
}

impl<'t> Decided<'t> {
    /// Carries the decision out, as far as that takes no time.
    #[allow(clippy::result_large_err)] // Either becomes the answer, and is moved once.
    fn act<'a>(
        self: Box<Self>,
        exchange: &'a Rc<Exchange>,
        held: Option<Rc<ClusterLocal>>,
    ) -> Result<Box<Job<'a>>, Response<ResponseBody>>
    where
        't: 'a,
    {
        let Self { prepared, decision, mirror_draw } = *self;
        match (decision.outcome, decision.selection) {
            (Outcome::Forward(forwarding), Some(selection)) => {
                forward::begin(exchange, prepared, selection, forwarding, held, mirror_draw)
            }
            (Outcome::Respond(respond), selection) => Err(answer(exchange, &prepared, selection, respond)),
            // The matcher forwards only what a route takes.
            (Outcome::Forward(_), None) => {
                Err(Own::new(404, Flags::NR, "route_not_found", "").into_response(exchange, prepared.grpc))
            }
        }
    }
}

/// An answer that the configuration asks for, or that no route takes the request.
fn answer(
    exchange: &Rc<Exchange>,
    prepared: &Prepared,
    selection: Option<Selection<'_>>,
    respond: Respond<'_>,
) -> Response<ResponseBody> {
    exchange.keep_authority(&prepared.authority);
    let flags = respond.flag.and_then(Flags::parse).unwrap_or(Flags::NONE);
    let details = match respond.flag {
        Some("NR") => "route_not_found",
        Some("FI") => "fault_filter_abort",
        _ => "direct_response",
    };
    let mut response = if let Some(status) = respond.grpc_status.filter(|_| prepared.grpc) {
        exchange.flag(flags);
        exchange.details.set(details);
        respond::grpc_answer(exchange, status, HeaderValue::from_bytes(respond.body).ok())
    } else {
        let own = Own {
            status: respond.status,
            flags,
            details,
            body: Bytes::copy_from_slice(respond.body),
            overloaded: false,
        };
        own.into_response(exchange, prepared.grpc && respond.location.is_none())
    };
    for (name, value) in &respond.headers {
        response.headers_mut().append(name, value.clone());
    }
    if let Some(location) = &respond.location
        && let Ok(location) = HeaderValue::from_str(location)
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if details == "direct_response" && matches!(respond.status, 201 | 300..400) && respond.location.is_none() {
        // As Envoy does: where there is no other place, it is here.
        let own =
            [prepared.scheme.as_bytes(), b"://", prepared.authority.as_bytes(), prepared.path.as_str().as_bytes()];
        if let Ok(location) = HeaderValue::from_bytes(&own.concat()) {
            response.headers_mut().insert(header::LOCATION, location);
        }
    }
    if let (true, Some(selection)) = (respond.edited, selection) {
        let status = response.status().as_u16();
        let values = Values {
            request: Some(&prepared.headers),
            status: Some(status),
            ..Values::new(exchange, prepared, &selection.route.name, "")
        };
        for edits in selection.response_edits(None) {
            edits.apply(response.headers_mut(), &|command, headers| values.of(command, headers));
        }
    }
    response
}
