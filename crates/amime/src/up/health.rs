//! `/healthz/ready`, as an Istio proxy answers it: 200 once every gateway and sidecar is ready, else 503.
//! `run` starts it before anything else, so that a port in use is known at once.

use anyhow::Context;
use bytes::Bytes;
use http::header::{ALLOW, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The running server. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Health {
    _listeners: JoinSet<()>,
}

impl Health {
    /// Answers at 127.0.0.1 and, where the machine has it, at ::1.
    pub(crate) async fn start(port: u16, ready: watch::Receiver<bool>) -> anyhow::Result<Self> {
        let mut listeners = JoinSet::new();
        let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let listener = listen(v4).await.with_context(|| {
            format!("the health port {port} cannot be opened at 127.0.0.1 (--health-port N takes another)")
        })?;
        listeners.spawn(accept(listener, ready.clone()));
        // A machine without IPv6 has no ::1, and needs none.
        if let Ok(listener) = listen(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port)).await {
            listeners.spawn(accept(listener, ready));
        }
        Ok(Self { _listeners: listeners })
    }
}

async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

async fn accept(listener: TcpListener, ready: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let ready = ready.clone();
                    let service = service_fn(move |request| {
                        let answer = answer(&request, *ready.borrow());
                        async move { Ok::<_, Infallible>(answer) }
                    });
                    let connection =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    connections.spawn(async move {
                        // What a client does wrong is its own affair: hyper has answered.
                        let _ = connection.await;
                    });
                }
                // Out of files: the next moment may have some.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

fn answer(request: &Request<Incoming>, ready: bool) -> Response<Full<Bytes>> {
    let (status, text) = match request.uri().path() {
        "/healthz/ready" if !matches!(*request.method(), Method::GET | Method::HEAD) => {
            (StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n")
        }
        "/healthz/ready" if ready => (StatusCode::OK, "ready\n"),
        "/healthz/ready" => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        _ => (StatusCode::NOT_FOUND, "try /healthz/ready\n"),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn ask(port: u16, method: &str, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        answer.lines().next().unwrap_or_default().to_owned() + answer.rsplit("\r\n").next().unwrap_or_default()
    }

    #[tokio::test]
    async fn ready_is_what_the_watch_says() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let (sender, ready) = watch::channel(false);
        let _health = Health::start(port, ready.clone()).await.expect("started");
        assert_eq!(ask(port, "GET", "/healthz/ready").await, "HTTP/1.1 503 Service Unavailablenot ready\n");
        sender.send_replace(true);
        assert_eq!(ask(port, "GET", "/healthz/ready").await, "HTTP/1.1 200 OKready\n");
        assert_eq!(ask(port, "HEAD", "/healthz/ready").await, "HTTP/1.1 200 OK");
        assert!(ask(port, "POST", "/healthz/ready").await.starts_with("HTTP/1.1 405 "));
        assert!(ask(port, "GET", "/").await.starts_with("HTTP/1.1 404 "));

        let error = Health::start(port, ready).await.expect_err("taken");
        assert!(format!("{error:#}").contains("--health-port"), "{error:#}");
    }
}
