//! What holds for the proxy as a whole, whichever of its workers a connection came to: outlier detection and the
//! limits of a cluster. Each test runs a gateway on two workers.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::config::*;
use amime_proxy::{Placement, Side};
use amime_testkit::client::{Raw, get};
use amime_testkit::origin::{Origin as Server, Version, full};
use common::*;
use http::{Response, StatusCode};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

/// So many connections that the kernel gives each worker some.
const CLIENTS: usize = 24;

async fn gateway(routes: Vec<Route>, clusters: impl IntoIterator<Item = Cluster>) -> Running {
    Running::start_with(http_config(routes, clusters), |options| options.placement = Placement::All).await
}

async fn status(code: StatusCode) -> Server {
    Server::http(Version::Http1, move |_| async move { Response::builder().status(code).body(full("")).unwrap() }).await
}

/// A request on each of many connections; the statuses of those that are answered while `gate` is closed, and of
/// those that are when it opens.
async fn all_at_once(address: SocketAddr, refused: usize, gate: &Semaphore) -> (Vec<u16>, Vec<u16>) {
    let answered: Arc<Mutex<Vec<u16>>> = Arc::default();
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..CLIENTS {
        let answered = Arc::clone(&answered);
        asking.spawn(async move {
            let status = get(address, "a", &format!("/{n}")).await.status;
            answered.lock().unwrap().push(status);
        });
    }
    until(|| answered.lock().unwrap().len() >= refused).await;
    let early = answered.lock().unwrap().clone();
    gate.add_permits(CLIENTS * 2);
    while asking.join_next().await.is_some() {}
    let late = answered.lock().unwrap().split_off(early.len());
    (early, late)
}

#[tokio::test]
async fn an_ejected_endpoint_gets_no_request_from_any_worker() {
    let (good, bad) = (Server::text("good").await, status(StatusCode::INTERNAL_SERVER_ERROR).await);
    let mut detecting = cluster("a", &[good.address, bad.address]);
    detecting.outlier = Some(OutlierDetection {
        consecutive_5xx: Some(3),
        base_ejection: Some(Duration::from_secs(600)),
        max_ejection_percent: Some(100),
        ..Default::default()
    });
    let running = gateway(vec![forward(to("a"))], [detecting]).await;
    // Kept open, so that both workers have connections and pools of their own before the endpoint is ejected.
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Raw::connect(running.address).await);
    }
    let mut failed = 0;
    for round in 0..10 {
        for client in &mut clients {
            failed += usize::from(client.get("a", "/", "").await.status == 500);
            assert!(failed <= 3, "round {round}: a request went to an ejected endpoint");
        }
    }
    assert_eq!((failed, bad.requests()), (3, 3), "counted over workers, and ejected for all of them");
    let clusters = running.proxy.clusters().await;
    let endpoints = clusters[0].endpoints.iter();
    let ejected: Vec<_> = endpoints.filter(|endpoint| endpoint.ejected).map(|endpoint| endpoint.address).collect();
    assert_eq!(ejected, [bad.address]);
}

#[tokio::test]
async fn requests_under_way_are_limited_as_a_whole() {
    let (origin, gate) = Server::gated(Version::Http1).await;
    let mut limited = cluster("a", &[origin.address]);
    limited.limits.max_requests = Some(5);
    let running = gateway(vec![forward(to("a"))], [limited]).await;
    let (early, late) = all_at_once(running.address, CLIENTS - 5, &gate).await;
    assert_eq!(early, vec![503; CLIENTS - 5]);
    assert_eq!((late, origin.requests()), (vec![200; 5], 5));
}

