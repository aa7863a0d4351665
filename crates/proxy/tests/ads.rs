//! Following a control plane: ready, updates without a lost request, bad updates that harm nothing.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::config::*;
use amime_proxy::{AdsOptions, Proxy, ProxyIdentity, ProxyOptions, Workers};
use amime_testkit::client::{Raw, get};
use amime_testkit::origin::Origin;
use amime_testkit::xds::Peer;
use amime_xds::client::Saved;
use amime_xds::transport::{ConnectionState, ControlPlane, Dialer, Link};
use amime_xds::{Node, ResourceType};
use common::*;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

struct Followed {
    peer: Peer,
    proxy: Proxy,
    _workers: Workers,
}

async fn follow(config: &ProxyConfig) -> Followed {
    let peer = Peer::new(config);
    let workers = Workers::start(2).unwrap();
    let proxy = Proxy::start(ProxyOptions::new(ProxyIdentity::default(), tokio::runtime::Handle::current()), &workers);
    let node = Node { id: "sidecar~x".into(), ..Default::default() };
    proxy.follow(AdsOptions::new(peer.tcp_channel().await, node, Arc::default()));
    proxy.ready().wait_for(|ready| *ready).await.unwrap();
    Followed { peer, proxy, _workers: workers }
}

fn eds(name: &str) -> Cluster {
    Cluster::new(name, Discovery::Eds(String::new()))
}

/// A free port, told before anything listens on it.
fn free_port() -> SocketAddr {
    std::net::TcpListener::bind(ANY).unwrap().local_addr().unwrap()
}

/// One listener at an address, one route to one cluster by EDS.
fn config_at(address: SocketAddr, name: &str, origin: SocketAddr) -> ProxyConfig {
    let mut config = http_config(vec![forward(to(name))], [eds(name)]);
    let mut listener = (*config.listeners["test"]).clone();
    listener.address = address;
    config.listeners.insert("test".into(), Arc::new(listener));
    config.endpoints.insert(name.into(), Arc::new(endpoints(name, &[origin])));
    config
}

#[tokio::test]
async fn ready_when_the_first_configuration_runs() {
    let (origin, address) = (Origin::text("v1").await, free_port());
    let followed = follow(&config_at(address, "a", origin.address)).await;
    followed.peer.in_step().await;
    assert_eq!(get(address, "a", "/").await.body, "v1");
}

#[tokio::test]
async fn changes_lose_no_request() {
    let (v1, v2, address) = (Origin::text("v1").await, Origin::text("v2").await, free_port());
    let followed = follow(&config_at(address, "a", v1.address)).await;
    let done = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let done = Arc::clone(&done);
            tokio::spawn(async move {
                let (mut client, mut count) = (Raw::connect(address).await, 0);
                while !done.load(Ordering::Relaxed) {
                    let answer = client.get("a", "/", "").await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    count += 1;
                }
                count
            })
        })
        .collect();
    for round in 0..20 {
        let origin = if round % 2 == 0 { v2.address } else { v1.address };
        // A new cluster with each change: its endpoints must be there before the route, the old one leave after.
        followed.peer.set(&config_at(address, &format!("a{round}"), origin));
        followed.peer.in_step().await;
        let expected = if round % 2 == 0 { "v2" } else { "v1" };
        assert_eq!(get(address, "a", "/").await.body, expected);
    }
    done.store(true, Ordering::Relaxed);
    for load in load {
        assert!(load.await.unwrap() > 0);
    }
}

#[tokio::test]
async fn an_update_that_cannot_run_is_rejected_by_name_and_harms_nothing() {
    let (origin, address) = (Origin::text("v1").await, free_port());
    let good = config_at(address, "a", origin.address);
    let followed = follow(&good).await;
    let taken = std::net::TcpListener::bind(ANY).unwrap();
    let mut bad = good.clone();
    let mut listener = (*bad.listeners["test"]).clone();
    listener.name = "taken".into();
    listener.address = taken.local_addr().unwrap();
    listener.origins = vec![Origin0::gateway()];
    bad.listeners.insert("taken".into(), Arc::new(listener));
    followed.peer.set(&bad);
    let status = followed.peer.wait(|status| !status.types[ResourceType::Listener].rejected.is_empty()).await;
    let message = &status.types[ResourceType::Listener].rejected[0].message;
    assert!(message.contains("Listener taken") && message.contains("Gateway default/shop"), "{message}");
    assert_eq!(get(address, "a", "/").await.status, 200);
    // The way out: the port becomes free, and the next push goes through.
    drop(taken);
    followed.peer.set(&good);
    followed.peer.in_step().await;
}

