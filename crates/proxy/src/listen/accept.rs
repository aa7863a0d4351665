//! The accept loop of one socket, and a connection's way to the filter chain that serves it.

use super::filters::{self, Inspected};
use super::stream::ClientStream;
use crate::flags::Flags;
use crate::http::connection::{self, Accepted};
use crate::proxy_worker::{Current, ProxyWorker};
use crate::runtime::{ChainAction, ListenerRuntime};
use crate::tcp;
use crate::telemetry::tcp::entry;
use crate::telemetry::totals::ListenerCounts;
use crate::telemetry::{Ends, RequestRecord};
use crate::tls::server::{ServerContext, Shaken};
use amime_model::route::listener::ConnectionView;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// How long to wait where accepting fails (no files left).
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts until it is told to stop (with the last configuration that had the address, or nothing where the proxy ends);
/// then takes what the kernel has queued, for closing the socket would reset those connections.
pub(crate) async fn run(
    proxy: Rc<ProxyWorker>,
    address: SocketAddr,
    socket: TcpListener,
    mut stop: oneshot::Receiver<Rc<Current>>,
) {
    let leaving = loop {
        tokio::select! {
            biased;
            leaving = &mut stop => break leaving.ok(),
            accepted = socket.accept() => match accepted {
                Ok((stream, remote)) => admit(&proxy, address, None, stream, remote),
                Err(error) => {
                    tracing::warn!(%address, %error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    };
    while let Some(Ok((stream, remote))) = futures_util::FutureExt::now_or_never(socket.accept()) {
        admit(&proxy, address, leaving.as_ref(), stream, remote);
    }
}

/// Gives a connection to the listener that has the socket's address now, or to the one that is leaving it.
fn admit(
    proxy: &Rc<ProxyWorker>,
    address: SocketAddr,
    leaving: Option<&Rc<Current>>,
    stream: TcpStream,
    remote: SocketAddr,
) {
    let shared = &proxy.shared;
    if shared.connections.fetch_add(1, Ordering::Relaxed) >= shared.settings.max_connections {
        shared.connections.fetch_sub(1, Ordering::Relaxed);
        tracing::warn!(%address, "a connection is closed: there are too many");
        return;
    }
    let mut counted = Counted(Rc::clone(proxy), None);
    let config = leaving.map_or_else(|| proxy.config(), Rc::clone);
    let Some(listener) = config.listeners.listening_at(address).map(Arc::clone) else { return };
    listener.counts.opened();
    counted.1 = Some(Arc::clone(&listener.counts));
    if shared.draining().includes(&listener.config) {
        shared.late.fetch_add(1, Ordering::Relaxed);
    }
    tokio::task::spawn_local(async move {
        let proxy = Rc::clone(&counted.0);
        serve(proxy, config, listener, stream, remote).await;
        drop(counted);
    });
}

/// One of the proxy's client connections.
struct Counted(Rc<ProxyWorker>, Option<Arc<ListenerCounts>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.shared.connections.fetch_sub(1, Ordering::Relaxed);
        if let Some(listener) = &self.1 {
            listener.closed();
        }
    }
}

/// `config` is the configuration that the connection was accepted under.
async fn serve(
    proxy: Rc<ProxyWorker>,
    mut config: Rc<Current>,
    mut listener: Arc<ListenerRuntime>,
    stream: TcpStream,
    remote: SocketAddr,
) {
    // Both are hints for the kernel; a connection that has gone already fails them.
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
    let mut inspected = Inspected::new(ClientStream::new(stream, bytes::Bytes::new()), remote, local);
    if !inspect(&proxy, &listener, &mut inspected).await {
        return;
    }
    if listener.config.use_original_dst
        && let Some(original) = inspected.original
        && let now = proxy.config()
        && let Some(other) = now.listeners.by_original_destination(original).map(Arc::clone)
        && !Arc::ptr_eq(&other, &listener)
    {
        (config, listener) = (now, other);
        if !inspect(&proxy, &listener, &mut inspected).await {
            return;
        }
    }
    // While the filters waited for the client, another configuration may have come.
    let now = proxy.config().listeners.named(&listener.name).filter(|now| now.goes_on(&listener)).map(Arc::clone);
    let left = match now {
        Some(now) => {
            listener = now;
            // Not kept for as long as the connection lasts.
            drop(config);
            None
        }
        None => Some(config),
    };
    let Inspected { stream, remote, direct, local, original, server_name, tls, protocols } = inspected;
    let destination = original.unwrap_or(local);
    let protocols: Vec<&str> = protocols.iter().map(String::as_str).collect();
    let view = ConnectionView {
        destination,
        source: remote,
        server_name: server_name.as_deref(),
        tls,
        application_protocols: &protocols,
    };
    let ends = Ends { remote, direct, local: destination };
    let Some(chain) = listener.chain(&view).cloned() else {
        tracing::debug!(listener = %listener.name, %remote, %destination, "no filter chain takes a connection");
        refused(&proxy, &listener, ends, server_name.as_deref(), "filter_chain_not_found");
        return;
    };
    let (stream, http2) = match &chain.tls {
        None if tls => (stream, None),
        None => (stream, protocols.first().map(|protocol| *protocol == "h2c")),
        Some(context) => match shake(&proxy, context, stream).await {
            Ok(shaken) => (shaken.stream, shaken.http2),
            Err(reason) => {
                tracing::debug!(listener = %listener.name, %remote, %reason, "a TLS connection is refused");
                refused(&proxy, &listener, ends, server_name.as_deref(), "tls_handshake_failed");
                return;
            }
        },
    };
    let accepted = Accepted { stream, ends, original, server_name, http2, left };
    match &chain.action {
        ChainAction::Http(hcm) => {
            let hcm = Arc::clone(hcm);
            connection::serve(proxy, listener, chain, hcm, accepted).await;
        }
        ChainAction::Tcp(tcp) => {
            let tcp = Arc::clone(tcp);
            tcp::serve(proxy, listener, Arc::clone(&chain), tcp, accepted).await;
        }
        ChainAction::Refuse(reason) => {
            tracing::debug!(listener = %listener.name, %remote, %reason, "a connection is refused");
            refused(&proxy, &listener, ends, accepted.server_name.as_deref(), "filter_chain_refuses");
        }
    }
}

/// A client's handshake, unless the proxy ends first.
async fn shake(proxy: &ProxyWorker, context: &ServerContext, stream: ClientStream) -> Result<Shaken, String> {
    tokio::select! {
        biased;
        () = proxy.aborted() => Err("the proxy ends".into()),
        shaken = context.accept(stream) => shaken,
    }
}

/// Runs the listener's filters; false where the connection is to be closed, or the proxy ends first.
async fn inspect(proxy: &ProxyWorker, listener: &ListenerRuntime, connection: &mut Inspected) -> bool {
    tokio::select! {
        biased;
        () = proxy.aborted() => false,
        goes_on = filters::inspect(listener, connection) => goes_on,
    }
}

/// A record of a connection that nobody serves.
fn refused(
    proxy: &Rc<ProxyWorker>,
    listener: &Arc<ListenerRuntime>,
    ends: Ends,
    server_name: Option<&str>,
    details: &'static str,
) {
    if !proxy.recorder.wanted() && listener.logs.is_none() {
        return;
    }
    let mut record = RequestRecord::of_connection(proxy, listener, ends);
    record.flags = Flags::NR;
    record.details = details;
    if let Some(logs) = &listener.logs {
        logs.write(&entry(&record, server_name, ""), &proxy.lines);
    }
    proxy.recorder.push(record);
}
