//! Sending a request to its cluster: host, connection, tries, and the answer back to the client.

use super::bodies::Bodies;
use super::body::{RequestBody, ResponseBody, Streamed, UpstreamBody, grpc_status};
use super::deadline::{Deadline, Expired};
use super::exchange::Exchange;
use super::format::Values;
use super::outgoing::{self, Head};
use super::prepare::{Prepared, strip_hop_by_hop};
use super::respond::{self, FLAG_HEADER, Own};
use super::{mirror, retry, time_limits, upgrade};
use crate::balance::limits::{Gauge, Retries, Unit};
use crate::balance::outlier::Outcome;
use crate::balance::{Host, PickContext};
use crate::cluster::{ActiveHost, ClusterLocal, RequestAt};
use crate::connect::pool::{self, Reset, SendError, Sent};
use crate::flags::Flags;
use crate::telemetry::Upstream;
use amime_model::config::{HashPolicy, RetryPolicy};
use amime_model::route::request::within;
use amime_model::route::{Forwarding, Selection, hash};
use http::header::{HeaderName, HeaderValue, SET_COOKIE};
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::body::{Body, Incoming};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-envoy-attempt-count");

/// What stays the same over the tries of a request.
struct Job<'a> {
    exchange: &'a Rc<Exchange>,
    cluster: Rc<ClusterLocal>,
    selection: Selection<'a>,
    forwarding: Forwarding<'a>,
    grpc: bool,
    http2: bool,
    hash: Option<u64>,
    set_cookie: Option<HeaderValue>,
    /// The client's headers, where an edit of the response may ask for them.
    request_headers: Option<HeaderMap>,
    method: Method,
    authority: HeaderValue,
    path: http::uri::PathAndQuery,
}

/// How one try ended, when it did not end with an answer for the client.
enum Failed {
    Reset { reset: Reset, sent: bool },
    Expired(Expired),
}

/// Forwards a request and gives the answer that the client gets.
pub(super) async fn forward(
    exchange: &Rc<Exchange>,
    mut prepared: Prepared,
    selection: Selection<'_>,
    forwarding: Forwarding<'_>,
    mirror_draw: u32,
) -> Response<ResponseBody> {
    let proxy = &exchange.conn.proxy;
    let grpc = prepared.grpc;
    let route = forwarding.route;
    let Some(cluster) = proxy.cluster(&forwarding.cluster.name) else {
        return Own::no_cluster(route.cluster_not_found_status.unwrap_or(503)).into_response(exchange, grpc);
    };
    if exchange.recorded() {
        exchange.told.borrow_mut().cluster = Some(cluster.shared.name.clone());
    }
    let Some(unit) = Gauge::take_below(RequestAt(Rc::clone(&cluster)), cluster.max_requests) else {
        return Own::reset(Reset::Overflow).into_response(exchange, grpc);
    };
    let (hash, set_cookie) = consistent_hash(exchange, &prepared, &route.hash);
    let deadline = Deadline {
        timer: exchange.conn.spare_timer.take(),
        total: time_limits::total(&forwarding, &prepared.headers, grpc),
        one_try: None,
        idle: route.idle_timeout.map_or(exchange.conn.hcm.stream_idle, |idle| Some(idle).filter(|d| !d.is_zero())),
    };
    let edits_response = selection.response_edits(Some(forwarding.cluster_index)).any(|edits| !edits.is_empty());
    let job = Job {
        exchange,
        grpc,
        http2: prepared.http2,
        hash,
        set_cookie,
        request_headers: edits_response.then(|| prepared.headers.clone()),
        method: prepared.method.clone(),
        authority: prepared.authority.clone(),
        path: prepared.path.clone(),
        cluster,
        selection,
        forwarding,
    };
    let head = match outgoing::head(&job.forwarding, &job.selection, &mut prepared, exchange) {
        Ok(head) => head,
        Err(own) => return own.into_response(exchange, grpc),
    };
    let mut body = (!prepared.body.is_end_stream()).then(|| Streamed::new(prepared.body, Rc::clone(exchange)));
    for mirrored in route.mirrors.iter().filter(|mirror| within(mirror_draw, mirror.share)) {
        let mut copy = head.clone();
        copy.authority = mirror::authority(&copy.authority);
        let http2 = proxy.cluster(&mirrored.cluster).is_some_and(|cluster| cluster.speaks_http2(job.http2));
        let copied = body.as_mut().map_or(RequestBody::Empty, Streamed::mirror);
        if let Ok(request) = copy.into_request(http2, copied) {
            mirror::send(proxy, &mirrored.cluster, request, job.http2);
        }
    }
    job.run(head, body, deadline, unit).await
}

