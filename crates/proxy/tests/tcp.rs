//! Plain TCP, and how a connection finds its listener and filter chain.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::config::*;
use amime_proxy::Flags;
use amime_testkit::client::{Http2, Raw};
use amime_testkit::origin::{Origin as Server, echo, write};
use common::*;
use ppp::v2;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

fn tcp_config(clusters: &[(&str, u32)], all: impl IntoIterator<Item = Cluster>) -> ProxyConfig {
    let mut config = ProxyConfig::default();
    config.listeners.insert("test".into(), Arc::new(listener("test", ANY, vec![tcp_chain(clusters)])));
    with_clusters(config, all)
}

fn proxy_header(destination: &str) -> Vec<u8> {
    let addresses: (SocketAddr, SocketAddr) = ("127.9.9.9:1234".parse().unwrap(), destination.parse().unwrap());
    v2::Builder::with_addresses(v2::Version::Two | v2::Command::Proxy, v2::Protocol::Stream, addresses).build().unwrap()
}

/// Listeners of a sidecar that captures by PROXY headers.
fn captured(virtual_listeners: Vec<Listener>, clusters: impl IntoIterator<Item = Cluster>) -> ProxyConfig {
    let mut outbound = listener("virtualOutbound", ANY, vec![tcp_chain(&[("PassthroughCluster", 1)])]);
    outbound.listener_filters = vec![ListenerFilter::ProxyProtocol];
    outbound.use_original_dst = true;
    let mut config = ProxyConfig::default();
    config.listeners.insert("virtualOutbound".into(), Arc::new(outbound));
    for mut listener in virtual_listeners {
        listener.bind_to_port = false;
        config.listeners.insert(listener.name.as_str().into(), Arc::new(listener));
    }
    let passthrough = Cluster {
        lb: LbPolicy::ClusterProvided,
        ..Cluster::new("PassthroughCluster", Discovery::OriginalDst { header: false, port: None })
    };
    with_clusters(config, clusters.into_iter().chain([passthrough]))
}

#[tokio::test]
async fn bytes_cross_and_each_side_closes_for_itself() {
    let server = Server::tcp(|mut stream| async move {
        // Reads to the end before it answers: the client's half-close must arrive.
        let mut got = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut got).await.unwrap();
        write(&mut stream, format!("{} bytes", got.len())).await;
    })
    .await;
    let mut running = Running::start(tcp_config(&[("a", 1)], [cluster("a", &[server.address])])).await;
    let mut client = Raw::connect(running.address).await;
    client.send(vec![7; 1_000_000]).await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.until_closed().await, b"1000000 bytes");
    let record = running.record().await;
    assert_eq!((record.bytes_received, record.bytes_sent, record.flags), (1_000_000, 13, Flags::NONE));
    assert_eq!(record.upstream.unwrap().address, server.address);
}

#[tokio::test]
async fn a_server_may_speak_first() {
    let server = Server::tcp(|mut stream| async move {
        write(&mut stream, "220 hello\r\n").await;
        echo(stream).await;
    })
    .await;
    let running = Running::start(tcp_config(&[("a", 1)], [cluster("a", &[server.address])])).await;
    let mut client = Raw::connect(running.address).await;
    assert_eq!(client.bytes(11).await, b"220 hello\r\n");
    client.send("EHLO").await;
    assert_eq!(client.bytes(4).await, b"EHLO");
}

#[tokio::test]
async fn failures_of_tcp() {
    let nobody = std::net::TcpListener::bind(ANY).unwrap().local_addr().unwrap();
    for (cluster_name, flags) in [("none", Flags::NC), ("empty", Flags::UH), ("refused", Flags::UF.with(Flags::URX))] {
        let clusters = [cluster("empty", &[]), cluster("refused", &[nobody])];
        let mut running = Running::start(tcp_config(&[(cluster_name, 1)], clusters)).await;
        let mut client = Raw::connect(running.address).await;
        assert_eq!(client.until_closed().await, b"");
        assert_eq!(running.record().await.flags, flags, "{cluster_name}");
    }
}

