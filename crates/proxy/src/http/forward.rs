//! Sending a request to its cluster: host, connection, tries, and the answer back to the client.

mod answer;
mod begin;
mod look_up;

pub(super) use begin::begin;

use super::bodies::Bodies;
use super::body::{ResponseBody, grpc_status};
use super::deadline::{Deadline, Expired};
use super::exchange::Exchange;
use super::outgoing::Head;
use super::respond::{self, Own};
use super::retry;
use crate::balance::limits::{Gauge, Retries, Unit};
use crate::balance::outlier::Outcome;
use crate::balance::{Host, PickContext};
use crate::cluster::{ActiveHost, ClusterLocal, RequestAt};
use crate::connect::pool::{self, HostPool, Reset, SendError, Sent, Speech, UpstreamRequest};
use crate::flags::Flags;
use crate::rng::Rng;
use crate::telemetry::peer::OwnHeaders;
use crate::telemetry::totals::one_more;
use amime_model::config::{Direction, Discovery, OutlierDetection, RetryPolicy};
use amime_model::route::{Forwarding, Selection};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

const ATTEMPTS: HeaderName = HeaderName::from_static("x-envoy-attempt-count");

/// A request on its way upstream. One allocation, so that what awaits it stays small: a connection holds its
/// request's future, and moves it.
pub(super) struct Job<'a> {
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
    /// None once the last try has taken it.
    head: Option<Head>,
    bodies: Bodies,
    deadline: Deadline,
    /// The request's place among those of the cluster; goes with the answer.
    unit: Option<Unit<RequestAt>>,
    tried: Vec<SocketAddr>,
    /// Of a dynamic cluster: what the request's name stands for.
    looked_up: Vec<SocketAddr>,
    retries: u32,
    /// The place among the cluster's retries, from the first retry on.
    retrying: Option<Unit<Retries>>,
}

/// One try, until its answer or failure.
struct Attempt {
    host: Rc<Host>,
    active: Unit<ActiveHost>,
    pool: Rc<HostPool>,
    speech: Speech,
    begun: Instant,
}

/// How one try ended, when it did not end with an answer for the client.
enum Failed {
    Reset { reset: Reset, sent: bool },
    Expired(Expired),
}

