//! Simulated sidecars: each has a connection and a delta stream of its own, subscribes to all clusters and listeners,
//! then to the endpoints and routes that they name, and acknowledges all. What comes is counted and looked through
//! for a marker.

use crate::manifests::{Mesh, namespace, pod_address, pod_name};
use crate::wire::{Request, Response, names, node};
use bytes::Bytes;
use h2::SendStream;
use memchr::memmem;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};

const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
const VIRTUAL_HOST: &str = "type.googleapis.com/envoy.config.route.v3.VirtualHost";
const ADS: &str = "http://control/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// So many connect at once; the next when one of them has its first clusters and listeners.
const AT_ONCE: usize = 64;
/// Envoy's windows.
const WINDOW: u32 = 16 << 20;
/// All is quiet when nobody has heard anything for so long.
const QUIET: Duration = Duration::from_millis(500);

/// What the clients, all tasks of one thread, share.
struct Shared {
    /// Clients that have got all types.
    served: Cell<usize>,
    looked_for: RefCell<Option<memmem::Finder<'static>>>,
    /// When each that has seen it did so.
    saw: RefCell<Vec<Instant>>,
    /// Counts the calls of `look_for`.
    round: Cell<usize>,
    received: Cell<usize>,
    heard: Cell<Instant>,
    changed: Notify,
}

pub(crate) struct Clients {
    shared: Rc<Shared>,
    count: usize,
}

/// When the clients saw a change, after it was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    first: Duration,
    half: Duration,
    p99: Duration,
    last: Duration,
}

impl Seen {
    /// Of several rounds, by their p99.
    pub(crate) fn median(rounds: &[Self]) -> Self {
        let mut sorted = rounds.to_vec();
        sorted.sort_by_key(|seen| seen.p99);
        let none = Self { first: Duration::ZERO, half: Duration::ZERO, p99: Duration::ZERO, last: Duration::ZERO };
        sorted.get(sorted.len() / 2).copied().unwrap_or(none)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, half, p99, last] = [self.first, self.half, self.p99, self.last].map(|d| d.as_millis());
        write!(f, "first {first} half {half} p99 {p99} last {last} ms")
    }
}

impl Clients {
    /// Begins to connect all the mesh's sidecars.
    pub(crate) fn connect(address: SocketAddr, mesh: &Mesh) -> Self {
        let shared = Rc::new(Shared {
            served: Cell::new(0),
            looked_for: RefCell::new(None),
            saw: RefCell::default(),
            round: Cell::new(0),
            received: Cell::new(0),
            heard: Cell::new(Instant::now()),
            changed: Notify::new(),
        });
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        for n in 0..mesh.sidecars {
            let (shared, turns, service) = (shared.clone(), turns.clone(), n % mesh.services);
            let vhds = mesh.vhds;
            tokio::task::spawn_local(async move {
                let turn = turns.acquire_owned().await.expect("a turn");
                let id = format!(
                    "sidecar~{}~{}.{ns}~{ns}.svc.cluster.local",
                    pod_address(n),
                    pod_name(n),
                    ns = namespace(n)
                );
                let metadata = serde_json::json!({
                    "NAMESPACE": namespace(n),
                    "LABELS": {"app": format!("s{service}"), "version": "v1"},
                    "SERVICE_ACCOUNT": "default",
                    "CLUSTER_ID": "Kubernetes",
                    "ISTIO_VERSION": "1.31.0",
                    "AMIME_VHDS": vhds.to_string(),
                });
                let client =
                    Client { shared, vhds, turn: Some(turn), types: BTreeSet::new(), known: BTreeSet::new(), saw: 0 };
                if let Err(problem) = client.run(address, &node(&id, &metadata)).await {
                    eprintln!("sidecar {n}: {problem}");
                    std::process::exit(1);
                }
            });
        }
        Self { shared, count: mesh.sidecars }
    }

    /// Until each has got something of all types.
    pub(crate) async fn served(&self) {
        while self.shared.served.get() < self.count {
            self.shared.changed.notified().await;
        }
    }

    /// Until nobody has heard anything for a while.
    pub(crate) async fn settled(&self) {
        while self.shared.heard.get().elapsed() < QUIET {
            tokio::time::sleep(QUIET / 5).await;
        }
    }

