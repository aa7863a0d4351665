//! The proxy that `--replace` prints: by it the user's own process reaches the mesh as the workload that it is.
//! Names are looked up as that pod would; connections go into the pod's own sidecar.
//!
//! HTTP in absolute form, CONNECT and SOCKS5 are told apart by the first byte. `up` starts one for each replaced pod.

mod http;
mod socks;

use super::capture::Origin;
use super::names::Names;
use super::prefixed::Prefixed;
use bytes::BytesMut;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const SOCKS5: u8 = 5;

/// The pod whose way into the mesh this is.
#[derive(Debug)]
struct Way {
    origin: Origin,
    namespace: String,
    names: Names,
}

impl Way {
    async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let destination = self.names.resolve(host, &self.namespace, port).await?;
        self.origin.connect(destination).await
    }
}

/// A running proxy. Dropping it closes its connections.
#[derive(Debug)]
pub(crate) struct NameProxy {
    _connections: JoinSet<()>,
}

impl NameProxy {
    /// Listens at `address` on the current runtime.
    pub(crate) async fn start(
        address: SocketAddr,
        origin: Origin,
        namespace: String,
        names: Names,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
        let way = Arc::new(Way { origin, namespace, names });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, way));
        Ok(Self { _connections: tasks })
    }
}

async fn accept(listener: TcpListener, way: Arc<Way>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, way.clone()));
                }
                // Out of files: the next moment may have some.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut stream: TcpStream, way: Arc<Way>) {
    // Latency matters, and a socket that refuses the option still works.
    let _ = stream.set_nodelay(true);
    let mut first = BytesMut::new();
    if !matches!(stream.read_buf(&mut first).await, Ok(1..)) {
        return;
    }
    let is_socks = first.first() == Some(&SOCKS5);
    let stream = Prefixed::new(first.freeze(), stream);
    if is_socks {
        // Either side going away is an ordinary end.
        let _ = socks::serve(stream, &way).await;
    } else {
        http::serve(stream, way).await;
    }
}

#[cfg(test)]
mod name_proxy_tests;