#[tokio::test]
async fn tcp_weights_and_idle_time() {
    let (a, b) = (
        Server::tcp(|mut s| async move { write(&mut s, "a").await }).await,
        Server::tcp(|mut s| async move { write(&mut s, "b").await }).await,
    );
    let config = tcp_config(&[("a", 50), ("b", 50)], [cluster("a", &[a.address]), cluster("b", &[b.address])]);
    let running = Running::start(config).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        seen.insert(Raw::connect(running.address).await.until_closed().await);
    }
    assert_eq!(seen.len(), 2);

    let silent = Server::tcp(echo).await;
    let mut config = tcp_config(&[("a", 1)], [cluster("a", &[silent.address])]);
    let mut idle = (*config.listeners["test"]).clone();
    if let NetworkFilter::Tcp(tcp) = &mut idle.filter_chains[0].filters[0] {
        tcp.idle_timeout = Some(Duration::from_millis(50));
    }
    config.listeners.insert("test".into(), Arc::new(idle));
    let running = Running::start(config).await;
    assert_eq!(Raw::connect(running.address).await.until_closed().await, b"");
}

#[tokio::test]
async fn a_proxy_header_names_the_listener() {
    let (http, plain, passed) = (Server::text("http").await, Server::tcp(echo).await, Server::tcp(echo).await);
    let mut web = listener("0.0.0.0_80", "0.0.0.0:80", vec![http_chain(hcm(RouteSource::Rds("80".into())))]);
    web.use_original_dst = false;
    let exact = listener("10.96.0.1_9090", "10.96.0.1:9090", vec![tcp_chain(&[("tcp", 1)])]);
    let mut config = captured(vec![web, exact], [cluster("http", &[http.address]), cluster("tcp", &[plain.address])]);
    config.routes.insert("80".into(), Arc::new(routes("80", vec![forward(to("http"))])));
    let mut running = Running::start(config).await;

    let mut client = Raw::connect(running.address).await;
    // Header and request in one packet, then the header byte by byte.
    client.send([proxy_header("10.1.2.3:80"), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()].concat()).await;
    assert_eq!(client.answer(false).await.unwrap().body, "http");
    let record = running.record().await;
    assert_eq!((record.downstream.local, &*record.listener), ("10.1.2.3:80".parse().unwrap(), "0.0.0.0_80"));
    assert_eq!(record.downstream.remote, "127.9.9.9:1234".parse().unwrap());

    let mut client = Raw::connect(running.address).await;
    for byte in proxy_header("10.96.0.1:9090") {
        client.send([byte]).await;
    }
    client.send("ping").await;
    assert_eq!(client.bytes(4).await, b"ping");
    assert_eq!((plain.connections(), passed.connections()), (1, 0));

    // What no listener has goes where it wanted.
    let mut client = Raw::connect(running.address).await;
    client.send(proxy_header(&passed.address.to_string())).await;
    client.send("through").await;
    assert_eq!(client.bytes(7).await, b"through");
    assert_eq!(passed.connections(), 1);

    let mut client = Raw::connect(running.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.until_closed().await, b"", "a connection without its header is closed");
}

#[tokio::test]
async fn a_proxy_header_must_come_in_time() {
    let mut config = captured(vec![], []);
    let mut outbound = (*config.listeners["virtualOutbound"]).clone();
    outbound.listener_filters_timeout = Some(Duration::from_millis(50));
    outbound.continue_on_timeout = true;
    config.listeners.insert("virtualOutbound".into(), Arc::new(outbound));
    let running = Running::start(config).await;
    let mut client = Raw::connect(running.address).await;
    client.send(&proxy_header("10.0.0.1:1")[..5]).await;
    client.until_closed().await;
}

