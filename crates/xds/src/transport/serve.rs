//! ADS over one incoming connection: HTTP/2 by hyper, responses in pieces that the streams of many proxies share.
//!
//! tonic's own server would copy each response into a buffer of each stream.

use super::frames::{Frames, header};
use super::{CONNECTION_WINDOW, DELTA_PATH, MAX_REQUEST, SOTW_PATH, STREAM_WINDOW};
use crate::server::Message;
use crate::wire::{WireDeltaRequest, WireSotwRequest};
use crate::{DeltaRequest, SotwRequest};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use hyper::body;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tonic::{Code, Status};

/// What is put together ahead of being written, of one stream.
const SEND_BUFFER: usize = 64 << 10;

/// A peer that does not answer an HTTP/2 ping for this long is gone.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);

/// A stream that a proxy has opened.
pub struct AdsStream {
    pub requests: Incoming,
    pub responses: Responses,
}

/// What a proxy sends, in the protocol that it chose.
pub enum Incoming {
    Delta(DeltaRequests),
    Sotw(SotwRequests),
}

/// The requests of a delta stream.
pub struct DeltaRequests(Frames<body::Incoming>);

/// The requests of a state-of-the-world stream.
pub struct SotwRequests(Frames<body::Incoming>);

/// A request of either protocol.
#[derive(Debug, Clone, PartialEq)]
pub enum Requests {
    Delta(DeltaRequest),
    Sotw(SotwRequest),
}

impl Incoming {
    /// The next request; None at the end of the stream. Safe to cancel.
    pub async fn next(&mut self) -> Result<Option<Requests>, Status> {
        Ok(match self {
            Self::Delta(stream) => stream.0.next::<WireDeltaRequest>().await?.map(|r| Requests::Delta(r.into())),
            Self::Sotw(stream) => stream.0.next::<WireSotwRequest>().await?.map(|r| Requests::Sotw(r.into())),
        })
    }
}

/// Where a stream's responses go. Dropping it ends the stream with status OK.
#[derive(Debug)]
pub struct Responses(mpsc::Sender<Result<Message, Status>>);

impl Responses {
    /// Sends one message. Waits while the proxy is slow to read; false where the stream has ended.
    pub async fn send(&self, message: Message) -> bool {
        self.0.send(Ok(message)).await.is_ok()
    }

    /// Ends the stream with an error.
    pub async fn fail(self, status: Status) {
        // A proxy that has gone needs no reason.
        let _ = self.0.send(Err(status)).await;
    }

    /// The proxy has gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

/// What a connection runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// The peer may vanish without a word, so it is pinged.
    Network,
    /// It cannot; and one that is merely held up must not lose its only connection.
    InProcess,
}

impl Link {
    /// Streams of one connection, at most: a proxy needs one, and all sidecars of an `up` share a connection.
    fn most_streams(self) -> u32 {
        match self {
            Self::Network => 100,
            Self::InProcess => 1 << 20,
        }
    }

    /// What may have come over one connection and not have been read yet, in bytes.
    fn window(self) -> u32 {
        match self {
            Self::Network => 2 * STREAM_WINDOW,
            Self::InProcess => CONNECTION_WINDOW,
        }
    }
}

/// Serves one connection until it ends. `accept` is called with each stream, on this task: it spawns. Once `end` is
/// ready the client is told (GOAWAY), and the connection ends with its last stream.
///
/// # Errors
/// What broke the HTTP/2 connection.
pub async fn serve_connection<IO, F, E>(io: IO, link: Link, accept: F, end: E) -> Result<(), hyper::Error>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(AdsStream),
    E: Future<Output = ()>,
{
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(hyper_util::rt::TokioTimer::new())
        .max_concurrent_streams(link.most_streams())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(link.window())
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval((link == Link::Network).then_some(KEEPALIVE_INTERVAL))
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .serve_connection(
            TokioIo::new(io),
            service_fn(|request: Request<body::Incoming>| {
                let response = respond(request, &accept);
                std::future::ready(Ok::<_, Infallible>(response))
            }),
        );
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = end => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

fn respond(request: Request<body::Incoming>, accept: &impl Fn(AdsStream)) -> Response<Chunks> {
    let path = request.uri().path().to_owned();
    let body = request.into_body();
    let requests = match path.as_str() {
        DELTA_PATH => Incoming::Delta(DeltaRequests(Frames::new(body, MAX_REQUEST))),
        SOTW_PATH => Incoming::Sotw(SotwRequests(Frames::new(body, MAX_REQUEST))),
        other => {
            let status = Status::unimplemented(format!("{other} is not served here"));
            return status.into_http();
        }
    };
    // One message waiting beside the one being written: what a proxy is slow to take is not computed ahead.
    let (sender, messages) = mpsc::channel(1);
    accept(AdsStream { requests, responses: Responses(sender) });
    let mut response = Response::new(Chunks { messages: Some(messages), current: None });
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    response
}

/// A response body: messages, each as a gRPC header and its chunks; then trailers.
#[derive(Default)]
struct Chunks {
    /// None once the trailers are out.
    messages: Option<mpsc::Receiver<Result<Message, Status>>>,
    current: Option<Message>,
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(chunk) = self.current.as_mut().and_then(Iterator::next) {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        self.current = None;
        let Some(messages) = &mut self.messages else {
            return Poll::Ready(None);
        };
        match ready!(messages.poll_recv(cx)) {
            Some(Err(status)) => {
                self.messages = None;
                let mut trailers = HeaderMap::new();
                if status.add_header(&mut trailers).is_err() {
                    trailers.insert("grpc-status", HeaderValue::from(Code::Unknown as i32));
                }
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Some(Ok(message)) => {
                let header = header(message.length());
                self.current = Some(message);
                Poll::Ready(Some(Ok(Frame::data(header))))
            }
            None => {
                self.messages = None;
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from(Code::Ok as i32));
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.messages.is_none() && self.current.is_none()
    }
}
