//! One worker's connections to one endpoint of one cluster, and how a request is sent over one.
//!
//! A request that a pooled connection refused before a byte was written (the other side had closed it) goes
//! over another one; nobody notices. Everything else that goes wrong is a `Reset` for the retry policy.

use super::dial::{ConnectSettings, DialError, Handshake, dial};
use super::private::Known;
use super::proxy_header::Ends;
use super::{agreed, http1, http2};
use crate::balance::Host;
use crate::balance::limits::Usage;
use crate::http::body::RequestBody;
use crate::telemetry::totals::{ClusterCounts, one_more};
use crate::tls::stream::UpstreamStream;
use amime_model::config::Http2Keepalive;
use http::{Request, Response};
use hyper::body::Incoming;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Notify;

/// Why a try did not get response headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reset {
    ConnectFailed,
    ConnectTimeout,
    /// A limit of the cluster was reached.
    Overflow,
    /// The connection ended.
    Terminated,
    /// HTTP/2: the stream was reset.
    Remote,
    /// HTTP/2: the stream was refused before anything was done with it.
    Refused,
    /// The answer was no HTTP.
    Protocol,
    /// The client's own body failed.
    Local,
}

/// What a request is sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    /// Whatever else the endpoint would speak.
    Http1,
    Http2,
    /// What ALPN chooses; HTTP/1 without TLS. The request is written for HTTP/2.
    Alpn,
}

pub(crate) type UpstreamRequest = Request<RequestBody>;

/// A try that failed; with the request where it was not sent.
#[derive(Debug)]
pub(crate) struct SendError {
    pub(crate) reset: Reset,
    pub(crate) request: Option<Box<UpstreamRequest>>,
}

impl SendError {
    pub(crate) fn unsent(reset: Reset, request: UpstreamRequest) -> Self {
        Self { reset, request: Some(Box::new(request)) }
    }

    pub(crate) fn sent(reset: Reset) -> Self {
        Self { reset, request: None }
    }
}

/// Limits and settings of a cluster that its pools go by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PoolSettings {
    pub(crate) connect: ConnectSettings,
    pub(crate) max_connections: u32,
    pub(crate) max_pending: u32,
    /// 0: no limit.
    pub(crate) max_requests_per_connection: u32,
    pub(crate) max_concurrent_streams: u32,
    /// None: pooled connections are kept for as long as the other side does.
    pub(crate) idle_timeout: Option<Duration>,
    /// Never zero.
    pub(crate) max_connection_duration: Option<Duration>,
    pub(crate) http2_keepalive: Option<Http2Keepalive>,
    /// ALPN chooses between HTTP/1 and HTTP/2.
    pub(crate) by_alpn: bool,
}

/// The pools of one cluster on one worker. Survives configuration updates that leave `settings` as they are.
pub(crate) struct Pools {
    pub(crate) settings: PoolSettings,
    pub(crate) usage: Arc<Usage>,
    pub(crate) counts: Rc<ClusterCounts>,
    /// Told when a connection of any worker has ended, where some worker may wait for that.
    pub(crate) freed: Arc<Notify>,
    by_address: RefCell<HashMap<SocketAddr, Rc<HostPool>>>,
    /// Of TLS: for one endpoint, those of each context and server name.
    by_name: RefCell<HashMap<SocketAddr, Vec<Rc<HostPool>>>>,
    /// Each of one client alone, which keeps it.
    pub(super) private: Known,
    /// The cluster has left, or has other settings now; some request may still be sent over these.
    pub(super) retired: Cell<bool>,
}

pub(crate) struct HostPool {
    pub(crate) address: SocketAddr,
    /// The Unix socket that the address stands for.
    pub(crate) pipe: Option<Box<str>>,
    /// None: plaintext.
    pub(crate) tls: Option<Handshake>,
    /// Whose they are, where they tell that.
    pub(crate) client: Option<Ends>,
    pub(crate) http1: http1::Pool,
    pub(crate) http2: http2::Pool,
    /// Where ALPN chooses: it chose HTTP/2 last, or did not.
    pub(super) agreed_http2: Cell<Option<bool>>,
    /// The endpoint has left: connections are used up, none is kept.
    pub(crate) retired: Cell<bool>,
    /// Why the last connection could not be made, in Envoy's words.
    pub(crate) failure: Cell<&'static str>,
}

