//! Clusters whose endpoints are names, against a name server that changes its mind, fails and goes away.
#![allow(clippy::unwrap_used)] // Helpers of tests panic as tests do.

mod common;

use amime_model::config::{Cluster, Discovery, DnsFamily, Endpoint, EndpointAddress};
use amime_proxy::{Flags, Names};
use amime_testkit::client::{Raw, get};
use amime_testkit::dns::{NameServer, Says};
use amime_testkit::origin::{Origin, full, write};
use amime_testkit::tls::{Authority, Client, origin, server_config};
use common::*;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Two origins at one port, told apart by their address: 127.0.0.2 and 127.0.0.3.
async fn origins() -> (u16, [Origin; 2]) {
    loop {
        let one = answering(SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0))).await.unwrap();
        let port = one.address.port();
        if let Some(two) = answering(SocketAddr::from((Ipv4Addr::new(127, 0, 0, 3), port))).await {
            return (port, [one, two]);
        }
    }
}

/// Says its own address; None where the port is taken.
async fn answering(address: SocketAddr) -> Option<Origin> {
    let free = std::net::TcpListener::bind(address).ok()?.local_addr().ok()?;
    let script = move |mut stream: tokio::net::TcpStream| async move {
        let body = free.ip().to_string();
        while !amime_testkit::origin::read_head(&mut stream).await.is_empty() {
            write(&mut stream, format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
        }
    };
    Some(Origin::tcp_at(free, script).await)
}

/// A proxy that sends everything to these names.
async fn running(server: &NameServer, port: u16, names: &[&str], change: impl FnOnce(&mut Cluster)) -> Running {
    let mut all = endpoints("a", &[]);
    for name in names {
        let address = EndpointAddress::Name { host: (*name).into(), port };
        all.localities[0].endpoints.push(Endpoint { address, ..Endpoint::at(([127, 0, 0, 1], port).into()) });
    }
    let mut cluster = Cluster::new("a", Discovery::StrictDns(all));
    cluster.dns.family = DnsFamily::V4Only;
    change(&mut cluster);
    let names = Names::of_files(server.path("resolv.conf"), server.path("hosts"), server.address.port());
    Running::start_with(http_config(vec![forward(to("a"))], [cluster]), |options| options.names = names).await
}

async fn answers(running: &Running) -> String {
    let answer = get(running.address, "a", "/").await;
    format!("{} {}", answer.status, answer.body)
}

/// Asks until the answer is this one; each before it must be the old one.
async fn until_answered(running: &Running, old: &str, new: &str) {
    loop {
        match answers(running).await {
            answer if answer == new => return,
            answer => assert_eq!(answer, old),
        }
    }
}

/// The sidecar of a client, open at one listener; `{PORT}` is that of the service.
async fn sidecar(server: &NameServer, manifests: &str, port: u16, listener: &str) -> Running {
    let text = manifests.replace("{PORT}", &port.to_string());
    let names = Names::of_files(server.path("resolv.conf"), server.path("hosts"), server.address.port());
    let config = manifests::sidecar(&text, listener);
    Running::start_with(config, |options| options.names = names).await
}

const WILD: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wild, namespace: shop}
spec:
  hosts: ['*.wild.example']
  location: MESH_EXTERNAL
  resolution: DYNAMIC_DNS
  ports: [{number: {PORT}, name: web, protocol: HTTP}]
";

