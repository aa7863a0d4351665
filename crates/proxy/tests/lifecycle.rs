//! Updates and endings: nothing that is under way breaks off, and what is kept apart from the configuration stays.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::config::*;
use amime_proxy::{ApplyError, Placement, Proxy, ProxyIdentity, ProxyOptions, Workers};
use amime_testkit::client::{Http2, Raw, get};
use amime_testkit::origin::{Origin as Server, Version};
use common::*;
use std::sync::Arc;
use std::time::Duration;

/// The same configuration with one listener's address kept and other routes.
fn rerouted(config: &ProxyConfig, table: Vec<Route>, clusters: impl IntoIterator<Item = Cluster>) -> ProxyConfig {
    let mut config = config.clone();
    config.routes.insert("80".into(), Arc::new(routes("80", table)));
    config.clusters.clear();
    with_clusters(config, clusters)
}

#[tokio::test]
async fn a_connection_takes_new_routes_and_a_request_keeps_its_own() {
    let (slow, gate) = Server::gated(Version::Http1).await;
    let fast = Server::text("new").await;
    let before = http_config(vec![forward(to("slow"))], [cluster("slow", &[slow.address])]);
    let running = Running::start(before.clone()).await;
    let address = running.address;
    let begun = tokio::spawn(async move { get(address, "a", "/").await });
    let mut kept = Raw::connect(address).await;
    until(|| slow.requests() == 1).await;
    running
        .proxy
        .apply(rerouted(&before, vec![forward(to("fast"))], [cluster("fast", &[fast.address])]))
        .await
        .unwrap();
    assert_eq!(kept.get("a", "/", "").await.body, "new");
    gate.add_permits(1);
    assert_eq!(begun.await.unwrap().body, "hello");
}

