//! What the connection pools of a traffic policy do to sockets, from YAML: keep-alive, ages, limits.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::config::NetworkFilter;
use amime_proxy::Flags;
use amime_testkit::client::{Http2, Raw, get};
use amime_testkit::origin::{Origin as Server, Version, echo, full};
use common::line::Line;
use common::manifests::{PLACES, gateway, manifests, tcp_manifests};
use common::*;
use http::Response;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;

const HOST: &str = "app.example.com";

async fn running(place: &str, policy: &str, endpoint: SocketAddr) -> Running {
    Running::start(gateway(&manifests(place, policy, "{attempts: 0}", &[endpoint]))).await
}

async fn hello(version: Version) -> Server {
    Server::http(version, |_| async { Response::new(full("hello")) }).await
}

/// The head of an HTTP/2 PING that is no answer (RFC 9113, 6.7).
const PING: [u8; 9] = [0, 0, 8, 6, 0, 0, 0, 0, 0];

fn pings(sent: &[u8]) -> usize {
    sent.windows(PING.len()).filter(|bytes| *bytes == PING).count()
}

#[tokio::test]
async fn a_dead_http2_connection_is_found_by_pings() {
    let server = hello(Version::Http2).await;
    let pool = "connectionPool: {http: {h2UpgradePolicy: UPGRADE, http2KeepAlive: {interval: 50ms, timeout: 100ms}}}";
    for place in PLACES {
        let line = Line::to(server.address).await;
        let running = running(place, pool, line.address()).await;
        assert_eq!(get(running.address, HOST, "/").await.body, "hello");
        // Nobody asks for anything, and the other side answers.
        until(|| pings(&line.sent()) >= 3).await;
        assert_eq!(get(running.address, HOST, "/").await.body, "hello");
        assert_eq!(line.connections(), (1, 0), "{place}");
        line.cut();
        until(|| line.connections() == (1, 1)).await;
    }
}

#[tokio::test]
async fn a_request_fails_with_its_dead_connection() {
    let (server, gate) = Server::gated(Version::Http2).await;
    let pool = "connectionPool: {http: {h2UpgradePolicy: UPGRADE, http2KeepAlive: {interval: 50ms, timeout: 100ms}}}";
    let line = Line::to(server.address).await;
    let mut running = running(PLACES[0], pool, line.address()).await;
    let mut client = Raw::connect(running.address).await;
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    until(|| server.requests() == 1).await;
    line.cut();
    assert_eq!(client.answer(false).await.unwrap().status, 503);
    assert_eq!(running.record().await.flags, Flags::UC);
    drop(gate);
}

#[tokio::test]
async fn http1_connections_have_a_greatest_age() {
    let server = hello(Version::Http1).await;
    let (gated, gate) = Server::gated(Version::Http1).await;
    for place in PLACES {
        let line = Line::to(server.address).await;
        let pool = "connectionPool: {tcp: {maxConnectionDuration: 200ms}, http: {idleTimeout: 1h}}";
        let idle = running(place, pool, line.address()).await;
        assert_eq!(get(idle.address, HOST, "/").await.body, "hello");
        assert_eq!(get(idle.address, HOST, "/").await.body, "hello");
        assert_eq!(line.connections().0, 1, "{place}");
        until(|| line.connections() == (1, 1)).await;
        // A request is not cut off by it; its connection is closed behind it.
        let line = Line::to(gated.address).await;
        let busy = running(place, "connectionPool: {tcp: {maxConnectionDuration: 1ms}}", line.address()).await;
        let before = gated.requests();
        let mut client = Raw::connect(busy.address).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        until(|| gated.requests() > before).await;
        gate.add_permits(1);
        assert_eq!(client.answer(false).await.unwrap().body, "hello");
        until(|| line.connections() == (1, 1)).await;
    }
}

