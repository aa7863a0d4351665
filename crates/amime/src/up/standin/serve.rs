//! The connections of one stand-in's port: accept, find out what is spoken, serve, drain. `StandIn` starts it.

use super::detect::{Protocol, detect};
use super::{PodPort, Talk, echo, http};
use crate::serve::{stopped, until_stopped};
use crate::up::prefixed::Prefixed;
use bytes::BytesMut;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// How long bytes that might become HTTP are waited for, before they are echoed: a client that sends capitals and
/// waits for an answer must get one.
const UNDECIDED: Duration = Duration::from_millis(300);
/// Above what a sidecar lets through (100 headers, 60 KiB), so that it is the sidecar that says no.
const MAX_HEADERS: usize = 256;
const MAX_HEADER_BYTES: u32 = 256 * 1024;

/// Accepts until the pod stops; returns when its last connection has ended.
pub(super) async fn accept(listener: TcpListener, port: PodPort) {
    let port = Arc::new(port);
    let stop = port.stop.clone();
    crate::serve::accept(listener, usize::MAX, stop, move |stream, _, _| serve(stream, port.clone())).await;
}

async fn serve(mut stream: TcpStream, port: Arc<PodPort>) {
    // Latency matters, and a socket that refuses the option still works.
    let _ = stream.set_nodelay(true);
    let mut stop = port.stop.clone();
    let mut first = BytesMut::new();
    let protocol = match port.talk() {
        Talk::EchoOnly => Protocol::Echo,
        Talk::Detect => {
            tokio::select! {
                told = tell(&mut stream, &mut first) => match told {
                    Some(protocol) => protocol,
                    None => return,
                },
                () = stopped(&mut stop) => return,
            }
        }
    };
    let mut stream = Prefixed::new(first.split().freeze(), stream);
    match protocol {
        Protocol::Http1 => http1(stream, port).await,
        Protocol::Http2 => http2(stream, port).await,
        Protocol::Echo => {
            tokio::select! {
                // The client going away is an ordinary end.
                _ = echo::echo(&mut stream, bytes::Bytes::new()) => {}
                () = stopped(&mut stop) => {}
            }
        }
    }
}

/// None: the client went away without a byte.
async fn tell(stream: &mut TcpStream, first: &mut BytesMut) -> Option<Protocol> {
    loop {
        let read = if first.is_empty() {
            stream.read_buf(first).await
        } else {
            match tokio::time::timeout(UNDECIDED, stream.read_buf(first)).await {
                Ok(read) => read,
                Err(_) => return Some(Protocol::Echo),
            }
        };
        match read {
            Ok(0) if first.is_empty() => return None,
            Ok(0) => return Some(Protocol::Echo),
            Ok(_) => {}
            Err(_) => return None,
        }
        if let Some(protocol) = detect(first) {
            return Some(protocol);
        }
    }
}

async fn http1(stream: Prefixed<TcpStream>, port: Arc<PodPort>) {
    let mut stop = port.stop.clone();
    let service = service_fn(move |request| {
        let port = port.clone();
        async move { Ok::<_, Infallible>(http::serve(request, &port).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    until_stopped(connection, &mut stop, |connection| connection.graceful_shutdown()).await;
}

async fn http2(stream: Prefixed<TcpStream>, port: Arc<PodPort>) {
    let mut stop = port.stop.clone();
    let service = service_fn(move |request| {
        let port = port.clone();
        async move { Ok::<_, Infallible>(http::serve(request, &port).await) }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    until_stopped(connection, &mut stop, |connection| connection.graceful_shutdown()).await;
}
