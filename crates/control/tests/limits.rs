//! What whoever reaches the port of ADS can make a control plane take.
#![allow(clippy::unwrap_used)]

#[path = "support/mod.rs"]
mod support;

use h2::client::{Connection, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use std::net::SocketAddr;
use support::{SHOP, engine};
use tokio::io::DuplexStream;

const PATH: &str = "http://x/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

type Body = bytes::Bytes;

/// A connection from the network, as far as the server can tell.
async fn connect() -> (tempfile::TempDir, SendRequest<Body>, Connection<DuplexStream, Body>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shop.yaml"), SHOP).unwrap();
    let (distributor, _) = support::server(&engine(vec![folder.path().to_owned()]));
    let (near, far) = tokio::io::duplex(1 << 20);
    let peer: SocketAddr = "10.0.0.1:4000".parse().unwrap();
    tokio::spawn(async move { distributor.serve(far, peer).await });
    let (requests, connection) = h2::client::handshake(near).await.unwrap();
    (folder, requests, connection)
}

fn open(requests: &mut SendRequest<Body>) -> (ResponseFuture, SendStream<Body>) {
    requests.send_request(http::Request::post(PATH).body(()).unwrap(), false).unwrap()
}

/// With which gRPC status a stream ends.
async fn status(response: ResponseFuture) -> String {
    let mut body: RecvStream = response.await.unwrap().into_body();
    while body.data().await.is_some() {}
    body.trailers().await.unwrap().unwrap()["grpc-status"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_connection_has_few_streams() {
    let (_folder, mut requests, connection) = connect().await;
    let (response, mut body) = open(&mut requests);
    let mut connection = std::pin::pin!(connection);
    // Its settings have come when it answers.
    tokio::select! {
        _ = connection.as_mut() => panic!("it stays open"),
        answered = response => drop(answered.unwrap()),
    }
    assert_eq!(connection.max_concurrent_send_streams(), 100);
    body.send_reset(h2::Reason::CANCEL);
}

#[tokio::test]
async fn a_request_that_is_too_long_is_refused_by_its_length() {
    let (_folder, mut requests, connection) = connect().await;
    tokio::spawn(connection);
    let (response, mut body) = open(&mut requests);
    let length = ((16 << 20) + 1_u32).to_be_bytes();
    body.send_data([&[0], &length[..]].concat().into(), false).unwrap();
    assert_eq!(status(response).await, "8");
}

#[tokio::test(start_paused = true)]
async fn who_opens_a_stream_and_says_nothing_is_sent_away() {
    let (_folder, mut requests, connection) = connect().await;
    tokio::spawn(connection);
    let (response, _body) = open(&mut requests);
    assert_eq!(status(response).await, "4");
}
