//! HTTP/2 connections of one worker to one endpoint: many requests at a time, a further connection only
//! where the streams of one are used up.

use super::pool::{self, HostPool, Pools, Reset, SendError, Sent, UpstreamRequest, answered, classify, run};
use crate::balance::limits::{Connections, Gauge, Pending, Unit};
use crate::http::body::RequestBody;
use crate::http::local_exec::LocalExec;
use crate::tls::stream::UpstreamStream;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// Bytes that an endpoint may send ahead of the client: of one stream, and of a connection.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

#[derive(Default)]
pub(crate) struct Pool {
    conns: RefCell<Vec<Rc<Conn>>>,
    /// Requests that wait for the connection that another one opens.
    waiters: RefCell<Vec<oneshot::Sender<Result<(), Reset>>>>,
    connecting: Cell<bool>,
    /// Told when a stream has ended, for requests that wait for one.
    freed: Rc<Notify>,
}

struct Conn {
    sender: http2::SendRequest<RequestBody>,
    active: Cell<u32>,
    /// How many streams the endpoint takes at once, as it said last.
    streams: Rc<Cell<u32>>,
    requests: Cell<u32>,
    /// The address that it was made from.
    local: Option<SocketAddr>,
    opened: Instant,
    last_used: Cell<Instant>,
    /// It has sent a request back: no further one.
    leaving: Cell<bool>,
    /// Of its pool.
    freed: Rc<Notify>,
}

impl Conn {
    fn is_old(&self, most: Option<Duration>) -> bool {
        most.is_some_and(|most| self.opened.elapsed() >= most)
    }
}

/// A stream of a connection.
pub(crate) struct Lease(Rc<Conn>);

impl Lease {
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.0.local
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get() - 1);
        self.0.last_used.set(Instant::now());
        self.0.freed.notify_one();
    }
}

impl Pool {
    fn take(&self, pools: &Pools) -> Option<Lease> {
        let settings = &pools.settings;
        let mut conns = self.conns.borrow_mut();
        conns.retain(|conn| {
            let used_up = settings.max_requests_per_connection != 0
                && conn.requests.get() >= settings.max_requests_per_connection;
            !conn.sender.is_closed()
                && !conn.leaving.get()
                && !used_up
                && !conn.is_old(settings.max_connection_duration)
        });
        let conn = conns
            .iter()
            .find(|conn| conn.active.get() < conn.streams.get().min(settings.max_concurrent_streams).max(1))?;
        conn.active.set(conn.active.get() + 1);
        conn.requests.set(conn.requests.get() + 1);
        Some(Lease(Rc::clone(conn)))
    }

    /// Connections that are open end with their last stream.
    pub(crate) fn clear(&self) {
        self.conns.borrow_mut().clear();
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.conns.borrow().is_empty() && !self.connecting.get()
    }
}

pub(super) async fn send(
    pools: &Rc<Pools>,
    pool: &Rc<HostPool>,
    mut request: UpstreamRequest,
    patience: Option<Duration>,
) -> Result<Sent, SendError> {
    loop {
        let lease = match pool.http2.take(pools) {
            Some(lease) => lease,
            // Boxed, for it is large and rare: every request's future would have to hold it.
            None => match Box::pin(connect(pools, pool)).await {
                Ok(Some(lease)) => lease,
                Ok(None) => return Err(SendError::unsent(Reset::Terminated, request)),
                Err(reset) => return Err(SendError::unsent(reset, request)),
            },
        };
        let first = lease.0.requests.get() == 1;
        let mut sender = lease.0.sender.clone();
        let sending = pin!(sender.try_send_request(request));
        let Some(sent) = answered(sending, patience).await else {
            return Err(SendError::sent(Reset::ConnectTimeout));
        };
        match sent {
            Ok(response) => return Ok(Sent { response, lease: super::pool::Lease::Http2(lease) }),
            Err(mut error) => match error.take_message() {
                Some(back) if !first => {
                    lease.0.leaving.set(true);
                    request = back;
                }
                Some(back) => return Err(SendError::unsent(Reset::Terminated, back)),
                None => return Err(SendError::sent(classify(&error.into_error()))),
            },
        }
    }
}

