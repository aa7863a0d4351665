//! The connections of one lane, and one request on them.

use super::{ANSWERED_BY, Lane, Speaks};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

type Body = Full<Bytes>;

/// A gRPC message: not compressed, five bytes long.
const MESSAGE: &[u8] = b"\0\0\0\0\x05hello";

/// How often what was not processed is sent again.
const TRIES: usize = 5;

#[derive(Clone)]
pub(super) struct Connections(Arc<Shared>);

struct Shared {
    lane: Lane,
    /// HTTP/1 connections without a request.
    idle: Mutex<Vec<http1::SendRequest<Body>>>,
    /// The HTTP/2 connection.
    open: tokio::sync::Mutex<Option<http2::SendRequest<Body>>>,
}

impl Connections {
    pub(super) fn new(lane: &Lane) -> Self {
        Self(Arc::new(Shared { lane: lane.clone(), idle: Mutex::default(), open: tokio::sync::Mutex::default() }))
    }

    /// Who answered, or what went wrong.
    pub(super) async fn ask(&self) -> Result<String, String> {
        match self.0.lane.speaks {
            Speaks::Http1 => self.0.http1().await,
            Speaks::Http2 | Speaks::Grpc => self.0.http2().await,
        }
    }
}

impl Shared {
    async fn http1(&self) -> Result<String, String> {
        let mut request = self.request(&self.lane.path);
        for _ in 0..TRIES {
            let mut connection = self.free().await?;
            match connection.try_send_request(request).await {
                Ok(response) => {
                    let answer = read(response, self.lane.speaks).await;
                    // Ready again, or ended by the server, who said so in its answer.
                    if connection.ready().await.is_ok() {
                        self.idle.lock().expect("nobody panicked").push(connection);
                    }
                    return answer;
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(format!("no answer: {}", with_causes(error.error()))),
                },
            }
        }
        Err(format!("not sent in {TRIES} tries"))
    }

    async fn http2(&self) -> Result<String, String> {
        let url = format!("http://{}{}", self.lane.host, self.lane.path);
        let mut request = self.request(&url);
        for _ in 0..TRIES {
            let mut connection = self.shared().await?;
            let copy = request.clone();
            match connection.try_send_request(request).await {
                Ok(response) => return read(response, self.lane.speaks).await,
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None if was_not_processed(error.error()) => request = copy,
                    None => return Err(format!("no answer: {}", with_causes(error.error()))),
                },
            }
        }
        Err(format!("not sent in {TRIES} tries"))
    }

    fn request(&self, target: &str) -> Request<Body> {
        let grpc = self.lane.speaks == Speaks::Grpc;
        let mut request = Request::builder().uri(target).method(if grpc { "POST" } else { "GET" });
        if self.lane.speaks == Speaks::Http1 {
            request = request.header("host", &self.lane.host);
        }
        if grpc {
            request = request.header("content-type", "application/grpc").header("te", "trailers");
        }
        for (name, value) in &self.lane.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(if grpc { MESSAGE.into() } else { Bytes::new() })).expect("a lane's request is one")
    }

    async fn free(&self) -> Result<http1::SendRequest<Body>, String> {
        loop {
            let idle = self.idle.lock().expect("nobody panicked").pop();
            match idle {
                Some(connection) if connection.is_ready() => return Ok(connection),
                Some(_) => {}
                None => break,
            }
        }
        let (sender, connection) =
            http1::handshake(TokioIo::new(self.connect().await?)).await.map_err(|error| with_causes(&error))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn shared(&self) -> Result<http2::SendRequest<Body>, String> {
        let mut open = self.open.lock().await;
        if let Some(connection) = open.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let io = TokioIo::new(self.connect().await?);
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), io).await.map_err(|error| with_causes(&error))?;
        tokio::spawn(connection);
        *open = Some(sender.clone());
        Ok(sender)
    }

    async fn connect(&self) -> Result<TcpStream, String> {
        let failed = |error: std::io::Error| format!("no connection: {error}");
        let mut stream = TcpStream::connect(self.lane.target).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.write_all(&self.lane.preface).await.map_err(failed)?;
        Ok(stream)
    }
}

/// The server has said that it did not look at the request.
fn was_not_processed(error: &hyper::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(h2) = error.downcast_ref::<h2::Error>() {
            // A GOAWAY without error names the last stream that was processed, and ends later ones this way.
            return h2.reason() == Some(h2::Reason::REFUSED_STREAM)
                || h2.is_go_away() && h2.is_remote() && h2.reason() == Some(h2::Reason::NO_ERROR);
        }
        cause = error.source();
    }
    false
}

async fn read(response: Response<Incoming>, speaks: Speaks) -> Result<String, String> {
    let (parts, body) = response.into_parts();
    let named = parts.headers.get(ANSWERED_BY).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = body.collect().await.map_err(|error| format!("the answer broke off: {}", with_causes(&error)))?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let bytes = body.to_bytes();
    if parts.status != 200 {
        return Err(format!("{} {}", parts.status, String::from_utf8_lossy(&bytes)));
    }
    if speaks == Speaks::Grpc {
        let status = trailers.get("grpc-status").or_else(|| parts.headers.get("grpc-status"));
        if status.is_none_or(|status| status != "0") {
            let message = parts.headers.get("grpc-message").and_then(|value| value.to_str().ok()).unwrap_or_default();
            return Err(format!("grpc-status {status:?} {message}"));
        }
        if bytes != MESSAGE {
            return Err("another message came back".to_owned());
        }
    }
    named.ok_or_else(|| format!("200 by nobody: {}", String::from_utf8_lossy(&bytes)))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
