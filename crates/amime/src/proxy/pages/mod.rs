//! The proxy's own pages: health (15021), agent (15020), stats (15090), admin (15000). `run` starts them before the
//! proxy, so that a port in use is known at once.

mod admin;
mod agent;
mod app_metrics;
mod clusters;
mod config_dump;
mod health;
mod http_client;
mod listeners;
mod local;
mod probes;
mod server_info;
mod stats;

pub(super) use app_metrics::AppMetrics;
pub(super) use probes::Probers;

use super::Kind;
use super::identity::Identity;
use super::settings::{Lifecycle, Pages};
use crate::logging::LogLevel;
use crate::serve::{self, Answer, Server, problem};
use amime_proxy::{OwnPorts, Proxy, Side};
use amime_xds::client::Saved;
use amime_xds::transport::ConnectionState;
use anyhow::Context;
use http::StatusCode;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// So many heavy pages are made at once.
const THREADS: usize = 2;

/// What pages tell, and what they may ask for.
pub(super) struct Shared {
    pub(super) proxy: Proxy,
    pub(super) kind: Kind,
    pub(super) identity: Identity,
    pub(super) lifecycle: Lifecycle,
    pub(super) workers: usize,
    pub(super) control: watch::Receiver<ConnectionState>,
    /// Whether a control plane was ever there.
    pub(super) met: AtomicBool,
    /// When what the proxy began with was saved.
    pub(super) saved_at: Option<SystemTime>,
    /// All that is accepted, with its versions.
    pub(super) accepted: watch::Receiver<Saved>,
    pub(super) started: SystemTime,
    pub(super) log: LogLevel,
    pub(super) app_metrics: AppMetrics,
    pub(super) probers: Probers,
    pub(super) asked: watch::Sender<Asked>,
}

/// What somebody has asked for by a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Asked {
    #[default]
    Nothing,
    /// To drain, and go on running.
    Drain(Draining),
    /// To end.
    Quit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Draining {
    /// Outbound too.
    pub(super) all: bool,
    /// New connections are taken for a while.
    pub(super) graceful: bool,
}

impl Draining {
    pub(super) fn side(self) -> Side {
        if self.all { Side::All } else { Side::Inbound }
    }
}

impl Shared {
    /// What a later wish leaves of an earlier one: the stronger.
    fn ask(&self, wish: Asked) {
        self.asked.send_if_modified(|asked| {
            let stronger = wish > *asked;
            if stronger {
                *asked = wish;
            }
            stronger
        });
    }
}

/// The ports, opened but not answered yet.
pub(super) struct Opened {
    admin: Vec<TcpListener>,
    agent: Vec<TcpListener>,
    health: Vec<TcpListener>,
    stats: Vec<TcpListener>,
}

impl Opened {
    pub(super) async fn open(pages: &Pages) -> anyhow::Result<Self> {
        let admin = serve::listen_local(pages.admin).await.with_context(|| taken("--admin-port"))?;
        Ok(Self {
            admin,
            agent: open("--agent-port", pages.agent, &pages.bind).await?,
            health: open("--health-port", pages.health, &pages.bind).await?,
            stats: open("--stats-port", pages.stats, &pages.bind).await?,
        })
    }

