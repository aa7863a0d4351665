//! Several control planes over real sockets: who is dialled, who is stayed with, and how proxies move.
#![allow(clippy::unwrap_used)]

use amime_model::config::{Cluster, ClusterEndpoints, Discovery, ProxyConfig};
use amime_testkit::xds::Peer;
use amime_xds::Node;
use amime_xds::client::{Client, ClientOptions};
use amime_xds::transport::{Backoff, ClientTls, ConnectionState, Dialer, Link, TlsError, run, serve_connection};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

const PATIENCE: Duration = Duration::from_secs(20);

fn config(cluster: &str) -> ProxyConfig {
    let mut config = ProxyConfig::default();
    let endpoints = ClusterEndpoints { cluster: cluster.into(), ..Default::default() };
    config.endpoints.insert(cluster.into(), Arc::new(endpoints));
    config.clusters.insert(cluster.into(), Arc::new(Cluster::new(cluster, Discovery::Eds(String::new()))));
    config
}

/// A control plane at a port, until it is killed or dropped.
struct Server {
    address: SocketAddr,
    arrivals: Arc<Mutex<Vec<Instant>>>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(peer: &Peer, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let arrivals: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let (peer, seen) = (peer.clone(), arrivals.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                seen.lock().unwrap().push(Instant::now());
                connections.spawn(peer.clone().connection(stream, Link::Network));
            }
        });
        Self { address, arrivals, task }
    }

    fn arrivals(&self) -> Vec<Instant> {
        self.arrivals.lock().unwrap().clone()
    }

    /// Its sockets close, as those of a process that dies.
    async fn kill(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A client that takes all, and what it runs.
fn client(dialer: &Dialer) -> watch::Receiver<Arc<ProxyConfig>> {
    let node = Node { id: "sidecar~10.0.0.1~x.default~default.svc.cluster.local".into(), ..Node::default() };
    let client = Client::new(node, Arc::default(), ClientOptions::default());
    let (running, configs) = watch::channel(Arc::default());
    tokio::spawn(run(dialer.clone(), client, Backoff::default(), move |update| {
        running.send_replace(update.config);
        std::future::ready(Ok(()))
    }));
    configs
}

fn dialer(addresses: &[SocketAddr]) -> Dialer {
    Dialer::new(addresses.iter().map(ToString::to_string).collect(), None).unwrap()
}

async fn until(dialer: &Dialer, what: impl FnMut(&ConnectionState) -> bool) -> ConnectionState {
    let mut state = dialer.state();
    tokio::time::timeout(PATIENCE, state.wait_for(what)).await.expect("in time").unwrap().clone()
}

fn is_at(state: &ConnectionState, at: SocketAddr) -> bool {
    matches!(state, ConnectionState::Connected { address, .. } if *address == at.to_string())
}

fn is_away(state: &ConnectionState, because: &str) -> bool {
    matches!(state, ConnectionState::Away { why, .. } if why.contains(because))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxies_of_a_dead_control_plane_move_within_a_second_but_not_at_once() {
    const CLIENTS: usize = 50;
    let peer = Peer::new(&config("one"));
    let (a, b) = (Server::start(&peer, any()).await, Server::start(&peer, any()).await);
    let (at_a, at_b) = (a.address, b.address);
    let dialers: Vec<_> = (0..CLIENTS).map(|_| dialer(&[at_a, at_b])).collect();
    let mut running: Vec<_> = dialers.iter().map(client).collect();
    for configs in &mut running {
        configs.wait_for(|config| config.clusters.contains_key("one")).await.unwrap();
    }
    let before = b.arrivals().len();
    assert!((10..=40).contains(&before), "{before} of {CLIENTS} begin with the second");

    let killed = Instant::now();
    a.kill().await;
    for dialer in &dialers {
        until(dialer, |state| is_at(state, at_b)).await;
    }
    let moved: Vec<_> = b.arrivals().split_off(before).into_iter().map(|at| at - killed).collect();
    assert_eq!(moved.len(), CLIENTS - before, "each moves once");
    assert!(moved.last().unwrap() < &Duration::from_millis(1500), "{moved:?}");
    let window = Duration::from_millis(50);
    let within = |first: Duration| moved.iter().filter(|at| (first..=first + window).contains(*at)).count();
    let busiest = moved.iter().map(|at| within(*at)).max().unwrap();
    assert!(busiest <= moved.len() * 2 / 3, "{busiest} of {} within {window:?}: {moved:?}", moved.len());

    // The first one is back, and all stay with the one that answers.
    let back = Server::start(&peer, at_a).await;
    peer.set(&config("two"));
    for configs in &mut running {
        configs.wait_for(|config| config.clusters.contains_key("two")).await.unwrap();
    }
    assert!(back.arrivals().is_empty());
}

#[tokio::test]
async fn who_reaches_none_says_why_and_comes_when_one_is_there() {
    let peer = Peer::new(&config("one"));
    let server = Server::start(&peer, any()).await;
    let at = server.address;
    server.kill().await;
    let dialer = dialer(&[at]);
    let mut configs = client(&dialer);
    until(&dialer, |state| is_away(state, "refused")).await;
    let server = Server::start(&peer, at).await;
    configs.wait_for(|config| config.clusters.contains_key("one")).await.unwrap();
    let ConnectionState::Connected { since, .. } = until(&dialer, |state| is_at(state, at)).await else {
        unreachable!("it was just asked for")
    };
    assert!(since.elapsed().unwrap() < PATIENCE);
    server.kill().await;
    until(&dialer, |state| matches!(state, ConnectionState::Away { .. })).await;
    assert!(configs.borrow().clusters.contains_key("one"), "what runs goes on");
}

#[tokio::test]
async fn one_that_takes_connections_and_says_nothing_is_left() {
    let peer = Peer::new(&config("one"));
    let server = Server::start(&peer, any()).await;
    let silent = TcpListener::bind(any()).await.unwrap();
    let dialer = dialer(&[silent.local_addr().unwrap(), server.address]);
    // Chance may begin with either; one of several clients begins with the silent one.
    let running: Vec<_> = (0..8).map(|_| client(&dialer)).collect();
    for mut configs in running {
        let found = configs.wait_for(|config| config.clusters.contains_key("one"));
        tokio::time::timeout(PATIENCE, found).await.unwrap().unwrap();
    }
}

/// It answers pings, as a control plane that has come to a halt may.
#[tokio::test]
async fn one_that_takes_streams_and_answers_none_is_left() {
    let peer = Peer::new(&config("one"));
    let server = Server::start(&peer, any()).await;
    let silent = TcpListener::bind(any()).await.unwrap();
    let at = silent.local_addr().unwrap();
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = silent.accept().await {
            let opened = Mutex::new(Vec::new());
            let accept = move |stream| opened.lock().unwrap().push(stream);
            connections.spawn(serve_connection(stream, Link::Network, accept, std::future::pending()));
        }
    });
    let dialer = dialer(&[at, server.address]);
    let running: Vec<_> = (0..8).map(|_| client(&dialer)).collect();
    for mut configs in running {
        let found = configs.wait_for(|config| config.clusters.contains_key("one"));
        tokio::time::timeout(PATIENCE, found).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn names_are_looked_up() {
    let peer = Peer::new(&config("one"));
    let server = Server::start(&peer, any()).await;
    let target = format!("localhost:{}", server.address.port());
    let dialer = Dialer::new(vec!["no-such-name.invalid:15010".into(), target.clone()], None).unwrap();
    client(&dialer).wait_for(|config| config.clusters.contains_key("one")).await.unwrap();
    let named = format!("{target} ({})", server.address);
    until(&dialer, |state| matches!(state, ConnectionState::Connected { address, .. } if *address == named)).await;
}

#[tokio::test]
async fn tls_takes_only_a_certificate_of_the_given_ca_and_name() {
    let made = rcgen::generate_simple_self_signed(["istiod.istio-system.svc".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut tls = builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind(any()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let peer = Peer::new(&config("one"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not take the certificate ends the handshake.
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(peer.clone().connection(stream, Link::Network));
            }
        }
    });
    let with = |ca_pem: String, server_name: Option<&str>| {
        let tls = ClientTls { ca_pem: ca_pem.into_bytes(), server_name: server_name.map(str::to_owned) };
        Dialer::new(vec![address.to_string()], Some(tls)).unwrap()
    };
    let good = with(made.cert.pem(), Some("istiod.istio-system.svc"));
    client(&good).wait_for(|config| config.clusters.contains_key("one")).await.unwrap();

    let by_address = with(made.cert.pem(), None);
    let _not_its_name = client(&by_address);
    until(&by_address, |state| is_away(state, "TLS")).await;
    let other = rcgen::generate_simple_self_signed(["istiod.istio-system.svc".to_owned()]).unwrap();
    let unknown = with(other.cert.pem(), Some("istiod.istio-system.svc"));
    let _not_its_ca = client(&unknown);
    until(&unknown, |state| is_away(state, "TLS")).await;

    let none = ClientTls { ca_pem: b"nothing".to_vec(), server_name: None };
    assert_eq!(Dialer::new(Vec::new(), Some(none)).unwrap_err(), TlsError::NoCertificate);
}
