//! TLS that listeners end: modes, versions, which certificate, who is refused, and what happens when secrets change.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::config::*;
use amime_testkit::client::{Http2, Raw};
use amime_testkit::origin::{Origin as Server, Version, echo, full};
use amime_testkit::tls::{Authority, Client, KeyKind};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use common::tls::*;
use common::*;
use std::sync::Arc;
use std::time::Duration;

/// Answers with the request's `x-forwarded-proto`.
async fn server() -> Server {
    Server::http(Version::Http1, |request| async move {
        let proto = request.headers().get("x-forwarded-proto").map(|v| v.to_str().unwrap().to_owned());
        http::Response::new(full(proto.unwrap_or_default()))
    })
    .await
}

/// A proxy with these chains, whose routes lead to `server`.
async fn start(chains: Vec<FilterChain>, server: &Server, secrets: Vec<Secret>) -> Running {
    Running::start(tls_config(chains, vec![forward(to("a"))], [cluster("a", &[server.address])], secrets)).await
}

#[tokio::test]
async fn alpn_chooses_the_http_version() {
    let (ca, server) = (Authority::new("ca"), server().await);
    let secrets = vec![certificate("shop", &ca.issue(&["shop.example"]))];
    let running = start(vec![https(simple("shop"), &[])], &server, secrets).await;
    for (offered, agreed) in
        [(vec!["h2", "http/1.1"], Some("h2")), (vec!["http/1.1"], Some("http/1.1")), (vec![], None)]
    {
        let client = Client::trusting(&ca).alpn(&offered);
        let stream = client.connect(running.address, "shop.example").await.unwrap();
        let protocol = stream.get_ref().1.alpn_protocol().map(|p| std::str::from_utf8(p).unwrap().to_owned());
        assert_eq!(protocol.as_deref(), agreed);
        // The upstream is told that the client spoke TLS, and it hears so over each version.
        if agreed == Some("h2") {
            let (status, _, body) = Http2::over(stream).await.get("shop.example", "/").await;
            assert_eq!((status, body.as_str()), (200, "https"));
        } else {
            let answer = Raw::over(stream).get("shop.example", "/", "").await;
            assert_eq!((answer.status, answer.body.as_str()), (200, "https"));
        }
    }
}

#[tokio::test]
async fn large_answers_cross_whole() {
    let ca = Authority::new("ca");
    let server = Server::http(Version::Http1, |_| async { http::Response::new(full(vec![b'x'; 3_000_000])) }).await;
    let secrets = vec![certificate("shop", &ca.issue(&["shop.example"]))];
    let running = start(vec![https(simple("shop"), &[])], &server, secrets).await;
    let (status, body) = get_by(&Client::trusting(&ca), running.address, "shop.example").await.unwrap();
    assert_eq!((status, body.len()), (200, 3_000_000));
    let stream = Client::trusting(&ca).alpn(&["h2"]).connect(running.address, "shop.example").await.unwrap();
    let (status, _, body) = Http2::over(stream).await.get("shop.example", "/").await;
    assert_eq!((status, body.len()), (200, 3_000_000));
}

#[tokio::test]
async fn tcp_behind_tls() {
    let (ca, server) = (Authority::new("ca"), Server::tcp(echo).await);
    let secrets = vec![certificate("shop", &ca.issue(&["shop.example"]))];
    let chain = ending(simple("shop"), &[], tcp_chain(&[("a", 1)]));
    let config = tls_config(vec![chain], vec![], [cluster("a", &[server.address])], secrets);
    let running = Running::start(config).await;
    let mut client = Raw::over(Client::trusting(&ca).connect(running.address, "shop.example").await.unwrap());
    let bytes: Vec<u8> = (0..2_000_000).map(|n| (n % 251) as u8).collect();
    let (mut reader, mut writer) = tokio::io::split(client.stream);
    let sent = bytes.clone();
    let writing = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        writer.write_all(&sent).await.unwrap();
        writer.flush().await.unwrap();
        writer
    });
    let mut got = vec![0; bytes.len()];
    tokio::io::AsyncReadExt::read_exact(&mut reader, &mut got).await.unwrap();
    assert!(got == bytes);
    // Half-closed by the client: the end comes back.
    client = Raw::over(reader.unsplit(writing.await.unwrap()));
    tokio::io::AsyncWriteExt::shutdown(&mut client.stream).await.unwrap();
    assert_eq!(client.until_closed().await, b"");
}

