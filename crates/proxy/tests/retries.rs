//! When things fail: retries, timeouts, circuit breakers, outlier detection, and the flags that tell.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::config::*;
use amime_proxy::Flags;
use amime_testkit::client::{Raw, get};
use amime_testkit::origin::{Origin as Server, Version, full, read_head, write};
use common::*;
use http::Response;
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Answers these statuses in turn, then 200, with the body that it got.
async fn scripted(statuses: &'static [u16]) -> Server {
    let next = Arc::new(AtomicUsize::new(0));
    Server::http(Version::Http1, move |request: http::Request<Incoming>| {
        let at = next.fetch_add(1, Ordering::SeqCst);
        async move {
            let attempts = request.headers().get("x-envoy-attempt-count").cloned();
            let body = amime_testkit::client::text(request.into_body()).await.0;
            let mut response = Response::builder().status(statuses.get(at).copied().unwrap_or(200));
            if let Some(attempts) = attempts {
                response = response.header("x-attempts", attempts);
            }
            response.body(full(body)).unwrap()
        }
    })
    .await
}

fn retrying(on: &[&str], attempts: u32) -> Forward {
    Forward {
        retry: Some(RetryPolicy {
            on: on.iter().map(|word| (*word).to_owned()).collect(),
            attempts,
            backoff_base: Some(Duration::from_millis(1)),
            ..Default::default()
        }),
        ..to("a")
    }
}

/// An address on which nothing listens.
fn nobody() -> SocketAddr {
    std::net::TcpListener::bind(ANY).unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn an_answer_is_tried_again_with_its_body() {
    let origin = scripted(&[503, 503]).await;
    let mut config = http_config(vec![forward(retrying(&["5xx"], 3))], [cluster("a", &[origin.address])]);
    let mut table = (*config.routes["80"]).clone();
    Arc::make_mut(&mut table.virtual_hosts[0]).include_request_attempt_count = true;
    config.routes.insert("80".into(), Arc::new(table));
    let mut running = Running::start(config).await;
    let mut client = Raw::connect(running.address).await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
        .await;
    let answer = client.answer(false).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str(), answer.header("x-attempts")), (200, "hello world", Some("3")));
    let record = running.record().await;
    assert_eq!((record.attempts, record.flags, record.bytes_received), (3, Flags::NONE, 11));
}

#[tokio::test]
async fn each_try_tells_the_time_that_is_left() {
    let (told, mut tries) = tokio::sync::mpsc::unbounded_channel();
    let origin = Server::http(Version::Http1, move |request: http::Request<Incoming>| {
        let time: u64 = request.headers()["x-envoy-expected-rq-timeout-ms"].to_str().unwrap().parse().unwrap();
        told.send(time).unwrap();
        std::future::ready(Response::builder().status(503).body(full("")).unwrap())
    })
    .await;
    let mut route = retrying(&["5xx"], 1);
    route.timeout = Some(Duration::from_secs(60));
    let running = Running::start(http_config(vec![forward(route)], [cluster("a", &[origin.address])])).await;
    assert_eq!(get(running.address, "a", "/").await.status, 503);
    let (first, second) = (tries.recv().await.unwrap(), tries.recv().await.unwrap());
    assert_eq!(first, 60_000);
    assert!(second < first, "{second}");
}