#[tokio::test]
async fn requests_go_to_what_their_host_stands_for() {
    let server = NameServer::start().await;
    let (port, _origins) = origins().await;
    server.say_addresses("a.wild.example", &["127.0.0.2"], 1);
    server.say_addresses("b.wild.example", &["127.0.0.3", "::1"], 3600);
    let mut running = sidecar(&server, WILD, port, &format!("0.0.0.0_{port}")).await;
    let ask = async |host: &str| {
        let answer = get(running.address, &format!("{host}:{port}"), "/").await;
        format!("{} {}", answer.status, answer.body)
    };
    assert_eq!(ask("a.wild.example").await, "200 127.0.0.2");
    assert_eq!(ask("B.wild.example").await, "200 127.0.0.3", "IPv4 where there are both");
    assert_eq!(ask("b.wild.example").await, "200 127.0.0.3");
    assert_eq!(server.asked("b.wild.example"), 1, "names are kept");
    // They are asked for again, and failures change nothing.
    server.say("a.wild.example", Says::Failure);
    let asked = server.asked("a.wild.example");
    server.until_asked("a.wild.example", asked + 2).await;
    assert_eq!(ask("a.wild.example").await, "200 127.0.0.2");
    server.say_addresses("a.wild.example", &["127.0.0.3"], 1);
    loop {
        match &*ask("a.wild.example").await {
            "200 127.0.0.3" => break,
            old => assert_eq!(old, "200 127.0.0.2"),
        }
    }
    assert_eq!(ask("none.wild.example").await, "503 DNS resolution failure");
    let mut record = running.record().await;
    while record.status == 200 {
        record = running.record().await;
    }
    assert_eq!((record.flags, record.details), (Flags::DF, "dns_resolution_failure"));
}

#[tokio::test]
async fn names_in_use_are_bounded() {
    let server = NameServer::start().await;
    let (port, _origins) = origins().await;
    let text = WILD.replace("{PORT}", &port.to_string());
    let mut config = manifests::sidecar(&text, &format!("0.0.0.0_{port}"));
    for cluster in config.clusters.values_mut() {
        if let Discovery::DynamicDns(cache) = &mut std::sync::Arc::make_mut(cluster).discovery {
            cache.max_hosts = Some(2);
        }
    }
    let names = Names::of_files(server.path("resolv.conf"), server.path("hosts"), server.address.port());
    let running = Running::start_with(config, |options| options.names = names).await;
    for (host, status) in [("a", 200), ("b", 200), ("c", 503), ("a", 200), ("d", 503)] {
        server.say_addresses(&format!("{host}.wild.example"), &["127.0.0.2"], 60);
        let answer = get(running.address, &format!("{host}.wild.example:{port}"), "/").await;
        assert_eq!(answer.status, status, "{host}");
    }
    assert_eq!(server.asked("c.wild.example"), 0);
}

