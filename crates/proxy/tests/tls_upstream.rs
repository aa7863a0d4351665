//! TLS that the proxy speaks to endpoints: whom it trusts, the name it asks for, its own certificate, and what is told
//! where there is no connection.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::config::*;
use amime_proxy::Flags;
use amime_testkit::client::{Http2, Raw, get};
use amime_testkit::origin::{Origin as Server, full};
use amime_testkit::tls::{Authority, KeyKind, Pair, Told, changing_origin, origin, server_config};
use common::tls::*;
use common::*;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;

/// Answers with what the proxy told in its handshake.
async fn server(pair: &Pair, clients: Option<&Authority>, alpn: &[&str]) -> Server {
    origin(server_config(pair, clients, alpn), |told: Told, _| {
        let text = |part: Option<String>| part.unwrap_or_else(|| "-".into());
        let own = if told.certificate { "shown" } else { "-" };
        http::Response::new(full(format!("{} {} {own}", text(told.server_name), text(told.alpn))))
    })
    .await
}

fn with_tls(tls: UpstreamTls, address: SocketAddr) -> Cluster {
    Cluster { tls: Some(tls), ..cluster("a", &[address]) }
}

fn trusting(ca: &str) -> UpstreamTls {
    UpstreamTls { validation: Some(ca.into()), ..UpstreamTls::default() }
}

async fn start(cluster: Cluster, secrets: impl IntoIterator<Item = Secret>) -> Running {
    Running::start(with_secrets(http_config(vec![forward(to("a"))], [cluster]), secrets)).await
}

