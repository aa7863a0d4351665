//! What a client may not send, how much, and how slowly: refused with a status, then the connection closes.
#![allow(clippy::unwrap_used)]

mod common;

use amime_proxy::Flags;
use amime_testkit::client::{Http2, Raw};
use amime_testkit::origin::{Origin, full};
use common::*;
use http::Request;
use std::time::Duration;

async fn running() -> (Origin, Running) {
    let origin = Origin::text("hello").await;
    let config = http_config_with(vec![forward(to("a"))], [cluster("a", &[origin.address])], |hcm| {
        hcm.max_request_headers_kb = Some(8);
        hcm.max_headers_count = Some(20);
    });
    let running = Running::start(config).await;
    (origin, running)
}

#[tokio::test]
async fn malformed_requests_are_refused_and_the_connection_closes() {
    let (origin, mut running) = running().await;
    let many: String = (0..30).map(|i| format!("x-{i}: 1\r\n")).collect();
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\nHost: a\n\n".into(), 400),
        ("GARBAGE\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nbad header: 1\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nx : 1\r\n\r\n".into(), 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(), 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n".into(), 501),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".into(), 400),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(10_000)), 414),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1_000_000)), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nx: {}\r\n\r\n", "x".repeat(10_000)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
        ("GET / HTTP/1.0\r\nHost: a\r\n\r\n".into(), 426),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".into(), 403),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n".into(), 403),
    ] {
        let mut client = Raw::connect(running.address).await;
        // The proxy may answer and close before it has read all of a long one.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, request.as_bytes()).await;
        let answer = client.answer(false).await.unwrap_or_else(|| panic!("no answer to {:.60}", request));
        assert_eq!(answer.status, status, "{request:.60}");
        assert_eq!(answer.header("connection"), Some("close"), "{request:.60}");
        assert_eq!(client.until_closed().await, b"", "{request:.60}");
        let record = running.record().await;
        assert_eq!(record.status, status, "{request:.60}");
        let blameless = status == 403 || record.details == "missing_host_header";
        assert_eq!(record.flags, if blameless { Flags::NONE } else { Flags::DPE }, "{request:.60}");
        if status == 501 {
            assert_eq!(record.details, "http1.invalid_transfer_encoding");
        }
        if record.details == "missing_host_header" {
            assert_eq!((record.request.method(), record.request.path()), ("GET", "/"));
        }
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn absolute_form_wins_over_host() {
    let origin =
        Origin::http(amime_testkit::origin::Version::Http1, |request: Request<hyper::body::Incoming>| async move {
            http::Response::new(full(request.headers()["host"].to_str().unwrap().to_owned()))
        })
        .await;
    let running = Running::start(http_config(vec![forward(to("a"))], [cluster("a", &[origin.address])])).await;
    let mut client = Raw::connect(running.address).await;
    client.send("GET http://real.example/x HTTP/1.1\r\nHost: other.example\r\n\r\n").await;
    assert_eq!(client.answer(false).await.unwrap().body, "real.example");
}

#[tokio::test]
async fn http2_has_the_same_limits() {
    let (origin, running) = running().await;
    let mut client = Http2::connect(running.address).await;
    let mut many = Request::get("http://a/");
    for i in 0..30 {
        many = many.header(format!("x-{i}"), "1");
    }
    let answer = client.send(many.body(full("")).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 431);
    let mut client = Http2::connect(running.address).await;
    let large = Request::get("http://a/").header("x", "x".repeat(20_000)).body(full("")).unwrap();
    assert!(client.send(large).await.is_ok_and(|answer| answer.status() == 431));
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn slow_headers_and_idle_connections_end() {
    let origin = Origin::text("hello").await;
    let config = http_config_with(vec![forward(to("a"))], [cluster("a", &[origin.address])], |hcm| {
        hcm.request_headers_timeout = Some(Duration::from_millis(50));
        hcm.idle_timeout = Some(Duration::from_millis(200));
    });
    let mut running = Running::start(config).await;
    let mut slow = Raw::connect(running.address).await;
    slow.send("GET / HTTP/1.1\r\nHost").await;
    assert_eq!(slow.answer(false).await.unwrap().status, 408);
    slow.until_closed().await;
    let record = running.record().await;
    assert_eq!((record.flags, record.details), (Flags::NONE, "request_header_timeout"));

    let mut idle = Raw::connect(running.address).await;
    assert_eq!(idle.get("a", "/", "").await.status, 200);
    assert_eq!(idle.until_closed().await, b"");
    // One that never said a word ends the same way.
    assert_eq!(Raw::connect(running.address).await.until_closed().await, b"");
    // As does HTTP/2, by GOAWAY.
    let mut client = Http2::connect(running.address).await;
    assert_eq!(client.get("a", "/").await.0, 200);
    tokio::time::timeout(Duration::from_secs(5), async {
        while !client.is_closed() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_body_that_stalls_ends_the_stream() {
    let origin = Origin::tcp(|mut stream| async move {
        // Reads for ever, answers never.
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let config = http_config_with(vec![forward(to("a"))], [cluster("a", &[origin.address])], |hcm| {
        hcm.stream_idle_timeout = Some(Duration::from_millis(100));
    });
    let mut running = Running::start(config).await;
    let mut client = Raw::connect(running.address).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc").await;
    let answer = client.answer(false).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (408, "stream timeout"));
    assert_eq!(running.record().await.flags, Flags::SI);
    let mut client = Raw::connect(running.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer(false).await.unwrap().status, 504);
}

#[tokio::test]
async fn connections_over_the_limit_are_closed() {
    let origin = Origin::text("hello").await;
    let config = http_config(vec![forward(to("a"))], [cluster("a", &[origin.address])]);
    let running = Running::start_with(config, |options| options.max_connections = 1).await;
    let mut first = Raw::connect(running.address).await;
    assert_eq!(first.get("a", "/", "").await.status, 200);
    assert_eq!(Raw::connect(running.address).await.until_closed().await, b"");
    assert_eq!(first.get("a", "/", "").await.status, 200);
}

#[tokio::test]
async fn requests_of_one_connection_are_counted() {
    let origin = Origin::text("hello").await;
    let config = http_config_with(vec![forward(to("a"))], [cluster("a", &[origin.address])], |hcm| {
        hcm.max_requests_per_connection = Some(2);
    });
    let running = Running::start(config).await;
    let mut client = Raw::connect(running.address).await;
    assert_eq!(client.get("a", "/", "").await.header("connection"), None);
    assert_eq!(client.get("a", "/", "").await.header("connection"), Some("close"));
    client.until_closed().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (_origin, running) = running().await;
    let mut client = Raw::connect(running.address).await;
    let bad = "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n";
    client.send(format!("{0}{0}{1}", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", bad)).await;
    for (n, status) in [200, 200, 400].into_iter().enumerate() {
        assert_eq!(client.answer(false).await.map(|answer| answer.status), Some(status), "answer {n}");
    }
    client.until_closed().await;
}
