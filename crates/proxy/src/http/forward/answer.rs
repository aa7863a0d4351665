//! An upstream's answer on its way back to the client: what is edited, and where the protocol switches. Part of
//! `Job::run`.

use super::{Attempt, Job};
use crate::connect::pool::{Reset, Sent};
use crate::http::body::{ResponseBody, UpstreamBody, grpc_status};
use crate::http::format::Values;
use crate::http::prepare::strip_hop_by_hop;
use crate::http::respond::{FLAG_HEADER, Own};
use crate::http::upgrade;
use crate::telemetry::{Protocol, peer};
use http::header::{HeaderName, HeaderValue, SET_COOKIE};
use http::{HeaderMap, Response, StatusCode};
use std::rc::Rc;
use std::time::Instant;

const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");

impl Job<'_> {
    /// An upstream's answer, on its way to the client.
    pub(super) fn answer(&mut self, sent: Sent, attempt: Attempt) -> Response<ResponseBody> {
        let exchange = self.exchange;
        let Sent { mut response, lease } = sent;
        exchange.upstream_local.set(lease.local());
        exchange.answered_at.set(Some(Instant::now()));
        self.meet(response.headers_mut(), &attempt);
        exchange.details.set("via_upstream");
        exchange.transport_failure.set("");
        let status = response.status();
        if let Some(status) = grpc_status(response.headers()) {
            exchange.grpc_status.set(Some(status));
        }
        self.deadline.one_try = None;
        self.deadline.body = None;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(Sent { response, lease }, attempt);
        }
        self.edit_response(response.headers_mut(), status, attempt.begun);
        if let Some(total) = self.deadline.total.filter(|_| exchange.protocol != Protocol::Http2) {
            exchange.conn.answer_within(exchange, total);
        }
        response.map(|incoming| {
            ResponseBody::Upstream(Box::new(UpstreamBody {
                incoming,
                exchange: Rc::clone(exchange),
                lease: Some(lease),
                deadline: std::mem::take(&mut self.deadline),
                request: self.unit.take(),
                host: Some(attempt.active),
            }))
        })
    }

    /// Takes out what the other side says of itself, which only its proxy knows.
    fn meet(&self, headers: &mut HeaderMap, attempt: &Attempt) {
        let exchange = self.exchange;
        let (said, _) = peer::take(headers);
        if let Some(said) = said.filter(|_| self.introduction(&attempt.host).is_some())
            && let Some(peer) = exchange.conn.proxy.peers.who(&said, &attempt.host.peer)
        {
            *exchange.peer.borrow_mut() = Some(peer);
        }
    }

    fn edit_response(&self, headers: &mut HeaderMap, status: StatusCode, begun: Instant) {
        let exchange = self.exchange;
        strip_hop_by_hop(headers);
        if exchange.conn.proxy.shared.settings.flag_header {
            headers.remove(FLAG_HEADER);
        }
        if status != StatusCode::SWITCHING_PROTOCOLS {
            headers.insert(SERVICE_TIME, HeaderValue::from(begun.elapsed().as_millis() as u64));
        }
        if let Some(cookie) = &self.set_cookie {
            headers.append(SET_COOKIE, cookie.clone());
        }
        self.edit_as_routed(headers, status);
    }

    /// What the route says of every answer, the proxy's own too.
    pub(super) fn edit_as_routed(&self, headers: &mut HeaderMap, status: StatusCode) {
        let exchange = self.exchange;
        for (name, value) in &self.forwarding.cors {
            headers.insert(name.clone(), value.clone());
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
            upstream: exchange.host.borrow().as_ref().map(|host| host.address),
            status: Some(status.as_u16()),
        };
        for edits in self.selection.response_edits(Some(self.forwarding.cluster_index)) {
            edits.apply(headers, &|command, headers| values.of(command, headers));
        }
    }

    /// The upstream goes over to another protocol: so does the client's connection.
    fn switch(&mut self, sent: Sent, attempt: Attempt) -> Response<ResponseBody> {
        let exchange = self.exchange;
        let Sent { mut response, lease } = sent;
        if !exchange.conn.held.get() {
            // Nobody asked for it.
            return self.own(Own::reset(Reset::Protocol, self.retries > 0));
        }
        let protocol = response.headers().get(http::header::UPGRADE).cloned();
        let upstream = hyper::upgrade::on(&mut response);
        *exchange.conn.tunnel.borrow_mut() = Some(upgrade::Tunnel {
            exchange: Rc::clone(exchange),
            upstream,
            idle: self.deadline.idle,
            request: self.unit.take(),
            host: attempt.active,
            lease,
        });
        let (mut parts, _) = response.into_parts();
        self.edit_response(&mut parts.headers, parts.status, attempt.begun);
        parts.headers.insert(http::header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            parts.headers.insert(http::header::UPGRADE, protocol);
        }
        Response::from_parts(parts, ResponseBody::Empty)
    }
}
