//! What the requests of a client's connection share, and how its parts tell each other that it must end.

use super::deadline::SpareTimer;
use super::exchange::Exchange;
use super::upgrade;
use super::wire::Refusal;
use crate::connect::private::Private;
use crate::flags::Flags;
use crate::proxy_worker::ProxyWorker;
use crate::runtime::{ChainRuntime, Hcm, ListenerRuntime, RuntimeConfig};
use crate::telemetry::Ends;
use crate::telemetry::http::NamedService;
use crate::telemetry::peer::Peer;
use amime_model::config::RouteSource;
use amime_model::route::RouteTable;
use http::HeaderValue;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// What the requests of a connection share, and how its parts talk to each other.
pub(crate) struct ConnState {
    pub(crate) proxy: Rc<ProxyWorker>,
    pub(crate) listener: Arc<ListenerRuntime>,
    pub(crate) chain: Arc<ChainRuntime>,
    pub(crate) hcm: Arc<Hcm>,
    pub(crate) ends: Ends,
    /// The client's address as `x-forwarded-for` has it.
    pub(crate) remote_text: HeaderValue,
    /// Where the client wanted to go, if that is known.
    pub(crate) original: Option<SocketAddr>,
    /// The name that a TLS client asked for.
    pub(crate) server_name: Option<String>,
    /// Connections to endpoints that tell of this one.
    pub(crate) private: Private,
    /// Who said last who it is.
    pub(crate) peer: RefCell<Option<Rc<Peer>>>,
    /// The service of its last request that no cluster told one of.
    pub(crate) named: RefCell<NamedService>,
    /// Requests under way.
    pub(crate) active: Cell<u32>,
    pub(crate) requests: Cell<u32>,
    /// Requests whose answers the codec has whole.
    pub(crate) ended: Cell<u32>,
    /// When a head began that is not whole yet.
    pub(crate) head_since: Cell<Option<Instant>>,
    pub(crate) refusal: Cell<Option<Refusal>>,
    /// End between two requests.
    pub(crate) close: Cell<bool>,
    /// Nothing is read until it is known whether the connection becomes a tunnel.
    pub(crate) held: Cell<bool>,
    pub(crate) tunnel: RefCell<Option<upgrade::Tunnel>>,
    pub(crate) spare_timer: Cell<Option<SpareTimer>>,
    last: Cell<Instant>,
    /// The longest time without a byte that a request of the connection may have; None: any.
    patience: Cell<Option<Duration>>,
    /// Answers say that the connection ends; until this moment it may stay idle.
    drain_until: Cell<Option<Instant>>,
    aborted: Cell<bool>,
    /// When the watchdog first saw that the connection is to close.
    closing: Cell<Option<Instant>>,
    /// The routes of a filter chain that has left the configuration.
    kept_routes: RefCell<Option<Arc<RouteTable>>>,
    /// An HTTP/1 answer on its way, and the most that it may take after its request.
    answering: RefCell<Option<(Weak<Exchange>, Duration)>>,
    reader: RefCell<Option<Waker>>,
    watchdog: RefCell<Option<Waker>>,
}

/// How long a connection that ends may make no progress in writing the last of its answers.
const FLUSH: Duration = Duration::from_secs(5);
/// So much later than an answer's own timer, which tells the client what has run out, the connection ends.
const GRACE: Duration = Duration::from_secs(1);

/// The ends of a connection, and what it was meant for.
pub(crate) struct Peers {
    pub(crate) ends: Ends,
    pub(crate) original: Option<SocketAddr>,
    pub(crate) server_name: Option<String>,
}

