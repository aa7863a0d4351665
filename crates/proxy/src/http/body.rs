//! Bodies on their way through the proxy. Nothing is held whole, but for the bounded copy that a retry needs.

mod replay;

pub(crate) use replay::{Replay, ReplaySource};

use super::deadline::{Deadline, Expired};
use super::exchange::Exchange;
use crate::balance::limits::Unit;
use crate::cluster::{ActiveHost, RequestAt};
use crate::connect::pool::{Lease, Reset, classify};
use crate::flags::Flags;
use crate::telemetry::Protocol;
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// Why a body broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the client's request broke off")]
    Client,
    #[error("the upstream's response broke off")]
    Upstream,
    #[error("the response took too long")]
    TimedOut,
    #[error("the mirror does not get the whole request")]
    CutOff,
    #[error("another try has taken the request over")]
    Superseded,
}

/// The client's request body on its way upstream.
pub(crate) enum RequestBody {
    Empty,
    /// Straight through.
    Stream(Streamed),
    /// Through, with a copy.
    Replay(Replay),
    /// What somebody else sends: a copy for a mirror, a tunnel's bytes.
    Copy(Mirrored),
}

impl RequestBody {
    /// A body of what is sent; it ends when the sender does.
    pub(crate) fn channel() -> (mpsc::Sender<Frame<Bytes>>, Self) {
        let (sender, frames) = mpsc::channel(4);
        (sender, Self::Copy(Mirrored { frames, whole: Rc::new(Cell::new(true)) }))
    }
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Stream(_) => "Stream",
            Self::Replay(_) => "Replay",
            Self::Copy(_) => "Copy",
        })
    }
}

/// The client's body as it is read, once.
pub(crate) struct Streamed {
    incoming: Incoming,
    exchange: Rc<Exchange>,
    mirrors: Vec<Mirror>,
}

/// The sending side of a mirror's body.
struct Mirror {
    frames: mpsc::Sender<Frame<Bytes>>,
    whole: Rc<Cell<bool>>,
}

/// A mirror's body.
pub(crate) struct Mirrored {
    frames: mpsc::Receiver<Frame<Bytes>>,
    /// The client's request has ended, and nothing of it was left out.
    whole: Rc<Cell<bool>>,
}

impl Mirrored {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(match ready!(self.frames.poll_recv(cx)) {
            Some(frame) => Some(Ok(frame)),
            None if self.whole.get() => None,
            None => Some(Err(BodyError::CutOff)),
        })
    }
}

impl Streamed {
    pub(crate) fn new(incoming: Incoming, exchange: Rc<Exchange>) -> Self {
        Self { incoming, exchange, mirrors: Vec::new() }
    }

    /// A mirror that does not keep up with the client is cut off; it never holds the request up.
    pub(crate) fn mirror(&mut self) -> RequestBody {
        let (sender, frames) = mpsc::channel(32);
        let whole = Rc::new(Cell::new(false));
        self.mirrors.push(Mirror { frames: sender, whole: Rc::clone(&whole) });
        RequestBody::Copy(Mirrored { frames, whole })
    }

    fn end(&mut self) {
        self.exchange.end_request();
        for mirror in self.mirrors.drain(..) {
            mirror.whole.set(true);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let exchange = &self.exchange;
        match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
            None => {
                self.end();
                Poll::Ready(None)
            }
            Some(Ok(mut frame)) => {
                exchange.touch();
                if let Some(data) = frame.data_ref() {
                    exchange.received.set(exchange.received.get() + data.len() as u64);
                    if exchange.grpc.get() {
                        exchange.request_messages.read(data);
                    }
                } else if let Some(trailers) = frame.trailers_mut().filter(|t| t.keys().any(is_framing)) {
                    if exchange.protocol == Protocol::Http2 {
                        return Poll::Ready(Some(Err(self.fail())));
                    }
                    // Nobody's trailers reframe a message: HTTP/1's recipients leave such fields out.
                    let framing: Vec<_> = trailers.keys().filter(|name| is_framing(name)).cloned().collect();
                    for name in framing {
                        trailers.remove(name);
                    }
                }
                if !self.mirrors.is_empty() {
                    self.mirrors.retain(|mirror| mirror.frames.try_send(copy(&frame)).is_ok());
                }
                if self.incoming.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "a request broke off");
                Poll::Ready(Some(Err(self.fail())))
            }
        }
    }

    fn fail(&mut self) -> BodyError {
        self.exchange.request_failed.set(true);
        self.mirrors.clear();
        BodyError::Client
    }
}