#[tokio::test]
async fn retries_end() {
    let origin = scripted(&[503; 9]).await;
    let mut running =
        Running::start(http_config(vec![forward(retrying(&["5xx"], 2))], [cluster("a", &[origin.address])])).await;
    assert_eq!(get(running.address, "a", "/").await.status, 503);
    assert_eq!(origin.requests(), 3);
    let record = running.record().await;
    assert_eq!((record.attempts, record.flags), (3, Flags::URX));
    // A status that the words do not name is the answer.
    let origin = scripted(&[500; 9]).await;
    let running =
        Running::start(http_config(vec![forward(retrying(&["gateway-error"], 2))], [cluster("a", &[origin.address])]))
            .await;
    assert_eq!(get(running.address, "a", "/").await.status, 500);
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn a_try_whose_time_is_zero_has_no_limit() {
    let origin = scripted(&[200]).await;
    let route = Forward {
        retry: Some(RetryPolicy { per_try_timeout: Some(Duration::ZERO), ..retrying(&["5xx"], 1).retry.unwrap() }),
        ..retrying(&["5xx"], 1)
    };
    let running = Running::start(http_config(vec![forward(route)], [cluster("a", &[origin.address])])).await;
    assert_eq!(get(running.address, "a", "/").await.status, 200);
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn a_body_too_long_to_keep_is_sent_once() {
    let origin = scripted(&[503]).await;
    let running =
        Running::start(http_config(vec![forward(retrying(&["5xx"], 2))], [cluster("a", &[origin.address])])).await;
    let mut client = Raw::connect(running.address).await;
    let body = vec![b'x'; 3 * 1024 * 1024];
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len())).await;
    client.send(&body).await;
    let answer = client.answer(false).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (503, body.len()));
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn a_connection_that_fails_goes_to_another_host() {
    let origin = Server::text("hello").await;
    let mut forwarded = retrying(&["connect-failure"], 3);
    if let Some(retry) = &mut forwarded.retry {
        retry.previous_hosts = true;
        retry.previous_hosts_max_attempts = 5;
    }
    let hosts = [nobody(), origin.address];
    let running = Running::start(http_config(vec![forward(forwarded)], [cluster("a", &hosts)])).await;
    for _ in 0..10 {
        assert_eq!(get(running.address, "a", "/").await.body, "hello");
    }
}

#[tokio::test]
async fn failures_are_told_by_flags() {
    let closing = Server::tcp(|mut stream| async move {
        read_head(&mut stream).await;
    })
    .await;
    let garbage = Server::tcp(|mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, "this is no HTTP\r\n\r\n").await;
    })
    .await;
    let silent = Server::tcp(|mut stream| async move {
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let breaking = Server::tcp(|mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
    })
    .await;
    let timed = Forward { timeout: Some(Duration::from_millis(50)), ..to("silent") };
    let mut per_try = Forward { clusters: timed.clusters.clone(), ..retrying(&["5xx"], 1) };
    if let Some(retry) = &mut per_try.retry {
        retry.per_try_timeout = Some(Duration::from_millis(30));
    }
    let table = vec![
        at("/refused", forward(to("refused"))),
        at("/closing", forward(to("closing"))),
        at("/garbage", forward(to("garbage"))),
        at("/timed", forward(timed)),
        at("/per-try", forward(per_try)),
        at("/breaking", forward(to("breaking"))),
    ];
    let clusters = [
        cluster("refused", &[nobody()]),
        cluster("closing", &[closing.address]),
        cluster("garbage", &[garbage.address]),
        cluster("silent", &[silent.address]),
        cluster("breaking", &[breaking.address]),
    ];
    let mut running = Running::start(http_config(table, clusters)).await;
    for (path, status, flags, text) in [
        ("/refused", 503, Flags::UF, "remote connection failure"),
        ("/closing", 503, Flags::UC, "connection termination"),
        ("/garbage", 502, Flags::UPE, "protocol error"),
        ("/timed", 504, Flags::UT, "upstream request timeout"),
        ("/per-try", 504, Flags::UT.with(Flags::URX), "upstream request timeout"),
    ] {
        let answer = get(running.address, "a", path).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.body.ends_with(text), "{path}: {}", answer.body);
        assert_eq!(running.record().await.flags, flags, "{path}");
    }
    // The head has gone out: all that is left is to break the answer off.
    let mut client = Raw::connect(running.address).await;
    client.send("GET /breaking HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer(false).await, None);
    let record = running.record().await;
    assert_eq!((record.status, record.flags), (200, Flags::UC));
}

