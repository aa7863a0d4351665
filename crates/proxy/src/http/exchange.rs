//! One request with its answer: what is counted and found out about it while bodies stream both ways. When
//! the last part of it is dropped, it becomes a record.

use super::body::grpc_status;
use super::connection::ConnState;
use super::messages::Messages;
use crate::balance::Host;
use crate::cluster::ClusterLocal;
use crate::flags::Flags;
use crate::telemetry::access_log::{Head, Kept};
use crate::telemetry::peer::Peer;
use crate::telemetry::{self, Ends, Protocol, RequestRecord, RequestText, Rule, Upstream};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Instant, SystemTime};

pub(crate) struct Exchange {
    pub(crate) conn: Rc<ConnState>,
    pub(crate) started: Instant,
    /// When a byte of either body was last seen.
    pub(crate) last: Cell<Instant>,
    pub(crate) protocol: Protocol,
    /// The client, as the request tells it where that can be trusted: Envoy's rule, see `prepare`.
    pub(crate) remote: Cell<SocketAddr>,
    /// When the client's request had been read to its end.
    pub(crate) request_done_at: Cell<Option<Instant>>,
    /// The client's request broke off or was malformed.
    pub(crate) request_failed: Cell<bool>,
    /// The whole answer was handed to the client's connection.
    pub(crate) response_done: Cell<bool>,
    pub(crate) received: Cell<u64>,
    pub(crate) sent: Cell<u64>,
    pub(crate) status: Cell<u16>,
    pub(crate) grpc_status: Cell<Option<u32>>,
    pub(crate) flags: Cell<Flags>,
    pub(crate) details: Cell<&'static str>,
    /// Why the upstream could not be reached, in Envoy's words.
    pub(crate) transport_failure: Cell<&'static str>,
    pub(crate) attempts: Cell<u32>,
    pub(crate) grpc: Cell<bool>,
    /// Bytes of the request's and the answer's heads, as HTTP/1 writes them.
    pub(crate) request_head: Cell<u32>,
    pub(crate) response_head: Cell<u32>,
    /// gRPC messages to the upstream and back.
    pub(crate) request_messages: Messages,
    pub(crate) response_messages: Messages,
    /// Where the request was sent last.
    pub(crate) cluster: RefCell<Option<Rc<ClusterLocal>>>,
    pub(crate) host: RefCell<Option<Rc<Host>>>,
    /// The address that it was sent from.
    pub(crate) upstream_local: Cell<Option<SocketAddr>>,
    /// When the upstream's answer began.
    pub(crate) answered_at: Cell<Option<Instant>>,
    /// Who is at the other end, where that one said so.
    pub(crate) peer: RefCell<Option<Rc<Peer>>>,
    /// The client said who it is, and is to be told who answers.
    pub(crate) introduced: Cell<bool>,
    /// What the access log needs; not filled where there is none.
    pub(crate) kept: RefCell<Kept>,
    /// What only the record needs; not filled where nobody reads records.
    pub(crate) told: RefCell<Told>,
}

#[derive(Default)]
pub(crate) struct Told {
    pub(crate) method: Option<Method>,
    pub(crate) authority: Option<HeaderValue>,
    pub(crate) path: Option<PathAndQuery>,
    pub(crate) request_id: Option<HeaderValue>,
    pub(crate) rule: Option<Rule>,
}

impl Exchange {
    pub(crate) fn begin(conn: &Rc<ConnState>, protocol: Protocol) -> Rc<Self> {
        let now = Instant::now();
        Rc::new(Self {
            conn: Rc::clone(conn),
            started: now,
            last: Cell::new(now),
            protocol,
            remote: Cell::new(conn.ends.remote),
            request_done_at: Cell::new(None),
            request_failed: Cell::new(false),
            response_done: Cell::new(false),
            received: Cell::new(0),
            sent: Cell::new(0),
            status: Cell::new(0),
            grpc_status: Cell::new(None),
            flags: Cell::new(Flags::NONE),
            details: Cell::new(""),
            transport_failure: Cell::new(""),
            attempts: Cell::new(0),
            grpc: Cell::new(false),
            request_head: Cell::new(0),
            response_head: Cell::new(0),
            request_messages: Messages::default(),
            response_messages: Messages::default(),
            cluster: RefCell::default(),
            host: RefCell::default(),
            upstream_local: Cell::new(None),
            answered_at: Cell::new(None),
            peer: RefCell::default(),
            introduced: Cell::new(false),
            kept: RefCell::default(),
            told: RefCell::default(),
        })
    }