/// The origin that the bad listener of a test has.
struct Origin0;

impl Origin0 {
    fn gateway() -> amime_model::config::Origin {
        amime_model::config::Origin {
            kind: "Gateway".into(),
            namespace: "default".into(),
            name: "shop".into(),
            path: String::new(),
        }
    }
}

#[tokio::test]
async fn an_outage_changes_nothing_and_ends_in_step() {
    let (v1, v2, address) = (Origin::text("v1").await, Origin::text("v2").await, free_port());
    let followed = follow(&config_at(address, "a", v1.address)).await;
    followed.peer.in_step().await;
    followed.peer.cut();
    assert_eq!(get(address, "a", "/").await.body, "v1");
    followed.peer.set(&config_at(address, "b", v2.address));
    followed.peer.in_step().await;
    assert_eq!(get(address, "a", "/").await.body, "v2");
}

#[tokio::test]
async fn listeners_come_and_go() {
    let (origin, first, second) = (Origin::text("v1").await, free_port(), free_port());
    let followed = follow(&config_at(first, "a", origin.address)).await;
    let mut client = Raw::connect(first).await;
    assert_eq!(client.get("a", "/", "").await.status, 200);
    followed.peer.set(&config_at(second, "a", origin.address));
    followed.peer.in_step().await;
    assert_eq!(get(second, "a", "/").await.status, 200);
    // The connection of the old address is served once more, and told to end.
    let last = client.get("a", "/", "").await;
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    client.until_closed().await;
    assert!(tokio::net::TcpStream::connect(first).await.is_err());
    assert!(followed.proxy.drain(std::time::Duration::from_secs(5)).await);
    assert!(tokio::net::TcpStream::connect(second).await.is_err());
}

#[tokio::test]
async fn what_was_saved_runs_where_no_control_plane_answers_and_then_its_changes_do() {
    let (v1, v2, address) = (Origin::text("v1").await, Origin::text("v2").await, free_port());
    let good = config_at(address, "a", v1.address);
    let start = |saved: Option<Saved>, saves: Option<watch::Sender<Saved>>, control: ControlPlane| {
        let workers = Workers::start(1).unwrap();
        let options = ProxyOptions::new(ProxyIdentity::default(), tokio::runtime::Handle::current());
        let proxy = Proxy::start(options, &workers);
        let node = Node { id: "sidecar~x".into(), ..Default::default() };
        let saved = saved.map(|saved| (saved, SystemTime::now()));
        proxy.follow(AdsOptions { saved, saves, ..AdsOptions::new(control, node, Arc::default()) });
        (proxy, workers)
    };

    let peer = Peer::new(&good);
    let (saves, mut written) = watch::channel(Saved::default());
    let (proxy, workers) = start(None, Some(saves), peer.channel().into());
    let whole = |saved: &Saved| !saved.config().listeners.is_empty();
    let bytes = written.wait_for(whole).await.unwrap().to_bytes();
    assert!(proxy.drain(Duration::from_secs(5)).await);
    drop((proxy, workers));

    // A port that nobody listens on: the control plane is away.
    let away = free_port();
    let saved = Saved::parse(&bytes, &Default::default()).unwrap();
    let dialer = Dialer::new(vec![away.to_string()], None).unwrap();
    let (proxy, _workers) = start(Some(saved), None, dialer.clone().into());
    proxy.ready().wait_for(|ready| *ready).await.unwrap();
    assert_eq!(get(address, "a", "/").await.body, "v1");
    assert!(matches!(*dialer.state().borrow(), ConnectionState::Away { .. }));

    let peer = Peer::new(&config_at(address, "b", v2.address));
    let listener = tokio::net::TcpListener::bind(away).await.unwrap();
    let serving = peer.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serving.clone().connection(stream, Link::Network));
        }
    });
    peer.in_step().await;
    assert_eq!(get(address, "a", "/").await.body, "v2");
    drop((proxy, _workers));

    // A control plane that is there has the word: what was saved is never run.
    let elsewhere = free_port();
    let peer = Peer::new(&config_at(elsewhere, "b", v2.address));
    let saved = Saved::parse(&bytes, &Default::default()).unwrap();
    let (proxy, _workers) = start(Some(saved), None, peer.channel().into());
    let mut accepted = proxy.accepted();
    while !*proxy.ready().borrow() {
        accepted.changed().await.unwrap();
        let run = accepted.borrow_and_update().clone().unwrap();
        assert!(!run.config.clusters.contains_key("a"), "what was saved runs");
    }
    assert_eq!(get(elsewhere, "a", "/").await.body, "v2");
}