    /// From now on what holds `marker` counts.
    pub(crate) fn look_for(&self, marker: &str) {
        *self.shared.looked_for.borrow_mut() = Some(memmem::Finder::new(marker.as_bytes()).into_owned());
        self.shared.saw.borrow_mut().clear();
        self.shared.round.set(self.shared.round.get() + 1);
    }

    /// Until each has got the marker.
    pub(crate) async fn saw(&self, since: Instant) -> Seen {
        while self.shared.saw.borrow().len() < self.count {
            self.shared.changed.notified().await;
        }
        let mut took: Vec<_> = self.shared.saw.borrow().iter().map(|at| at.duration_since(since)).collect();
        took.sort_unstable();
        let at = |share: f64| took[(share * (took.len() - 1) as f64) as usize];
        Seen { first: at(0.0), half: at(0.5), p99: at(0.99), last: at(1.0) }
    }

    /// Megabytes that came since the last call.
    pub(crate) fn take_received(&self) -> usize {
        self.shared.received.take() / 1_000_000
    }
}

struct Client {
    shared: Rc<Shared>,
    vhds: bool,
    /// To connect; given back once the first clusters and listeners are there.
    turn: Option<tokio::sync::OwnedSemaphorePermit>,
    types: BTreeSet<String>,
    /// Clusters whose endpoints were asked for.
    known: BTreeSet<String>,
    /// The round in which the marker last came.
    saw: usize,
}

impl Client {
    async fn run(mut self, address: SocketAddr, node: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
        let connection = TcpStream::connect(address).await?;
        connection.set_nodelay(true)?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let (client, connection) = builder.handshake::<_, Bytes>(connection).await?;
        tokio::task::spawn_local(connection);
        let request = http::Request::post(ADS).header("content-type", "application/grpc").header("te", "trailers");
        let (response, mut requests) = client.ready().await?.send_request(request.body(())?, false)?;
        let first = Request { node, type_url: CLUSTER, subscribe: &["*"], ..Default::default() };
        send(&mut requests, &first)?;
        send(&mut requests, &Request { type_url: LISTENER, subscribe: &["*"], ..Default::default() })?;
        let mut body = response.await?.into_body();
        let mut buffer: Vec<u8> = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            buffer.extend_from_slice(&chunk);
            while let Some(header) = buffer.first_chunk::<5>() {
                let end = 5 + u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
                if buffer.len() < end {
                    break;
                }
                self.hear(&buffer[5..end], &mut requests)?;
                buffer.drain(..end);
            }
            if buffer.is_empty() {
                buffer = Vec::new();
            }
        }
        Err("the stream has ended".into())
    }

    fn hear(&mut self, message: &[u8], requests: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
        let response = Response::read(message);
        let shared = &self.shared;
        shared.heard.set(Instant::now());
        shared.received.set(shared.received.get() + message.len());
        let round = shared.round.get();
        if self.saw < round && shared.looked_for.borrow().as_ref().is_some_and(|f| f.find(message).is_some()) {
            self.saw = round;
            shared.saw.borrow_mut().push(Instant::now());
            shared.changed.notify_one();
        }
        send(requests, &Request { type_url: response.type_url, nonce: response.nonce, ..Default::default() })?;
        if response.type_url == CLUSTER {
            let new: Vec<_> =
                names(message).filter(|n| n.starts_with("outbound|") && self.known.insert((*n).to_owned())).collect();
            if !new.is_empty() {
                send(requests, &Request { type_url: ENDPOINTS, subscribe: &new, ..Default::default() })?;
            }
        }
        if self.types.insert(response.type_url.to_owned()) {
            if response.type_url == LISTENER {
                send(requests, &Request { type_url: ROUTE, subscribe: &["80"], ..Default::default() })?;
                if self.vhds {
                    send(requests, &Request { type_url: VIRTUAL_HOST, subscribe: &["80/*"], ..Default::default() })?;
                }
            }
            if self.types.contains(CLUSTER) && self.types.contains(LISTENER) {
                self.turn = None;
            }
            if self.types.len() == if self.vhds { 5 } else { 4 } {
                shared.served.set(shared.served.get() + 1);
                shared.changed.notify_one();
            }
        }
        Ok(())
    }
}

fn send(requests: &mut SendStream<Bytes>, request: &Request<'_>) -> Result<(), h2::Error> {
    requests.send_data(request.framed().into(), false)
}