/// Where a request ends and where it goes is said before its body, never after it (RFC 9110, 6.5.1).
fn is_framing(name: &HeaderName) -> bool {
    use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
    [CONTENT_LENGTH, TRANSFER_ENCODING, HOST, CONNECTION, TE, UPGRADE].contains(name)
}

fn copy(frame: &Frame<Bytes>) -> Frame<Bytes> {
    match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => Frame::data(data.clone()),
        (None, Some(trailers)) => Frame::trailers(trailers.clone()),
        (None, None) => Frame::data(Bytes::new()),
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Stream(body) => body.poll(cx),
            Self::Replay(body) => body.poll(cx),
            Self::Copy(mirrored) => mirrored.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream(body) => body.incoming.is_end_stream(),
            Self::Replay(body) => body.is_end(),
            Self::Copy(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream(body) => body.incoming.size_hint(),
            Self::Replay(body) => match body.source.hint.exact() {
                Some(length) => SizeHint::with_exact(length.saturating_sub(body.given)),
                None => SizeHint::default(),
            },
            Self::Copy(_) => SizeHint::default(),
        }
    }
}

/// The body of an answer to a client.
pub(crate) enum ResponseBody {
    /// The proxy's own.
    Own(OwnBody),
    /// Without an exchange: what is answered before there is a request.
    Empty,
    Upstream(Box<UpstreamBody>),
}

/// An answer that the proxy made itself.
pub(crate) struct OwnBody {
    pub(crate) data: Option<Bytes>,
    pub(crate) exchange: Rc<Exchange>,
}

impl Drop for OwnBody {
    fn drop(&mut self) {
        self.exchange.end_response();
    }
}

/// An upstream's answer as it streams. Holds everything that lasts until the answer has ended.
pub(crate) struct UpstreamBody {
    pub(crate) incoming: Incoming,
    pub(crate) exchange: Rc<Exchange>,
    pub(crate) lease: Option<Lease>,
    pub(crate) deadline: Deadline,
    pub(crate) request: Option<Unit<RequestAt>>,
    pub(crate) host: Option<Unit<ActiveHost>>,
}

impl UpstreamBody {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let exchange = &self.exchange;
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                exchange.touch();
                if let Some(data) = frame.data_ref() {
                    exchange.sent.set(exchange.sent.get() + data.len() as u64);
                    if exchange.grpc.get() {
                        exchange.response_messages.read(data);
                    }
                } else if let Some(trailers) = frame.trailers_ref() {
                    exchange.end_with(trailers);
                }
                if self.incoming.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(%error, "a response broke off");
                match classify(&error) {
                    // HTTP/2 resets the stream of a request that broke off.
                    _ if exchange.request_failed.get() => exchange.flag(Flags::DC),
                    Reset::Remote | Reset::Refused => exchange.flag(Flags::UR),
                    Reset::Protocol => exchange.flag(Flags::UPE),
                    _ => exchange.flag(Flags::UC),
                }
                exchange.details.set("upstream_reset_after_response_started");
                Poll::Ready(Some(Err(BodyError::Upstream)))
            }
            Poll::Pending => {
                let expired = ready!(self.deadline.poll(cx, exchange));
                exchange.flag(if expired == Expired::Idle { Flags::SI } else { Flags::UT });
                exchange.details.set("response_timeout");
                Poll::Ready(Some(Err(BodyError::TimedOut)))
            }
        }
    }

    /// The answer is complete: the connection can take another request.
    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.finish(self.exchange.request_done_at.get().is_some());
        }
        self.request = None;
        self.host = None;
        self.exchange.conn.spare_timer.set(self.deadline.timer.take());
        self.exchange.end_response();
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        // Answers without a body (HEAD, 204, 304) may never be polled.
        if !self.exchange.response_done.get() && self.incoming.is_end_stream() {
            self.end();
        }
    }
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// `grpc-status` of headers or trailers.
pub(crate) fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Own(body) => {
                let data = body.data.take();
                body.exchange.sent.set(body.exchange.sent.get() + data.as_ref().map_or(0, |d| d.len() as u64));
                Poll::Ready(data.map(|data| Ok(Frame::data(data))))
            }
            Self::Upstream(body) => body.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Own(body) => body.data.is_none(),
            Self::Upstream(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Own(body) => SizeHint::with_exact(body.data.as_ref().map_or(0, |d| d.len() as u64)),
            Self::Upstream(body) => body.incoming.size_hint(),
        }
    }
}