impl<'a> Job<'a> {
    /// Tries until there is an answer or nothing more may be tried.
    async fn run(
        self,
        head: Head,
        body: Option<Streamed>,
        mut deadline: Deadline,
        unit: Unit<RequestAt>,
    ) -> Response<ResponseBody> {
        let exchange = self.exchange;
        let rng = &exchange.conn.proxy.rng;
        let policy = self.forwarding.route.retry.as_ref().filter(|policy| policy.attempts > 0);
        let mut bodies = Bodies::new(body, policy.is_some());
        let mut head = Some(head);
        let mut tried: Vec<SocketAddr> = Vec::new();
        let mut retries = 0;
        let mut _retrying: Option<Unit<Retries>> = None;
        loop {
            let left = policy.map_or(0, |policy| policy.attempts - retries);
            exchange.attempts.set(retries + 1);
            let Some(host) = self.pick(&tried, policy) else {
                return self.own(Own::no_host(), &mut deadline);
            };
            self.tell_upstream(&host);
            let Some(try_head) = (if left > 0 { head.clone() } else { head.take() }) else {
                return self.own(Own::no_host(), &mut deadline);
            };
            let active = Gauge::take(ActiveHost(Rc::clone(&host)));
            let begun = Instant::now();
            let attempt = try_head.for_try(&self.selection, &host, &self.forwarding, retries + 1);
            let http2 = self.cluster.speaks_http2(self.http2);
            let Ok(request) = attempt.into_request(http2, bodies.next()) else {
                return self.own(Own::new(400, Flags::NONE, "bad_authority", ""), &mut deadline);
            };
            deadline.one_try = policy.and_then(|policy| policy.per_try_timeout).map(|limit| (limit, begun));
            let pool = self.cluster.pool(&host);
            let sending = pool::send(&self.cluster.pools, &pool, http2, request);
            let (own, retriable) = match race(sending, &mut deadline, exchange).await {
                Ok(sent) => {
                    let status = sent.response.status();
                    let headers = sent.response.headers();
                    self.cluster.report(&host, Outcome::Status(counted_status(status, headers)), rng);
                    match policy {
                        Some(policy) if retry::retries_response(policy, status, headers) => {
                            match self.may_retry(left, &bodies) {
                                Ok(slot) => {
                                    _retrying = Some(slot);
                                    drop(sent);
                                    (None, true)
                                }
                                Err(flag) => {
                                    exchange.flag(flag);
                                    return self.answer(sent, deadline, unit, active, begun);
                                }
                            }
                        }
                        _ => return self.answer(sent, deadline, unit, active, begun),
                    }
                }
                Err(Failed::Reset { reset, sent }) => {
                    self.report_reset(&host, reset);
                    let retriable = policy.is_some_and(|policy| retry::retries_reset(policy, reset, sent));
                    (Some(self.reset_answer(reset)), retriable)
                }
                Err(Failed::Expired(Expired::Try)) => {
                    self.cluster.report(&host, Outcome::Local(504), rng);
                    (Some(Own::try_timed_out()), policy.is_some_and(retry::retries_timeout))
                }
                Err(Failed::Expired(Expired::Total)) => {
                    self.cluster.report(&host, Outcome::Local(504), rng);
                    return self.own(Own::timed_out(), &mut deadline);
                }
                Err(Failed::Expired(Expired::Idle)) => {
                    let done = exchange.request_done_at.get().is_some();
                    return self.own(Own::idle(done), &mut deadline);
                }
            };
            if let Some(own) = own {
                if !retriable {
                    return self.own(own, &mut deadline);
                }
                match self.may_retry(left, &bodies) {
                    Ok(slot) => _retrying = Some(slot),
                    Err(flag) => {
                        exchange.flag(flag);
                        return self.own(own, &mut deadline);
                    }
                }
            }
            drop(active);
            retries += 1;
            tried.push(host.address);
            let Some(policy) = policy else { return self.own(Own::no_host(), &mut deadline) };
            deadline.one_try = None;
            let pause = tokio::time::sleep(retry::backoff(policy, retries, rng));
            if let Err(Failed::Expired(expired)) = race(pausing(pause), &mut deadline, exchange).await {
                let done = exchange.request_done_at.get().is_some();
                let own = if expired == Expired::Idle { Own::idle(done) } else { Own::timed_out() };
                return self.own(own, &mut deadline);
            }
        }
    }

