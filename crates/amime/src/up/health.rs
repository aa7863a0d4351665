//! `/healthz/ready`, as an Istio proxy answers it: 200 once every gateway and sidecar is ready, else 503.
//! `run` starts it before anything else, so that a port in use is known at once.

use crate::serve::{self, Answer, Page, Server};
use anyhow::Context;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use tokio::sync::watch;

const PAGES: &[Page] = &[Page::read("/healthz/ready", "200 once every gateway and sidecar is ready")];

/// Answers at 127.0.0.1 and, where the machine has it, at ::1.
pub(super) async fn start(port: u16, ready: watch::Receiver<bool>) -> anyhow::Result<Server> {
    let listeners = serve::listen_local(port)
        .await
        .with_context(|| format!("the health port {port} cannot be opened (--health-port N takes another)"))?;
    Ok(serve::health(listeners, move |request| {
        let ready = *ready.borrow();
        async move { answer(&request, ready) }
    }))
}

fn answer(request: &Request<Incoming>, ready: bool) -> Answer {
    match serve::find(PAGES, request) {
        Ok(_) if ready => serve::text(StatusCode::OK, "ready\n"),
        Ok(_) => serve::text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        Err(answer) => *answer,
    }
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
        let _health = start(port, ready.clone()).await.expect("started");
        assert_eq!(ask(port, "GET", "/healthz/ready").await, "HTTP/1.1 503 Service Unavailablenot ready\n");
        sender.send_replace(true);
        assert_eq!(ask(port, "GET", "/healthz/ready").await, "HTTP/1.1 200 OKready\n");
        assert_eq!(ask(port, "HEAD", "/healthz/ready").await, "HTTP/1.1 200 OK");
        assert!(ask(port, "POST", "/healthz/ready").await.starts_with("HTTP/1.1 405 "));
        assert!(ask(port, "GET", "/").await.starts_with("HTTP/1.1 404 "));

        let error = start(port, ready).await.expect_err("taken");
        assert!(format!("{error:#}").contains("--health-port"), "{error:#}");
    }
}