impl<'a> Job<'a> {
    fn policy(&self) -> Option<&'a RetryPolicy> {
        self.forwarding.route.retry.as_ref().filter(|policy| policy.attempts > 0)
    }

    /// Tries until there is an answer or nothing more may be tried.
    pub(super) async fn run(&mut self) -> Response<ResponseBody> {
        if matches!(self.cluster.config.discovery, Discovery::DynamicDns(_))
            && let Err(own) = Box::pin(self.look_up()).await
        {
            return own;
        }
        loop {
            let (attempt, request) = match self.attempt() {
                Ok(ready) => ready,
                Err(own) => return self.own(own),
            };
            let sending = pool::send(&self.cluster.pools, &attempt.pool, attempt.speech, request, None);
            let tried = race(sending, &mut self.deadline, self.exchange).await;
            if let Some(response) = self.settle(tried, attempt) {
                return response;
            }
            // Another try.
            self.retries += 1;
            self.deadline.one_try = None;
            let backoff = self.policy().map(|policy| retry::backoff(policy, self.retries, self.rng()));
            let pause = Box::pin(pausing(tokio::time::sleep(backoff.unwrap_or_default())));
            if let Err(Failed::Expired(expired)) = race(pause, &mut self.deadline, self.exchange).await {
                return self.expired(expired);
            }
        }
    }

    fn rng(&self) -> &'a Rng {
        &self.exchange.conn.proxy.rng
    }

    /// Chooses a host and writes the request for it.
    fn attempt(&mut self) -> Result<(Attempt, UpstreamRequest), Own> {
        let policy = self.policy();
        self.exchange.attempts.set(self.retries + 1);
        // Endpoints may have come and gone since the last try; a cluster that has left serves its requests to the end.
        if self.retries > 0
            && let Some(cluster) = self.exchange.conn.proxy.cluster(&self.forwarding.cluster.name)
        {
            self.cluster = cluster;
        }
        let host = self.pick(policy).ok_or_else(Own::no_host)?;
        self.tell_upstream(&host);
        // A copy only while there may be a try after this one.
        let more = policy.is_some_and(|policy| self.retries < policy.attempts);
        let head = if more { self.head.clone() } else { self.head.take() };
        let begun = Instant::now();
        self.deadline.one_try = policy
            .and_then(|policy| policy.per_try_timeout)
            .filter(|limit| !limit.is_zero())
            .map(|limit| (limit, begun));
        let mut head = head.ok_or_else(Own::no_host)?;
        if self.retries > 0 {
            let spent = self.exchange.request_done_at.get().map_or(Duration::ZERO, |done| begun - done);
            head.tell_time_left(&self.forwarding, self.deadline.total, spent, self.grpc);
        }
        // HTTP/2 knows no such upgrade.
        let speech = if head.upgrade.is_some() { Speech::Http1 } else { self.cluster.speech(self.http2) };
        let head = head.for_try(&self.selection, &host, &self.forwarding, self.retries + 1, self.introduction(&host));
        let pool = self
            .cluster
            .pool(&host, head.authority.as_bytes(), Some(&self.exchange.conn.private))
            .map_err(|missing| Own::not_in_the_clear(&missing))?;
        let request = head
            .into_request(speech != Speech::Http1, self.bodies.next())
            .map_err(|_| Own::new(400, Flags::NONE, "bad_authority", ""))?;
        one_more(&self.cluster.pools.counts.requests);
        if self.retries > 0 {
            one_more(&self.cluster.pools.counts.retries);
        }
        let active = Gauge::take(ActiveHost(Rc::clone(&host)));
        Ok((Attempt { host, active, pool, speech, begun }, request))
    }

    /// What the proxy says of itself to a host: to those of the mesh alone, and not to its own application.
    fn introduction(&self, host: &Host) -> Option<&'a OwnHeaders> {
        let conn = &self.exchange.conn;
        let in_mesh = conn.listener.config.direction != Direction::Inbound
            && self.cluster.config.service.as_ref().is_some_and(|service| !service.external)
            && host.endpoint.as_ref().is_some_and(|endpoint| !endpoint.workload.workload.is_empty());
        if in_mesh { conn.proxy.introduction.as_ref() } else { None }
    }

    /// What a try's end means for the client; None: it is tried again.
    fn settle(&mut self, tried: Result<Sent, Failed>, attempt: Attempt) -> Option<Response<ResponseBody>> {
        let (policy, rng) = (self.policy(), self.rng());
        let host = &attempt.host;
        let (own, retriable) = match tried {
            Ok(sent) => {
                let (status, headers) = (sent.response.status(), sent.response.headers());
                if let Some(detection) = &self.cluster.config.outlier {
                    self.cluster.report(host, Outcome::Status(counted_status(detection, status, headers)), rng);
                }
                let retriable = policy.is_some_and(|policy| retry::retries_response(policy, status, headers));
                if retriable && self.may_retry(host) {
                    return None;
                }
                return Some(self.answer(sent, attempt));
            }
            Err(Failed::Reset { reset, sent }) => {
                // HTTP/2 resets the stream of a body that broke off, and says no more.
                let reset = if self.exchange.request_failed.get() { Reset::Local } else { reset };
                self.report_reset(host, reset);
                if reset == Reset::ConnectFailed {
                    self.exchange.transport_failure.set(attempt.pool.failure.get());
                }
                let retriable = policy.is_some_and(|policy| retry::retries_reset(policy, reset, sent));
                (self.reset_answer(reset), retriable)
            }
            Err(Failed::Expired(Expired::Try)) => {
                self.cluster.report(host, Outcome::Local(504), rng);
                (Own::try_timed_out(), policy.is_some_and(retry::retries_timeout))
            }
            Err(Failed::Expired(expired)) => {
                if expired == Expired::Total {
                    self.cluster.report(host, Outcome::Local(504), rng);
                }
                return Some(self.expired(expired));
            }
        };
        if retriable && self.may_retry(host) { None } else { Some(self.own(own)) }
    }

    /// Takes the right to one more try, or sets the flag that says why there is none.
    fn may_retry(&mut self, host: &Host) -> bool {
        let left = self.policy().map_or(0, |policy| policy.attempts - self.retries);
        if left == 0 {
            self.exchange.flag(Flags::URX);
            return false;
        }
        if !self.bodies.can_replay() {
            return false;
        }
        // The retry that has just failed counts no more.
        self.retrying = None;
        let usage = Retries(self.cluster.shared.usage.clone());
        self.retrying = Gauge::take_below(usage, self.cluster.retry_limit());
        if self.retrying.is_none() {
            self.exchange.flag(Flags::UO);
            return false;
        }
        self.tried.push(host.address);
        true
    }

    fn expired(&mut self, expired: Expired) -> Response<ResponseBody> {
        let done = self.exchange.request_done_at.get().is_some();
        self.own(if expired == Expired::Idle { Own::idle(done) } else { Own::timed_out() })
    }

    fn pick(&self, policy: Option<&RetryPolicy>) -> Option<Rc<Host>> {
        let conn = &self.exchange.conn;
        let reselect = policy.filter(|policy| policy.previous_hosts && !self.tried.is_empty());
        let context = PickContext {
            hash: self.hash,
            tried: &self.tried,
            reselect: reselect.map_or(0, |policy| policy.previous_hosts_max_attempts.max(1)),
            leave_priorities: policy.and_then(|policy| policy.previous_priorities),
            now: self.exchange.started,
        };
        let fresh = self.looked_up.iter().find(|address| !self.tried.contains(address)).or(self.looked_up.first());
        self.cluster.pick(&context, fresh.copied().or(conn.original), &conn.proxy.rng)
    }

    fn tell_upstream(&self, host: &Rc<Host>) {
        *self.exchange.host.borrow_mut() = Some(Rc::clone(host));
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
        Own::reset(reset, self.retries > 0)
    }

    fn own(&mut self, own: Own) -> Response<ResponseBody> {
        self.exchange.conn.spare_timer.set(self.deadline.timer.take());
        let mut response = own.into_response(self.exchange, self.grpc);
        let status = response.status();
        self.edit_as_routed(response.headers_mut(), status);
        response
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

/// The status that outlier detection counts: gRPC's own where an answer is that alone. Where statuses are written that
/// are errors, those are, and nothing else is.
fn counted_status(detection: &OutlierDetection, status: StatusCode, headers: &HeaderMap) -> u16 {
    let counted = match grpc_status(headers) {
        Some(grpc) if status == StatusCode::OK => respond::http_status_of(grpc),
        _ => status.as_u16(),
    };
    match detection.error_statuses.as_slice() {
        [] => counted,
        errors if errors.contains(&status.as_u16()) => counted.max(500),
        _ => 200,
    }
}

/// For each try: how many there were.
pub(super) fn count_attempt(headers: &mut HeaderMap, attempt: u32) {
    headers.insert(ATTEMPTS, HeaderValue::from(attempt));
}
