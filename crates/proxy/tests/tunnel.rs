//! TCP connections through HTTP proxies, from YAML: CONNECT and POST over HTTP/1 and HTTP/2.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::config::{UpstreamProtocol, UpstreamTls};
use amime_proxy::Flags;
use amime_testkit::client::Raw;
use amime_testkit::origin::{Body, Origin as Server, Version, channel, full};
use amime_testkit::tls::{Authority, changing_origin, server_config};
use common::line::Line;
use common::manifests::{gateway, tcp_manifests};
use common::tls::{trust, with_secrets};
use common::*;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;

/// Where a tunnel may stand for the route's subset.
const RULE: &str = "{subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {POLICY}}]}";

fn policy(version: Version, protocol: &str, more: &str) -> String {
    let upgrade = if version == Version::Http2 { "UPGRADE" } else { "DO_NOT_UPGRADE" };
    format!(
        "tunnel: {{protocol: {protocol}, targetHost: target.example, targetPort: 4443}}, \
         connectionPool: {{http: {{h2UpgradePolicy: {upgrade}}}{more}}}"
    )
}

/// Sends back what comes through a tunnel.
fn answer(request: Request<Incoming>, told: &Mutex<Vec<String>>) -> Response<Body> {
    let host = request.headers().get("host").map(|host| host.to_str().unwrap());
    told.lock().unwrap().push(format!("{} {} {host:?}", request.method(), request.uri()));
    if request.method() == http::Method::CONNECT {
        tokio::spawn(async move {
            let upgraded = hyper::upgrade::on(request).await.unwrap();
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        });
        return Response::new(full(""));
    }
    let (sender, body) = channel();
    tokio::spawn(async move {
        let mut incoming = request.into_body();
        while let Some(Ok(frame)) = incoming.frame().await {
            if let Ok(data) = frame.into_data() {
                let _ = sender.send(Frame::data(data)).await;
            }
        }
    });
    Response::new(body)
}

#[tokio::test]
async fn bytes_go_through_both_ways() {
    let cases = [
        (Version::Http1, "CONNECT", "CONNECT target.example:4443 Some(\"target.example:4443\")"),
        (Version::Http1, "POST", "POST / Some(\"target.example:4443\")"),
        (Version::Http2, "CONNECT", "CONNECT target.example:4443 None"),
        (Version::Http2, "POST", "POST http://target.example:4443/ None"),
    ];
    for (version, protocol, asked) in cases {
        let told = Arc::<Mutex<Vec<String>>>::default();
        let telling = Arc::clone(&told);
        let server = Server::http(version, move |request| std::future::ready(answer(request, &telling))).await;
        let policy = policy(version, protocol, "");
        let mut running = Running::start(gateway(&tcp_manifests(RULE, &policy, &[server.address]))).await;
        for _ in 0..2 {
            let mut client = Raw::connect(running.address).await;
            for text in ["ping", "pong"] {
                client.send(text).await;
                assert_eq!(client.bytes(4).await, text.as_bytes(), "{asked}");
            }
            let many = vec![7; 300_000];
            let (mut read, mut write) = client.stream.into_split();
            let sent = many.clone();
            let sending = tokio::spawn(async move {
                write.write_all(&sent).await.unwrap();
                // A client that has said all; the answer's end comes through too.
                write.shutdown().await.unwrap();
            });
            let mut got = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut read, &mut got).await.unwrap();
            sending.await.unwrap();
            assert!(got == many, "{asked}: {} bytes", got.len());
            let record = running.record().await;
            assert_eq!((record.flags, record.upstream.unwrap().address), (Flags::NONE, server.address), "{asked}");
        }
        assert_eq!(*told.lock().unwrap(), [asked, asked]);
        // HTTP/2 carries several.
        assert!(server.connections() == if version == Version::Http2 { 1 } else { 2 }, "{asked}");
    }
}

#[tokio::test]
async fn whoever_is_refused_is_closed() {
    for (version, protocol, status, taken) in [
        (Version::Http1, "POST", 201, false),
        (Version::Http1, "CONNECT", 503, false),
        (Version::Http1, "CONNECT", 301, false),
        (Version::Http1, "CONNECT", 201, true),
        (Version::Http2, "CONNECT", 201, false),
        (Version::Http2, "CONNECT", 407, false),
    ] {
        let server = Server::http(version, move |request| async move {
            if status == 201 {
                tokio::spawn(async move {
                    if let Ok(upgraded) = hyper::upgrade::on(request).await {
                        let _ = TokioIo::new(upgraded).write_all(b"hello").await;
                    }
                });
            }
            Response::builder().status(status).body(full("")).unwrap()
        })
        .await;
        let policy = policy(version, protocol, "");
        let mut running = Running::start(gateway(&tcp_manifests(RULE, &policy, &[server.address]))).await;
        let got = Raw::connect(running.address).await.until_closed().await;
        assert_eq!(got, if taken { &b"hello"[..] } else { b"" }, "{status}");
        let flags = if taken { Flags::NONE } else { Flags::UF.with(Flags::URX) };
        assert_eq!(running.record().await.flags, flags, "{status}");
    }
}