#[tokio::test]
async fn a_client_that_goes_away_is_told_apart() {
    let silent = Server::tcp(|mut stream| async move {
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let mut running = Running::start(http_config(vec![forward(to("a"))], [cluster("a", &[silent.address])])).await;
    let mut client = Raw::connect(running.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    while silent.connections() == 0 {
        tokio::task::yield_now().await;
    }
    drop(client);
    let record = running.record().await;
    assert_eq!((record.status, record.flags), (0, Flags::DC));
}

#[tokio::test]
async fn a_connect_timeout_is_a_connection_failure() {
    // A listening socket with a full queue answers no SYN.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&ANY.parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _queued: Vec<_> = (0..4)
        .map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address.into());
            socket
        })
        .collect();
    let mut slow = cluster("a", &[address]);
    slow.connect_timeout = Some(Duration::from_millis(50));
    let mut running = Running::start(http_config(vec![forward(to("a"))], [slow])).await;
    let answer = get(running.address, "a", "/").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.ends_with("connection timeout"), "{}", answer.body);
    assert_eq!(running.record().await.flags, Flags::UF);
}

#[tokio::test]
async fn a_stale_pooled_connection_is_replaced_unseen() {
    // Each connection serves one request and then closes without a word about it.
    let origin = Server::tcp(|mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
    })
    .await;
    let running = Running::start(http_config(vec![forward(to("a"))], [cluster("a", &[origin.address])])).await;
    let mut client = Raw::connect(running.address).await;
    for n in 1..=30 {
        let answer = client.get("a", "/", "").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "hello"), "request {n}");
    }
    assert_eq!(origin.connections(), 30);
}

#[tokio::test]
async fn what_is_over_the_connections_waits_and_what_is_over_that_is_refused() {
    one_connection(Version::Http1, UpstreamProtocol::Http1).await;
    // Which takes one stream at a time.
    one_connection(Version::Http2, UpstreamProtocol::Http2).await;
}

async fn one_connection(version: Version, protocol: UpstreamProtocol) {
    let (origin, gate) = Server::gated(version).await;
    let mut limited = Cluster { protocol, max_concurrent_streams: Some(1), ..cluster("a", &[origin.address]) };
    limited.limits.max_connections = Some(1);
    limited.limits.max_pending_requests = Some(1);
    let mut running = Running::start(http_config(vec![forward(to("a"))], [limited])).await;
    let address = running.address;
    let first = tokio::spawn(async move { get(address, "a", "/1").await });
    until(|| origin.requests() == 1).await;
    // The second waits for the one connection; whichever of the others comes next is too much.
    let mut rest: Vec<_> = (2..=3).map(|_| tokio::spawn(async move { get(address, "a", "/2").await })).collect();
    let record = running.record().await;
    assert_eq!((record.status, record.flags), (503, Flags::UO));
    gate.add_permits(2);
    assert_eq!(first.await.unwrap().status, 200);
    let mut statuses = Vec::new();
    for waiting in rest.drain(..) {
        statuses.push(waiting.await.unwrap().status);
    }
    statuses.sort_unstable();
    assert_eq!((statuses, origin.connections()), (vec![200, 503], 1));
}

#[tokio::test]
async fn requests_over_the_limit_are_refused() {
    let (origin, gate) = Server::gated(Version::Http1).await;
    let mut limited = cluster("a", &[origin.address]);
    limited.limits.max_requests = Some(1);
    let mut running = Running::start(http_config(vec![forward(to("a"))], [limited])).await;
    let address = running.address;
    let first = tokio::spawn(async move { get(address, "a", "/1").await });
    until(|| origin.requests() == 1).await;
    assert_eq!(get(address, "a", "/2").await.status, 503);
    assert_eq!(running.record().await.flags, Flags::UO);
    gate.add_permits(1);
    assert_eq!(first.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_host_that_keeps_failing_is_ejected() {
    let (good, bad) = (Server::text("good").await, scripted(&[500; 100]).await);
    let mut detecting = cluster("a", &[good.address, bad.address]);
    detecting.outlier = Some(OutlierDetection {
        consecutive_5xx: Some(2),
        base_ejection: Some(Duration::from_secs(60)),
        max_ejection_percent: Some(100),
        ..Default::default()
    });
    let running = Running::start(http_config(vec![forward(to("a"))], [detecting])).await;
    let mut client = Raw::connect(running.address).await;
    let mut failed = 0;
    for _ in 0..20 {
        failed += usize::from(client.get("a", "/", "").await.status == 500);
    }
    assert_eq!((failed, bad.requests()), (2, 2));
}
