//! A client's stream over a tonic channel.

use super::frames::{Frames, framed};
use super::{CONNECTION_WINDOW, DELTA_PATH, MAX_RESPONSE, STREAM_WINDOW};
use crate::wire::{WireDeltaRequest, WireDeltaResponse};
use crate::{DeltaRequest, DeltaResponse};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderValue, Method, Request, StatusCode, Uri, Version};
use http_body::{Body, Frame};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::{Ready, poll_fn, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tonic::Status;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint};

/// An open delta stream.
#[derive(Debug)]
pub struct DeltaStream {
    requests: mpsc::UnboundedSender<DeltaRequest>,
    responses: Frames<tonic::body::Body>,
}

impl DeltaStream {
    /// Opens a stream. `first` goes out with it: a server may answer with nothing, not even headers, before it has
    /// read a request.
    ///
    /// # Errors
    /// The status with which the server refuses, or why it is not reached.
    pub async fn open(mut channel: Channel, first: Vec<DeltaRequest>) -> Result<Self, Status> {
        let (requests, outgoing) = mpsc::unbounded_channel();
        for request in first {
            // Cannot fail: the receiver is at hand.
            let _ = requests.send(request);
        }
        let mut request = Request::new(tonic::body::Body::new(Outgoing(outgoing)));
        *request.method_mut() = Method::POST;
        // The channel completes it with its own scheme and authority.
        *request.uri_mut() = Uri::from_static(DELTA_PATH);
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let failed = |error: tonic::transport::Error| Status::unavailable(with_causes(&error));
        poll_fn(|cx| channel.poll_ready(cx)).await.map_err(failed)?;
        let response = channel.call(request).await.map_err(failed)?;
        if let Some(status) = Status::from_header_map(response.headers()) {
            return Err(status);
        }
        if response.status() != StatusCode::OK {
            return Err(Status::unavailable(format!("the server answers HTTP {}", response.status())));
        }
        Ok(Self { requests, responses: Frames::new(response.into_body(), MAX_RESPONSE) })
    }

    /// False where the stream has ended.
    pub fn send(&self, request: DeltaRequest) -> bool {
        self.requests.send(request).is_ok()
    }

    /// The next response; None at the end of the stream. Safe to cancel.
    ///
    /// # Errors
    /// The status with which the stream ended.
    pub async fn next(&mut self) -> Result<Option<DeltaResponse>, Status> {
        let response = self.responses.next::<WireDeltaResponse>().await?;
        Ok(response.map(DeltaResponse::from))
    }
}

/// tonic's own words are but "transport error".
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The body of a request: what is sent, as it is sent.
struct Outgoing(mpsc::UnboundedReceiver<DeltaRequest>);

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.0.poll_recv(cx);
        next.map(|request| request.map(|request| Ok(Frame::data(framed(&WireDeltaRequest::from(request))))))
    }
}

/// A channel over one connection that is there already, as one end of an in-memory duplex. When that
/// connection has ended, the channel's calls fail.
pub fn channel_over<IO>(io: IO) -> Channel
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    tuned().connect_with_connector_lazy(Once(Some(TokioIo::new(io))))
}

/// As [`channel_over`], with a peer that may vanish without a word: one that leaves an HTTP/2 ping unanswered is
/// gone.
pub(super) fn channel_over_network<IO>(io: IO) -> Channel
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    tuned()
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(Once(Some(TokioIo::new(io))))
}

/// A host that vanishes without a word is noticed after these two at most. One that is merely busy must not lose all
/// its proxies, so it has longer to answer than the pause between two pings is.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// With the HTTP/2 settings that ADS needs.
fn tuned() -> Endpoint {
    Endpoint::from_static("http://control.amime.internal")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
}

/// Hands out its one connection, then errors.
struct Once<IO>(Option<TokioIo<IO>>);

impl<IO> Service<Uri> for Once<IO>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Response = TokioIo<IO>;
    type Error = io::Error;
    type Future = Ready<Result<TokioIo<IO>, io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}
