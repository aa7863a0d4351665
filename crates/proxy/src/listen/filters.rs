//! Listener filters: what is found out about a connection before its filter chain is chosen.

use super::proxy_header::{self, Header};
use super::sniff::{self, Sniffed};
use super::stream::ClientStream;
use crate::runtime::ListenerRuntime;
use bytes::BytesMut;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Envoy's default.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The most that a PROXY header may take: a version 2 header with some TLVs, as Envoy's buffer holds.
const HEADER_MAX: usize = 4096;

/// A connection with what is known of it.
pub(super) struct Inspected {
    pub(super) stream: ClientStream,
    /// Who the client is, which a PROXY header may tell.
    pub(super) remote: SocketAddr,
    /// The socket's peer.
    pub(super) direct: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) original: Option<SocketAddr>,
    pub(super) server_name: Option<String>,
    pub(super) tls: bool,
    /// ALPN, or what HTTP inspection found.
    pub(super) protocols: Vec<String>,
}

impl Inspected {
    pub(super) fn new(stream: ClientStream, remote: SocketAddr, local: SocketAddr) -> Self {
        Self {
            stream,
            remote,
            direct: remote,
            local,
            original: None,
            server_name: None,
            tls: false,
            protocols: Vec::new(),
        }
    }
}

/// Runs a listener's filters within its timeout. False: the connection is to be closed.
pub(super) async fn inspect(listener: &ListenerRuntime, connection: &mut Inspected) -> bool {
    let filters = &listener.filters;
    if filters.opaque {
        tracing::debug!(listener = %listener.name, "a listener filter is not understood: the connection is refused");
        return false;
    }
    if filters.original_dst && connection.original.is_none() {
        connection.original = connection.stream.original_destination().filter(|a| *a != connection.local);
    }
    let port = connection.original.unwrap_or(connection.local).port();
    let http = filters.http && !filters.http_disabled_ports.contains(&port);
    if !(filters.proxy_protocol || filters.tls || http) {
        return true;
    }
    let mut ahead = BytesMut::new();
    let work = read(listener, connection, &mut ahead);
    let limit = listener.config.listener_filters_timeout.unwrap_or(TIMEOUT);
    let done = if limit.is_zero() {
        work.await
    } else {
        match tokio::time::timeout(limit, work).await {
            Ok(done) => done,
            // Without its PROXY header nobody knows where a connection wants to go.
            Err(_) => {
                let header_missing = filters.proxy_protocol && connection.original.is_none();
                listener.config.continue_on_timeout && !header_missing
            }
        }
    };
    connection.stream.unread(ahead.freeze());
    done
}

async fn read(listener: &ListenerRuntime, connection: &mut Inspected, ahead: &mut BytesMut) -> bool {
    let filters = &listener.filters;
    if filters.proxy_protocol && !read_proxy_header(connection, ahead).await {
        return false;
    }
    // Only now is it known where the connection goes.
    let port = connection.original.unwrap_or(connection.local).port();
    let http = filters.http && !filters.http_disabled_ports.contains(&port);
    if !(filters.tls || http) {
        return true;
    }
    loop {
        match sniff::look(ahead, filters.tls, http) {
            Sniffed::Tls { server_name, alpn } => {
                connection.tls = true;
                connection.server_name = server_name;
                connection.protocols = alpn;
                return true;
            }
            Sniffed::Http1 => {
                connection.protocols = vec!["http/1.1".into()];
                return true;
            }
            Sniffed::Http2 => {
                connection.protocols = vec!["h2c".into()];
                return true;
            }
            Sniffed::Unknown => return true,
            Sniffed::More => {}
        }
        match connection.stream.read_buf(ahead).await {
            // A client that ends without enough to tell: whoever serves it sees the end.
            Ok(0) => return !ahead.is_empty(),
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

async fn read_proxy_header(connection: &mut Inspected, ahead: &mut BytesMut) -> bool {
    loop {
        match proxy_header::parse(ahead) {
            Header::Addresses { source, destination, length } => {
                let _header = ahead.split_to(length);
                connection.remote = source;
                connection.original = Some(destination);
                return true;
            }
            // A health check of the sender's: the connection's own addresses stand.
            Header::Local { length } => {
                let _header = ahead.split_to(length);
                return true;
            }
            Header::More if ahead.len() < HEADER_MAX => {}
            Header::More | Header::Invalid => {
                tracing::debug!(remote = %connection.remote, "no PROXY protocol header: the connection is closed");
                return false;
            }
        }
        match connection.stream.read_buf(ahead).await {
            Ok(n) if n > 0 => {}
            _ => return false,
        }
    }
}
