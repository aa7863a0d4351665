//! The ADS server: who is connected, what each is to have, and how far each has come.
//!
//! One thread translates ([`push`]): once for each scope, once for what scopes share, and encodes each resource
//! once. Each stream has a task of its own ([`stream`]), so that a slow proxy delays nobody.

mod connection;
mod counts;
mod push;
mod stream;
mod thread;

pub use connection::Connection;
pub use counts::{CONVERGENCE_BOUNDS, Counts};

use crate::engine::Generation;
use amime_model::translate::Node;
use amime_xds::server::{Status, StreamOptions};
use amime_xds::transport::{Link, serve_connection};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;

/// How far a connected proxy has come.
#[derive(Debug, Clone)]
pub struct ProxyStatus {
    /// As the proxy wrote it: `sidecar~10.1.1.1~productpage-v1.default~default.svc.cluster.local`.
    pub id: Arc<str>,
    pub node: Arc<Node>,
    pub connection: Arc<Connection>,
    /// The generation of the snapshot that the proxy is being given.
    pub generation: u64,
    pub stream: Status,
}

impl ProxyStatus {
    /// The proxy runs all of that snapshot or of a later one, and refused nothing.
    pub fn runs(&self, generation: u64) -> bool {
        self.generation >= generation && self.stream.in_step
    }
}

/// How long a connection may be open before its first stream.
const FIRST_STREAM: Duration = Duration::from_secs(10);

/// How long a connection lives, as Istio's control plane has it, give or take a tenth by chance: proxies that leave
/// spread anew over all control planes, also over one that has come since.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);
/// So long a stream of that age may go on until its proxy has taken what is under way.
const LAST_PUSH: Duration = Duration::from_secs(10);

/// Who is at the other end of a connection over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
    /// Nobody on the way can read what is sent: TLS.
    pub encrypted: bool,
}

impl From<SocketAddr> for Peer {
    /// In plaintext.
    fn from(address: SocketAddr) -> Self {
        Self { address, encrypted: false }
    }
}

impl Peer {
    /// Private keys may be sent to it: what is sent in plaintext must not leave this machine.
    fn may_have_secrets(self) -> bool {
        self.encrypted || self.address.ip().to_canonical().is_loopback()
    }
}

/// Serves ADS. Clones are the same server; the thread behind it ends with the last of them and the last stream.
#[derive(Debug, Clone)]
pub struct Distributor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    push: push::Push,
    options: StreamOptions,
    /// How long connections over the network live.
    max_age: Duration,
    counters: counts::Counters,
    proxies: Mutex<BTreeMap<u64, ProxyStatus>>,
    /// Counts the changes of `proxies`.
    changes: watch::Sender<u64>,
    /// True from the end of the server on.
    ending: watch::Sender<bool>,
}

impl Distributor {
    /// Serves what is published. Has to be called within a tokio runtime.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn start(snapshots: watch::Receiver<Generation>, options: StreamOptions) -> std::io::Result<Self> {
        Self::with_max_age(snapshots, options, MAX_AGE)
    }

    /// The same, where connections over the network live for so long, give or take a tenth.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn with_max_age(
        snapshots: watch::Receiver<Generation>,
        options: StreamOptions,
        max_age: Duration,
    ) -> std::io::Result<Self> {
        let push = push::Push::start(snapshots)?;
        Ok(Self(Arc::new(Shared {
            push,
            options,
            max_age,
            counters: counts::Counters::default(),
            proxies: Mutex::default(),
            changes: watch::Sender::new(0),
            ending: watch::Sender::new(false),
        })))
    }

    /// Serves one connection from the network until it ends; a peer that answers no pings is gone.
    ///
    /// # Errors
    /// What broke the connection.
    pub async fn serve<IO>(&self, io: IO, peer: impl Into<Peer>) -> Result<(), Broken>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.serve_over(io, Link::Network, Some(peer.into())).await
    }

    /// Serves one connection within this process until it ends.
    ///
    /// # Errors
    /// What broke the connection.
    pub async fn serve_in_process<IO>(&self, io: IO) -> Result<(), Broken>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.serve_over(io, Link::InProcess, None).await
    }

    async fn serve_over<IO>(&self, io: IO, link: Link, peer: Option<Peer>) -> Result<(), Broken>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (shared, mut ending) = (self.0.clone(), self.0.ending.subscribe());
        let is_used = Arc::new(AtomicBool::new(false));
        let used = is_used.clone();
        let old = peer.map(|_| Instant::now() + self.0.age());
        let accept = move |opened| {
            used.store(true, Ordering::Relaxed);
            tokio::spawn(stream::run(shared.clone(), opened, peer, old));
        };
        let end = async move {
            tokio::select! {
                () = ended(&mut ending) => {}
                () = stays_unused(link, &is_used) => {}
                () = at(old) => {}
            }
        };
        serve_connection(io, link, accept, end).await.map_err(|error| Broken(error.to_string()))
    }

    /// Ends every stream and lets connections end: proxies are told, and turn to another control plane.
    pub fn end(&self) {
        self.0.ending.send_replace(true);
    }

    /// Returns when the thread that translates has ended by a panic: nobody is given anything any more.
    pub async fn stopped(&self) {
        self.0.push.stopped().await;
    }

    /// What `look` makes of every connected proxy, the longest connected first. All streams wait meanwhile.
    pub fn each<T>(&self, look: impl Fn(&ProxyStatus) -> T) -> Vec<T> {
        self.0.proxies().values().map(look).collect()
    }

    /// Every connected proxy, the longest connected first.
    pub fn proxies(&self) -> Vec<ProxyStatus> {
        self.0.proxies().values().cloned().collect()
    }

    /// What was counted since the start.
    pub fn counts(&self) -> Counts {
        self.0.counters.read()
    }

    /// Changes whenever the status of some proxy does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }
}

/// Returns at that moment; never, where there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Returns when the server ends.
async fn ended(ending: &mut watch::Receiver<bool>) {
    // The sender going away is the end of all, too.
    let _ = ending.wait_for(|ending| *ending).await;
}

/// Returns where a connection has come over the network, and has had no stream after a while.
async fn stays_unused(link: Link, is_used: &AtomicBool) {
    if link == Link::Network {
        tokio::time::sleep(FIRST_STREAM).await;
        if !is_used.load(Ordering::Relaxed) {
            return;
        }
    }
    std::future::pending().await
}

/// A connection that broke.
#[derive(Debug, thiserror::Error)]
#[error("the connection of a proxy broke: {0}")]
pub struct Broken(String);

impl Shared {
    /// How long the next connection lives: not all that came together leave together.
    fn age(&self) -> Duration {
        // Each `RandomState` has keys of its own.
        let chance = RandomState::new().hash_one(()) as f64 / u64::MAX as f64;
        self.max_age.mul_f64(0.9 + 0.2 * chance)
    }

    /// A panic while it was held leaves entries that are merely old.
    fn proxies(&self) -> MutexGuard<'_, BTreeMap<u64, ProxyStatus>> {
        self.proxies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_status(&self, stream: u64, status: ProxyStatus) {
        self.proxies().insert(stream, status);
        self.changes.send_modify(|count| *count += 1);
    }

    fn forget(&self, stream: u64) {
        self.proxies().remove(&stream);
        self.changes.send_modify(|count| *count += 1);
    }
}
