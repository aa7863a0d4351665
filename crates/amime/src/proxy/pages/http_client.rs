//! One HTTP request to the application, each over a connection of its own. `probes` and `app_metrics` send them.

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::{IpAddr, SocketAddr};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// Connects; `source` is an address that the kernel's redirection leaves alone.
pub(super) async fn connect(to: SocketAddr, source: Option<IpAddr>) -> anyhow::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.context("a socket")?;
    if let Some(source) = source.filter(|source| source.is_ipv4() == to.is_ipv4()) {
        socket.bind(SocketAddr::new(source, 0)).with_context(|| format!("the source address {source}"))?;
    }
    socket.connect(to).await.with_context(|| format!("connecting to {to}"))
}

/// Ends the connection's task when it is dropped.
struct Driven(JoinHandle<()>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends by HTTP/1.1 and reads the answer whole; one of more than `most` bytes is an error.
pub(super) async fn http1<IO>(io: IO, request: Request<Full<Bytes>>, most: usize) -> anyhow::Result<Response<Bytes>>
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await.context("HTTP/1.1")?;
    let _driven = Driven(tokio::spawn(async move {
        // What goes wrong, the request is told too.
        let _ = connection.await;
    }));
    whole(sender.send_request(request).await.context("the request")?, most).await
}

/// Sends by HTTP/2 without TLS.
pub(super) async fn http2(
    io: TcpStream,
    request: Request<Full<Bytes>>,
    most: usize,
) -> anyhow::Result<Response<Bytes>> {
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io));
    let (mut sender, connection) = handshake.await.context("HTTP/2")?;
    let _driven = Driven(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let response = sender.send_request(request).await.context("the request")?;
    whole(response, most).await
}

/// Trailers join the headers: gRPC's status is in either.
async fn whole(response: Response<Incoming>, most: usize) -> anyhow::Result<Response<Bytes>> {
    let (mut head, body) = response.into_parts();
    let collected = match Limited::new(body, most).collect().await {
        Ok(collected) => collected,
        Err(error) => bail!("the answer's body: {error}"),
    };
    if let Some(trailers) = collected.trailers() {
        head.headers.extend(trailers.clone());
    }
    Ok(Response::from_parts(head, collected.to_bytes()))
}