#[tokio::test]
async fn subsets_take_over_nothing() {
    let server = Server::tcp(amime_testkit::origin::echo).await;
    let tunnel = "tunnel: {targetHost: target.example, targetPort: 4443}";
    let rule = "{trafficPolicy: {POLICY}, subsets: [{name: v1, labels: {version: v1}}]}";
    let running = Running::start(gateway(&tcp_manifests(rule, tunnel, &[server.address]))).await;
    let mut client = Raw::connect(running.address).await;
    client.send("ping").await;
    assert_eq!(client.bytes(4).await, b"ping");
    // Where no subset is named, the rule's own holds.
    let whole = tcp_manifests(rule, tunnel, &[server.address]).replace(", subset: v1, port", ", port");
    let mut running = Running::start(gateway(&whole)).await;
    Raw::connect(running.address).await.until_closed().await;
    assert_eq!(running.record().await.flags, Flags::UF.with(Flags::URX));
}

/// Each version and way of asking, as a policy.
fn policies(more: &str) -> [(Version, String); 4] {
    let of = |version, protocol| (version, policy(version, protocol, more));
    [
        of(Version::Http1, "CONNECT"),
        of(Version::Http1, "POST"),
        of(Version::Http2, "CONNECT"),
        of(Version::Http2, "POST"),
    ]
}

#[tokio::test]
async fn an_answer_is_waited_for_as_long_as_a_connection() {
    for (version, policy) in policies(", tcp: {connectTimeout: 300ms}") {
        let (server, _gate) = Server::gated(version).await;
        let line = Line::to(server.address).await;
        let mut running = Running::start(gateway(&tcp_manifests(RULE, &policy, &[line.address()]))).await;
        assert_eq!(Raw::connect(running.address).await.until_closed().await, b"");
        assert_eq!(running.record().await.flags, Flags::UF.with(Flags::URX), "{policy}");
        assert_eq!(server.requests(), 1);
        // A stream alone ends with its request.
        let ended = usize::from(version == Version::Http1);
        until(|| line.connections() == (1, ended)).await;
    }
}

#[tokio::test]
async fn a_client_that_goes_does_not_wait() {
    for (version, policy) in policies("") {
        let (server, _gate) = Server::gated(version).await;
        let mut running = Running::start(gateway(&tcp_manifests(RULE, &policy, &[server.address]))).await;
        let client = Raw::connect(running.address).await;
        until(|| server.requests() == 1).await;
        drop(client);
        assert_eq!(running.record().await.flags, Flags::DC, "{policy}");
        // With bytes on the way it is told by the reset.
        let mut client = Raw::connect(running.address).await;
        client.send("ping").await;
        until(|| server.requests() == 2).await;
        client.stream.set_zero_linger().unwrap();
        drop(client);
        assert_eq!(running.record().await.flags, Flags::DC, "{policy}");
    }
}

#[tokio::test]
async fn a_client_that_has_said_all_is_answered() {
    for (version, policy) in policies("") {
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let opened = Arc::clone(&gate);
        let server = Server::http(version, move |request| {
            let gate = Arc::clone(&opened);
            async move {
                gate.acquire().await.unwrap().forget();
                answer(request, &Mutex::default())
            }
        })
        .await;
        let mut running = Running::start(gateway(&tcp_manifests(RULE, &policy, &[server.address]))).await;
        let mut client = Raw::connect(running.address).await;
        client.send("ping").await;
        client.stream.shutdown().await.unwrap();
        until(|| server.requests() == 1).await;
        gate.add_permits(1);
        assert_eq!(client.until_closed().await, b"ping", "{policy}");
        assert_eq!(running.record().await.flags, Flags::NONE, "{policy}");
    }
}

#[tokio::test]
async fn alpn_chooses_how_a_tunnel_is_asked_for() {
    let ca = Authority::new("ca");
    let pair = ca.issue(&["a.example"]);
    for protocol in ["CONNECT", "POST"] {
        let told = Arc::<Mutex<Vec<String>>>::default();
        let telling = Arc::clone(&told);
        let versions =
            [&["h2", "http/1.1"][..], &["http/1.1"], &["h2"], &[]].map(|alpn| server_config(&pair, None, alpn));
        let turns = Mutex::new(versions.into_iter());
        let next = move || turns.lock().unwrap().next().unwrap();
        let server = changing_origin(next, move |_, request| answer(request, &telling)).await;
        let mut config = gateway(&tcp_manifests(RULE, &policy(Version::Http1, protocol, ""), &[server.address]));
        for cluster in config.clusters.values_mut() {
            let cluster = Arc::make_mut(cluster);
            cluster.protocol = UpstreamProtocol::Alpn;
            // Each tunnel has a connection of its own, for which the server chooses anew.
            cluster.max_requests_per_connection = Some(1);
            cluster.tls = Some(UpstreamTls { validation: Some("ca".into()), ..UpstreamTls::default() });
        }
        let mut running = Running::start(with_secrets(config, [trust("ca", &ca)])).await;
        for _ in 0..4 {
            let mut client = Raw::connect(running.address).await;
            client.send("ping").await;
            assert_eq!(client.bytes(4).await, b"ping", "{protocol}");
            drop(client);
            assert_eq!(running.record().await.flags, Flags::NONE, "{protocol}");
        }
        let asked = if protocol == "POST" {
            ["POST https://target.example:4443/ None", "POST / Some(\"target.example:4443\")"]
        } else {
            ["CONNECT target.example:4443 None", "CONNECT target.example:4443 Some(\"target.example:4443\")"]
        };
        assert_eq!(*told.lock().unwrap(), [asked, asked].concat());
    }
}