#[tokio::test]
async fn the_server_name_chooses_the_certificate() {
    let (ca, server) = (Authority::new("ca"), server().await);
    let secrets = vec![
        certificate("exact", &ca.issue(&["a.shop.example"])),
        certificate("wild", &ca.issue(&["*.shop.example"])),
        certificate("other", &ca.issue(&["bank.example"])),
    ];
    let chains = vec![
        https(simple("wild"), &["*.shop.example"]),
        https(simple("exact"), &["a.shop.example"]),
        https(simple("other"), &["bank.example"]),
    ];
    let running = start(chains, &server, secrets).await;
    let client = Client::trusting(&ca);
    for (name, shown) in [("a.shop.example", "exact"), ("b.shop.example", "wild"), ("bank.example", "other")] {
        let stream = client.connect(running.address, name).await.unwrap();
        let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        let Secret::Certificate { chain, .. } = &*running_secret(&running, shown) else { panic!("a certificate") };
        let pem = String::from_utf8(chain.clone()).unwrap();
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        assert_eq!(certificate, CertificateDer::from_pem_slice(pem.as_bytes()).unwrap(), "{name}");
        assert_eq!(Raw::over(stream).get(name, "/", "").await.status, 200);
    }
    // No server has the name: closed, and told of.
    assert!(client.connect(running.address, "nobody.example").await.is_err());
}

fn running_secret(running: &Running, name: &str) -> Arc<Secret> {
    running.proxy.accepted().borrow().as_ref().unwrap().config.secrets[name].clone()
}

#[tokio::test]
async fn of_two_certificates_the_client_gets_one_that_it_can_check() {
    let (ca, server) = (Authority::new("ca"), server().await);
    let rsa = ca.issue_with(&["shop.example"], KeyKind::Rsa, |_| {});
    let ecdsa = ca.issue(&["shop.example"]);
    let secrets = vec![certificate("rsa", &rsa), certificate("ecdsa", &ecdsa)];
    let tls = DownstreamTls { certificates: vec!["rsa".into(), "ecdsa".into()], ..simple("") };
    let running = start(vec![https(tls, &[])], &server, secrets).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let any = Client::trusting(&ca).version(version);
        let cases =
            [(any.clone(), &ecdsa), (any.clone().only(KeyKind::Ecdsa), &ecdsa), (rsa_client(&ca, version), &rsa)];
        for (n, (client, expected)) in cases.into_iter().enumerate() {
            let stream = client.connect(running.address, "shop.example").await.unwrap();
            let shown = stream.get_ref().1.peer_certificates().unwrap();
            assert_eq!(shown, expected.certificates(), "{version:?} {n}");
        }
    }
}

/// It checks the signatures of RSA keys alone in handshakes; the authority's own key is ECDSA.
fn rsa_client(ca: &Authority, version: &'static rustls::SupportedProtocolVersion) -> Client {
    Client::trusting(ca).version(version).only(KeyKind::Rsa)
}

#[tokio::test]
async fn versions_and_ciphers() {
    let (ca, server) = (Authority::new("ca"), server().await);
    let secrets = || vec![certificate("shop", &ca.issue(&["shop.example"]))];
    let tls12 = Client::trusting(&ca).version(&rustls::version::TLS12);
    let tls13 = Client::trusting(&ca).version(&rustls::version::TLS13);
    use TlsVersion as V;
    let cases: [(V, V, &[&str], bool, bool); 9] = [
        (V::Auto, V::Auto, &[], true, true),
        (V::V1_0, V::Auto, &[], true, true),
        (V::V1_2, V::V1_2, &[], true, false),
        (V::V1_3, V::Auto, &[], false, true),
        (V::V1_3, V::V1_3, &[], false, true),
        (V::Auto, V::V1_1, &[], false, false),
        (V::Auto, V::Auto, &["ECDHE-ECDSA-CHACHA20-POLY1305"], true, true),
        // Suites of RSA certificates, and one that is not spoken: of TLS 1.2 nothing is left.
        (V::Auto, V::Auto, &["ECDHE-RSA-AES128-GCM-SHA256", "AES128-SHA"], false, true),
        (V::Auto, V::V1_2, &["AES128-SHA"], false, false),
    ];
    for (n, (min_version, max_version, suites, takes_12, takes_13)) in cases.into_iter().enumerate() {
        let cipher_suites = suites.iter().map(|suite| (*suite).to_owned()).collect();
        let tls = DownstreamTls { min_version, max_version, cipher_suites, ..simple("shop") };
        let running = start(vec![https(tls, &[])], &server, secrets()).await;
        assert_eq!(get_by(&tls12, running.address, "shop.example").await.is_some(), takes_12, "{n}");
        assert_eq!(get_by(&tls13, running.address, "shop.example").await.is_some(), takes_13, "{n}");
    }
}