impl ConnState {
    pub(super) fn new(
        proxy: Rc<ProxyWorker>,
        listener: Arc<ListenerRuntime>,
        chain: Arc<ChainRuntime>,
        hcm: Arc<Hcm>,
        peers: Peers,
    ) -> Self {
        let patience = hcm.stream_idle;
        Self {
            proxy,
            listener,
            chain,
            hcm,
            ends: peers.ends,
            remote_text: HeaderValue::from_str(&peers.ends.remote.ip().to_string())
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            private: Private::new((peers.ends.remote, peers.ends.local)),
            original: peers.original,
            server_name: peers.server_name,
            peer: RefCell::default(),
            named: RefCell::default(),
            active: Cell::new(0),
            requests: Cell::new(0),
            ended: Cell::new(0),
            head_since: Cell::new(None),
            refusal: Cell::new(None),
            close: Cell::new(false),
            held: Cell::new(false),
            tunnel: RefCell::default(),
            spare_timer: Cell::new(None),
            last: Cell::new(Instant::now()),
            patience: Cell::new(patience),
            drain_until: Cell::new(None),
            aborted: Cell::new(false),
            closing: Cell::new(None),
            kept_routes: RefCell::default(),
            answering: RefCell::default(),
            reader: RefCell::default(),
            watchdog: RefCell::default(),
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drain_until.get().is_some()
    }

    /// Lets the connection end: its answers say so, and an idle one closes after `grace`.
    pub(crate) fn drain(&self, grace: Duration) {
        if self.drain_until.get().is_none() {
            self.drain_until.set(Some(Instant::now() + grace));
            self.wake_watchdog();
        }
    }

    /// Goes on with the routes that a configuration had for this connection.
    pub(crate) fn keep_routes(&self, config: &RuntimeConfig) {
        if let RouteSource::Rds(name) = &self.hcm.config.routes
            && let Some(table) = config.tables.get(name.as_str())
        {
            self.kept_routes.borrow_mut().get_or_insert_with(|| Arc::clone(table));
        }
    }

    /// The routes that do not come from the configuration of now: inline ones, or those of a chain that has left.
    pub(crate) fn own_routes(&self) -> Option<Arc<RouteTable>> {
        match &self.hcm.inline {
            Some(table) => Some(Arc::clone(table)),
            None => self.kept_routes.borrow().clone(),
        }
    }

    fn closing_since(&self) -> Instant {
        let since = self.closing.get().unwrap_or_else(Instant::now);
        self.closing.set(Some(since));
        since
    }

    pub(crate) fn abort(&self) {
        self.aborted.set(true);
        self.wake_watchdog();
    }

    pub(crate) fn touch(&self) {
        self.moved(Instant::now());
    }

    /// Bytes moved at that moment.
    pub(crate) fn moved(&self, at: Instant) {
        self.last.set(at);
    }

    /// A request may be without a byte for so long (None: for ever).
    pub(crate) fn be_patient(&self, idle: Option<Duration>) {
        self.patience.set(self.patience.get().zip(idle).map(|(longest, idle)| longest.max(idle)));
    }

    pub(crate) fn set_reader(&self, waker: &Waker) {
        let mut reader = self.reader.borrow_mut();
        if !reader.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *reader = Some(waker.clone());
        }
    }

    pub(crate) fn wake_reader(&self) {
        if let Some(waker) = &*self.reader.borrow() {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn wake_watchdog(&self) {
        if let Some(waker) = &*self.watchdog.borrow() {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn exchange_begun(&self) {
        self.active.set(self.active.get() + 1);
        self.requests.set(self.requests.get() + 1);
    }

    pub(crate) fn exchange_ended(&self) {
        self.active.set(self.active.get() - 1);
        self.ended.set(self.ended.get() + 1);
        self.touch();
        if self.close.get() || self.refusal.get().is_some() {
            self.wake_reader();
        }
    }

    /// Bounds the answer that is on its way also while the client takes no bytes: nobody asks for more of it then,
    /// so its own timer does not run.
    pub(super) fn answer_within(&self, exchange: &Rc<Exchange>, total: Duration) {
        *self.answering.borrow_mut() = Some((Rc::downgrade(exchange), total));
    }

    /// The answer that is bounded, and when it must have ended.
    fn answer_due(&self) -> Option<(Rc<Exchange>, Instant)> {
        let answering = self.answering.borrow();
        let (exchange, total) = answering.as_ref()?;
        let exchange = exchange.upgrade().filter(|exchange| !exchange.response_done.get())?;
        let due = exchange.request_done_at.get()? + *total + GRACE;
        Some((exchange, due))
    }

    /// When the watchdog must look again; None where nothing can run out.
    fn next_look(&self) -> Option<Instant> {
        if self.active.get() > 0 {
            // Each exchange has a timer of its own, which nobody asks while the client takes no bytes: then these
            // end the connection.
            let idle = self.patience.get().map(|idle| self.last.get() + idle + GRACE);
            let due = self.answer_due().map(|(_, due)| due);
            return [idle, due].into_iter().flatten().min();
        }
        if self.close.get() {
            return Some(self.last.get().max(self.closing_since()) + FLUSH);
        }
        let head = self.head_since.get().map(|since| since + self.hcm.headers_timeout);
        let idle = self.hcm.idle.map(|idle| self.last.get() + idle);
        [head.or(idle), self.drain_until.get()].into_iter().flatten().min()
    }

    /// Ready when the connection is to be dropped as it stands.
    pub(super) fn poll_watchdog(&self, cx: &mut Context<'_>, timer: &mut Option<SpareTimer>) -> Poll<()> {
        {
            let mut watchdog = self.watchdog.borrow_mut();
            if !watchdog.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                *watchdog = Some(cx.waker().clone());
            }
        }
        loop {
            if self.aborted.get() {
                return Poll::Ready(());
            }
            let Some(next) = self.next_look() else { return Poll::Pending };
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next.into())));
            if timer.deadline() > next.into() {
                timer.as_mut().reset(next.into());
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if now < next {
                timer.as_mut().reset(next.into());
                continue;
            }
            if let Some((exchange, due)) = self.answer_due()
                && due <= now
            {
                exchange.flag(Flags::UT);
                exchange.details.set("response_timeout");
            }
            if self.active.get() > 0 || self.close.get() {
                return Poll::Ready(());
            }
            if self.head_since.get().is_some_and(|since| since + self.hcm.headers_timeout <= now) {
                self.refusal.set(Some(Refusal::TimedOut));
            }
            self.close.set(true);
            self.wake_reader();
        }
    }
}