/// Opens a connection, or waits for a stream where the cluster may have no more; while one is being opened, everybody
/// waits for that one. None: ALPN chose HTTP/1.
async fn connect(pools: &Rc<Pools>, pool: &Rc<HostPool>) -> Result<Option<Lease>, Reset> {
    let settings = &pools.settings;
    let _pending = Gauge::take_below(Pending(pools.usage.clone()), settings.max_pending).ok_or(Reset::Overflow)?;
    loop {
        if let Some(lease) = pool.http2.take(pools) {
            return Ok(Some(lease));
        }
        if pool.agreed_http2.get() == Some(false) {
            return Ok(None);
        }
        if pool.http2.connecting.get() {
            let (sender, receiver) = oneshot::channel();
            pool.http2.waiters.borrow_mut().push(sender);
            // An error: who was connecting gave up, for its client went away.
            if let Ok(Err(reset)) = receiver.await {
                return Err(reset);
            }
            continue;
        }
        let (stream, freed) = (pool.http2.freed.notified(), pools.freed.notified());
        let slot = match Gauge::take_below(Connections(pools.usage.clone()), settings.max_connections) {
            Some(slot) => slot,
            None if pool.http2.conns.borrow().is_empty() => Gauge::take(Connections(pools.usage.clone())),
            None => {
                tokio::select! {
                    () = stream => {}
                    () = freed => {}
                }
                continue;
            }
        };
        let turn = Turn::take(pool);
        let opened = open(pools, pool, slot).await;
        turn.end(opened.as_ref().map(|_| ()).map_err(|reset| *reset));
        opened?;
    }
}

async fn open(pools: &Rc<Pools>, pool: &Rc<HostPool>, slot: Unit<Connections>) -> Result<(), Reset> {
    let stream = pool::open(pools, pool, false).await?;
    if pools.settings.by_alpn {
        let http2 = stream.agreed_http2();
        pool.agreed_http2.set(Some(http2));
        if !http2 {
            return super::http1::adopt(pools, pool, stream, slot).await;
        }
    }
    adopt(pools, pool, stream, slot).await
}

/// Takes a connection that speaks HTTP/2.
pub(super) async fn adopt(
    pools: &Rc<Pools>,
    pool: &Rc<HostPool>,
    stream: UpstreamStream,
    slot: Unit<Connections>,
) -> Result<(), Reset> {
    let local = stream.local_addr().ok();
    let mut builder = http2::Builder::new(LocalExec);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(64 * 1024);
    if let Some(keepalive) = pools.settings.http2_keepalive {
        builder
            .keep_alive_interval(keepalive.interval)
            .keep_alive_timeout(keepalive.timeout)
            .keep_alive_while_idle(true);
    }
    let (sender, mut connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|_| Reset::Terminated)?;
    let freed = pools.freed.clone();
    let streams = Rc::new(Cell::new(u32::MAX));
    let told = Rc::clone(&streams);
    let most = pools.settings.max_connection_duration;
    let of = Rc::downgrade(pool);
    // Drained: it closes with its last stream.
    let leave = move || {
        if let Some(pool) = of.upgrade() {
            pool.http2.conns.borrow_mut().retain(|conn| !conn.is_old(most));
        }
    };
    tokio::task::spawn_local(async move {
        let ended = poll_fn(|cx| {
            let polled = Pin::new(&mut connection).poll(cx);
            told.set(u32::try_from(connection.current_max_send_streams()).unwrap_or(u32::MAX));
            polled
        });
        if let Err(error) = run(ended, most, leave).await {
            tracing::debug!(%error, "an upstream connection ended");
        }
        drop(slot);
        freed.notify_waiters();
    });
    let now = Instant::now();
    let conn = Rc::new(Conn {
        sender,
        active: Cell::new(0),
        streams,
        requests: Cell::new(0),
        local,
        opened: now,
        last_used: Cell::new(now),
        leaving: Cell::new(false),
        freed: Rc::clone(&pool.http2.freed),
    });
    if let Some(timeout) = pools.settings.idle_timeout {
        tokio::task::spawn_local(close_when_idle(Rc::downgrade(pool), Rc::downgrade(&conn), timeout));
    }
    pool.http2.conns.borrow_mut().push(conn);
    Ok(())
}

/// Takes a connection that nobody has used for the idle timeout out of its pool: it closes with its last handle.
async fn close_when_idle(pool: Weak<HostPool>, conn: Weak<Conn>, timeout: Duration) {
    let mut wait = timeout;
    loop {
        tokio::time::sleep(wait).await;
        let (Some(pool), Some(conn)) = (pool.upgrade(), conn.upgrade()) else { return };
        let idle = conn.last_used.get().elapsed();
        if conn.active.get() == 0 && idle >= timeout {
            pool.http2.conns.borrow_mut().retain(|other| !Rc::ptr_eq(other, &conn));
            return;
        }
        wait = if conn.active.get() > 0 { timeout } else { timeout.saturating_sub(idle) };
    }
}

/// The right to open a connection. Dropped before `end`, the waiters look for themselves.
struct Turn<'a>(&'a HostPool);

impl<'a> Turn<'a> {
    fn take(pool: &'a HostPool) -> Self {
        pool.http2.connecting.set(true);
        Self(pool)
    }

    fn end(self, result: Result<(), Reset>) {
        for waiter in self.0.http2.waiters.borrow_mut().drain(..) {
            // A waiter whose client went away.
            let _ = waiter.send(result);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.http2.connecting.set(false);
        self.0.http2.waiters.borrow_mut().clear();
    }
}