#[tokio::test]
async fn the_protocol_chooses_the_chain() {
    let (http, plain) = (Server::text("http").await, Server::tcp(echo).await);
    let mut web = http_chain(hcm(RouteSource::Rds("80".into())));
    web.matches.transport_protocol = "raw_buffer".into();
    web.matches.application_protocols = vec!["http/1.1".into(), "h2c".into()];
    let mut sniffing = listener("test", ANY, vec![web]);
    sniffing.listener_filters =
        vec![ListenerFilter::TlsInspector, ListenerFilter::HttpInspector { disabled_ports: vec![] }];
    sniffing.listener_filters_timeout = Some(Duration::from_millis(100));
    sniffing.continue_on_timeout = true;
    sniffing.default_filter_chain = Some(Box::new(tcp_chain(&[("tcp", 1)])));
    let mut config = ProxyConfig::default();
    config.listeners.insert("test".into(), Arc::new(sniffing));
    config.routes.insert("80".into(), Arc::new(routes("80", vec![forward(to("http"))])));
    let config = with_clusters(config, [cluster("http", &[http.address]), cluster("tcp", &[plain.address])]);
    let running = Running::start(config).await;
    let mut client = Raw::connect(running.address).await;
    for piece in ["GE", "T / HTTP", "/1.1\r\nHost: a\r\n\r\n"] {
        client.send(piece).await;
    }
    assert_eq!(client.answer(false).await.unwrap().body, "http");
    assert_eq!(Http2::connect(running.address).await.get("a", "/").await.2, "http");
    let mut client = Raw::connect(running.address).await;
    client.send("\x00\x01binary").await;
    assert_eq!(client.bytes(8).await, b"\x00\x01binary");
    // A client that waits for the server to speak: after the timeout it is plain TCP.
    let mut client = Raw::connect(running.address).await;
    tokio::time::timeout(Duration::from_secs(5), async {
        while plain.connections() < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .unwrap();
    client.send("late").await;
    assert_eq!(client.bytes(4).await, b"late");
}

#[tokio::test]
async fn chains_that_cannot_be_run_refuse_connections() {
    let mut config = ProxyConfig::default();
    let mut secured = tcp_chain(&[("a", 1)]);
    secured
        .filters
        .insert(0, NetworkFilter::Opaque(Opaque { name: "rbac".into(), type_url: "x".into(), bytes: vec![] }));
    config.listeners.insert("test".into(), Arc::new(listener("test", ANY, vec![secured])));
    let server = Server::tcp(echo).await;
    let mut running = Running::start(with_clusters(config, [cluster("a", &[server.address])])).await;
    Raw::connect(running.address).await.until_closed().await;
    assert_eq!((running.record().await.flags, server.connections()), (Flags::NR, 0));
}

#[tokio::test]
async fn upstream_sockets_are_bound_to_the_pods_address() {
    let (sender, mut peers) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::tcp(move |stream| {
        let sender = sender.clone();
        async move { sender.send(stream.peer_addr().unwrap().ip()).unwrap() }
    })
    .await;
    let mut bound = cluster("a", &[server.address]);
    bound.bind_source = Some("127.7.7.7".parse().unwrap());
    let running = Running::start(tcp_config(&[("a", 1)], [bound])).await;
    Raw::connect(running.address).await.until_closed().await;
    assert_eq!(peers.recv().await.unwrap().to_string(), "127.7.7.7");
}

#[tokio::test]
async fn what_should_be_tls_is_not_sent_in_plaintext() {
    let server = Server::tcp(echo).await;
    let secured = |mut cluster: Cluster| {
        cluster.tls = Some(UpstreamTls { validation: Some("nobody".into()), ..UpstreamTls::default() });
        cluster
    };
    let mut running = Running::start(tcp_config(&[("a", 1)], [secured(cluster("a", &[server.address]))])).await;
    Raw::connect(running.address).await.until_closed().await;
    assert_eq!(running.record().await.flags, Flags::UF);
    let mut running =
        Running::start(http_config(vec![forward(to("a"))], [secured(cluster("a", &[server.address]))])).await;
    assert_eq!(amime_testkit::client::get(running.address, "a", "/").await.status, 503);
    assert_eq!((running.record().await.flags, server.connections()), (Flags::UF, 0));

    // By the endpoint's metadata: one that has no labels takes plaintext.
    let matched = |labels: Vec<(String, String)>| {
        let mut all = endpoints("a", &[server.address]);
        all.localities[0].endpoints[0].transport_labels = labels;
        let mut cluster = Cluster::new("a", Discovery::Static(all));
        cluster.transport_socket_matches = vec![
            TransportSocketMatch {
                name: "tls".into(),
                labels: vec![("tlsMode".into(), "istio".into())],
                tls: Some(UpstreamTls { validation: Some("nobody".into()), ..UpstreamTls::default() }),
                opaque: None,
            },
            TransportSocketMatch { name: "plain".into(), labels: vec![], tls: None, opaque: None },
        ];
        cluster
    };
    let running = Running::start(tcp_config(&[("a", 1)], [matched(vec![("tlsMode".into(), "istio".into())])])).await;
    Raw::connect(running.address).await.until_closed().await;
    assert_eq!(server.connections(), 0);
    let running = Running::start(tcp_config(&[("a", 1)], [matched(vec![])])).await;
    let mut client = Raw::connect(running.address).await;
    client.send("ping").await;
    assert_eq!(client.bytes(4).await, b"ping");
}
