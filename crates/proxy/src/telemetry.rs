//! One record for each request and TCP connection: what the log, the live lines and the metrics are made from.
//!
//! The request path fills records; each worker collects them and sends them on in batches, so that a request
//! costs no channel operation.

use crate::flags::Flags;
use amime_model::config::{Direction, Endpoint, Origin, RouteConfig};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;

/// Who a proxy is, as its records name it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxyIdentity {
    /// The xDS node id: `sidecar~127.1.0.1~reviews-v1-x.default~default.svc.cluster.local`.
    pub node_id: String,
    /// The workload (`reviews-v1`), not the pod.
    pub workload: String,
    pub namespace: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Http10,
    Http11,
    Http2,
    Tcp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Tcp => "TCP",
        })
    }
}

/// The rule that decided, by its place in the route configuration.
#[derive(Debug, Clone)]
pub struct Rule {
    pub config: Arc<RouteConfig>,
    pub virtual_host: usize,
    pub route: usize,
}

impl Rule {
    /// The object and field that the rule came from.
    pub fn origin(&self) -> Option<&Origin> {
        let host = self.config.virtual_hosts.get(self.virtual_host)?;
        host.routes.get(self.route)?.origin.as_ref().or(host.origin.as_ref())
    }
}

/// The endpoint that answered or was tried last.
#[derive(Debug, Clone)]
pub struct Upstream {
    pub address: SocketAddr,
    /// None for an address that no endpoint names (pass-through).
    pub endpoint: Option<Arc<Endpoint>>,
}

/// What a request said, copied into one piece: shared slices would keep the connection's read buffer alive, and
/// each further request would need a new one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestText {
    all: Box<str>,
    /// Where each part ends.
    ends: [usize; 4],
}

impl RequestText {
    /// Parts that are not there are empty.
    pub(crate) fn new(parts: [&str; 4]) -> Self {
        let mut ends = [0; 4];
        let mut all = String::with_capacity(parts.iter().map(|part| part.len()).sum());
        for (part, end) in parts.iter().zip(&mut ends) {
            all.push_str(part);
            *end = all.len();
        }
        Self { all: all.into(), ends }
    }

    fn part(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.all[start..self.ends[index]]
    }

    /// Empty for TCP, and where the request could not be read.
    pub fn method(&self) -> &str {
        self.part(0)
    }

    /// Host, with the port where the client wrote one.
    pub fn authority(&self) -> &str {
        self.part(1)
    }

    /// Path and query as the client sent them.
    pub fn path(&self) -> &str {
        self.part(2)
    }

    /// `x-request-id`, the client's or the one made here.
    pub fn id(&self) -> &str {
        self.part(3)
    }
}

/// A finished request, tunnel or TCP connection.
#[derive(Debug, Clone)]
pub struct RequestRecord {
    pub proxy: Arc<ProxyIdentity>,
    pub started: SystemTime,
    pub duration: Duration,
    pub direction: Direction,
    pub listener: Arc<str>,
    pub protocol: Protocol,
    /// Method, authority, path and id of the request.
    pub request: RequestText,
    /// None where no route took it.
    pub rule: Option<Rule>,
    /// Where a TCP proxy decided.
    pub tcp_origin: Option<Arc<Origin>>,
    pub cluster: Option<Arc<str>>,
    pub upstream: Option<Upstream>,
    pub downstream_remote: SocketAddr,
    /// The original destination where one was told, else the local address.
    pub downstream_local: SocketAddr,
    /// 0 where no answer was sent.
    pub status: u16,
    pub grpc_status: Option<u32>,
    pub flags: Flags,
    /// Envoy's response code details (`via_upstream`, `route_not_found`), or what went wrong.
    pub details: &'static str,
    /// Body bytes (all bytes for TCP).
    pub bytes_received: u64,
    pub bytes_sent: u64,
    /// Tries upstream; 0 where the proxy answered itself.
    pub attempts: u32,
}

impl RequestRecord {
    /// The object and field that decided.
    pub fn origin(&self) -> Option<&Origin> {
        self.tcp_origin.as_deref().or_else(|| self.rule.as_ref()?.origin())
    }
}

/// Where records go: batches, in the order in which requests of one worker ended.
pub type RecordSender = mpsc::Sender<Vec<RequestRecord>>;

/// Batches are sent when they have this many records, or after `FLUSH`.
const BATCH: usize = 64;
const FLUSH: Duration = Duration::from_millis(20);

/// One worker's part of a proxy's telemetry.
pub(crate) struct Recorder {
    sender: Option<RecordSender>,
    dropped: Arc<AtomicU64>,
    buffer: RefCell<Vec<RequestRecord>>,
    flushing: Cell<bool>,
}

impl Recorder {
    pub(crate) fn new(sender: Option<RecordSender>, dropped: Arc<AtomicU64>) -> Rc<Self> {
        Rc::new(Self { sender, dropped, buffer: RefCell::default(), flushing: Cell::new(false) })
    }

    /// Whether anybody reads records: where nobody does, none are made.
    pub(crate) fn wanted(&self) -> bool {
        self.sender.is_some()
    }

    pub(crate) fn push(self: &Rc<Self>, record: RequestRecord) {
        if self.sender.is_none() {
            return;
        }
        let mut buffer = self.buffer.borrow_mut();
        buffer.push(record);
        if buffer.len() >= BATCH {
            drop(buffer);
            self.flush();
        } else if !self.flushing.replace(true) {
            let this = Rc::clone(self);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(FLUSH).await;
                this.flushing.set(false);
                this.flush();
            });
        }
    }

    /// A reader that does not keep up loses whole batches, and they are counted: telemetry never holds up traffic.
    pub(crate) fn flush(&self) {
        let batch = std::mem::take(&mut *self.buffer.borrow_mut());
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        if self.sender.as_ref().is_some_and(|sender| sender.try_send(batch).is_err()) {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_request() {
        let text = RequestText::new(["GET", "", "/x?y", "id"]);
        assert_eq!([text.method(), text.authority(), text.path(), text.id()], ["GET", "", "/x?y", "id"]);
        assert_eq!(RequestText::default().path(), "");
    }
}