    fn pick(&self, tried: &[SocketAddr], policy: Option<&RetryPolicy>) -> Option<Rc<Host>> {
        let conn = &self.exchange.conn;
        let reselect = policy.filter(|policy| policy.previous_hosts && !tried.is_empty());
        let context = PickContext {
            hash: self.hash,
            tried,
            reselect: reselect.map_or(0, |policy| policy.previous_hosts_max_attempts.max(1)),
            now: self.exchange.started,
        };
        self.cluster.pick(&context, conn.original, &conn.proxy.rng)
    }

    fn tell_upstream(&self, host: &Host) {
        if self.exchange.recorded() {
            self.exchange.told.borrow_mut().upstream =
                Some(Upstream { address: host.address, endpoint: host.endpoint.clone() });
        }
    }

    /// The right to one more try, or the flag that says why not.
    fn may_retry(&self, left: u32, bodies: &Bodies) -> Result<Unit<Retries>, Flags> {
        if left == 0 {
            return Err(Flags::URX);
        }
        if !bodies.can_replay() {
            return Err(Flags::NONE);
        }
        let usage = Retries(self.cluster.shared.usage.clone());
        Gauge::take_below(usage, self.cluster.retry_limit()).ok_or(Flags::UO)
    }

    fn report_reset(&self, host: &Host, reset: Reset) {
        let outcome = match reset {
            Reset::Local | Reset::Overflow => return,
            Reset::ConnectTimeout => Outcome::Local(504),
            _ => Outcome::Local(503),
        };
        self.cluster.report(host, outcome, &self.exchange.conn.proxy.rng);
    }

    fn reset_answer(&self, reset: Reset) -> Own {
        if reset == Reset::Local && self.exchange.conn.refusal.get().is_none() {
            // The client went away in the middle of its request; nobody will read this.
            return Own::new(400, Flags::DC, "downstream_remote_disconnect", "");
        }
        if reset == Reset::Local {
            self.exchange.conn.close.set(true);
        }
        Own::reset(reset)
    }

    fn own(&self, own: Own, deadline: &mut Deadline) -> Response<ResponseBody> {
        self.exchange.conn.spare_timer.set(deadline.timer.take());
        own.into_response(self.exchange, self.grpc)
    }

