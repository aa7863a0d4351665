//! A server that speaks HTTP/1.1 and HTTP/2 on one port, says who it is, and tells what it got: the origins of tests
//! that compare proxies, and of those with a constant load.

use crate::load::ANSWERED_BY;
use crate::origin::{Body, Origin, Version};
use crate::trouble::Trouble;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// A request as it came to an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub by: String,
    pub version: Version,
    pub method: String,
    pub authority: String,
    /// With the query.
    pub path: String,
    /// Lower-case names, in order, without the HTTP/2 pseudo headers and `host`.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// One origin, with a name of its own. Request headers steer it: `x-status` is its answer's status, `x-delay` a time
/// in milliseconds before it, `x-fail-first` how many requests of one `x-request-id` get 503, or what `x-fail-with` says
/// (see `trouble`).
pub struct Echo {
    pub name: String,
    pub address: SocketAddr,
    seen: Arc<Mutex<VecDeque<Seen>>>,
    count: watch::Sender<u64>,
    /// Requests that have no answer yet.
    active: watch::Sender<u64>,
    _origin: Origin,
}

/// How many requests an origin remembers.
const REMEMBERED: usize = 64;

impl Echo {
    /// On a port of its own.
    pub async fn start(name: &str) -> Self {
        let seen: Arc<Mutex<VecDeque<Seen>>> = Arc::default();
        let count = watch::Sender::new(0);
        let active = watch::Sender::new(0);
        let (kept, counted, under_way, own) = (seen.clone(), count.clone(), active.clone(), name.to_owned());
        let origin = Origin::tcp(move |stream| {
            let (kept, counted, under_way, own) = (kept.clone(), counted.clone(), under_way.clone(), own.clone());
            serve(stream, move |request, version| {
                let answer = answer(request, version, own.clone(), kept.clone(), counted.clone());
                let under_way = under_way.clone();
                async move {
                    under_way.send_modify(|count| *count += 1);
                    let answer = answer.await;
                    under_way.send_modify(|count| *count -= 1);
                    answer
                }
            })
        })
        .await;
        Self { name: name.to_owned(), address: origin.address, seen, count, active, _origin: origin }
    }

    /// Takes what it remembers.
    pub fn take(&self) -> Vec<Seen> {
        self.seen.lock().expect("nobody panicked").drain(..).collect()
    }

    /// Waits until no request is without an answer.
    pub async fn idle(&self) {
        // The sender is here.
        let _ = self.active.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Requests that came so far.
    pub fn count(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }
}

/// Serves the version that the first bytes are of.
async fn serve<F, R>(stream: TcpStream, handle: F)
where
    F: Fn(Request<Incoming>, Version) -> R + Clone + Send + 'static,
    R: Future<Output = Result<Response<Body>, h2::Error>> + Send + 'static,
{
    let mut first = [0; 4];
    while !matches!(stream.peek(&mut first).await, Ok(4) | Ok(0) | Err(_)) {
        // Fewer bytes than a preface has: the rest is on its way.
        if stream.readable().await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    let version = if &first == b"PRI " { Version::Http2 } else { Version::Http1 };
    let service = service_fn(move |request| handle(request, version));
    let io = TokioIo::new(stream);
    // How a connection ends is its client's matter.
    match version {
        Version::Http1 => {
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).with_upgrades().await;
        }
        Version::Http2 => {
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    version: Version,
    by: String,
    kept: Arc<Mutex<VecDeque<Seen>>>,
    counted: watch::Sender<u64>,
) -> Result<Response<Body>, h2::Error> {
    if request.headers().contains_key("upgrade") {
        return Ok(upgrade(request, &by));
    }
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let steer = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let host = parts.headers.get("host").and_then(|value| value.to_str().ok());
    let seen = Seen {
        by: by.clone(),
        version,
        method: parts.method.to_string(),
        authority: parts.uri.authority().map(|a| a.as_str()).or(host).unwrap_or_default().to_owned(),
        path: parts.uri.path_and_query().map(|p| p.to_string()).unwrap_or_default(),
        headers: lines(&parts.headers),
        body: body.clone(),
    };
    let fails = {
        let mut kept = kept.lock().expect("nobody panicked");
        kept.push_back(seen);
        while kept.len() > REMEMBERED {
            kept.pop_front();
        }
        // Tries of one request have its id.
        let id = parts.headers.get("x-request-id");
        let same = kept.iter().filter(|seen| {
            let own = seen.headers.iter().find(|(name, _)| name == "x-request-id").map(|(_, value)| value.as_bytes());
            own == id.map(|id| id.as_bytes())
        });
        steer("x-fail-first").is_some_and(|first| same.count() as u64 <= first)
    };
    counted.send_modify(|count| *count += 1);
    if let Some(delay) = steer("x-delay") {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let trouble = parts.headers.get("x-fail-with").and_then(|value| Trouble::of(value.to_str().ok()?));
    if let Some(trouble) = trouble.filter(|_| fails) {
        return trouble.answer().await;
    }
    let grpc = parts.headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let status = match (fails, steer("x-status")) {
        (true, _) => StatusCode::SERVICE_UNAVAILABLE,
        (false, Some(status)) => StatusCode::from_u16(status as u16).unwrap_or(StatusCode::OK),
        (false, None) => StatusCode::OK,
    };
    let mut response = Response::builder().status(status).header(ANSWERED_BY, &by).header("x-upstream", "1");
    if !grpc {
        let text = format!("{by} {} {}", parts.method, parts.uri.path());
        return Ok(response.body(Full::new(text.into()).boxed()).expect("an answer"));
    }
    response = response.header("content-type", "application/grpc");
    let code = parts.headers.get("x-grpc-status").cloned().unwrap_or(http::HeaderValue::from_static("0"));
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code);
    let frames = [Ok(Frame::data(body)), Ok(Frame::trailers(trailers))];
    let body = StreamBody::new(tokio_frames(frames.into())).boxed();
    Ok(response.body(body).expect("an answer"))
}

/// A stream of frames that are there already.
fn tokio_frames(
    frames: VecDeque<Result<Frame<Bytes>, Infallible>>,
) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync {
    struct Frames(VecDeque<Result<Frame<Bytes>, Infallible>>);
    impl futures_util::Stream for Frames {
        type Item = Result<Frame<Bytes>, Infallible>;
        fn poll_next(mut self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<Option<Self::Item>> {
            std::task::Poll::Ready(self.0.pop_front())
        }
    }
    Frames(frames)
}

/// 101, and then each byte comes back.
fn upgrade(mut request: Request<Incoming>, by: &str) -> Response<Body> {
    let protocol = request.headers()["upgrade"].clone();
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(io) = upgraded.await else { return };
        let (mut reader, mut writer) = tokio::io::split(TokioIo::new(io));
        // The test sees how it ended.
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut writer).await;
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", protocol)
        .header(ANSWERED_BY, by)
        .body(crate::origin::full(""))
        .expect("an answer")
}

fn lines(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers
        .iter()
        .filter(|(name, _)| *name != "host")
        .map(|(name, value)| (name.as_str().to_owned(), text(value)))
        .collect()
}