#[tokio::test]
async fn who_is_trusted_and_what_is_told() {
    let (ca, others) = (Authority::new("ca"), Authority::new("others"));
    let pair = ca.issue(&["shop.example", "spiffe://td/ns/a/sa/b"]);
    let expired = ca.issue_with(&["shop.example"], KeyKind::Ecdsa, |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let revoked = ca.issue(&["shop.example"]);
    let secrets = vec![
        trust("ca", &ca),
        trust("others", &others),
        revoking("list", &ca, &ca.revoke(&[&revoked])),
        certificate("own", &ca.issue(&["proxy.example"])),
        certificate("stranger", &others.issue(&["proxy.example"])),
        Secret::Validation { name: "broken".into(), roots: b"none".to_vec(), crl: vec![] },
        Secret::Validation { name: "itself".into(), roots: pair.chain.clone().into(), crl: vec![] },
    ];
    let plain = server(&pair, None, &[]).await;
    let of_expired = server(&expired, None, &[]).await;
    let of_revoked = server(&revoked, None, &[]).await;
    let mutual = server(&pair, Some(&ca), &[]).await;
    let ca = || trusting("ca");
    let named = |name: &str| UpstreamTls { match_sans: vec![name.into()], ..ca() };
    let auto = UpstreamTls { auto_sni: true, auto_san_validation: true, ..ca() };
    let insecure = UpstreamTls { insecure: true, ..UpstreamTls::default() };
    let showing = |name: &str| UpstreamTls { certificate: Some(name.into()), ..ca() };
    let cases = [
        ("simple", &plain, ca(), Some("- - -")),
        ("server name", &plain, UpstreamTls { sni: "other.example".into(), ..ca() }, Some("other.example - -")),
        ("the request's host", &plain, auto.clone(), Some("shop.example - -")),
        ("another authority", &plain, trusting("others"), None),
        ("the server's own certificate", &plain, trusting("itself"), Some("- - -")),
        ("the system's authorities", &plain, UpstreamTls::default(), None),
        ("DNS name", &plain, named("shop.example"), Some("- - -")),
        ("URI", &plain, named("spiffe://td/ns/a/sa/b"), Some("- - -")),
        ("another name", &plain, named("other.example"), None),
        ("expired", &of_expired, ca(), None),
        ("not revoked", &plain, trusting("list"), Some("- - -")),
        ("revoked", &of_revoked, trusting("list"), None),
        ("any, expired", &of_expired, insecure, Some("- - -")),
        ("own certificate", &mutual, showing("own"), Some("- - shown")),
        ("own certificate that is not asked for", &plain, showing("own"), Some("- - -")),
        ("no certificate", &mutual, ca(), None),
        ("a stranger's certificate", &mutual, showing("stranger"), None),
        ("a missing certificate", &mutual, showing("nobody"), None),
        ("missing authorities", &plain, trusting("nobody"), None),
        ("broken authorities", &plain, trusting("broken"), None),
        ("only TLS 1.0", &plain, UpstreamTls { max_version: TlsVersion::V1_0, ..ca() }, None),
    ];
    for (what, server, tls, told) in cases {
        let mut running = start(with_tls(tls, server.address), secrets.clone()).await;
        let answer = get(running.address, "shop.example", "/").await;
        let record = running.record().await;
        match told {
            Some(told) => {
                assert_eq!((answer.status, answer.body.as_str()), (200, told), "{what}");
                assert_eq!(record.flags, Flags::NONE, "{what}");
            }
            None => {
                assert_eq!(answer.status, 503, "{what}: {}", answer.body);
                assert!(record.flags == Flags::UF || record.flags == Flags::UC, "{what}: {:?}", record.flags);
            }
        }
    }
    // The name that is asked for is checked.
    let mut running = start(with_tls(auto, plain.address), secrets).await;
    assert_eq!(get(running.address, "other.example", "/").await.status, 503);
    let record = running.record().await;
    assert_eq!(record.flags, Flags::UF);
    assert!(record.transport_failure.contains("CERTIFICATE_VERIFY_FAILED"), "{}", record.transport_failure);
    // And so it is with what could be no name.
    assert_eq!(get(running.address, "a%20b", "/").await.status, 503);
}

#[tokio::test]
async fn connections_are_kept_for_each_server_name() {
    let ca = Authority::new("ca");
    let server = server(&ca.issue(&["a.example", "b.example"]), None, &[]).await;
    let tls = UpstreamTls { auto_sni: true, auto_san_validation: true, ..trusting("ca") };
    let running = start(with_tls(tls, server.address), [trust("ca", &ca)]).await;
    let mut client = Raw::connect(running.address).await;
    for name in ["a.example", "b.example", "a.example:80", "B.example"] {
        let name_alone = name.split(':').next().unwrap().to_ascii_lowercase();
        assert_eq!(client.get(name, "/", "").await.body, format!("{name_alone} - -"));
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn http2_goes_over_tls() {
    let ca = Authority::new("ca");
    let server = server(&ca.issue(&["a.example"]), None, &["h2"]).await;
    let tls = UpstreamTls { alpn: vec!["h2".into()], ..trusting("ca") };
    let cluster = Cluster { protocol: UpstreamProtocol::Http2, ..with_tls(tls, server.address) };
    let running = start(cluster, [trust("ca", &ca)]).await;
    for _ in 0..3 {
        assert_eq!(get(running.address, "a.example", "/").await.body, "- h2 -");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn alpn_chooses_the_version() {
    let ca = Authority::new("ca");
    let pair = ca.issue(&["a.example"]);
    for (offered, agreed) in [(&["h2", "http/1.1"][..], "h2"), (&["http/1.1"], "http/1.1"), (&[], "-")] {
        let server = server(&pair, None, offered).await;
        let auto = Cluster { protocol: UpstreamProtocol::Alpn, ..with_tls(trusting("ca"), server.address) };
        let running = start(auto, [trust("ca", &ca)]).await;
        let expected = format!("- {agreed} -");
        // Several at once learn it together.
        let asked = (0..4).map(|_| get(running.address, "a.example", "/"));
        for answer in futures_util::future::join_all(asked).await {
            assert_eq!(answer.body, expected);
        }
        let before = server.connections();
        for _ in 0..3 {
            assert_eq!(get(running.address, "a.example", "/").await.body, expected);
        }
        assert_eq!(server.connections(), before, "{agreed}");
        assert!(before == 1 || agreed != "h2", "{before} connections");
        let mut client = Raw::connect(running.address).await;
        client
            .send("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
            .await;
        assert_eq!(client.answer(false).await.unwrap().body, expected);
    }
}

#[tokio::test]
async fn the_endpoint_may_change_the_version_it_chooses() {
    let ca = Authority::new("ca");
    let pair = ca.issue(&["a.example"]);
    let turns = std::sync::Mutex::new(["http/1.1", "http/1.1", "h2", "h2", "http/1.1"].into_iter());
    let config = move || server_config(&pair, None, &[turns.lock().unwrap().next().unwrap()]);
    let server =
        changing_origin(config, |told: Told, _| http::Response::new(full(told.alpn.unwrap_or_default()))).await;
    let tls = with_tls(trusting("ca"), server.address);
    let auto = Cluster { protocol: UpstreamProtocol::Alpn, max_requests_per_connection: Some(1), ..tls };
    let running = start(auto, [trust("ca", &ca)]).await;
    for agreed in ["http/1.1", "http/1.1", "h2", "h2", "http/1.1"] {
        let mut client = Raw::connect(running.address).await;
        client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\n\r\nx").await;
        assert_eq!(client.answer(false).await.unwrap().body, agreed);
    }
}

#[tokio::test]
async fn who_wants_to_upgrade_has_http1() {
    let ca = Authority::new("ca");
    let config = server_config(&ca.issue(&["a.example"]), None, &["h2", "http/1.1"]);
    let server = origin(config, |told: Told, mut request| {
        if !request.headers().contains_key("upgrade") {
            return http::Response::new(full(told.alpn.unwrap_or_default()));
        }
        tokio::spawn(async move {
            let mut upgraded = TokioIo::new(hyper::upgrade::on(&mut request).await.unwrap());
            upgraded.write_all(told.alpn.unwrap().as_bytes()).await.unwrap();
        });
        let switching = http::Response::builder().status(101).header("connection", "upgrade");
        switching.header("upgrade", "websocket").body(full("")).unwrap()
    })
    .await;
    let with = |alpn: &[&str]| UpstreamTls { alpn: alpn.iter().map(|p| (*p).into()).collect(), ..trusting("ca") };
    for tls in [with(&[]), with(&["h2", "http/1.1"])] {
        let auto = Cluster { protocol: UpstreamProtocol::Alpn, ..with_tls(tls, server.address) };
        let running = start(auto, [trust("ca", &ca)]).await;
        for _ in 0..2 {
            assert_eq!(get(running.address, "a.example", "/").await.body, "h2");
            let mut client = Raw::connect(running.address).await;
            client.send("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
            assert_eq!(client.answer(false).await.unwrap().status, 101);
            assert_eq!(client.bytes(8).await, b"http/1.1");
        }
    }
}

#[tokio::test]
async fn the_scheme_is_the_clients() {
    let ca = Authority::new("ca");
    let config = server_config(&ca.issue(&["a.example"]), None, &["h2"]);
    let server =
        origin(config, |_, request| http::Response::new(full(request.uri().scheme_str().unwrap_or("-").to_owned())))
            .await;
    let tls = UpstreamTls { alpn: vec!["h2".into()], ..trusting("ca") };
    let cluster = Cluster { protocol: UpstreamProtocol::Http2, ..with_tls(tls, server.address) };
    let running = start(cluster, [trust("ca", &ca)]).await;
    let mut client = Raw::connect(running.address).await;
    assert_eq!(client.get("a.example", "/", "").await.body, "http");
    assert_eq!(client.get("a.example", "/", "x-forwarded-proto: https\r\n").await.body, "https");
    assert_eq!(client.get("a.example", "/", "x-forwarded-proto: ftp\r\n").await.body, "http");
    let mut client = Http2::connect(running.address).await;
    for scheme in ["http", "https"] {
        let request = http::Request::get(format!("{scheme}://a.example/")).header("x-forwarded-proto", "http");
        let answer = client.send(request.body(full("")).unwrap()).await.unwrap();
        assert_eq!(amime_testkit::client::text(answer.into_body()).await.0, scheme);
    }
}

#[tokio::test]
async fn a_secret_that_comes_later_and_changes() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let server = server(&old.issue(&["a.example"]), None, &[]).await;
    let other = self::server(&new.issue(&["a.example"]), None, &[]).await;
    let config = http_config(vec![forward(to("a"))], [with_tls(trusting("ca"), server.address)]);
    let running = Running::start(config.clone()).await;
    let status = async || get(running.address, "a.example", "/").await.status;
    assert_eq!(status().await, 503);
    running.proxy.apply(with_secrets(config.clone(), [trust("ca", &old)])).await.unwrap();
    assert_eq!(status().await, 200);
    running.proxy.apply(with_secrets(config.clone(), [trust("ca", &new)])).await.unwrap();
    assert_eq!(status().await, 503);
    let moved = with_clusters(config, [with_tls(trusting("ca"), other.address)]);
    running.proxy.apply(with_secrets(moved, [trust("ca", &new)])).await.unwrap();
    assert_eq!(status().await, 200);
}

#[tokio::test]
async fn tcp_over_tls() {
    let ca = Authority::new("ca");
    let server = server(&ca.issue(&["a.example"]), None, &[]).await;
    let config = |tls: UpstreamTls| {
        let mut config = ProxyConfig::default();
        config.listeners.insert("test".into(), Arc::new(listener("test", ANY, vec![tcp_chain(&[("a", 1)])])));
        with_secrets(with_clusters(config, [with_tls(tls, server.address)]), [trust("ca", &ca)])
    };
    let named = UpstreamTls { sni: "a.example".into(), ..trusting("ca") };
    // No request names the server here.
    let auto = UpstreamTls { auto_sni: true, auto_san_validation: true, ..trusting("ca") };
    for (tls, told) in [(named, "a.example - -"), (auto, "- - -")] {
        let running = Running::start(config(tls)).await;
        assert_eq!(get(running.address, "a.example", "/").await.body, told);
    }
    let mut running = Running::start(config(trusting("nobody"))).await;
    assert_eq!(Raw::connect(running.address).await.until_closed().await, b"");
    assert_eq!(running.record().await.flags, Flags::UF);
    let mut running = Running::start(config(UpstreamTls::default())).await;
    assert_eq!(Raw::connect(running.address).await.until_closed().await, b"");
    assert_eq!(running.record().await.flags, Flags::UF.with(Flags::URX));
}

#[tokio::test]
async fn a_server_without_tls() {
    let server = Server::text("hello").await;
    let insecure = UpstreamTls { insecure: true, ..UpstreamTls::default() };
    let mut running = start(with_tls(insecure, server.address), []).await;
    assert_eq!(get(running.address, "a", "/").await.status, 503);
    assert_eq!((running.record().await.flags, server.requests()), (Flags::UF, 0));
}
