//! gRPC: grpc.health.v1 (Check and Watch: SERVING) and an echo of every other method, message by message.
//! `http` hands over requests whose content type is gRPC's.

use super::http::{Body, empty};
use super::shape::Failure;
use crate::serve::stopped;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::watch;

/// A length-prefixed HealthCheckResponse with status SERVING.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 0x08, 0x01];
/// The same with NOT_SERVING.
const NOT_SERVING: &[u8] = &[0, 0, 0, 0, 2, 0x08, 0x02];
const UNIMPLEMENTED: u16 = 12;

pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(http::header::CONTENT_TYPE).map(HeaderValue::as_bytes) else { return false };
    // application/grpc-web is another protocol.
    kind.starts_with(b"application/grpc") && !kind.starts_with(b"application/grpc-web")
}

/// Answers one call. `stop` ends watches when the pod goes.
pub(super) fn answer(request: Request<Incoming>, stop: watch::Receiver<bool>) -> Response<Body> {
    let body = match request.uri().path() {
        "/grpc.health.v1.Health/Check" => messages([Bytes::from_static(SERVING)]),
        "/grpc.health.v1.Health/Watch" => watch_health(stop),
        path if path.starts_with("/grpc.health.v1.Health/") => return status(UNIMPLEMENTED),
        _ => {
            // Compressed messages go back compressed as they came.
            let encoding = request.headers().get("grpc-encoding").cloned();
            let mut response = Response::new(EchoBody { incoming: Some(request.into_body()) }.boxed_unsync());
            let headers = response.headers_mut();
            headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            if let Some(encoding) = encoding {
                headers.insert("grpc-encoding", encoding);
            }
            return response;
        }
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A failure that a caller asked for (`x-amime-status`): an HTTP status is told as gRPC's own servers tell it, in
/// the status that it maps to; numbers up to 16 are gRPC's already.
pub(super) fn fail(failure: Failure) -> Response<Body> {
    status(match failure.status {
        code @ 0..=16 => code,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => UNIMPLEMENTED,
        429 | 502..=504 => 14,
        _ => 2,
    })
}

/// A response of headers alone.
fn status(code: u16) -> Response<Body> {
    let mut response = Response::new(empty());
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(code));
    response
}

fn ok_trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))])
}

fn messages<const N: usize>(messages: [Bytes; N]) -> Body {
    let frames = messages.into_iter().map(Frame::data).chain([Frame::trailers(ok_trailers())]);
    StreamBody::new(futures_util::stream::iter(frames.map(Ok::<_, Infallible>))).boxed_unsync()
}

fn watch_health(stop: watch::Receiver<bool>) -> Body {
    enum Step {
        Serving,
        Wait,
        End,
        Done,
    }
    let frames = futures_util::stream::unfold((Step::Serving, stop), |(step, mut stop)| async move {
        let (frame, next) = match step {
            Step::Serving => (Frame::data(Bytes::from_static(SERVING)), Step::Wait),
            Step::Wait => {
                // The sender going away says the same.
                stopped(&mut stop).await;
                (Frame::data(Bytes::from_static(NOT_SERVING)), Step::End)
            }
            Step::End => (Frame::trailers(ok_trailers()), Step::Done),
            Step::Done => return None,
        };
        Some((Ok::<_, Infallible>(frame), (next, stop)))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// The request's messages, byte for byte, then trailers.
struct EchoBody {
    incoming: Option<Incoming>,
}

impl http_body::Body for EchoBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while let Some(incoming) = &mut self.incoming {
            match ready!(Pin::new(incoming).poll_frame(cx)) {
                Some(Ok(frame)) if frame.is_data() => return Poll::Ready(Some(Ok(frame))),
                Some(Ok(_)) => {}
                // A client that went away reads no trailers either.
                None | Some(Err(_)) => {
                    self.incoming = None;
                    return Poll::Ready(Some(Ok(Frame::trailers(ok_trailers()))));
                }
            }
        }
        Poll::Ready(None)
    }
}