#[tokio::test]
async fn a_connection_of_a_listener_that_left_is_served_and_told_to_end() {
    let origin = Server::text("hello").await;
    let before = http_config(vec![forward(to("a"))], [cluster("a", &[origin.address])]);
    let running = Running::start(before.clone()).await;
    let mut http1 = Raw::connect(running.address).await;
    assert_eq!(http1.get("a", "/", "").await.header("connection"), None);
    let mut http2 = Http2::connect(running.address).await;
    assert_eq!(http2.get("a", "/").await.0, 200);
    // Listener and routes go; the cluster stays a while, as control planes leave it.
    let mut after = before.clone();
    after.listeners.clear();
    after.routes.clear();
    running.proxy.apply(after).await.unwrap();
    let last = http1.get("a", "/", "").await;
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    http1.until_closed().await;
    until(|| http2.is_closed()).await;
    assert!(tokio::net::TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn pools_and_limits_survive_updates() {
    let (origin, gate) = Server::gated(Version::Http1).await;
    let limited = |max: u32| {
        let mut cluster = cluster("a", &[origin.address]);
        cluster.limits.max_requests = Some(max);
        cluster
    };
    let before = http_config(vec![forward(to("a"))], [limited(1)]);
    let running = Running::start(before.clone()).await;
    let address = running.address;
    gate.add_permits(1);
    assert_eq!(get(address, "a", "/").await.status, 200);
    let begun = tokio::spawn(async move { get(address, "a", "/").await });
    until(|| origin.requests() == 2).await;
    // The request under way still counts under the new limits.
    running.proxy.apply(rerouted(&before, vec![forward(to("a"))], [limited(1), cluster("b", &[])])).await.unwrap();
    assert_eq!(get(address, "a", "/").await.status, 503);
    gate.add_permits(1);
    assert_eq!(begun.await.unwrap().status, 200);
    // And its connection is used by the next one.
    gate.add_permits(1);
    assert_eq!(get(address, "a", "/").await.status, 200);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn an_endpoint_that_leaves_finishes_what_it_has() {
    let (old, gate) = Server::gated(Version::Http1).await;
    let new = Server::text("new").await;
    let before = http_config(vec![forward(to("a"))], [cluster("a", &[old.address])]);
    let running = Running::start(before.clone()).await;
    let address = running.address;
    let begun = tokio::spawn(async move { get(address, "a", "/").await });
    until(|| old.requests() == 1).await;
    running.proxy.apply(rerouted(&before, vec![forward(to("a"))], [cluster("a", &[new.address])])).await.unwrap();
    for _ in 0..5 {
        assert_eq!(get(address, "a", "/").await.body, "new");
    }
    gate.add_permits(1);
    assert_eq!(begun.await.unwrap().body, "hello");
}

#[tokio::test]
async fn what_cannot_be_applied_changes_nothing() {
    let origin = Server::text("hello").await;
    let good = http_config(vec![forward(to("a"))], [cluster("a", &[origin.address])]);
    let running = Running::start(good.clone()).await;
    let mut bad = forward(to("a"));
    bad.matches.path = PathMatch::Regex("(".into());
    let error = running.proxy.apply(rerouted(&good, vec![bad], [])).await.unwrap_err();
    assert!(matches!(error, ApplyError::Config(_)), "{error}");
    assert!(error.to_string().starts_with("RouteConfiguration 80: "), "{error}");
    assert_eq!(get(running.address, "a", "/").await.status, 200);
}

#[tokio::test]
async fn draining_lets_requests_end() {
    let (origin, gate) = Server::gated(Version::Http1).await;
    let running = Running::start(http_config(vec![forward(to("a"))], [cluster("a", &[origin.address])])).await;
    let address = running.address;
    let http1 = tokio::spawn(async move { get(address, "a", "/").await });
    let http2 = tokio::spawn(async move { Http2::connect(address).await.get("a", "/").await });
    until(|| origin.requests() == 2).await;
    let mut ready = running.proxy.ready();
    let proxy = running.proxy.clone();
    let draining = tokio::spawn(async move { proxy.drain(Duration::from_secs(10)).await });
    ready.wait_for(|ready| !*ready).await.unwrap();
    gate.add_permits(2);
    let answer = http1.await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(http2.await.unwrap().0, 200);
    assert!(draining.await.unwrap(), "all ended by themselves");
}

#[tokio::test]
async fn draining_ends_in_time_whatever_happens() {
    let (origin, _gate) = Server::gated(Version::Http1).await;
    let running = Running::start(http_config(vec![forward(to("a"))], [cluster("a", &[origin.address])])).await;
    let mut client = Raw::connect(running.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until(|| origin.requests() == 1).await;
    assert!(!running.proxy.drain(Duration::from_millis(50)).await);
    assert_eq!(client.answer(false).await, None);
    until(|| running.proxy.connections() == 0).await;
}

#[tokio::test]
async fn a_gateway_listens_on_every_worker_and_shares_its_port_with_nobody() {
    let origin = Server::text("hello").await;
    let config = http_config(vec![forward(to("a"))], [cluster("a", &[origin.address])]);
    let running = Running::start_with(config.clone(), |options| options.placement = Placement::All).await;
    for _ in 0..20 {
        assert_eq!(get(running.address, "a", "/").await.status, 200);
    }
    // Each worker has its own pool, so both have been there once enough connections came.
    until(|| origin.connections() >= 1).await;
    let workers = Workers::start(2).unwrap();
    let mut options = ProxyOptions::new(ProxyIdentity::default(), tokio::runtime::Handle::current());
    options.placement = Placement::All;
    let other = Proxy::start(options, &workers);
    let mut taken = config;
    let mut listener = (*taken.listeners["test"]).clone();
    listener.address = running.address;
    taken.listeners.insert("test".into(), Arc::new(listener));
    let error = other.apply(taken).await.unwrap_err().to_string();
    assert!(error.contains("Listener test") && error.contains("in use"), "{error}");
    assert!(!*other.ready().borrow());
}

#[tokio::test]
async fn a_proxy_that_is_dropped_frees_its_ports() {
    let running = Running::start(http_config(vec![], [])).await;
    let address = running.address;
    drop(running.proxy);
    let mut refused = false;
    for _ in 0..1000 {
        refused = tokio::net::TcpStream::connect(address).await.is_err();
        if refused {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(refused);
    running.workers.shutdown();
}

#[tokio::test]
async fn names_are_resolved() {
    let origin = Server::text("hello").await;
    let mut endpoint = Endpoint::at(origin.address);
    endpoint.address = EndpointAddress::Name { host: "localhost".into(), port: origin.address.port() };
    let mut all = endpoints("a", &[]);
    all.localities[0].endpoints.push(endpoint);
    let mut named = Cluster::new("a", Discovery::StrictDns(all));
    named.dns.family = DnsFamily::V4Only;
    let running = Running::start(http_config(vec![forward(to("a"))], [named])).await;
    assert_eq!(get(running.address, "a", "/").await.body, "hello");
}

#[tokio::test]
async fn what_changes_nothing_is_not_swapped() {
    let origin = Server::text("hello").await;
    let config = http_config(vec![forward(to("a"))], [cluster("a", &[origin.address])]);
    let running = Running::start(config.clone()).await;
    let mut accepted = running.proxy.accepted();
    accepted.mark_unchanged();
    running.proxy.apply(config.clone()).await.unwrap();
    assert!(!accepted.has_changed().unwrap());
    running.proxy.apply(with_clusters(config, [cluster("b", &[])])).await.unwrap();
    assert!(accepted.has_changed().unwrap());
    assert_eq!(get(running.address, "a", "/").await.body, "hello");
}

#[tokio::test]
async fn a_connection_whose_first_bytes_come_after_a_swap_is_served() {
    let (old, new) = (Server::text("old").await, Server::text("new").await);
    let mut before = http_config(vec![forward(to("old"))], [cluster("old", &[old.address])]);
    let mut inspecting = (*before.listeners["test"]).clone();
    inspecting.listener_filters = vec![ListenerFilter::HttpInspector { disabled_ports: Vec::new() }];
    before.listeners.insert("test".into(), Arc::new(inspecting.clone()));
    let running = Running::start(before.clone()).await;
    let mut first = Raw::connect(running.address).await;
    until(|| running.proxy.connections() == 1).await;

    // The filter chain is another one, with other routes: a connection that has said nothing yet belongs to it.
    let mut other = hcm(RouteSource::Rds("new".into()));
    other.server_name = "other".into();
    inspecting.filter_chains = vec![http_chain(other)];
    let mut after = with_clusters(before.clone(), [cluster("new", &[new.address])]);
    after.listeners.insert("test".into(), Arc::new(inspecting));
    after.routes.clear();
    after.routes.insert("new".into(), Arc::new(routes("new", vec![forward(to("new"))])));
    running.proxy.apply(after.clone()).await.unwrap();
    let answer = first.get("a", "/", "").await;
    assert_eq!((answer.status, answer.body.as_str(), answer.header("server")), (200, "new", Some("other")));

    // The listener leaves, with its routes.
    let mut second = Raw::connect(running.address).await;
    until(|| running.proxy.connections() == 2).await;
    after.listeners.clear();
    after.routes.clear();
    running.proxy.apply(after).await.unwrap();
    let answer = second.get("a", "/", "").await;
    assert_eq!((answer.status, answer.body.as_str(), answer.header("connection")), (200, "new", Some("close")));
    second.until_closed().await;
}

#[tokio::test]
async fn tcp_and_tunnels_of_a_listener_that_left_end_a_drain_time_later() {
    let echoing = Server::tcp(amime_testkit::origin::echo).await;
    let mut tcp = ProxyConfig::default();
    tcp.listeners.insert("test".into(), Arc::new(listener("test", ANY, vec![tcp_chain(&[("a", 1)])])));
    let tcp = with_clusters(tcp, [cluster("a", &[echoing.address])]);
    let switching = switching().await;
    let http = http_config(vec![forward(to("a"))], [cluster("a", &[switching.address])]);
    for config in [tcp, http] {
        let mut running =
            Running::start_with(config.clone(), |options| options.drain = Duration::from_millis(50)).await;
        let mut client = Raw::connect(running.address).await;
        if config.routes.is_empty() {
            client.send("hello").await;
            assert_eq!(client.bytes(5).await, b"hello");
        } else {
            assert_eq!(client.get("a", "/", "Connection: upgrade\r\nUpgrade: websocket\r\n").await.status, 101);
        }
        let mut more = config.clone();
        more.listeners.insert("more".into(), Arc::new(listener("more", "127.0.0.2:0", vec![tcp_chain(&[("a", 1)])])));
        running.proxy.apply(more).await.unwrap();
        client.send("still").await;
        assert_eq!(client.bytes(5).await, b"still");
        running.proxy.apply(ProxyConfig { listeners: Default::default(), ..config }).await.unwrap();
        assert_eq!(client.until_closed().await, b"");
        assert_eq!(running.record().await.flags, amime_proxy::Flags::LR);
    }
}

/// Goes over to another protocol and says what it hears.
async fn switching() -> Server {
    Server::tcp(|mut stream| async move {
        amime_testkit::origin::read_head(&mut stream).await;
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        amime_testkit::origin::write(&mut stream, head).await;
        amime_testkit::origin::echo(stream).await;
    })
    .await
}

#[tokio::test]
async fn the_end_of_draining_ends_tcp_and_tunnels() {
    let echoing = Server::tcp(amime_testkit::origin::echo).await;
    let mut config = ProxyConfig::default();
    config.listeners.insert("test".into(), Arc::new(listener("test", ANY, vec![tcp_chain(&[("a", 1)])])));
    let mut running = Running::start(with_clusters(config, [cluster("a", &[echoing.address])])).await;
    let mut client = Raw::connect(running.address).await;
    client.send("hello").await;
    assert_eq!(client.bytes(5).await, b"hello");
    assert!(!running.proxy.drain(Duration::from_millis(50)).await);
    assert_eq!(client.until_closed().await, b"");
    let record = running.record().await;
    assert_eq!((record.flags, record.bytes_received), (amime_proxy::Flags::LR, 5));

    let switching = switching().await;
    let config = http_config(vec![forward(to("a"))], [cluster("a", &[switching.address])]);
    let mut running = Running::start(config).await;
    let mut client = Raw::connect(running.address).await;
    assert_eq!(client.get("a", "/", "Connection: upgrade\r\nUpgrade: websocket\r\n").await.status, 101);
    assert!(!running.proxy.drain(Duration::from_millis(50)).await);
    assert_eq!(client.until_closed().await, b"");
    assert_eq!(running.record().await.flags, amime_proxy::Flags::LR);
}
