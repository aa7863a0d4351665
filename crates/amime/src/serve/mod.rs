//! The small HTTP/1.1 server of amime's own pages: health, metrics, admin, debug. `up`, `control` and `proxy` start one
//! for each port that they answer at; which pages there are they say by [`Page`]s, what is in them by a handler.

mod answer;
mod connections;
mod pages;
mod seats;

pub(crate) use answer::{Answer, html, json, problem, text};
pub(crate) use connections::{accept, stopped, until_stopped};
pub(crate) use pages::{Methods, Page, find, query};
pub(crate) use seats::Silent;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What clients may take of one port.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// How long one may take for a request's head, and stay silent between two requests.
    head: Duration,
    /// How many there are at once; who comes then takes the place of who has been silent longest.
    connections: usize,
}

const PAGES: Limits = Limits { head: Duration::from_secs(30), connections: 512 };
/// Who asks for health asks once.
const HEALTH: Limits = Limits { head: Duration::from_secs(5), ..PAGES };

/// How many ports are tried where any will do.
const ANY_PORT_TRIES: u32 = 16;

/// Who asks: in the extensions of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// A running server. Dropping it ends it at once.
#[derive(Debug)]
pub(crate) struct Server {
    stop: watch::Sender<bool>,
    listeners: JoinSet<()>,
}

impl Server {
    /// Takes no new connection, and returns when the requests that have begun are answered.
    pub(crate) async fn finish(mut self) {
        self.stop.send_replace(true);
        while self.listeners.join_next().await.is_some() {}
    }
}

/// Opens a port, 0 for any free one, at one address.
///
/// # Errors
/// Where it cannot be opened; the error names the address.
pub(crate) async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
    TcpListener::bind(address).await.map_err(named)
}

/// Opens a port at 127.0.0.1 and, where the machine has it, at ::1: the same at both, also for port 0.
///
/// # Errors
/// Where it cannot be opened at 127.0.0.1, or another program has it at ::1: who asks `localhost` may be sent there.
pub(crate) async fn listen_local(port: u16) -> io::Result<Vec<TcpListener>> {
    let mut tries = 0;
    loop {
        let first = listen(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)).await?;
        let same = first.local_addr()?.port();
        match listen(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), same)).await {
            Ok(second) => return Ok(vec![first, second]),
            // A free one here may be taken there; the next one is not, as a rule.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && port == 0 && tries < ANY_PORT_TRIES => tries += 1,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            // A machine without IPv6 has no ::1, and needs none.
            Err(_) => return Ok(vec![first]),
        }
    }
}

/// Opens a port at every address of the machine, of both families where it has both; 0 for any free one.
///
/// # Errors
/// Where it cannot be opened.
pub(crate) async fn listen_everywhere(port: u16) -> io::Result<TcpListener> {
    match both_families(port) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)).await
        }
        opened => opened,
    }
}

/// One socket for both, whatever the machine's default (net.ipv6.bindv6only).
fn both_families(port: u16) -> io::Result<TcpListener> {
    let address = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
    let open = || {
        let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None)?;
        socket.set_only_v6(false)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(named)
}

/// Answers at all these listeners by the handler, on the current runtime.
pub(crate) fn http<H, F>(listeners: Vec<TcpListener>, handler: H) -> Server
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    within(PAGES, listeners, handler)
}

/// As [`http`], for who asks whether something is well.
pub(crate) fn health<H, F>(listeners: Vec<TcpListener>, handler: H) -> Server
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    within(HEALTH, listeners, handler)
}

fn within<H, F>(limits: Limits, listeners: Vec<TcpListener>, handler: H) -> Server
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let (stop, stopped) = watch::channel(false);
    let handler = Arc::new(handler);
    let mut tasks = JoinSet::new();
    for listener in listeners {
        let (handler, stop) = (handler.clone(), stopped.clone());
        tasks.spawn(accept(listener, limits.connections, stopped.clone(), move |stream, peer, silent| {
            serve(limits, stream, Peer(peer), silent, handler.clone(), stop.clone())
        }));
    }
    Server { stop, listeners: tasks }
}

async fn serve<H, F>(
    limits: Limits,
    stream: TcpStream,
    peer: Peer,
    silent: Silent,
    handler: Arc<H>,
    mut stop: watch::Receiver<bool>,
) where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let answer = handler(request);
        let silent = silent.clone();
        async move {
            silent.asks();
            let answer = answer.await;
            silent.is_answered();
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .serve_connection(TokioIo::new(stream), service);
    until_stopped(connection, &mut stop, |connection| connection.graceful_shutdown()).await;
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