    fn named(&self) -> [(&'static str, &[TcpListener]); 4] {
        [("admin", &self.admin), ("agent", &self.agent), ("health", &self.health), ("stats", &self.stats)]
    }

    /// A line for each page with where it is, for who started the proxy with port 0.
    pub(super) fn tell(&self) {
        for (name, listeners) in self.named() {
            for address in listeners.iter().filter_map(|listener| listener.local_addr().ok()) {
                anstream::println!("{name} {address}");
            }
        }
    }

    /// Where the pages are, `pod` being the pod's own address, so that nothing is passed through to them.
    pub(super) fn own_ports(&self, pod: IpAddr) -> OwnPorts {
        let named = self.named();
        let all = named.iter().flat_map(|(_, listeners)| listeners.iter());
        let bound: Vec<SocketAddr> = all.filter_map(|listener| listener.local_addr().ok()).collect();
        let mut ports: Vec<u16> = bound.iter().map(SocketAddr::port).collect();
        ports.dedup();
        let mut addresses: Vec<IpAddr> = bound.iter().map(|a| a.ip()).filter(|ip| !ip.is_unspecified()).collect();
        let everywhere = bound.iter().any(|address| address.ip().is_unspecified());
        if everywhere {
            addresses.push(pod);
        }
        addresses.sort_unstable();
        addresses.dedup();
        OwnPorts { ports, addresses, loopback: everywhere }
    }

    /// Answers from here on, on the current runtime; dropping the servers ends them.
    pub(super) fn serve(self, shared: &Arc<Shared>) -> Vec<Server> {
        let (admin, agent, health, stats) = (shared.clone(), shared.clone(), shared.clone(), shared.clone());
        vec![
            serve::http(self.admin, move |request| admin::answer(admin.clone(), request)),
            serve::http(self.agent, move |request| agent::answer(agent.clone(), request)),
            serve::health(self.health, move |request| health::page(health.clone(), request)),
            serve::http(self.stats, move |request| stats::page(stats.clone(), request)),
        ]
    }
}

/// Makes a heavy page on a thread where no other page waits for it. There are so few of these threads (`THREADS`) that
/// many who ask cannot take the workers' cores; who comes then waits. To be called on the runtime of the pages.
async fn apart<M, F>(make: M) -> Answer
where
    M: FnOnce() -> F + Send + 'static,
    F: Future<Output = Answer>,
{
    let here = tokio::runtime::Handle::current();
    let making = tokio::task::spawn_blocking(move || here.block_on(make()));
    making.await.unwrap_or_else(|error| problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()))
}

/// What all pages run on: a thread of their own, so that health waits neither for the control plane's updates nor for
/// heavy pages.
pub(super) fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(THREADS)
        .thread_name("pages")
        .enable_all()
        .build()
}

fn taken(flag: &str) -> String {
    format!("{flag}: its port cannot be opened; {flag} N takes another, 0 any free one")
}

/// One port at several addresses; without addresses at all of this machine.
async fn open(flag: &str, port: u16, bind: &[IpAddr]) -> anyhow::Result<Vec<TcpListener>> {
    let loopback = bind.iter().all(IpAddr::is_loopback) && bind.len() == 2;
    if loopback {
        return serve::listen_local(port).await.with_context(|| taken(flag));
    }
    let everywhere = bind.iter().all(IpAddr::is_unspecified) && bind.len() == 2;
    if everywhere {
        let listener = serve::listen_everywhere(port).await.with_context(|| taken(flag))?;
        return Ok(vec![listener]);
    }
    let (mut port, mut listeners) = (port, Vec::new());
    for address in bind {
        let listener = serve::listen(SocketAddr::new(*address, port)).await.with_context(|| taken(flag))?;
        port = listener.local_addr().with_context(|| taken(flag))?.port();
        listeners.push(listener);
    }
    Ok(listeners)
}

/// `12s`, `5m12s`, `3h5m`, `2d4h`: how old something is, for readers.
fn age(since: SystemTime) -> String {
    let seconds = since.elapsed().unwrap_or(Duration::ZERO).as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// As RFC 3339 writes it, to the millisecond.
fn timestamp(at: SystemTime) -> String {
    use time::format_description::well_known::Rfc3339;
    let at = time::OffsetDateTime::from(at);
    let whole = at.replace_nanosecond(at.nanosecond() / 1_000_000 * 1_000_000).unwrap_or(at);
    // Only a year beyond 9999 has no such form.
    whole.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let before = |seconds| SystemTime::now() - Duration::from_secs(seconds);
        for (seconds, text) in [(0, "0s"), (312, "5m12s"), (11_100, "3h5m"), (187_200, "2d4h")] {
            assert_eq!(age(before(seconds)), text);
        }
        assert_eq!(timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(1500)), "1970-01-01T00:00:01.5Z");
    }

    #[test]
    fn the_stronger_wish_stays() {
        let drain = |all| Asked::Drain(Draining { all, graceful: true });
        assert!(Asked::Quit > drain(true) && drain(true) > drain(false) && drain(false) > Asked::Nothing);
    }
}
