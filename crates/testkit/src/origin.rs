//! Origin servers whose every answer a test scripts.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub type Body = BoxBody<Bytes, Infallible>;

/// A server on a loopback port of its own; it ends when dropped.
pub struct Origin {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

/// Which version an HTTP origin speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Http1,
    Http2,
}

impl Origin {
    /// Answers each request with what `answer` makes of it.
    pub async fn http<F, R>(version: Version, answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let answer = Arc::new(answer);
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        let mut origin = Self::tcp(move |stream| {
            let (answer, counted) = (Arc::clone(&answer), Arc::clone(&counted));
            async move {
                let service = service_fn(move |request| {
                    counted.fetch_add(1, Ordering::SeqCst);
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let io = TokioIo::new(stream);
                // How a connection ends is the test's matter, not the server's.
                match version {
                    Version::Http1 => {
                        let serving = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
                        let _ = serving.with_upgrades().await;
                    }
                    Version::Http2 => {
                        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        let _ = builder.serve_connection(io, service).await;
                    }
                }
            }
        })
        .await;
        origin.requests = requests;
        origin
    }

    /// An HTTP/1 server that always answers 200 with this text.
    pub async fn text(text: &'static str) -> Self {
        Self::http(Version::Http1, move |_| async move { Response::new(full(text)) }).await
    }

    /// A server that answers "hello" to one request for each permit that the test adds.
    pub async fn gated(version: Version) -> (Self, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        let opened = Arc::clone(&gate);
        let origin = Self::http(version, move |_| {
            let gate = Arc::clone(&opened);
            async move {
                // Nobody closes it.
                if let Ok(permit) = gate.acquire().await {
                    permit.forget();
                }
                Response::new(full("hello"))
            }
        });
        (origin.await, gate)
    }

    /// Runs a script on each connection.
    pub async fn tcp<F, R>(script: F) -> Self
    where
        F: Fn(TcpStream) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::tcp_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), script).await
    }

    /// The same, at an address of the test's choice.
    pub async fn tcp_at<F, R>(address: SocketAddr, script: F) -> Self
    where
        F: Fn(TcpStream) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.expect("an origin's port");
        let address = listener.local_addr().expect("an origin's address");
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut running = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                running.spawn(script(stream));
                while running.try_join_next().is_some() {}
            }
        });
        Self { address, connections, requests: Arc::default(), task }
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// HTTP requests received so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A whole body.
pub fn full(data: impl Into<Bytes>) -> Body {
    Full::new(data.into()).boxed()
}

/// A body of frames that the test sends while it is read.
pub fn channel() -> (tokio::sync::mpsc::Sender<hyper::body::Frame<Bytes>>, Body) {
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    (sender, ChannelBody(receiver).boxed())
}

struct ChannelBody(tokio::sync::mpsc::Receiver<hyper::body::Frame<Bytes>>);

impl hyper::body::Body for ChannelBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// Sends back what it gets.
pub async fn echo(mut stream: TcpStream) {
    let (mut reader, mut writer) = stream.split();
    // The test sees how it ended.
    let _ = tokio::io::copy(&mut reader, &mut writer).await;
    let _ = writer.shutdown().await;
}

/// Reads up to and including an empty line: the head of a message.
pub async fn read_head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Writes all of it; a peer that has gone is the test's matter.
pub async fn write(stream: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    let _ = stream.write_all(bytes.as_ref()).await;
}
