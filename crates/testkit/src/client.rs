//! Clients for tests: raw bytes in and out, and hyper's for HTTP/2.

use crate::origin::{Body, full};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// No answer of a test takes longer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A connection on which a test writes and reads bytes.
pub struct Raw<S = TcpStream> {
    pub stream: S,
    read: Vec<u8>,
}

/// An HTTP/1 answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Lower-case names, in order.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.expect("a connection"), read: Vec::new() }
    }

    /// None where nobody listens.
    pub async fn try_connect(address: SocketAddr) -> Option<Self> {
        Some(Self { stream: TcpStream::connect(address).await.ok()?, read: Vec::new() })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub fn over(stream: S) -> Self {
        Self { stream, read: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("the peer reads");
    }

    /// A GET with these header lines (each ended by CRLF), and its answer.
    pub async fn get(&mut self, host: &str, path: &str, headers: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n")).await;
        self.answer(false).await.expect("an answer")
    }

    /// The next answer; None where the connection ended first. `head` for an answer to HEAD.
    pub async fn answer(&mut self, head: bool) -> Option<Answer> {
        tokio::time::timeout(PATIENCE, self.read_answer(head)).await.expect("an answer in time")
    }

    async fn read_answer(&mut self, head: bool) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill().await {
                return None;
            }
        };
        let text = String::from_utf8_lossy(&self.read[..end]).into_owned();
        self.read.drain(..end);
        let mut lines = text.split("\r\n");
        let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: String::new() };
        if head || status == 204 || status == 304 || status < 200 {
            return Some(answer);
        }
        let body = if answer.header("transfer-encoding") == Some("chunked") {
            self.chunks().await?
        } else if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().ok()?;
            while self.read.len() < length {
                if !self.fill().await {
                    return None;
                }
            }
            self.read.drain(..length).collect()
        } else {
            while self.fill().await {}
            std::mem::take(&mut self.read)
        };
        answer.body = String::from_utf8_lossy(&body).into_owned();
        Some(answer)
    }

    async fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
            while self.read.len() < size + 2 {
                if !self.fill().await {
                    return None;
                }
            }
            if size == 0 {
                // Trailers, if any, up to the empty line.
                while !self.line().await?.is_empty() {}
                return Some(body);
            }
            body.extend(self.read.drain(..size));
            self.read.drain(..2);
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.read.windows(2).position(|w| w == b"\r\n") {
                let line = String::from_utf8_lossy(&self.read[..at]).into_owned();
                self.read.drain(..at + 2);
                return Some(line);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Reads more; false at the end.
    async fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer).await {
            Ok(n) if n > 0 => {
                self.read.extend_from_slice(&buffer[..n]);
                true
            }
            _ => false,
        }
    }

    /// Exactly so many bytes.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let read = async {
            while self.read.len() < count {
                assert!(self.fill().await, "the connection ended after {:?}", self.read);
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("bytes in time");
        self.read.drain(..count).collect()
    }

    /// Waits for the end of the connection; what came before it.
    pub async fn until_closed(&mut self) -> Vec<u8> {
        let read = async { while self.fill().await {} };
        tokio::time::timeout(PATIENCE, read).await.expect("the connection to end in time");
        std::mem::take(&mut self.read)
    }
}

/// One request on a connection of its own, with its answer.
pub async fn get(address: SocketAddr, host: &str, path: &str) -> Answer {
    Raw::connect(address).await.get(host, path, "").await
}

/// An HTTP/2 connection.
#[derive(Clone)]
pub struct Http2(hyper::client::conn::http2::SendRequest<Body>);

impl Http2 {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        Self::over(stream).await
    }

    pub async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(connection);
        Self(sender)
    }

    pub async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, hyper::Error> {
        tokio::time::timeout(PATIENCE, self.0.send_request(request)).await.expect("an answer in time")
    }

    /// A GET, with its status, headers and text.
    pub async fn get(&mut self, host: &str, path: &str) -> (u16, HeaderMap, String) {
        let request = Request::get(format!("http://{host}{path}")).body(full("")).expect("a request");
        let response = self.send(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        (parts.status.as_u16(), parts.headers, text(body).await.0)
    }

    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// A whole body as text, with its trailers.
pub async fn text(body: Incoming) -> (String, Option<HeaderMap>) {
    let collected =
        tokio::time::timeout(PATIENCE, body.collect()).await.expect("a body in time").expect("a whole body");
    let trailers = collected.trailers().cloned();
    let bytes: Bytes = collected.to_bytes();
    (String::from_utf8_lossy(&bytes).into_owned(), trailers)
}
