//! The port 15014: what the control plane tells of itself, its proxies and the configuration in force. `run` starts it.
//!
//! Pages are made on threads of their own, one or two at a time, from copies that are quickly taken: however large the
//! mesh, no proxy waits for a page.

mod absent;
mod clients;
mod digest;
mod exposition;
mod index;
mod mesh;
mod metrics;
mod objects;
mod process;
mod proxy;
mod push_status;
mod registry;
mod scopes;
mod syncz;
mod view;
mod written;

use crate::serve::{self, Answer, Page, Peer, Server, problem};
use amime_control::{Distributor, Generation};
use http::header::{ACCEPT, HOST};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use view::{Asked, View};

/// Every page that there is, in the order of the index.
const PAGES: &[Page] = &[
    Page::read("/metrics", "metrics in Prometheus' text format"),
    Page::read("/version", "the version of this control plane; as JSON with ?format=json"),
    Page::read("/debug", "this list"),
    Page::read("/debug/list", "this list as JSON"),
    Page::read("/debug/syncz", "for each proxy how far it has come, type by type, and what is pending"),
    Page::read("/debug/push_status", "what is in force, what waits, what was refused, all findings"),
    Page::read("/debug/configz", "the objects in force and where each was written; ?kind= &namespace= &name="),
    Page::read("/debug/mesh", "the mesh configuration in force"),
    Page::read("/debug/registryz", "the services; ?service= &namespace="),
    Page::read("/debug/endpointz", "the endpoints of all services; ?service= &namespace="),
    Page::read("/debug/endpointShardz", "the same as /debug/endpointz"),
    Page::read("/debug/instancesz", "the service ports that each connected proxy answers; ?proxyID="),
    Page::read("/debug/sidecarz", "the scopes, and the proxies that share each; ?proxyID="),
    Page::read("/debug/connections", "the streams that are open"),
    Page::read("/debug/adsz", "the same, and what each was sent"),
    Page::read("/debug/config_dump", "all that a proxy is to have, as Envoy prints it; ?proxyID= &include_eds"),
    Page::read("/debug/edsz", "the endpoints that a proxy is to have; ?proxyID="),
];

/// How many pages of `/debug` are made at once.
const AT_ONCE: usize = 2;

/// What pages are made of.
pub(super) struct Monitor {
    pub(super) generations: watch::Receiver<Generation>,
    pub(super) distributor: Distributor,
    /// What this control plane is called among others.
    pub(super) name: String,
    /// Whether `/debug` is told to other machines too.
    pub(super) debug_from_anywhere: bool,
}

struct Shared {
    monitor: Monitor,
    started: SystemTime,
    making: Arc<Semaphore>,
    /// Of the newest generation that anybody asked for.
    digests: Mutex<Option<(u64, Arc<digest::Digests>)>>,
}

impl Monitor {
    /// Answers at the port until the server is dropped.
    pub(super) fn serve(self, port: TcpListener) -> Server {
        let shared = Arc::new(Shared {
            monitor: self,
            started: SystemTime::now(),
            making: Arc::new(Semaphore::new(AT_ONCE)),
            digests: Mutex::default(),
        });
        serve::http(vec![port], move |request| answer(shared.clone(), request))
    }
}

/// The name by which this control plane is told from others: its pod's, else the machine's with the port.
pub(super) fn name(port: u16) -> String {
    let machine = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "localhost".to_owned());
    let pod = std::env::var("POD_NAME").ok().filter(|name| !name.is_empty());
    pod.unwrap_or_else(|| format!("{}:{port}", machine().trim()))
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Answer {
    if let Some(refusal) = refusal(&request, shared.monitor.debug_from_anywhere) {
        return refusal;
    }
    let path = request.uri().path().trim_end_matches('/');
    if let Some(why) = absent::why(path) {
        return problem(StatusCode::NOT_FOUND, why);
    }
    let asked = match serve::find(PAGES, &request) {
        Ok(page) => Asked::new(page.path, &request),
        Err(answer) => return *answer,
    };
    // Metrics are small, and a scraper does not wait long. The semaphore is never closed.
    let turn = match asked.path.starts_with("/debug") {
        true => shared.making.clone().acquire_owned().await.ok(),
        false => None,
    };
    let making = tokio::task::spawn_blocking(move || {
        let answer = make(&shared, &asked);
        // Held here, for a client that goes away does not end the making.
        drop(turn);
        answer
    });
    making.await.unwrap_or_else(|error| problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()))
}

fn make(shared: &Shared, asked: &Asked) -> Answer {
    match asked.path {
        "/version" => return index::version(asked, &shared.monitor.name),
        "/debug" => return index::index(asked, PAGES),
        "/debug/list" => return index::list(PAGES),
        _ => {}
    }
    let view = shared.view();
    match asked.path {
        "/metrics" => metrics::page(&view),
        "/debug/syncz" => syncz::page(&view, &shared.digests(&view)),
        "/debug/push_status" => push_status::page(&view, &shared.digests(&view)),
        "/debug/configz" => objects::page(&view, asked),
        "/debug/mesh" => mesh::page(&view),
        "/debug/registryz" => registry::services(&view, asked),
        "/debug/endpointz" | "/debug/endpointShardz" => registry::endpoints(&view, asked),
        "/debug/instancesz" => scopes::instances(&view, asked),
        "/debug/sidecarz" => scopes::page(&view, asked),
        "/debug/connections" => clients::connections(&view),
        "/debug/adsz" => clients::ads(&view, asked),
        "/debug/config_dump" => proxy::config_dump(&view, asked),
        "/debug/edsz" => proxy::endpoints(&view, asked),
        other => problem(StatusCode::NOT_FOUND, &format!("there is no {other} here")),
    }
}

impl Shared {
    fn view(&self) -> View {
        View {
            name: self.monitor.name.clone(),
            started: self.started,
            generation: self.monitor.generations.borrow().clone(),
            proxies: self.monitor.distributor.proxies(),
            counts: self.monitor.distributor.counts(),
            now: std::time::Instant::now(),
        }
    }

    /// Made once for each generation that is asked for.
    fn digests(&self, view: &View) -> Arc<digest::Digests> {
        let lock = || self.digests.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, known)) = lock().as_ref().filter(|(number, _)| *number == view.generation.number) {
            return known.clone();
        }
        let made = Arc::new(digest::Digests::of(&view.generation));
        *lock() = Some((view.generation.number, made.clone()));
        made
    }
}

/// Why `/debug` is not told to whoever asks. A name in `Host` that is not this machine's own is a web page's, which
/// a browser on this machine was made to load.
fn refusal<B>(request: &Request<B>, debug_from_anywhere: bool) -> Option<Answer> {
    let path = request.uri().path();
    if debug_from_anywhere || path != "/debug" && !path.starts_with("/debug/") {
        return None;
    }
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_canonical());
    let host = request.headers().get(HOST).map(|host| host.to_str().unwrap_or("?"));
    if peer.is_some_and(|ip| ip.is_loopback()) && host.is_none_or(is_this_machine) {
        return None;
    }
    Some(problem(
        StatusCode::FORBIDDEN,
        "/debug answers clients on this machine alone, at localhost, 127.0.0.1 or [::1]; amime control \
         --debug-from-anywhere answers everybody",
    ))
}

/// `localhost`, `127.0.0.1:15014`, `[::1]`.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

fn accepts<B>(request: &Request<B>, kind: &str) -> bool {
    request.headers().get_all(ACCEPT).iter().any(|value| value.to_str().is_ok_and(|value| value.contains(kind)))
}

#[cfg(test)]
#[path = "monitor_tests.rs"]
mod tests;