#[tokio::test]
async fn connections_are_limited_as_a_whole_but_for_one_of_each_worker() {
    let (origin, gate) = Server::gated(Version::Http1).await;
    let mut limited = cluster("a", &[origin.address]);
    limited.limits.max_connections = Some(4);
    let running = gateway(vec![forward(to("a"))], [limited]).await;
    let address = running.address;
    let asking: Vec<_> =
        (0..CLIENTS).map(|_| tokio::spawn(async move { get(address, "a", "/").await.status })).collect();
    let usage = async || running.proxy.clusters().await[0].usage;
    loop {
        let now = usage().await;
        // Like Envoy, a worker that has none may open one, or its requests would wait for ever.
        assert!(now.connections <= 5, "{now:?}");
        if now.requests as usize == CLIENTS && now.connections >= 4 && origin.requests() == now.connections as usize {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    gate.add_permits(CLIENTS);
    for answer in asking {
        assert_eq!(answer.await.unwrap(), 200);
    }
    assert!(origin.connections() <= 5, "{}", origin.connections());
}

#[tokio::test]
async fn pending_requests_are_limited_as_a_whole() {
    let (origin, gate) = Server::gated(Version::Http1).await;
    let mut limited = cluster("a", &[origin.address]);
    limited.limits.max_connections = Some(1);
    limited.limits.max_pending_requests = Some(6);
    let running = gateway(vec![forward(to("a"))], [limited]).await;
    // One connection of each worker, and six that wait.
    let (early, late) = all_at_once(running.address, CLIENTS - 8, &gate).await;
    assert!(early.iter().all(|status| *status == 503), "{early:?}");
    let served = late.iter().filter(|status| **status == 200).count();
    assert!((6..=8).contains(&served), "{early:?} {late:?}");
    assert!(origin.connections() <= 2, "{}", origin.connections());
}

#[tokio::test]
async fn retries_are_limited_as_a_whole() {
    let gate = Arc::new(Semaphore::new(0));
    let (opened, seen) = (Arc::clone(&gate), Arc::new(Mutex::new(HashSet::new())));
    // The first request of each path fails, the second waits for the gate.
    let origin = Server::http(Version::Http1, move |request| {
        let first = seen.lock().unwrap().insert(request.uri().path().to_owned());
        let gate = Arc::clone(&opened);
        async move {
            if first {
                return Response::builder().status(503).body(full("")).unwrap();
            }
            gate.acquire().await.unwrap().forget();
            Response::new(full("hello"))
        }
    })
    .await;
    let mut limited = cluster("a", &[origin.address]);
    limited.limits.max_retries = Some(3);
    let retrying = Forward {
        retry: Some(RetryPolicy {
            on: vec!["5xx".into()],
            attempts: 1,
            backoff_base: Some(Duration::from_millis(1)),
            ..Default::default()
        }),
        ..to("a")
    };
    let running = gateway(vec![forward(retrying)], [limited]).await;
    let (early, late) = all_at_once(running.address, CLIENTS - 3, &gate).await;
    assert_eq!(early, vec![503; CLIENTS - 3]);
    assert_eq!((late, origin.requests()), (vec![200; 3], CLIENTS + 3));
}

#[tokio::test]
async fn a_side_that_drains_still_answers_and_tells_to_go() {
    let origin = Server::text("hello").await;
    let mut config = http_config(vec![forward(to("a"))], [cluster("a", &[origin.address])]);
    for listener in config.listeners.values_mut() {
        Arc::make_mut(listener).direction = Direction::Inbound;
    }
    let running = Running::start_with(config, |options| options.placement = Placement::All).await;
    let mut kept = Raw::connect(running.address).await;
    assert_eq!(kept.get("a", "/", "").await.header("connection"), None);
    running.proxy.begin_drain(Side::Inbound, Duration::from_secs(60)).await;
    assert!(!*running.proxy.ready().borrow() && running.proxy.is_draining());
    assert_eq!(kept.get("a", "/", "").await.header("connection"), Some("close"));
    let late = get(running.address, "a", "/").await;
    assert_eq!((late.status, late.header("connection")), (200, Some("close")));
    assert_eq!(running.proxy.late_connections(), 1);
    running.proxy.stop_accepting(Side::Inbound).await;
    until(|| std::net::TcpStream::connect(running.address).is_err()).await;
    assert!(running.proxy.drain(Duration::from_secs(10)).await);
}