    pub(crate) fn flag(&self, flag: Flags) {
        self.flags.set(self.flags.get().with(flag));
    }

    pub(crate) fn recorded(&self) -> bool {
        self.conn.proxy.recorder.wanted()
    }

    /// Whether it is counted.
    pub(crate) fn counted(&self) -> bool {
        self.conn.proxy.shared.settings.metrics
    }

    /// Keeps the authority, for a request whose cluster tells no service.
    pub(crate) fn keep_authority(&self, authority: &HeaderValue) {
        self.told.borrow_mut().authority.get_or_insert_with(|| authority.clone());
    }

    /// Whether it is logged.
    pub(crate) fn logged(&self) -> bool {
        self.conn.hcm.logs.is_some()
    }

    /// Keeps what the log needs of a request as it is now.
    pub(crate) fn keep_request(&self, head: &Head<'_>) {
        if let Some(logs) = &self.conn.hcm.logs {
            self.kept.borrow_mut().request(&logs.sources, head);
        }
    }

    /// The answer's trailers have come.
    pub(crate) fn end_with(&self, trailers: &HeaderMap) {
        if let Some(status) = grpc_status(trailers) {
            self.grpc_status.set(Some(status));
        }
        if let Some(logs) = &self.conn.hcm.logs {
            self.kept.borrow_mut().trailers(&logs.sources, trailers);
        }
    }

    /// The client's request has been read to its end.
    pub(crate) fn end_request(&self) {
        self.request_done_at.set(Some(self.last.get()));
    }

    /// Bytes have moved.
    pub(crate) fn touch(&self) {
        let now = Instant::now();
        self.last.set(now);
        self.conn.moved(now);
    }

    /// The path of the answer is over: the connection may take the next request or close.
    pub(crate) fn end_response(&self) {
        if !self.response_done.replace(true) {
            self.conn.exchange_ended();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.response_done.get() {
            // The handler or the body was dropped on the way: the client went away, unless a flag says more.
            if self.flags.get().is_empty() || self.flags.get() == Flags::DI {
                self.flag(Flags::DC);
                self.details.set("downstream_remote_disconnect");
            }
            self.conn.exchange_ended();
        }
        if self.counted() {
            telemetry::http::count(self);
        }
        if self.logged() {
            telemetry::http::log(self);
        }
        let proxy = &self.conn.proxy;
        if !proxy.recorder.wanted() {
            return;
        }
        let told = self.told.take();
        let duration = self.started.elapsed();
        let record = RequestRecord {
            proxy: proxy.shared.identity.clone(),
            started: SystemTime::now() - duration,
            duration,
            direction: self.conn.listener.config.direction,
            listener: self.conn.listener.name.clone(),
            protocol: self.protocol,
            request: RequestText::new([
                told.method.as_ref().map_or("", Method::as_str),
                told.authority.as_ref().and_then(|value| value.to_str().ok()).unwrap_or(""),
                told.path.as_ref().map_or("", PathAndQuery::as_str),
                told.request_id.as_ref().and_then(|value| value.to_str().ok()).unwrap_or(""),
            ]),
            rule: told.rule,
            tcp_origin: None,
            cluster: self.cluster.borrow().as_ref().map(|cluster| cluster.shared.name.clone()),
            upstream_local: self.upstream_local.get(),
            transport_failure: self.transport_failure.get(),
            upstream: self
                .host
                .borrow()
                .as_ref()
                .map(|host| Upstream { address: host.address, endpoint: host.endpoint.clone() }),
            downstream: Ends { remote: self.remote.get(), ..self.conn.ends },
            status: self.status.get(),
            grpc_status: self.grpc_status.get(),
            flags: self.flags.get(),
            details: self.details.get(),
            bytes_received: self.received.get(),
            bytes_sent: self.sent.get(),
            attempts: self.attempts.get(),
        };
        proxy.recorder.push(record);
    }
}