#[tokio::test]
async fn curves() {
    use rustls::NamedGroup as G;
    let (ca, server) = (Authority::new("ca"), server().await);
    let all = [G::X25519MLKEM768, G::X25519, G::secp256r1, G::secp384r1];
    let cases: [(&[&str], &[G]); 5] = [
        (&[], &all),
        (&["X25519"], &[G::X25519]),
        (&["P-384", "P-256"], &[G::secp256r1, G::secp384r1]),
        (&["X25519MLKEM768", "P-521"], &[G::X25519MLKEM768]),
        // Known, but not to this proxy.
        (&["P-521"], &[]),
    ];
    for (names, taken) in cases {
        let tls = DownstreamTls { curves: names.iter().map(|name| (*name).to_owned()).collect(), ..simple("shop") };
        let secrets = vec![certificate("shop", &ca.issue(&["shop.example"]))];
        let running = start(vec![https(tls, &[])], &server, secrets).await;
        for curve in all {
            let client = Client::trusting(&ca).curves(&[curve]);
            let got = get_by(&client, running.address, "shop.example").await;
            assert_eq!(got.is_some(), taken.contains(&curve), "{names:?}: {curve:?}");
        }
    }
}

#[tokio::test]
async fn clients_certificates() {
    let (ca, others, server) = (Authority::new("ca"), Authority::new("others"), server().await);
    let (good, revoked) = (ca.issue(&["client.example", "spiffe://td/ns/a/sa/b"]), ca.issue(&["client.example"]));
    let stranger = others.issue(&["client.example"]);
    let expired = ca.issue_with(&["client.example"], KeyKind::Ecdsa, |params| {
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    });
    let for_servers = ca.issue_with(&["client.example"], KeyKind::Ecdsa, |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    let secrets = vec![
        certificate("shop", &ca.issue(&["shop.example"])),
        revoking("shop-cacert", &ca, &ca.revoke(&[&revoked])),
        revoking("of-others", &others, ""),
    ];
    let mutual =
        DownstreamTls { validation: Some("shop-cacert".into()), require_client_certificate: true, ..simple("shop") };
    let optional = DownstreamTls { require_client_certificate: false, ..mutual.clone() };
    let insecure = DownstreamTls { validation: None, ..mutual.clone() };
    let san = |name: &str| DownstreamTls { match_sans: vec![name.into()], ..mutual.clone() };
    let der = good.certificates()[0].clone();
    let hash: Vec<String> = digest(&SHA256, &der).as_ref().iter().map(|b| format!("{b:02X}")).collect();
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    let spki = base64::engine::general_purpose::STANDARD.encode(digest(&SHA256, parsed.public_key().raw));
    let hashed = |text: String| DownstreamTls { certificate_hashes: vec![text], ..mutual.clone() };
    let pinned = |text: String| DownstreamTls { certificate_spki: vec![text], ..mutual.clone() };
    let none = None;
    let cases = [
        ("mutual, none", &mutual, none, false),
        ("mutual, good", &mutual, Some(&good), true),
        ("mutual, of another authority", &mutual, Some(&stranger), false),
        ("mutual, revoked", &mutual, Some(&revoked), false),
        ("mutual, expired", &mutual, Some(&expired), false),
        ("mutual, for servers alone", &mutual, Some(&for_servers), false),
        ("optional, none", &optional, none, true),
        ("optional, good", &optional, Some(&good), true),
        ("optional, of another authority", &optional, Some(&stranger), false),
        ("any, none", &insecure, none, false),
        ("any, of another authority", &insecure, Some(&stranger), true),
        ("DNS name", &san("client.example"), Some(&good), true),
        ("URI", &san("spiffe://td/ns/a/sa/b"), Some(&good), true),
        ("another name", &san("other.example"), Some(&good), false),
        ("another URI", &san("spiffe://td/ns/a/sa/c"), Some(&good), false),
        ("hash", &hashed(hash.concat()), Some(&good), true),
        ("hash with colons", &hashed(hash.join(":")), Some(&good), true),
        ("another hash", &hashed("00".repeat(32)), Some(&good), false),
        ("no hash", &hashed("shop".into()), Some(&good), false),
        ("pin", &pinned(spki), Some(&good), true),
        ("another pin", &pinned(base64::engine::general_purpose::STANDARD.encode([0; 32])), Some(&good), false),
    ];
    for (what, tls, shown, taken) in cases {
        let running = start(vec![https(tls.clone(), &[])], &server, secrets.clone()).await;
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let client = Client::trusting(&ca).version(version);
            let client = shown.map_or(client.clone(), |pair| client.with(pair));
            let got = get_by(&client, running.address, "shop.example").await;
            assert_eq!(got.is_some(), taken, "{what}, {version:?}");
        }
    }
}

