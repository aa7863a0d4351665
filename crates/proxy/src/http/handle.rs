//! The life of a request: prepare, decide, then answer or forward.

use super::body::ResponseBody;
use super::connection::{ConnState, protocol};
use super::exchange::Exchange;
use super::format::Values;
use super::forward;
use super::prepare::{Prepared, prepare};
use super::respond::{self, Own};
use crate::flags::Flags;
use crate::telemetry::Rule;
use amime_model::config::RouteSource;
use amime_model::route::decide::decide;
use amime_model::route::{Draws, Outcome, Respond, RouteTable, Selection};
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
    let prepared = match prepare(&exchange, request) {
        Ok(prepared) => prepared,
        Err(rejected) => {
            let mut response = respond::rejected(&exchange, rejected);
            release(&conn);
            respond::finish(&exchange, &mut response, true);
            return Ok(response);
        }
    };
    let mut response = act(&exchange, prepared).await;
    if response.status() != 101 {
        release(&conn);
    }
    let own = matches!(response.body(), ResponseBody::Own(_));
    respond::finish(&exchange, &mut response, own);
    Ok(response)
}

/// The connection does not become a tunnel.
fn release(conn: &ConnState) {
    if conn.held.replace(false) {
        conn.wake_reader();
    }
}

async fn act(exchange: &Rc<Exchange>, prepared: Prepared) -> Response<ResponseBody> {
    let conn = &exchange.conn;
    if conn.hcm.opaque {
        let own = Own::new(500, Flags::NFCF, "filter_not_understood", "");
        return own.into_response(exchange, prepared.grpc);
    }
    // The request keeps the configuration that it began with.
    let config = conn.proxy.config();
    let kept = conn.kept_routes();
    let table: Option<&Arc<RouteTable>> = match &conn.hcm.config.routes {
        RouteSource::Inline(_) => conn.hcm.inline.as_ref(),
        RouteSource::Rds(name) => config.tables.get(name.as_str()).or(kept.as_ref()),
    };
    let Some(table) = table else {
        return Own::new(404, Flags::NR, "route_configuration_not_found", "").into_response(exchange, prepared.grpc);
    };
    let rng = &conn.proxy.rng;
    let draws = Draws {
        fraction: rng.next_u32(),
        weight: rng.next_u32(),
        delay: rng.next_u32(),
        abort: rng.next_u32(),
        mirror: rng.next_u32(),
    };
    let decision = decide(table, &prepared.view(), conn.hcm.filters, &draws);
    if let Some(selection) = &decision.selection
        && exchange.recorded()
    {
        exchange.told.borrow_mut().rule = Some(Rule {
            config: Arc::clone(table.config()),
            virtual_host: selection.host_index,
            route: selection.route_index,
        });
    }
    if let Some(delay) = decision.delay {
        exchange.flag(Flags::DI);
        tokio::time::sleep(delay).await;
        exchange.touch();
    }
    match (decision.outcome, decision.selection) {
        (Outcome::Forward(forwarding), Some(selection)) => {
            forward::forward(exchange, prepared, selection, forwarding, draws.mirror).await
        }
        (Outcome::Respond(respond), selection) => answer(exchange, &prepared, selection, respond),
        // The matcher forwards only what a route takes.
        (Outcome::Forward(_), None) => Own::new(404, Flags::NR, "route_not_found", "").into_response(exchange, false),
    }
}

/// An answer that the configuration asks for, or that no route takes the request.
fn answer(
    exchange: &Rc<Exchange>,
    prepared: &Prepared,
    selection: Option<Selection<'_>>,
    respond: Respond<'_>,
) -> Response<ResponseBody> {
    let flags = respond.flag.and_then(Flags::parse).unwrap_or(Flags::NONE);
    let details = match respond.flag {
        Some("NR") => "route_not_found",
        Some("FI") => "fault_filter_abort",
        _ => "direct_response",
    };
    let mut response = if let Some(status) = respond.grpc_status {
        exchange.flag(flags);
        exchange.details.set(details);
        respond::grpc_answer(exchange, status, HeaderValue::from_bytes(respond.body).ok())
    } else {
        let own = Own { status: respond.status, flags, details, body: Bytes::copy_from_slice(respond.body) };
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
    if let (true, Some(selection)) = (respond.edited, selection) {
        let status = response.status().as_u16();
        let values = Values {
            exchange,
            request: Some(&prepared.headers),
            method: prepared.method.as_str(),
            authority: prepared.authority.to_str().unwrap_or(""),
            path: prepared.path.as_str(),
            route: &selection.route.name,
            cluster: "",
            upstream: None,
            status: Some(status),
        };
        for edits in selection.response_edits(None) {
            edits.apply(response.headers_mut(), &|command, headers| values.of(command, headers));
        }
    }
    response
}
