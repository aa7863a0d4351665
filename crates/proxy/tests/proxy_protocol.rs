//! PROXY protocol headers towards endpoints, from YAML: who is told, and that no client's requests go over a connection
//! that tells of another.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::config::*;
use amime_testkit::client::{Raw, get};
use amime_testkit::origin::{Origin as Server, full, read_head, write};
use amime_testkit::tls::{Authority, server_config};
use common::line::Line;
use common::manifests::{PLACES, gateway, manifests, tcp_manifests};
use common::tls::{trust, with_secrets};
use common::*;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const HOST: &str = "app.example.com";

/// Of a DestinationRule, those where `proxyProtocol` can stand.
fn places() -> [&'static str; 2] {
    [PLACES[0], PLACES[2]]
}

/// A header of either version, as version 1 writes it.
async fn header(stream: &mut TcpStream) -> String {
    let mut start = [0; 16];
    stream.read_exact(&mut start).await.unwrap();
    if start.starts_with(b"PROXY") {
        let mut line = start.to_vec();
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await.unwrap());
        }
        return String::from_utf8(line).unwrap();
    }
    let mut whole = start.to_vec();
    whole.resize(16 + usize::from(u16::from_be_bytes([start[14], start[15]])), 0);
    stream.read_exact(&mut whole[16..]).await.unwrap();
    let parsed = ppp::v2::Header::try_from(&whole[..]).unwrap();
    match parsed.addresses {
        ppp::v2::Addresses::IPv4(a) => format!(
            "PROXY TCP4 {} {} {} {}\r\n",
            a.source_address, a.destination_address, a.source_port, a.destination_port
        ),
        other => format!("{:?} {other:?}", parsed.command),
    }
}