#[tokio::test]
async fn what_is_missing_or_broken_closes_its_own_connections_only() {
    let (ca, server) = (Authority::new("ca"), server().await);
    let pair = ca.issue(&["good.example"]);
    let mixed = Secret::Certificate {
        name: "mixed".into(),
        chain: pair.chain.clone().into(),
        key: ca.issue(&["x.example"]).key.into(),
    };
    let garbage = Secret::Certificate { name: "garbage".into(), chain: b"no PEM".to_vec(), key: b"none".to_vec() };
    let no_list = Secret::Validation { name: "no-list".into(), roots: ca.pem.clone().into(), crl: b"nothing".to_vec() };
    let secrets = vec![certificate("good", &pair), mixed, garbage, no_list];
    let mutual = |ca: &str| DownstreamTls { validation: Some(ca.into()), ..simple("good") };
    let chains = vec![
        https(simple("good"), &["good.example"]),
        https(simple("missing"), &["missing.example"]),
        https(simple("mixed"), &["mixed.example"]),
        https(simple("garbage"), &["garbage.example"]),
        https(mutual("missing-cacert"), &["ca.example"]),
        https(mutual("no-list"), &["list.example"]),
        https(mutual("good"), &["kind.example"]),
        https(DownstreamTls { certificates: vec![], ..simple("") }, &["none.example"]),
    ];
    let mut running = start(chains, &server, secrets).await;
    let client = Client::trusting(&ca);
    for name in ["missing", "mixed", "garbage", "ca", "list", "kind", "none"] {
        let name = format!("{name}.example");
        assert!(client.connect(running.address, &name).await.is_err(), "{name}");
        assert_eq!(running.record().await.details, "tls_handshake_failed", "{name}");
        assert_eq!(get_by(&client, running.address, "good.example").await.unwrap().0, 200);
        running.record().await;
    }
    // Nor is plaintext taken where TLS is wanted.
    let mut plain = Raw::connect(running.address).await;
    plain.send("GET / HTTP/1.1\r\nHost: good.example\r\n\r\n").await;
    assert!(plain.answer(false).await.is_none());
}