impl Pools {
    pub(crate) fn new(
        settings: PoolSettings,
        usage: Arc<Usage>,
        counts: Rc<ClusterCounts>,
        freed: Arc<Notify>,
    ) -> Rc<Self> {
        Rc::new(Self {
            settings,
            usage,
            counts,
            freed,
            by_address: RefCell::default(),
            by_name: RefCell::default(),
            private: Known::default(),
            retired: Cell::new(false),
        })
    }

    /// Of connections in plaintext.
    pub(crate) fn host(&self, host: &Host) -> Rc<HostPool> {
        let mut pools = self.by_address.borrow_mut();
        Rc::clone(pools.entry(host.address).or_insert_with(|| self.pool(host, None)))
    }

    /// Of TLS: what was opened for another server name is not used.
    pub(crate) fn host_by_tls(&self, host: &Host, tls: Handshake) -> Rc<HostPool> {
        let mut pools = self.by_name.borrow_mut();
        let of_host = pools.entry(host.address).or_default();
        let known = of_host.iter().find(|pool| pool.tls.as_ref().is_some_and(|known| known.fits(&tls)));
        if let Some(known) = known {
            return Rc::clone(known);
        }
        // Names are the clients' to choose; those that nobody uses any more are forgotten.
        if of_host.len() >= 64 && of_host.len().is_power_of_two() {
            of_host.retain(|pool| Rc::strong_count(pool) > 1 || !pool.is_unused());
        }
        let pool = self.pool(host, Some(tls));
        of_host.push(Rc::clone(&pool));
        pool
    }

    fn pool(&self, host: &Host, tls: Option<Handshake>) -> Rc<HostPool> {
        Rc::new(self.empty(host, tls))
    }

    pub(super) fn empty(&self, host: &Host, tls: Option<Handshake>) -> HostPool {
        HostPool {
            address: host.address,
            pipe: host.pipe().map(Into::into),
            tls,
            client: None,
            http1: http1::Pool::default(),
            http2: http2::Pool::default(),
            agreed_http2: Cell::default(),
            retired: Cell::new(self.retired.get()),
            failure: Cell::new(""),
        }
    }

    /// Lets go of all pools; connections that are opened from now on serve one request.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
        self.retain(|_| false);
    }

    /// Lets go of the pools of addresses that have left.
    pub(crate) fn retain(&self, keep: impl Fn(SocketAddr) -> bool) {
        self.by_address.borrow_mut().retain(|address, pool| {
            let stays = keep(*address);
            if !stays {
                pool.retire();
            }
            stays
        });
        self.by_name.borrow_mut().retain(|address, pools| {
            let stays = keep(*address);
            if !stays {
                pools.iter().for_each(|pool| pool.retire());
            }
            stays
        });
        self.private.each(|pool| {
            if !keep(pool.address) {
                pool.retire();
            }
        });
    }

    /// Forgets addresses without any connection (original destinations come and go).
    pub(crate) fn forget_unused(&self) {
        let used = |pool: &Rc<HostPool>| Rc::strong_count(pool) > 1 || !pool.is_unused();
        self.by_address.borrow_mut().retain(|_, pool| used(pool));
        self.by_name.borrow_mut().retain(|_, pools| {
            pools.retain(used);
            !pools.is_empty()
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.by_address.borrow().len() + self.by_name.borrow().len()
    }
}

impl HostPool {
    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.http1.clear();
        self.http2.clear();
    }

    pub(super) fn is_unused(&self) -> bool {
        self.http1.is_unused() && self.http2.is_unused()
    }
}

/// Response headers, and the connection until the response has ended.
pub(crate) struct Sent {
    pub(crate) response: Response<Incoming>,
    pub(crate) lease: Lease,
}

/// A connection in use by one request. Dropped, an HTTP/1 connection closes; `finish` gives it back.
pub(crate) enum Lease {
    Http1(http1::Lease),
    /// Ends with its drop.
    Http2(http2::Lease),
}

impl Lease {
    /// The address that the connection was made from.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Http1(lease) => lease.local(),
            Self::Http2(lease) => lease.local(),
        }
    }

    /// The response has ended; `clean` where the request has too, so that the connection can be used again.
    pub(crate) fn finish(self, clean: bool) {
        match self {
            Self::Http1(lease) if clean => lease.give_back(),
            Self::Http1(_) | Self::Http2(_) => {}
        }
    }
}

