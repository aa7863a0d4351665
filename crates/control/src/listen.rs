//! The ports at which proxies connect. `amime control` opens them, and hands them over once there is something to serve.

use crate::distribute::Distributor;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

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

    /// Serves ADS to whoever connects, as they are (plaintext), on the current runtime.
    pub fn serve(self, distributor: Distributor) -> Listener {
        let (stop, stopped) = watch::channel(false);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(self.0, distributor, stopped));
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

async fn accept(listener: TcpListener, distributor: Distributor, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(serve(stream, peer, distributor.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a proxy's connection could not be accepted");
                    // Out of files: the next moment may have some.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Returns when the port is to be closed; its owner going away says the same.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn serve(stream: TcpStream, peer: SocketAddr, distributor: Distributor) {
    // Small messages go out at once; a socket that refuses the option still works.
    let _ = stream.set_nodelay(true);
    if let Err(error) = distributor.serve(stream, peer).await {
        tracing::debug!(%peer, %error, "a proxy's connection ended");
    }
}