/// Answers each request with its connection's header.
async fn telling() -> Server {
    Server::tcp(|mut stream| async move {
        let told = header(&mut stream).await;
        while !read_head(&mut stream).await.is_empty() {
            let length = told.len();
            write(&mut stream, format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{told}")).await;
        }
    })
    .await
}

/// What tells of a client's own connection.
fn of(stream: &TcpStream) -> String {
    let (own, peer) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    format!("PROXY TCP4 {} {} {} {}\r\n", own.ip(), peer.ip(), own.port(), peer.port())
}

#[tokio::test]
async fn each_client_has_its_connections() {
    let server = telling().await;
    for place in places() {
        for policy in ["proxyProtocol: {version: V1}", "proxyProtocol: {version: V2}", "proxyProtocol: {}"] {
            let line = Line::to(server.address).await;
            let config = gateway(&manifests(place, policy, "{attempts: 0}", &[line.address()]));
            let running = Running::start(config).await;
            let (mut one, mut other) = (Raw::connect(running.address).await, Raw::connect(running.address).await);
            for round in 1..4 {
                for client in [&mut one, &mut other] {
                    // The socket's address, whatever a request says.
                    let told = client.get(HOST, "/", "x-forwarded-for: 9.9.9.9\r\n").await.body;
                    assert_eq!(told, of(&client.stream), "{policy} at {place}, {round}");
                }
            }
            assert_eq!(line.connections(), (2, 0));
            // What tells of a client goes with it.
            drop(one);
            until(|| line.connections() == (2, 1)).await;
        }
    }
}

#[tokio::test]
async fn who_came_by_a_header_is_told_on() {
    let server = telling().await;
    let text = manifests(PLACES[0], "proxyProtocol: {version: V1}", "{attempts: 0}", &[server.address]);
    let mut config = gateway(&text);
    for listener in config.listeners.values_mut() {
        Arc::make_mut(listener).listener_filters.insert(0, ListenerFilter::ProxyProtocol);
    }
    let running = Running::start(config).await;
    for line in ["PROXY TCP4 1.2.3.4 5.6.7.8 11 22\r\n", "PROXY TCP6 ::1 ::2 11 22\r\n"] {
        let mut client = Raw::connect(running.address).await;
        client.send(line).await;
        assert_eq!(client.get(HOST, "/", "").await.body, line);
    }
}

#[tokio::test]
async fn tcp_tells_too() {
    let server = Server::tcp(|mut stream| async move {
        let told = header(&mut stream).await;
        write(&mut stream, told).await;
    })
    .await;
    for place in places() {
        for version in ["V1", "V2"] {
            let policy = format!("proxyProtocol: {{version: {version}}}");
            let running = Running::start(gateway(&tcp_manifests(place, &policy, &[server.address]))).await;
            let mut client = Raw::connect(running.address).await;
            let told = of(&client.stream);
            assert_eq!(client.until_closed().await, told.as_bytes(), "{policy} at {place}");
        }
    }
}

#[tokio::test]
async fn the_header_comes_before_tls() {
    let ca = Authority::new("ca");
    let config = server_config(&ca.issue(&["a.example"]), None, &["h2"]);
    let server = Server::tcp(move |mut stream| {
        let config = Arc::clone(&config);
        async move {
            let told = header(&mut stream).await;
            let stream = tokio_rustls::TlsAcceptor::from(config).accept(stream).await.unwrap();
            let service = hyper::service::service_fn(move |_| {
                let told = told.clone();
                async move { Ok::<_, std::convert::Infallible>(http::Response::new(full(told))) }
            });
            let builder = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
            let _ = builder.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await;
        }
    })
    .await;
    let tls = UpstreamTls { alpn: vec!["h2".into()], validation: Some("ca".into()), ..UpstreamTls::default() };
    let cluster = Cluster {
        protocol: UpstreamProtocol::Http2,
        tls: Some(tls),
        proxy_protocol: Some(1),
        ..cluster("a", &[server.address])
    };
    let mut config = http_config(vec![forward(to("a"))], [cluster]);
    config = with_secrets(config, [trust("ca", &ca)]);
    let running = Running::start(config).await;
    let mut one = Raw::connect(running.address).await;
    let mut other = Raw::connect(running.address).await;
    for _ in 0..2 {
        for client in [&mut one, &mut other] {
            let told = client.get("a.example", "/", "").await.body;
            assert_eq!(told, of(&client.stream));
        }
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_mirror_speaks_for_itself() {
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mirror = Server::tcp(move |mut stream| {
        let sender = sender.clone();
        async move {
            let told = header(&mut stream).await;
            sender.send((told, stream.peer_addr().unwrap(), stream.local_addr().unwrap())).unwrap();
        }
    })
    .await;
    let server = Server::text("hello").await;
    let mut forwarded = to("a");
    forwarded.mirrors = vec![Mirror { cluster: "b".into(), share: PerMillion::ALL }];
    let b = Cluster { proxy_protocol: Some(1), ..cluster("b", &[mirror.address]) };
    let config = http_config(vec![forward(forwarded)], [cluster("a", &[server.address]), b]);
    let running = Running::start(config).await;
    assert_eq!(get(running.address, "a", "/").await.body, "hello");
    let (told, peer, own): (String, SocketAddr, SocketAddr) = told.recv().await.unwrap();
    assert_eq!(told, format!("PROXY TCP4 {} {} {} {}\r\n", peer.ip(), own.ip(), peer.port(), own.port()));
}

#[tokio::test]
async fn the_connection_of_an_endpoint_that_leaves_is_closed() {
    let (leaves, stays) = (telling().await, telling().await);
    let line = Line::to(leaves.address).await;
    let config = |address| gateway(&manifests(PLACES[0], "proxyProtocol: {version: V1}", "{attempts: 0}", &[address]));
    let running = Running::start(config(line.address())).await;
    let mut client = Raw::connect(running.address).await;
    let told = of(&client.stream);
    assert_eq!(client.get(HOST, "/", "").await.body, told);
    running.proxy.apply(config(stays.address)).await.unwrap();
    assert_eq!(client.get(HOST, "/", "").await.body, told);
    assert_eq!((line.connections().0, stays.connections()), (1, 1));
    // The client goes on.
    until(|| line.connections() == (1, 1)).await;
    assert_eq!(client.get(HOST, "/", "").await.body, told);
}
