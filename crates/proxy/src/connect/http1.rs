//! HTTP/1 connections of one worker to one endpoint: one request at a time each, kept for the next one.

use super::http2;
use super::pool::{HostPool, Pools, Reset, SendError, Sent, UpstreamRequest, answered, classify, open, run};
use super::upstream_io::UpstreamIo;
use crate::balance::limits::{Connections, Gauge, Pending, Unit};
use crate::http::body::RequestBody;
use crate::tls::stream::UpstreamStream;
use hyper::client::conn::http1;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

#[derive(Default)]
pub(crate) struct Pool {
    /// The most recently used last, and taken first.
    idle: RefCell<Vec<Conn>>,
    /// Requests that wait because the cluster has as many connections as it may.
    waiters: RefCell<VecDeque<oneshot::Sender<Conn>>>,
    /// Open connections and those being opened.
    open: Cell<u32>,
    reaping: Cell<bool>,
}

struct Conn {
    sender: http1::SendRequest<RequestBody>,
    place: Weak<Place>,
    requests: u32,
    /// The address that it was made from.
    local: Option<SocketAddr>,
    opened: Instant,
    last_used: Instant,
}

impl Conn {
    fn is_old(&self, most: Option<Duration>) -> bool {
        most.is_some_and(|most| self.opened.elapsed() >= most)
    }
}

/// A connection while a request uses it, or what the request has made of it.
pub(crate) struct Lease {
    conn: Conn,
    /// Also for what the connection has become, when the codec is done with it.
    _place: Option<Rc<Place>>,
    pool: Rc<HostPool>,
    pools: Rc<Pools>,
}

impl Lease {
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.conn.local
    }

    pub(crate) fn give_back(self) {
        let Self { mut conn, pool, pools, _place } = self;
        let settings = &pools.settings;
        let used_up =
            settings.max_requests_per_connection != 0 && conn.requests >= settings.max_requests_per_connection;
        if used_up
            || conn.is_old(settings.max_connection_duration)
            || pool.retired.get()
            || pools.retired.get()
            || conn.sender.is_closed()
        {
            return;
        }
        while let Some(waiter) = pool.http1.waiters.borrow_mut().pop_front() {
            match waiter.send(conn) {
                Ok(()) => return,
                Err(back) => conn = back,
            }
        }
        if settings.idle_timeout.is_some() {
            conn.last_used = Instant::now();
        }
        keep(&pools, &pool, conn);
    }
}

/// For the next request.
fn keep(pools: &Rc<Pools>, pool: &Rc<HostPool>, conn: Conn) {
    pool.http1.idle.borrow_mut().push(conn);
    if pools.settings.idle_timeout.is_some() && !pool.http1.reaping.replace(true) {
        reap(pools, pool);
    }
}

impl Pool {
    /// One that is ready for a request: not closed, not older than it may be, and done with its last one on both sides.
    fn take_ready(&self, most: Option<Duration>) -> Option<Conn> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|conn| !conn.sender.is_closed() && !conn.is_old(most));
        let at = idle.iter().rposition(|conn| conn.sender.is_ready())?;
        Some(idle.remove(at))
    }

    /// A place in the queue for the next connection that is given back.
    fn wait(&self) -> oneshot::Receiver<Conn> {
        let (sender, receiver) = oneshot::channel();
        let mut waiters = self.waiters.borrow_mut();
        // Those who gave up are let go when the queue has doubled.
        if waiters.len() >= 16 && waiters.len().is_power_of_two() {
            waiters.retain(|waiter| !waiter.is_closed());
        }
        waiters.push_back(sender);
        receiver
    }

    pub(crate) fn clear(&self) {
        self.idle.borrow_mut().clear();
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.open.get() == 0 && self.waiters.borrow().is_empty()
    }
}

/// Sends a request; where a pooled connection turns out to be closed, over the next one. Unless it is `alone` that is
/// offered, ALPN may choose HTTP/2: the request comes back then.
pub(super) async fn send(
    pools: &Rc<Pools>,
    pool: &Rc<HostPool>,
    mut request: UpstreamRequest,
    alone: bool,
    patience: Option<Duration>,
) -> Result<Sent, SendError> {
    loop {
        let mut conn = match pool.http1.take_ready(pools.settings.max_connection_duration) {
            Some(conn) => conn,
            // Boxed, for it is large and rare: every request's future would have to hold it.
            None => match Box::pin(connect(pools, pool, alone)).await {
                Ok(Some(conn)) => conn,
                Ok(None) => return Err(SendError::unsent(Reset::Terminated, request)),
                Err(reset) => return Err(SendError::unsent(reset, request)),
            },
        };
        conn.requests += 1;
        let place = conn.place.upgrade();
        let sending = pin!(conn.sender.try_send_request(request));
        let Some(sent) = answered(sending, patience).await else {
            return Err(SendError::sent(Reset::ConnectTimeout));
        };
        match sent {
            Ok(response) => {
                let lease = Lease { conn, _place: place, pool: Rc::clone(pool), pools: Rc::clone(pools) };
                return Ok(Sent { response, lease: super::pool::Lease::Http1(lease) });
            }
            Err(mut error) => match error.take_message() {
                // A new connection that takes no request would be tried for ever.
                Some(back) if conn.requests > 1 => request = back,
                Some(back) => return Err(SendError::unsent(Reset::Terminated, back)),
                None => return Err(SendError::sent(classify(&error.into_error()))),
            },
        }
    }
}

