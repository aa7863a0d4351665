//! A client's HTTP connection: which version it speaks, how long it may idle, and how it ends without
//! losing a request.

pub(crate) use super::conn_state::ConnState;
use super::conn_state::Peers;
use super::h1_io::Http1Io;
use super::h2_guard::H2Guard;
use super::wire::Wire;
use super::{handle, respond};
use crate::http::local_exec::LocalExec;
use crate::listen::stream::ClientStream;
use crate::proxy_worker::{Current, ProxyWorker};
use crate::runtime::{ChainRuntime, Hcm, ListenerRuntime};
use crate::telemetry::{Ends, Protocol};
use amime_model::config::CodecType;
use bytes::{Bytes, BytesMut};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A client's connection as the listener hands it over.
pub(crate) struct Accepted {
    pub(crate) stream: ClientStream,
    pub(crate) ends: Ends,
    pub(crate) original: Option<SocketAddr>,
    /// The name that a TLS client asked for.
    pub(crate) server_name: Option<String>,
    /// What a listener filter found: HTTP/2, or not.
    pub(crate) http2: Option<bool>,
    /// The configuration that it came under, where its listener has left since.
    pub(crate) left: Option<Rc<Current>>,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a connection to its end.
pub(crate) async fn serve(
    proxy: Rc<ProxyWorker>,
    listener: Arc<ListenerRuntime>,
    chain: Arc<ChainRuntime>,
    hcm: Arc<Hcm>,
    accepted: Accepted,
) {
    let Accepted { mut stream, ends, original, server_name, http2, left } = accepted;
    let state = Rc::new(ConnState::new(Rc::clone(&proxy), listener, chain, hcm, Peers { ends, original, server_name }));
    let _registered = proxy.register(&state);
    if let Some(config) = &left {
        state.keep_routes(config);
    }
    if left.is_some() || proxy.shared.draining().includes(&state.listener.config) {
        state.drain(proxy.shared.drain_idle());
    }
    let http2 = match state.hcm.config.codec {
        CodecType::Http1 => false,
        CodecType::Http2 => true,
        CodecType::Auto => match http2 {
            Some(known) => known,
            None => match speaks_http2(&state, &mut stream).await {
                Some(http2) => http2,
                None => return,
            },
        },
    };
    if http2 {
        serve_http2(state, stream).await;
    } else {
        serve_http1(state, stream).await;
    }
}

/// Reads as much as tells HTTP/2's preface from anything else; None where the client goes away or idles.
async fn speaks_http2(state: &Rc<ConnState>, stream: &mut ClientStream) -> Option<bool> {
    let mut ahead = BytesMut::new();
    let read = async {
        loop {
            if let Some(found) = is_preface(&ahead) {
                return Some(found);
            }
            if stream.read_buf(&mut ahead).await.ok()? == 0 {
                // A client that closes without a word; or a few bytes that HTTP/1 will call malformed.
                return if ahead.is_empty() { None } else { Some(false) };
            }
        }
    };
    let mut read = pin!(read);
    let mut timer = None;
    let http2 = poll_fn(|cx| {
        if let Poll::Ready(found) = read.as_mut().poll(cx) {
            return Poll::Ready(found);
        }
        // Nothing to answer yet: idle or draining, the connection just closes.
        if state.poll_watchdog(cx, &mut timer).is_ready() || state.close.get() {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await;
    stream.unread(ahead.freeze());
    http2
}

async fn serve_http1(state: Rc<ConnState>, stream: ClientStream) {
    let io = Http1Io::new(stream, Rc::clone(&state), Wire::new(state.hcm.wire));
    let mut builder = hyper::server::conn::http1::Builder::new();
    // Whole heads come from `Http1Io`, which holds the limits; the codec's own are never reached first.
    builder.half_close(false).max_buf_size(state.hcm.wire.head + 64 * 1024);
    if state.hcm.wire.headers > 100 {
        builder.max_headers(state.hcm.wire.headers);
    }
    let service_state = Rc::clone(&state);
    let service = service_fn(move |request| handle::handle(Rc::clone(&service_state), request));
    let mut serving = pin!(builder.serve_connection(io, service).without_shutdown());
    let mut timer = None;
    let served = poll_fn(|cx| {
        if let Poll::Ready(result) = serving.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        state.poll_watchdog(cx, &mut timer).map(|()| None)
    })
    .await;
    // Taken out whatever happened: it holds the exchange, which holds the connection's state.
    let tunnel = state.tunnel.borrow_mut().take();
    let parts = match served {
        Some(Ok(parts)) => parts,
        Some(Err(error)) => {
            tracing::debug!(%error, remote = %state.ends.remote, "a client's connection ended");
            if error.is_parse() {
                let status = if error.is_parse_too_large() { 431 } else { 400 };
                respond::record_refused(&state, None, status, "http1.codec_error", 0);
            }
            return;
        }
        None => return,
    };
    let answered = parts.io.refused_within();
    let line = parts.io.refused_line();
    let mut stream = parts.io.into_stream(parts.read_buf);
    if let Some(tunnel) = tunnel {
        tunnel.run(stream).await;
        return;
    }
    if let Some(refusal) = state.refusal.get().filter(|_| !answered) {
        let line = line.as_ref().map(|(method, target)| (method.as_str(), target.as_str()));
        let length = respond::reason(refusal).len();
        respond::record_refused(&state, line, refusal.status(), refusal.details(), length);
        if stream.write_all(&respond::refusal(refusal, &state.hcm)).await.is_err() {
            return;
        }
    }
    linger(stream).await;
}

/// Closes so that the client can still read what was sent: unread bytes would turn the close into a reset.
async fn linger(mut stream: ClientStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let read_on = async {
        let mut sink = [0; 4096];
        let mut left: usize = 256 * 1024;
        while let Ok(n @ 1..) = stream.read(&mut sink).await {
            left = left.saturating_sub(n);
            if left == 0 {
                return;
            }
        }
    };
    // Whether it ended or took too long, the socket is dropped.
    let _ = tokio::time::timeout(Duration::from_secs(1), read_on).await;
}

async fn serve_http2(state: Rc<ConnState>, stream: ClientStream) {
    let mut builder = hyper::server::conn::http2::Builder::new(LocalExec);
    let limits = state.hcm.wire;
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
        .max_concurrent_streams(state.hcm.config.max_concurrent_streams.unwrap_or(1024))
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024);
    let service_state = Rc::clone(&state);
    let service = service_fn(move |request| handle::handle(Rc::clone(&service_state), request));
    let mut serving = pin!(builder.serve_connection(TokioIo::new(H2Guard::new(stream)), service));
    let mut timer = None;
    let mut going = false;
    let result = poll_fn(|cx| {
        if let Poll::Ready(result) = serving.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        if state.poll_watchdog(cx, &mut timer).is_ready() {
            return Poll::Ready(None);
        }
        // GOAWAY, then the streams under way end. A connection that had no request yet is left its first, or its
        // time to idle: many clients fail a request that they hold when a new connection tells them to go.
        let go = state.close.get() || state.is_draining() && state.requests.get() > 0;
        if go && !std::mem::replace(&mut going, true) {
            serving.as_mut().graceful_shutdown();
            if let Poll::Ready(result) = serving.as_mut().poll(cx) {
                return Poll::Ready(Some(result));
            }
        }
        Poll::Pending
    })
    .await;
    if let Some(Err(error)) = result {
        tracing::debug!(%error, remote = %state.ends.remote, "a client's connection ended");
    }
}

/// Bytes of the preface tell HTTP/2 from HTTP/1.
pub(crate) fn is_preface(bytes: &[u8]) -> Option<bool> {
    let n = bytes.len().min(PREFACE.len());
    if bytes[..n] != PREFACE[..n] { Some(false) } else { (n == PREFACE.len()).then_some(true) }
}

/// The version of a request, as records name it.
pub(crate) fn protocol(version: http::Version) -> Protocol {
    match version {
        http::Version::HTTP_2 => Protocol::Http2,
        http::Version::HTTP_10 | http::Version::HTTP_09 => Protocol::Http10,
        _ => Protocol::Http11,
    }
}

/// Marker for answers without a body.
pub(crate) const NO_BODY: Bytes = Bytes::new();
