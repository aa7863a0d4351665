//! What comes before a request's first try: its cluster, its place there, its deadline, its copies to mirrors. `handle`
//! calls it.

use super::Job;
use crate::balance::limits::Gauge;
use crate::cluster::{ClusterLocal, RequestAt};
use crate::connect::pool::Reset;
use crate::http::bodies::Bodies;
use crate::http::body::{RequestBody, ResponseBody, Streamed};
use crate::http::deadline::Deadline;
use crate::http::exchange::Exchange;
use crate::http::format::Values;
use crate::http::prepare::Prepared;
use crate::http::respond::Own;
use crate::http::{mirror, outgoing, time_limits};
use amime_model::config::HashPolicy;
use amime_model::route::request::within;
use amime_model::route::{Forwarding, Selection, hash};
use http::Response;
use http::header::HeaderValue;
use hyper::body::Body;
use std::rc::Rc;

/// Makes a request ready to be sent on, or gives the answer that comes instead. `held` is its cluster as it was
/// before a delay.
#[allow(clippy::result_large_err)] // Either becomes the answer, and is moved once.
pub(in crate::http) fn begin<'a>(
    exchange: &'a Rc<Exchange>,
    mut prepared: Prepared,
    selection: Selection<'a>,
    forwarding: Forwarding<'a>,
    held: Option<Rc<ClusterLocal>>,
    mirror_draw: u32,
) -> Result<Box<Job<'a>>, Response<ResponseBody>> {
    let proxy = &exchange.conn.proxy;
    let grpc = prepared.grpc;
    let route = forwarding.route;
    let Some(cluster) = proxy.cluster(&forwarding.cluster.name).or(held) else {
        let own = Own::no_cluster(route.cluster_not_found_status.unwrap_or(503));
        exchange.keep_authority(&prepared.authority);
        return Err(answer_at_once(exchange, &prepared, &selection, &forwarding, own));
    };
    if cluster.config.service.is_none() {
        exchange.keep_authority(&prepared.authority);
    }
    *exchange.cluster.borrow_mut() = Some(Rc::clone(&cluster));
    let Some(unit) = Gauge::take_below(RequestAt(Rc::clone(&cluster)), cluster.max_requests) else {
        let own = Own::reset(Reset::Overflow, false);
        return Err(answer_at_once(exchange, &prepared, &selection, &forwarding, own));
    };
    cluster.begun(exchange.started);
    let (hash, set_cookie) = consistent_hash(exchange, &prepared, &route.hash);
    let total = time_limits::total(&forwarding, &prepared.headers, grpc);
    let deadline = Deadline {
        timer: exchange.conn.spare_timer.take(),
        total,
        one_try: None,
        body: Some(proxy.shared.settings.body_timeout).filter(|limit| !grpc && !limit.is_zero()),
        idle: route.idle_timeout.map_or(exchange.conn.hcm.stream_idle, |idle| Some(idle).filter(|d| !d.is_zero())),
    };
    exchange.conn.be_patient(deadline.idle);
    let edits_response = selection.response_edits(Some(forwarding.cluster_index)).any(|edits| !edits.is_empty());
    let request_headers = edits_response.then(|| prepared.headers.clone());
    let head = match outgoing::head(&forwarding, &selection, &mut prepared, exchange, total) {
        Ok(head) => head,
        Err(own) => return Err(own.into_response(exchange, grpc)),
    };
    let Prepared { method, authority, path, http2, body, .. } = prepared;
    let mut body = (!body.is_end_stream()).then(|| Streamed::new(body, Rc::clone(exchange)));
    for mirrored in route.mirrors.iter().filter(|mirror| within(mirror_draw, mirror.share)) {
        let mut copy = head.clone();
        mirror::mark(&mut copy, proxy);
        let copied = body.as_mut().map_or(RequestBody::Empty, Streamed::mirror);
        mirror::send(proxy, &mirrored.cluster, copy, copied, http2, total);
    }
    let retried = route.retry.as_ref().is_some_and(|policy| policy.attempts > 0);
    Ok(Box::new(Job {
        exchange,
        grpc,
        http2,
        hash,
        set_cookie,
        request_headers,
        method,
        authority,
        path,
        cluster,
        selection,
        forwarding,
        head: Some(head),
        bodies: Bodies::new(body, retried),
        deadline,
        unit: Some(unit),
        tried: Vec::new(),
        looked_up: Vec::new(),
        retries: 0,
        retrying: None,
    }))
}

/// The proxy's own answer to a request that a route took but nothing could be begun for.
fn answer_at_once(
    exchange: &Rc<Exchange>,
    prepared: &Prepared,
    selection: &Selection<'_>,
    forwarding: &Forwarding<'_>,
    own: Own,
) -> Response<ResponseBody> {
    let mut response = own.into_response(exchange, prepared.grpc);
    let values = Values {
        request: Some(&prepared.headers),
        status: Some(response.status().as_u16()),
        ..Values::new(exchange, prepared, &selection.route.name, &forwarding.cluster.name)
    };
    let headers = response.headers_mut();
    for (name, value) in &forwarding.cors {
        headers.insert(name.clone(), value.clone());
    }
    for edits in selection.response_edits(Some(forwarding.cluster_index)) {
        edits.apply(headers, &|command, headers| values.of(command, headers));
    }
    response
}

/// The hash for consistent balancing, with the cookie that keeps the client at its host.
fn consistent_hash(
    exchange: &Exchange,
    prepared: &Prepared,
    policies: &[HashPolicy],
) -> (Option<u64>, Option<HeaderValue>) {
    if policies.is_empty() {
        return (None, None);
    }
    let conn = &exchange.conn;
    let result =
        hash::evaluate(policies, &prepared.view(), Some(exchange.remote.get().ip()), &|| conn.proxy.rng.next_u64());
    (result.hash, result.set_cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()))
}