/// Opens a connection, or waits for one where the cluster may have no more. None: ALPN chose HTTP/2.
async fn connect(pools: &Rc<Pools>, pool: &Rc<HostPool>, alone: bool) -> Result<Option<Conn>, Reset> {
    let settings = &pools.settings;
    let _pending = Gauge::take_below(Pending(pools.usage.clone()), settings.max_pending).ok_or(Reset::Overflow)?;
    loop {
        // One may have been given back while this request waited for another.
        if let Some(conn) = pool.http1.take_ready(settings.max_connection_duration) {
            return Ok(Some(conn));
        }
        let either = settings.by_alpn && !alone;
        if either && pool.agreed_http2.get() == Some(true) {
            return Ok(None);
        }
        let freed = pools.freed.notified();
        let connections = Connections(pools.usage.clone());
        let slot = match Gauge::take_below(connections.clone(), settings.max_connections) {
            Some(slot) => slot,
            // Others hold all connections, and this worker none to this endpoint that could become free:
            // one more is opened, as Envoy does, for nobody would ever serve the request else.
            None if pool.http1.open.get() == 0 => Gauge::take(connections),
            None => {
                let receiver = pool.http1.wait();
                tokio::select! {
                    biased;
                    conn = receiver => if let Ok(mut conn) = conn {
                        // Both sides of its last request have ended: it is ready in a moment, or closed.
                        if conn.sender.ready().await.is_ok() {
                            return Ok(Some(conn));
                        }
                    },
                    () = freed => {}
                }
                continue;
            }
        };
        let place = Place { slot, _opening: Opening::new(pools, pool) };
        let stream = open(pools, pool, alone).await?;
        if either && stream.agreed_http2() {
            pool.agreed_http2.set(Some(true));
            http2::adopt(pools, pool, stream, place.slot).await?;
            return Ok(None);
        }
        return begin(pools, pool, stream, Rc::new(place)).await.map(Some);
    }
}

/// Takes a connection that ALPN chose HTTP/1 for.
pub(super) async fn adopt(
    pools: &Rc<Pools>,
    pool: &Rc<HostPool>,
    stream: UpstreamStream,
    slot: Unit<Connections>,
) -> Result<(), Reset> {
    let place = Rc::new(Place { slot, _opening: Opening::new(pools, pool) });
    let mut conn = begin(pools, pool, stream, place).await?;
    // It is after its task has run once.
    conn.sender.ready().await.map_err(|_| Reset::Terminated)?;
    keep(pools, pool, conn);
    Ok(())
}

async fn begin(
    pools: &Rc<Pools>,
    pool: &Rc<HostPool>,
    stream: UpstreamStream,
    place: Rc<Place>,
) -> Result<Conn, Reset> {
    let local = stream.local_addr().ok();
    let (sender, connection) = http1::handshake(UpstreamIo::new(stream)).await.map_err(|_| Reset::Terminated)?;
    let weak = Rc::downgrade(&place);
    let most = pools.settings.max_connection_duration;
    let of = Rc::downgrade(pool);
    let close_idle = move || {
        if let Some(pool) = of.upgrade() {
            pool.http1.idle.borrow_mut().retain(|conn| !conn.is_old(most));
        }
    };
    tokio::task::spawn_local(async move {
        let _place = place;
        if let Err(error) = run(connection.with_upgrades(), most, close_idle).await {
            tracing::debug!(%error, "an upstream connection ended");
        }
    });
    let now = Instant::now();
    Ok(Conn { sender, place: weak, requests: 0, local, opened: now, last_used: now })
}

/// An open connection's place: at its pool, and among those of the cluster.
struct Place {
    slot: Unit<Connections>,
    // Dropped last: it tells those who wait for a slot.
    _opening: Opening,
}

/// Counts a connection at its pool until it has ended.
struct Opening {
    pool: Rc<HostPool>,
    pools: Rc<Pools>,
}

impl Opening {
    fn new(pools: &Rc<Pools>, pool: &Rc<HostPool>) -> Self {
        pool.http1.open.set(pool.http1.open.get() + 1);
        Self { pool: Rc::clone(pool), pools: Rc::clone(pools) }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.pool.http1.open.set(self.pool.http1.open.get() - 1);
        self.pool.http1.waiters.borrow_mut().retain(|waiter| !waiter.is_closed());
        // Dropping the senders of waiters would make them fail; a notification makes them look again.
        self.pools.freed.notify_waiters();
    }
}

/// Closes connections that nobody has used for the idle timeout, until none is left.
fn reap(pools: &Rc<Pools>, pool: &Rc<HostPool>) {
    let Some(timeout) = pools.settings.idle_timeout else { return };
    let pool = Rc::downgrade(pool);
    tokio::task::spawn_local(async move {
        let mut wait = timeout;
        loop {
            tokio::time::sleep(wait).await;
            let Some(pool) = pool.upgrade() else { return };
            let mut idle = pool.http1.idle.borrow_mut();
            idle.retain(|conn| conn.last_used.elapsed() < timeout && !conn.sender.is_closed());
            let Some(oldest) = idle.iter().map(|conn| conn.last_used).min() else {
                pool.http1.reaping.set(false);
                return;
            };
            wait = timeout.saturating_sub(oldest.elapsed()).max(Duration::from_millis(1));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_gave_up_do_not_wait() {
        let pool = Pool::default();
        let waiting = pool.wait();
        for _ in 0..10_000 {
            drop(pool.wait());
        }
        assert!(pool.waiters.borrow().len() <= 17);
        assert!(pool.waiters.borrow().iter().any(|waiter| !waiter.is_closed()));
        drop(waiting);
    }
}
