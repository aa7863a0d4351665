//! Plain forwarding over HTTP/1 and HTTP/2, and what is answered when it does not work out.
#![allow(clippy::unwrap_used)]

mod common;

use amime_testkit::client::{Http2, Raw, get};
use amime_testkit::origin::{Origin, Version, full};
use common::*;
use http::Response;

#[tokio::test]
async fn a_request_crosses() {
    let origin = Origin::text("hello").await;
    let mut running = Running::start(http_config(vec![forward(to("a"))], [cluster("a", &[origin.address])])).await;
    let answer = get(running.address, "shop.example.com", "/x?y=1").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    assert_eq!(answer.header("server"), Some("istio-envoy"));
    assert!(answer.header("x-envoy-upstream-service-time").is_some());
    let record = running.record().await;
    assert_eq!(record.status, 200);
    assert_eq!(record.request.path(), "/x?y=1");
    assert_eq!(record.origin().unwrap().to_string(), "VirtualService default/test http[0]");
    assert_eq!(record.cluster.as_deref(), Some("a"));
    assert_eq!(record.upstream.as_ref().unwrap().address, origin.address);
    assert_eq!(record.flags.to_string(), "-");
    assert_eq!((record.bytes_sent, record.attempts), (5, 1));
}

#[tokio::test]
async fn connections_are_used_again_on_both_sides() {
    let origin = Origin::text("hello").await;
    let running = Running::start(http_config(vec![forward(to("a"))], [cluster("a", &[origin.address])])).await;
    let mut client = Raw::connect(running.address).await;
    for _ in 0..50 {
        assert_eq!(client.get("a", "/", "").await.body, "hello");
    }
    assert_eq!((origin.requests(), origin.connections()), (50, 1));
}

#[tokio::test]
async fn every_mix_of_versions() {
    for upstream in [Version::Http1, Version::Http2] {
        let origin = Origin::http(upstream, |request: http::Request<hyper::body::Incoming>| async move {
            let host = match request.uri().authority() {
                Some(authority) => authority.to_string(),
                None => request.headers()["host"].to_str().unwrap().to_owned(),
            };
            Response::new(full(format!("{:?} {host} {}", request.version(), request.uri().path())))
        })
        .await;
        let mut cluster = cluster("a", &[origin.address]);
        if upstream == Version::Http2 {
            cluster.protocol = amime_model::config::UpstreamProtocol::Http2;
        }
        let running = Running::start(http_config(vec![forward(to("a"))], [cluster])).await;
        let expected = match upstream {
            Version::Http1 => "HTTP/1.1 shop.example /x",
            Version::Http2 => "HTTP/2.0 shop.example /x",
        };
        assert_eq!(get(running.address, "shop.example", "/x").await.body, expected);
        let mut client = Http2::connect(running.address).await;
        for _ in 0..3 {
            let (status, _, text) = client.get("shop.example", "/x").await;
            assert_eq!((status, text.as_str()), (200, expected));
        }
    }
}
