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
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

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

/// Serves ADS. Clones are the same server; the thread behind it ends with the last of them and the last stream.
#[derive(Debug, Clone)]
pub struct Distributor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    push: push::Push,
    options: StreamOptions,
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
        let push = push::Push::start(snapshots)?;
        Ok(Self(Arc::new(Shared {
            push,
            options,
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
    pub async fn serve<IO>(&self, io: IO, peer: SocketAddr) -> Result<(), Broken>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.serve_over(io, Link::Network, Some(peer)).await
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

    async fn serve_over<IO>(&self, io: IO, link: Link, peer: Option<SocketAddr>) -> Result<(), Broken>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (shared, mut ending) = (self.0.clone(), self.0.ending.subscribe());
        let is_used = Arc::new(AtomicBool::new(false));
        let used = is_used.clone();
        let accept = move |opened| {
            used.store(true, Ordering::Relaxed);
            tokio::spawn(stream::run(shared.clone(), opened, peer));
        };
        let end = async move {
            tokio::select! {
                () = ended(&mut ending) => {}
                () = stays_unused(link, &is_used) => {}
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