#[tokio::test]
async fn http2_connections_are_drained_at_their_age() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let server = Server::http(Version::Http2, move |request| {
        let gate = Arc::clone(&opened);
        async move {
            if request.uri().path() == "/slow" {
                gate.acquire().await.unwrap().forget();
            }
            Response::new(full("hello"))
        }
    })
    .await;
    let pool = "connectionPool: {tcp: {maxConnectionDuration: 300ms}, http: {h2UpgradePolicy: UPGRADE}}";
    for place in PLACES {
        let line = Line::to(server.address).await;
        let running = running(place, pool, line.address()).await;
        let before = server.requests();
        let mut slow = Raw::connect(running.address).await;
        slow.send(format!("GET /slow HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        until(|| server.requests() > before).await;
        // As soon as the first is too old, a second one is made, which is idle and closed when it is.
        while line.connections().0 == 1 {
            assert_eq!(get(running.address, HOST, "/").await.body, "hello");
        }
        until(|| line.connections().1 == 1).await;
        gate.add_permits(1);
        assert_eq!(slow.answer(false).await.unwrap().body, "hello", "{place}");
        until(|| line.connections() == (2, 2)).await;
    }
}

#[tokio::test]
async fn tcp_connections_are_closed_at_their_age() {
    let server = Server::tcp(echo).await;
    let pool = "connectionPool: {tcp: {maxConnectionDuration: 200ms}}";
    let mut closing = Running::start(gateway(&tcp_manifests(PLACES[0], pool, &[server.address]))).await;
    let mut client = Raw::connect(closing.address).await;
    client.send("ping").await;
    assert_eq!(client.bytes(4).await, b"ping");
    assert_eq!(client.until_closed().await, b"");
    assert_eq!(closing.record().await.flags, Flags::DT);
    // As in Istio, what is said of ports and subsets is of HTTP alone.
    for place in &PLACES[1..] {
        let config = gateway(&tcp_manifests(place, pool, &[server.address]));
        let listener = config.listeners.values().next().unwrap();
        assert!(
            matches!(&listener.filter_chains[0].filters[..], [NetworkFilter::Tcp(tcp)] if tcp.max_duration.is_none())
        );
    }
}

#[tokio::test]
async fn connections_serve_so_many_requests() {
    for (version, upgrade) in [(Version::Http1, "DO_NOT_UPGRADE"), (Version::Http2, "UPGRADE")] {
        let server = hello(version).await;
        for place in PLACES {
            let before = server.connections();
            let pool = format!("connectionPool: {{http: {{maxRequestsPerConnection: 2, h2UpgradePolicy: {upgrade}}}}}");
            let running = running(place, &pool, server.address).await;
            for _ in 0..6 {
                assert_eq!(get(running.address, HOST, "/").await.body, "hello");
            }
            assert_eq!(server.connections() - before, 3, "{pool} at {place}");
        }
    }
}

#[tokio::test]
async fn idle_http1_connections_are_closed() {
    let server = hello(Version::Http1).await;
    // As in Istio, TCP's time is HTTP's too where that has none.
    for pool in ["{http: {idleTimeout: 200ms}}", "{tcp: {idleTimeout: 200ms}}"] {
        for place in PLACES {
            let line = Line::to(server.address).await;
            let running = running(place, &format!("connectionPool: {pool}"), line.address()).await;
            assert_eq!(get(running.address, HOST, "/").await.body, "hello");
            assert_eq!(get(running.address, HOST, "/").await.body, "hello");
            assert_eq!(line.connections().0, 1, "{pool} at {place}");
            until(|| line.connections() == (1, 1)).await;
        }
    }
}

#[tokio::test]
async fn the_version_is_the_policys_or_the_clients() {
    let (one, two) = (hello(Version::Http1).await, hello(Version::Http2).await);
    for place in PLACES {
        let with = |http: &str| format!("connectionPool: {{http: {{{http}}}}}");
        for policy in ["DEFAULT", "DO_NOT_UPGRADE"] {
            let plain = running(place, &with(&format!("h2UpgradePolicy: {policy}")), one.address).await;
            assert_eq!(get(plain.address, HOST, "/").await.body, "hello", "{policy} at {place}");
            assert_eq!(Http2::connect(plain.address).await.get(HOST, "/").await.2, "hello");
        }
        let upgraded = running(place, &with("h2UpgradePolicy: UPGRADE"), two.address).await;
        assert_eq!(get(upgraded.address, HOST, "/").await.body, "hello", "{place}");
        let client = running(place, &with("useClientProtocol: true"), one.address).await;
        assert_eq!(get(client.address, HOST, "/").await.body, "hello", "{place}");
        assert_ne!(Http2::connect(client.address).await.get(HOST, "/").await.2, "hello", "{place}");
        let client = running(place, &with("useClientProtocol: true"), two.address).await;
        assert_eq!(Http2::connect(client.address).await.get(HOST, "/").await.2, "hello", "{place}");
    }
}

#[tokio::test]
async fn a_connection_has_so_many_streams() {
    for (most, connections) in [("", 1), (", maxConcurrentStreams: 2", 2), (", maxConcurrentStreams: 1", 4)] {
        for place in PLACES {
            let (server, gate) = Server::gated(Version::Http2).await;
            let pool = format!("connectionPool: {{http: {{h2UpgradePolicy: UPGRADE{most}}}}}");
            let running = running(place, &pool, server.address).await;
            let mut clients = Vec::new();
            for number in 1..5 {
                let mut client = Raw::connect(running.address).await;
                client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
                until(|| server.requests() == number).await;
                clients.push(client);
            }
            assert_eq!(server.connections(), connections, "{pool} at {place}");
            gate.add_permits(4);
            for client in &mut clients {
                assert_eq!(client.answer(false).await.unwrap().body, "hello");
            }
        }
    }
}