#[tokio::test]
async fn connections_go_to_what_their_server_name_stands_for() {
    let server = NameServer::start().await;
    let authority = Authority::new("ca");
    let pair = authority.issue(&["a.wild.example", "other.example"]);
    let origin = origin(server_config(&pair, None, &[]), |_, _| http::Response::new(full("hello"))).await;
    let port = origin.address.port();
    server.say_addresses("a.wild.example", &["127.0.0.1"], 60);
    // Its own address, for the mesh gives one to it; and by the server name all the same.
    let tls = WILD.replace("HTTP}", "TLS}");
    let running = sidecar(&server, &tls, port, "240.240.").await;
    let client = Client::trusting(&authority);
    let mut stream = client.connect(running.address, "a.wild.example").await.unwrap();
    let answer = Raw::over(&mut stream).get("a.wild.example", "/", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    assert!(client.connect(running.address, "none.wild.example").await.is_err());
    assert_eq!(server.asked("none.wild.example"), 1);
    assert!(client.connect(running.address, "other.example").await.is_err(), "not of the service, and nobody's");
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn addresses_follow_the_time_that_answers_are_good_for() {
    let server = NameServer::start().await;
    let (port, _origins) = origins().await;
    server.say_addresses("a.example", &["127.0.0.2"], 1);
    let running = running(&server, port, &["a.example"], |cluster| {
        (cluster.dns.respect_ttl, cluster.dns.refresh) = (true, Some(HOUR));
    })
    .await;
    assert_eq!(answers(&running).await, "200 127.0.0.2");
    server.say_addresses("a.example", &["127.0.0.3"], 1);
    until_answered(&running, "200 127.0.0.2", "200 127.0.0.3").await;
}

#[tokio::test]
async fn addresses_follow_the_refresh_rate_where_ttls_do_not_count() {
    let server = NameServer::start().await;
    let (port, _origins) = origins().await;
    server.say_addresses("a.example", &["127.0.0.2"], 3600);
    let running =
        running(&server, port, &["a.example"], |cluster| cluster.dns.refresh = Some(Duration::from_millis(100))).await;
    assert_eq!(answers(&running).await, "200 127.0.0.2");
    server.say_addresses("a.example", &["127.0.0.3"], 3600);
    until_answered(&running, "200 127.0.0.2", "200 127.0.0.3").await;
}

#[tokio::test]
async fn each_name_is_asked_for_at_its_own_pace() {
    let server = NameServer::start().await;
    server.say_addresses("long.example", &["127.0.0.2"], 3600);
    // Good for no time at all: the refresh rate counts.
    server.say_addresses("short.example", &["127.0.0.3"], 0);
    let names = ["long.example", "short.example"];
    let _running = running(&server, 80, &names, |cluster| {
        (cluster.dns.respect_ttl, cluster.dns.refresh) = (true, Some(Duration::from_millis(100)));
    })
    .await;
    server.until_asked("short.example", 10).await;
    assert_eq!(server.asked("long.example"), 1);
}

#[tokio::test]
async fn the_last_good_answer_counts_while_the_name_server_fails() {
    let mut server = NameServer::start().await;
    let (port, _origins) = origins().await;
    server.say_addresses("a.example", &["127.0.0.2"], 1);
    let running = running(&server, port, &["a.example"], |cluster| {
        (cluster.dns.respect_ttl, cluster.dns.refresh) = (true, Some(Duration::from_millis(100)));
    })
    .await;
    assert_eq!(answers(&running).await, "200 127.0.0.2");
    for failure in [Says::Failure, Says::NoSuchName, Says::Silence, Says::Addresses(Vec::new(), 1)] {
        server.say("a.example", failure.clone());
        let asked = server.asked("a.example");
        server.until_asked("a.example", asked + 3).await;
        assert_eq!(answers(&running).await, "200 127.0.0.2", "{failure:?}");
    }
    server.say_addresses("a.example", &["127.0.0.3"], 1);
    until_answered(&running, "200 127.0.0.2", "200 127.0.0.3").await;
    server.stop().await;
    // Nobody is at the port now, which is another failure than silence.
    assert_eq!(answers(&running).await, "200 127.0.0.3");
}

#[tokio::test]
async fn names_that_nobody_answers_for_hold_up_no_others() {
    let server = NameServer::start().await;
    let (port, _origins) = origins().await;
    server.say_addresses("a.example", &["127.0.0.2"], 1);
    server.say("silent.example", Says::Silence);
    server.say("broken.example", Says::Failure);
    server.write("resolv.conf", "nameserver 127.0.0.1\noptions timeout:30 attempts:30\n");
    let names = ["silent.example", "broken.example", "a.example"];
    let running = running(&server, port, &names, |cluster| {
        (cluster.dns.respect_ttl, cluster.dns.refresh) = (true, Some(HOUR));
    })
    .await;
    until_answered(&running, "503 no healthy upstream", "200 127.0.0.2").await;
    server.say_addresses("a.example", &["127.0.0.3"], 1);
    until_answered(&running, "200 127.0.0.2", "200 127.0.0.3").await;
}

#[tokio::test]
async fn what_did_not_resolve_is_asked_for_again() {
    let server = NameServer::start().await;
    let (port, _origins) = origins().await;
    let running = running(&server, port, &["late.example"], |cluster| cluster.dns.refresh = Some(HOUR)).await;
    assert_eq!(answers(&running).await, "503 no healthy upstream");
    server.say_addresses("late.example", &["127.0.0.2"], 3600);
    until_answered(&running, "503 no healthy upstream", "200 127.0.0.2").await;
}