#[tokio::test]
async fn plaintext_to_a_tls_chain_is_refused() {
    let (ca, server) = (Authority::new("ca"), server().await);
    let secrets = vec![certificate("shop", &ca.issue(&["shop.example"]))];
    let running = start(vec![https(simple("shop"), &[])], &server, secrets).await;
    let mut plain = Raw::connect(running.address).await;
    plain.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").await;
    assert!(plain.answer(false).await.is_none());
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn certificates_change_under_connections_that_go_on() {
    let (ca, server) = (Authority::new("ca"), server().await);
    let (first, second) = (ca.issue(&["shop.example"]), ca.issue(&["shop.example"]));
    let config = tls_config(
        vec![https(simple("shop"), &[])],
        vec![forward(to("a"))],
        [cluster("a", &[server.address])],
        [certificate("shop", &first)],
    );
    let running = Running::start(config.clone()).await;
    // The proxy listens on a port of its own choice: further configurations name it as the first did.
    let apply = async |secrets: Vec<Secret>| {
        let without = ProxyConfig { secrets: Default::default(), ..config.clone() };
        running.proxy.apply(with_secrets(without, secrets)).await.unwrap();
    };
    let client = Client::trusting(&ca).alpn(&["h2"]);
    let shown = async || {
        let stream = Client::trusting(&ca).connect(running.address, "shop.example").await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap().to_vec()
    };
    let mut http1 = Raw::over(Client::trusting(&ca).connect(running.address, "shop.example").await.unwrap());
    let mut http2 = Http2::over(client.connect(running.address, "shop.example").await.unwrap()).await;
    assert_eq!(http1.get("shop.example", "/", "").await.status, 200);
    assert_eq!(shown().await, first.certificates());

    apply(vec![certificate("shop", &second)]).await;
    assert_eq!(shown().await, second.certificates());
    // A broken one, and none at all, leave the last good one.
    let broken = Secret::Certificate { name: "shop".into(), chain: b"no PEM".to_vec(), key: vec![] };
    apply(vec![broken.clone()]).await;
    assert_eq!(shown().await, second.certificates());
    apply(vec![]).await;
    assert_eq!(shown().await, second.certificates());
    apply(vec![broken]).await;
    assert_eq!(shown().await, second.certificates());
    apply(vec![certificate("shop", &first)]).await;
    assert_eq!(shown().await, first.certificates());

    // Connections from before all that go on, without a word of ending.
    for _ in 0..2 {
        let answer = http1.get("shop.example", "/", "").await;
        assert_eq!((answer.status, answer.header("connection")), (200, None));
        assert_eq!(http2.get("shop.example", "/").await.0, 200);
    }
    assert!(!http2.is_closed());
}

#[tokio::test]
async fn a_handshake_that_never_comes_ends_with_the_proxy() {
    let (ca, server) = (Authority::new("ca"), server().await);
    let secrets = vec![certificate("shop", &ca.issue(&["shop.example"]))];
    let running = start(vec![https(simple("shop"), &[])], &server, secrets).await;
    let mut silent = Raw::connect(running.address).await;
    until(|| running.proxy.connections() == 1).await;
    running.proxy.drain(Duration::ZERO).await;
    silent.until_closed().await;
}

#[tokio::test]
async fn passthrough_goes_by_server_name_and_keeps_every_byte() {
    let ca = Authority::new("ca");
    let answer = |text: &'static str| move |_, _| http::Response::new(full(text));
    let config = |name: &str| amime_testkit::tls::server_config(&ca.issue(&[name]), None, &[]);
    let a = amime_testkit::tls::origin(config("a.example"), answer("a")).await;
    let b = amime_testkit::tls::origin(config("b.example"), answer("b")).await;
    let passing = |names: &[&str], to: &str| {
        let server_names = names.iter().map(|name| (*name).to_owned()).collect();
        let matches = FilterChainMatch { server_names, ..Default::default() };
        FilterChain { matches, ..tcp_chain(&[(to, 1)]) }
    };
    let chains =
        vec![passing(&["a.example"], "a"), passing(&["b.example"], "b"), https(simple("ended"), &["c.example"])];
    let clusters = [cluster("a", &[a.address]), cluster("b", &[b.address])];
    let secrets = [certificate("ended", &ca.issue(&["c.example"]))];
    let running = Running::start(tls_config(chains, vec![forward(to("none"))], clusters, secrets)).await;
    let client = Client::trusting(&ca);
    assert_eq!(get_by(&client, running.address, "a.example").await.unwrap(), (200, "a".into()));
    assert_eq!(get_by(&client, running.address, "b.example").await.unwrap(), (200, "b".into()));
    assert_eq!(get_by(&client, running.address, "c.example").await.unwrap().0, 503);
    assert!(client.connect(running.address, "d.example").await.is_err());
}

#[tokio::test]
async fn files_are_read_and_read_again() {
    let (ca, server) = (Authority::new("ca"), server().await);
    let (first, second) = (ca.issue(&["shop.example"]), ca.issue(&["shop.example"]));
    let (good, bad) = (ca.issue(&["client.example"]), ca.issue(&["client.example"]));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, text: &str| amime_testkit::files::save(&folder.path().join(name), text);
    write("crt", &first.chain);
    write("key", &first.key);
    write("ca", &ca.pem);
    write("crl", &ca.revoke(&[&bad]));
    let tls = DownstreamTls {
        validation: Some(format!("file-root:{}", path("ca"))),
        crl: Some(format!("file-crl:{}", path("crl"))),
        require_client_certificate: true,
        ..simple(&format!("file-cert:{}~{}", path("crt"), path("key")))
    };
    let none = simple(&format!("file-cert:{}~{}", path("none"), path("key")));
    let chains = vec![https(tls, &["shop.example"]), https(none, &["none.example"])];
    let running = start(chains, &server, vec![]).await;
    let by = async |pair| get_by(&Client::trusting(&ca).with(pair), running.address, "shop.example").await;
    assert_eq!(by(&good).await, Some((200, "https".into())));
    assert_eq!(by(&bad).await, None);
    assert!(Client::trusting(&ca).connect(running.address, "none.example").await.is_err());
    let shown = async || {
        let client = Client::trusting(&ca).with(&good);
        let stream = client.connect(running.address, "shop.example").await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap().to_vec()
    };
    assert_eq!(shown().await, first.certificates());
    write("crt", &second.chain);
    write("key", &second.key);
    write("crl", &ca.revoke(&[&good]));
    let changed = async {
        // Nothing tells of it but the handshakes themselves.
        while by(&bad).await.is_none() || by(&good).await.is_some() || shown().await != second.certificates() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(amime_testkit::client::PATIENCE, changed).await.expect("the files are read again");
}
