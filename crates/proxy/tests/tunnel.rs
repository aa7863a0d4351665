//! TCP connections through HTTP proxies, from YAML: CONNECT and POST over HTTP/1 and HTTP/2.
#![allow(clippy::unwrap_used)]

mod common;

use amime_proxy::Flags;
use amime_testkit::client::Raw;
use amime_testkit::origin::{Body, Origin as Server, Version, channel, full};
use common::manifests::{gateway, tcp_manifests};
use common::*;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;

/// Where a tunnel may stand for the route's subset.
const RULE: &str = "{subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {POLICY}}]}";

/// Sends back what comes through a tunnel.
async fn answer(request: Request<Incoming>, told: Arc<Mutex<Vec<String>>>) -> Response<Body> {
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
        let server = Server::http(version, move |request| answer(request, Arc::clone(&telling))).await;
        let upgrade = if version == Version::Http2 { "UPGRADE" } else { "DO_NOT_UPGRADE" };
        let policy = format!(
            "tunnel: {{protocol: {protocol}, targetHost: target.example, targetPort: 4443}}, \
             connectionPool: {{http: {{h2UpgradePolicy: {upgrade}}}}}"
        );
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
        let upgrade = if version == Version::Http2 { "UPGRADE" } else { "DEFAULT" };
        let policy = format!(
            "tunnel: {{protocol: {protocol}, targetHost: target.example, targetPort: 4443}}, \
             connectionPool: {{http: {{h2UpgradePolicy: {upgrade}}}}}"
        );
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
