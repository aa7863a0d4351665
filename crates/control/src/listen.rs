//! The ports at which proxies connect, in plaintext and by TLS. `amime control` opens them, and hands them over once
//! there is something to serve.

use crate::distribute::{Distributor, Peer};
use crate::tls::ServerTls;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::server::TlsStream;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// So many handshakes are under way at once; one more ends the oldest, which is no proxy's that means well.
const MOST_HANDSHAKES: usize = 512;

/// An open port that nobody is served at yet: who connects waits in the system's queue.
#[derive(Debug)]
pub struct Port(TcpListener);

/// A port at which proxies are served. Dropping it cuts their connections.
#[derive(Debug)]
pub struct Listener {
    stop: watch::Sender<bool>,
    accepting: JoinSet<()>,
}

impl Port {
    /// Opens a port; 0 is any free one.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self)
    }

    /// The port that was taken.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Serves ADS to whoever connects, on the current runtime: by TLS, or in plaintext.
    pub fn serve(self, distributor: Distributor, tls: Option<ServerTls>) -> Listener {
        let (stop, stopped) = watch::channel(false);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(self.0, distributor, tls, stopped));
        Listener { stop, accepting }
    }
}

impl Listener {
    /// Takes no new connection, and returns when the last one has ended ([`Distributor::end`] ends them).
    pub async fn finish(mut self) {
        self.stop.send_replace(true);
        while self.accepting.join_next().await.is_some() {}
    }
}

async fn accept(
    listener: TcpListener,
    distributor: Distributor,
    tls: Option<ServerTls>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut handshakes = Handshakes::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // Small messages go out at once; a socket that refuses the option still works.
                    let _ = stream.set_nodelay(true);
                    match &tls {
                        Some(tls) => handshakes.begin(stream, peer, tls),
                        None => drop(connections.spawn(serve(stream, peer.into(), distributor.clone()))),
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a proxy's connection could not be accepted");
                    // Out of files: the next moment may have some.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            },
            Some((stream, peer)) = handshakes.next() => {
                let peer = Peer { address: peer, encrypted: true };
                connections.spawn(serve(stream, peer, distributor.clone()));
            }
            Some(_) = connections.join_next() => {}
            () = stopped(&mut stop) => break,
        }
    }
    drop((listener, handshakes));
    while connections.join_next().await.is_some() {}
}

/// Returns when the port is to be closed; its owner going away says the same.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn serve<IO>(stream: IO, peer: Peer, distributor: Distributor)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if let Err(error) = distributor.serve(stream, peer).await {
        tracing::debug!(peer = %peer.address, %error, "a proxy's connection ended");
    }
}

type Secured = (TlsStream<TcpStream>, SocketAddr);

/// The handshakes that are under way: none holds up another.
#[derive(Default)]
struct Handshakes {
    tasks: JoinSet<Option<Secured>>,
    /// The oldest first; those that have ended too, until they come to the front.
    order: VecDeque<AbortHandle>,
}

impl Handshakes {
    fn begin(&mut self, stream: TcpStream, peer: SocketAddr, tls: &ServerTls) {
        while self.order.front().is_some_and(AbortHandle::is_finished) {
            self.order.pop_front();
        }
        if self.tasks.len() >= MOST_HANDSHAKES
            && let Some(oldest) = self.order.pop_front()
        {
            oldest.abort();
        }
        let acceptor = tls.acceptor();
        self.order.push_back(self.tasks.spawn(async move {
            match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => Some((stream, peer)),
                Ok(Err(error)) => {
                    tracing::debug!(%peer, %error, "a TLS handshake failed");
                    None
                }
                Err(_) => {
                    tracing::debug!(%peer, "a TLS handshake took too long");
                    None
                }
            }
        }));
    }

    /// The next connection that is secured; None while no handshake is under way. Safe to cancel.
    async fn next(&mut self) -> Option<Secured> {
        loop {
            // What failed, or was ended, is no connection.
            if let Ok(Some(secured)) = self.tasks.join_next().await? {
                return Some(secured);
            }
        }
    }
}
