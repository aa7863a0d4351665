//! What a Sidecar's connection pools do to the connections to the application: those of all ports, and those of one.
#![allow(clippy::unwrap_used)]

mod common;

use amime_proxy::Flags;
use amime_testkit::client::{Answer, Raw};
use amime_testkit::origin::{Origin as Server, Version, full};
use common::line::Line;
use common::manifests::inbound;
use common::*;
use http::Response;
use std::net::SocketAddr;

/// A pool for all ports, and one for the port beside another for all, which it takes the place of.
const PLACES: [(&str, &str); 2] = [
    ("inboundConnectionPool: {POOL}", ""),
    (
        "inboundConnectionPool: {http: {maxRequestsPerConnection: 1}, tcp: {maxConnectionDuration: 1ms}}",
        ", connectionPool: {POOL}",
    ),
];

async fn running(place: (&str, &str), protocol: &str, pool: &str, application: SocketAddr) -> Running {
    Running::start(inbound(&format!(
        "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: app, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: app}}}}
  {}
  ingress:
  - {{port: {{number: 9080, name: app, protocol: {protocol}}}, defaultEndpoint: '{application}'{}}}
",
        place.0.replace("POOL", pool),
        place.1.replace("POOL", pool),
    )))
    .await
}

async fn client(running: &Running) -> Raw {
    let mut client = Raw::connect(running.address).await;
    client.send("PROXY TCP4 127.0.0.1 127.0.0.1 4000 9080\r\n").await;
    client
}

async fn get(running: &Running) -> Answer {
    client(running).await.get("app", "/", "").await
}

async fn hello(version: Version) -> Server {
    Server::http(version, |_| async { Response::new(full("hello")) }).await
}

#[tokio::test]
async fn connections_serve_so_many_requests_and_are_closed() {
    let server = hello(Version::Http1).await;
    for place in PLACES {
        let line = Line::to(server.address).await;
        let running = running(place, "HTTP", "http: {maxRequestsPerConnection: 3}", line.address()).await;
        for _ in 0..6 {
            assert_eq!(get(&running).await.body, "hello", "{place:?}");
        }
        assert_eq!(line.connections().0, 2, "{place:?}");
    }
    for pool in ["http: {idleTimeout: 300ms}", "tcp: {maxConnectionDuration: 300ms}"] {
        for place in PLACES {
            let line = Line::to(server.address).await;
            let running = running(place, "HTTP", pool, line.address()).await;
            for _ in 0..3 {
                assert_eq!(get(&running).await.body, "hello", "{place:?}");
            }
            assert_eq!(line.connections().0, 1, "{pool} at {place:?}");
            until(|| line.connections() == (1, 1)).await;
        }
    }
}

#[tokio::test]
async fn requests_above_the_limits_are_refused() {
    let pools = [
        "http: {http2MaxRequests: 1}",
        // One waits for the connection, which the other has.
        "tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}",
    ];
    for (pool, most) in pools.into_iter().zip([1, 2]) {
        for place in PLACES {
            let (server, gate) = Server::gated(Version::Http1).await;
            let mut running = running(place, "HTTP", pool, server.address).await;
            let mut clients = Vec::new();
            for _ in 0..most {
                let mut waiting = client(&running).await;
                waiting.send("GET / HTTP/1.1\r\nHost: app\r\n\r\n").await;
                until(|| server.requests() == 1).await;
                clients.push(waiting);
            }
            let mut refused = 0;
            // Who waits may come after who asks now; either is refused.
            while refused == 0 {
                let mut another = client(&running).await;
                another.send("GET / HTTP/1.1\r\nHost: app\r\n\r\n").await;
                if let Ok(record) = tokio::time::timeout(std::time::Duration::from_secs(1), running.record()).await {
                    assert_eq!(record.flags, Flags::UO, "{pool} at {place:?}");
                    refused += 1;
                }
                clients.push(another);
            }
            gate.add_permits(10);
        }
    }
}

#[tokio::test]
async fn http2_to_the_application() {
    let server = hello(Version::Http2).await;
    for place in PLACES {
        let line = Line::to(server.address).await;
        let pool = "http: {http2KeepAlive: {interval: 50ms, timeout: 100ms}}";
        let pinged = running(place, "HTTP2", pool, line.address()).await;
        assert_eq!(get(&pinged).await.body, "hello");
        line.cut();
        until(|| line.connections() == (1, 1)).await;

        let (server, gate) = Server::gated(Version::Http2).await;
        let running = running(place, "GRPC", "http: {maxConcurrentStreams: 1}", server.address).await;
        let mut clients = Vec::new();
        for number in 1..4 {
            let mut waiting = client(&running).await;
            waiting.send("GET / HTTP/1.1\r\nHost: app\r\n\r\n").await;
            until(|| server.requests() == number).await;
            clients.push(waiting);
        }
        assert_eq!(server.connections(), 3, "{place:?}");
        gate.add_permits(3);
    }
}

#[tokio::test]
async fn the_clients_version_goes_on() {
    let (one, two) = (hello(Version::Http1).await, hello(Version::Http2).await);
    for place in PLACES {
        let to_one = running(place, "GRPC", "http: {useClientProtocol: true}", one.address).await;
        assert_eq!(get(&to_one).await.body, "hello", "{place:?}");
        // The other field of HTTP versions is for clients alone, as in Istio.
        let plain = running(place, "HTTP", "http: {h2UpgradePolicy: UPGRADE}", one.address).await;
        assert_eq!(get(&plain).await.body, "hello", "{place:?}");
        let to_two = running(place, "GRPC", "http: {maxRetries: 1}", two.address).await;
        assert_eq!(get(&to_two).await.body, "hello", "{place:?}");
    }
}