    /// An upstream's answer, on its way to the client.
    fn answer(
        self,
        sent: Sent,
        mut deadline: Deadline,
        unit: Unit<RequestAt>,
        active: Unit<ActiveHost>,
        begun: Instant,
    ) -> Response<ResponseBody> {
        let exchange = self.exchange;
        let Sent { mut response, lease } = sent;
        exchange.details.set("via_upstream");
        let status = response.status();
        if let Some(status) = grpc_status(response.headers()) {
            exchange.grpc_status.set(Some(status));
        }
        deadline.one_try = None;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(response, deadline, unit, active);
        }
        let headers = response.headers_mut();
        self.edit_response(headers, status, begun);
        let (parts, incoming) = response.into_parts();
        let body = UpstreamBody {
            incoming,
            exchange: Rc::clone(exchange),
            lease: Some(lease),
            deadline,
            request: Some(unit),
            host: Some(active),
        };
        Response::from_parts(parts, ResponseBody::Upstream(Box::new(body)))
    }

    fn edit_response(&self, headers: &mut HeaderMap, status: StatusCode, begun: Instant) {
        let exchange = self.exchange;
        strip_hop_by_hop(headers);
        if exchange.conn.proxy.shared.settings.flag_header {
            headers.remove(FLAG_HEADER);
        }
        headers.insert(SERVICE_TIME, HeaderValue::from(begun.elapsed().as_millis() as u64));
        for (name, value) in &self.forwarding.cors {
            headers.insert(name.clone(), value.clone());
        }
        if let Some(cookie) = &self.set_cookie {
            headers.append(SET_COOKIE, cookie.clone());
        }
        let Some(request) = &self.request_headers else { return };
        let values = Values {
            exchange,
            request: Some(request),
            method: self.method.as_str(),
            authority: self.authority.to_str().unwrap_or(""),
            path: self.path.as_str(),
            route: &self.selection.route.name,
            cluster: &self.forwarding.cluster.name,
            upstream: exchange.told.borrow().upstream.as_ref().map(|upstream| upstream.address),
            status: Some(status.as_u16()),
        };
        for edits in self.selection.response_edits(Some(self.forwarding.cluster_index)) {
            edits.apply(headers, &|command, headers| values.of(command, headers));
        }
    }

    /// The upstream goes over to another protocol: so does the client's connection.
    fn switch(
        self,
        mut response: Response<Incoming>,
        deadline: Deadline,
        unit: Unit<RequestAt>,
        active: Unit<ActiveHost>,
    ) -> Response<ResponseBody> {
        let exchange = self.exchange;
        if !exchange.conn.held.get() {
            // Nobody asked for it.
            return Own::reset(Reset::Protocol).into_response(exchange, self.grpc);
        }
        let protocol = response.headers().get(http::header::UPGRADE).cloned();
        let upstream = hyper::upgrade::on(&mut response);
        *exchange.conn.tunnel.borrow_mut() = Some(upgrade::Tunnel {
            exchange: Rc::clone(exchange),
            upstream,
            idle: deadline.idle,
            request: unit,
            host: active,
        });
        let (mut parts, _) = response.into_parts();
        self.edit_response(&mut parts.headers, parts.status, exchange.started);
        parts.headers.insert(http::header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            parts.headers.insert(http::header::UPGRADE, protocol);
        }
        Response::from_parts(parts, ResponseBody::Empty)
    }
}

async fn pausing(sleep: tokio::time::Sleep) -> Result<(), SendError> {
    sleep.await;
    Ok(())
}

/// Runs one try against the clock.
async fn race<T>(
    work: impl Future<Output = Result<T, SendError>>,
    deadline: &mut Deadline,
    exchange: &Exchange,
) -> Result<T, Failed> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(result) = work.as_mut().poll(cx) {
            return Poll::Ready(
                result.map_err(|error| Failed::Reset { reset: error.reset, sent: error.request.is_none() }),
            );
        }
        deadline.poll(cx, exchange).map(|expired| Err(Failed::Expired(expired)))
    })
    .await
}

/// The status that outlier detection counts: gRPC's own where an answer is that alone.
fn counted_status(status: StatusCode, headers: &HeaderMap) -> u16 {
    match grpc_status(headers) {
        Some(grpc) if status == StatusCode::OK => respond::http_status_of(grpc),
        _ => status.as_u16(),
    }
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
    let result = hash::evaluate(policies, &prepared.view(), Some(conn.remote.ip()), &|| conn.proxy.rng.next_u64());
    (result.hash, result.set_cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()))
}

/// For each try: how many there were.
pub(super) fn count_attempt(headers: &mut HeaderMap, attempt: u32) {
    headers.insert(ATTEMPTS, HeaderValue::from(attempt));
}
