//! A client's stream over a tonic channel.

use super::codec::ClientCodec;
use super::{CONNECTION_WINDOW, DELTA_PATH, MAX_MESSAGE, STREAM_WINDOW};
use crate::{DeltaRequest, DeltaResponse};
use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use std::future::{Ready, ready};
use std::io;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

/// An open delta stream.
#[derive(Debug)]
pub struct DeltaStream {
    requests: mpsc::UnboundedSender<DeltaRequest>,
    responses: Streaming<DeltaResponse>,
}

impl DeltaStream {
    /// Opens a stream. `first` goes out with it: a server may answer with nothing, not even headers,
    /// before it has read a request.
    pub async fn open(channel: Channel, first: Vec<DeltaRequest>) -> Result<Self, Status> {
        let (requests, outgoing) = mpsc::unbounded_channel();
        for request in first {
            // Cannot fail: the receiver is at hand.
            let _ = requests.send(request);
        }
        let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE);
        grpc.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
        let outgoing = Request::new(UnboundedReceiverStream::new(outgoing));
        let path = PathAndQuery::from_static(DELTA_PATH);
        let responses = grpc.streaming(outgoing, path, ClientCodec).await?.into_inner();
        Ok(Self { requests, responses })
    }

    /// False where the stream has ended.
    pub fn send(&self, request: DeltaRequest) -> bool {
        self.requests.send(request).is_ok()
    }

    /// The next response; None at the end of the stream. Safe to cancel.
    pub async fn next(&mut self) -> Result<Option<DeltaResponse>, Status> {
        self.responses.message().await
    }
}

/// A channel over one connection that is there already, as one end of an in-memory duplex. When that
/// connection has ended, the channel's calls fail.
pub fn channel_over<IO>(io: IO) -> Channel
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    tuned(Endpoint::from_static("http://control.amime.internal"))
        .connect_with_connector_lazy(Once(Some(TokioIo::new(io))))
}

/// The HTTP/2 settings that ADS needs.
fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW)
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