/// Sends a request over a pooled or new connection. The answer is waited for as long as `patience` says; None: for ever.
pub(crate) async fn send(
    pools: &Rc<Pools>,
    pool: &Rc<HostPool>,
    speech: Speech,
    request: UpstreamRequest,
    patience: Option<Duration>,
) -> Result<Sent, SendError> {
    match speech {
        Speech::Http1 => http1::send(pools, pool, request, true, patience).await,
        Speech::Http2 => http2::send(pools, pool, request, patience).await,
        // Boxed, for it is rare: every request's future would have to hold it.
        Speech::Alpn => Box::pin(agreed::send(pools, pool, request, patience)).await,
    }
}

/// What is awaited, unless it takes too long.
pub(super) fn answered<F: Future>(
    mut sending: Pin<&mut F>,
    patience: Option<Duration>,
) -> impl Future<Output = Option<F::Output>> {
    let mut timer = patience.map(|patience| Box::pin(tokio::time::sleep(patience)));
    poll_fn(move |cx| {
        if let Poll::Ready(answer) = sending.as_mut().poll(cx) {
            return Poll::Ready(Some(answer));
        }
        match &mut timer {
            Some(timer) => timer.as_mut().poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    })
}

/// A new connection to a pool's endpoint, counted. `http1` alone may be offered by ALPN, where that chooses.
pub(super) async fn open(pools: &Pools, pool: &HostPool, http1: bool) -> Result<UpstreamStream, Reset> {
    let settings = &pools.settings;
    let alone = (http1 && settings.by_alpn).then(|| pool.tls.clone().map(|tls| Handshake { http1: true, ..tls }));
    let tls = alone.as_ref().unwrap_or(&pool.tls).as_ref();
    match dial(pool.address, pool.pipe.as_deref(), &settings.connect, tls, pool.client).await {
        Ok(stream) => {
            one_more(&pools.counts.connections);
            Ok(stream)
        }
        Err(error) => {
            tracing::debug!(address = %pool.address, %error, "cannot connect");
            one_more(&pools.counts.connect_failures);
            pool.failure.set(error.transport_failure());
            Err(Reset::from(&error))
        }
    }
}

impl From<&DialError> for Reset {
    fn from(error: &DialError) -> Self {
        match error {
            DialError::TimedOut => Self::ConnectTimeout,
            DialError::Failed(_) | DialError::Tls(_) => Self::ConnectFailed,
        }
    }
}

/// Runs a connection to its end; `old` is called when it has the greatest age, for its pool to let go of it.
pub(super) async fn run<T>(connection: impl Future<Output = T>, most: Option<Duration>, old: impl FnOnce()) -> T {
    let mut connection = pin!(connection);
    if let Some(most) = most {
        // Boxed, for it is rare: every connection's future would have to hold it.
        let mut timer = Box::pin(tokio::time::sleep(most));
        tokio::select! {
            biased;
            ended = &mut connection => return ended,
            () = &mut timer => old(),
        }
    }
    connection.await
}

/// What kind of failure an error of hyper's is.
pub(crate) fn classify(error: &hyper::Error) -> Reset {
    use std::error::Error;
    let mut source: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = source {
        if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            return match h2.reason() {
                Some(h2::Reason::REFUSED_STREAM) => Reset::Refused,
                Some(h2::Reason::HTTP_1_1_REQUIRED | h2::Reason::PROTOCOL_ERROR) if h2.is_library() => Reset::Protocol,
                Some(_) if h2.is_remote() && h2.is_reset() => Reset::Remote,
                // Only streams that the endpoint has not begun with are told so.
                Some(_) if h2.is_go_away() && h2.is_remote() => Reset::Refused,
                // The codec's answer to a body that broke off.
                Some(_) if h2.is_reset() && !h2.is_library() => Reset::Local,
                _ => Reset::Terminated,
            };
        }
        if cause.is::<crate::http::body::BodyError>() {
            return Reset::Local;
        }
        source = cause.source();
    }
    if error.is_parse() { Reset::Protocol } else { Reset::Terminated }
}
