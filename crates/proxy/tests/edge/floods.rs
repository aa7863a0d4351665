//! HTTP/2 clients that ask for more than they take: the connection ends, and others are served as before.

use super::common::*;
use super::http2::*;
use amime_testkit::client::{PATIENCE, Raw};
use amime_testkit::origin::Origin;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":authority", "h.test"), (":path", "/ok")];

/// Sends the opening, then `next(n)` for n = 0, 1, … until the proxy ends the connection or `most` are sent; whether it
/// did.
async fn flood(address: SocketAddr, most: u32, mut next: impl FnMut(u32) -> Vec<u8>) -> bool {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    // What it answers is read and dropped, so that only what is asked for is too much.
    let ended = tokio::spawn(async move {
        let mut sink = vec![0; 64 * 1024];
        while matches!(reader.read(&mut sink).await, Ok(n) if n > 0) {}
    });
    let opening = [PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])].concat();
    writer.write_all(&opening).await.unwrap();
    for n in 0..most {
        if ended.is_finished() || writer.write_all(&next(n)).await.is_err() {
            return true;
        }
    }
    tokio::time::timeout(PATIENCE, ended).await.is_ok()
}

async fn running() -> (Origin, Running) {
    let origin = Origin::text("hello").await;
    let config = http_config(vec![forward(to("a"))], [cluster("a", &[origin.address])]);
    let running = Running::start(config).await;
    (origin, running)
}

async fn serves(running: &Running) {
    assert_eq!(Raw::connect(running.address).await.get("h.test", "/ok", "").await.status, 200);
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let (_origin, running) = running().await;
    let ended = flood(running.address, 100_000, |n| {
        let stream = 2 * n + 1;
        let request = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&GET));
        [request, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    });
    assert!(ended.await);
    serves(&running).await;
}

#[tokio::test]
async fn headers_without_an_end_end_the_connection() {
    let (origin, running) = running().await;
    let ended = flood(running.address, 100_000, |n| match n {
        0 => frame(HEADERS, END_STREAM, 1, &block(&GET)),
        _ => frame(CONTINUATION, 0, 1, &block(&[("x-a", &"b".repeat(1000))])),
    });
    assert!(ended.await);
    let empty = flood(running.address, 100_000, |n| match n {
        0 => frame(HEADERS, END_STREAM, 1, &block(&GET)),
        _ => frame(CONTINUATION, 0, 1, &[]),
    });
    assert!(empty.await);
    assert_eq!(origin.requests(), 0);
    serves(&running).await;
}

#[tokio::test]
async fn control_frames_without_work_end_the_connection() {
    let (_origin, running) = running().await;
    assert!(flood(running.address, 100_000, |_| frame(SETTINGS, 0, 0, &[])).await, "SETTINGS");
    assert!(flood(running.address, 100_000, |_| frame(PING, 0, 0, &[0; 8])).await, "PING");
    serves(&running).await;
}

#[tokio::test]
async fn empty_data_without_an_end_ends_the_connection() {
    let (_origin, running) = running().await;
    let post = [(":method", "POST"), GET[1], GET[2], GET[3]];
    let ended = flood(running.address, 1_000_000, |n| match n {
        0 => frame(HEADERS, END_HEADERS, 1, &block(&post)),
        _ => frame(DATA, 0, 1, &[]).repeat(100),
    });
    assert!(ended.await);
    serves(&running).await;
}

#[tokio::test]
async fn huge_trailers_are_refused() {
    let (_origin, running) = running().await;
    let post = [(":method", "POST"), GET[1], GET[2], GET[3]];
    let ended = flood(running.address, 10_000, |n| match n {
        0 => [frame(HEADERS, END_HEADERS, 1, &block(&post)), frame(HEADERS, END_STREAM, 1, &[])].concat(),
        _ => frame(CONTINUATION, 0, 1, &block(&[("x-a", &"b".repeat(10_000))])),
    });
    assert!(ended.await);
    serves(&running).await;
}
