//! Listeners of gateways, from YAML to sockets: the address that a server is bound to, and TLS that goes through by
//! its server name.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::resource::MeshConfig;
use amime_testkit::client::{Raw, get};
use amime_testkit::origin::{Origin, full};
use amime_testkit::port::Port;
use amime_testkit::tls::{Authority, Client, server_config};
use common::Running;
use common::manifests::{gateway, gateway_as_written};
use common::tls::get_by;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;

fn entry(name: &str, protocol: &str, endpoint: SocketAddr) -> String {
    let (ip, port) = (endpoint.ip(), endpoint.port());
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{hosts: [{name}.internal], resolution: STATIC, ports: [{{number: 443, name: p, protocol: {protocol}}}], \
         endpoints: [{{address: {ip}, ports: {{p: {port}}}}}]}}\n"
    )
}

#[tokio::test]
async fn a_server_is_bound_to_its_address_and_has_routes_of_its_own() {
    let (one, two) = (Origin::text("one").await, Origin::text("two").await);
    let port = Port::take();
    let mut manifests = String::from(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: istio-system}\n\
         spec:\n  selector: {gateway: edge}\n  servers:\n",
    );
    for (host, bind) in [("one", "127.0.0.7"), ("two", "127.0.0.8")] {
        let port = format!("{{number: {}, name: {host}, protocol: HTTP}}", port.number);
        writeln!(manifests, "  - {{port: {port}, bind: {bind}, hosts: ['*/{host}.example']}}").unwrap();
    }
    for (host, origin) in [("one", &one), ("two", &two)] {
        manifests += &entry(host, "HTTP", origin.address);
        write!(
            manifests,
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {host}, namespace: shop}}\n\
             spec: {{hosts: [{host}.example], gateways: [istio-system/edge], \
             http: [{{route: [{{destination: {{host: {host}.internal}}}}]}}]}}\n"
        )
        .unwrap();
    }
    let (config, said) = gateway_as_written(&MeshConfig::default(), &manifests);
    assert_eq!(said, Vec::<String>::new());
    let _running = Running::start(config).await;
    let at = |last: u8| SocketAddr::from(([127, 0, 0, last], port.number));
    assert_eq!(get(at(7), "one.example", "/").await.body, "one");
    assert_eq!(get(at(7), "two.example", "/").await.status, 404);
    assert_eq!(get(at(8), "two.example", "/").await.body, "two");
    assert!(Raw::try_connect(at(1)).await.is_none());
}

#[tokio::test]
async fn tls_goes_through_by_one_of_many_server_names() {
    const NAMES: usize = 300;
    let ca = Authority::new("ca");
    let pair = ca.issue(&["*.example.com", "far.example.org"]);
    let origin = async |text: &'static str| {
        let answer = move |_, _| http::Response::new(full(text));
        amime_testkit::tls::origin(server_config(&pair, None, &[]), answer).await
    };
    let (even, odd, rest) = (origin("even").await, origin("odd").await, origin("rest").await);
    let mut manifests = String::from(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: istio-system}\n\
         spec:\n  selector: {gateway: edge}\n  servers: [{port: {number: 443, name: tls, protocol: TLS}, \
         hosts: ['*/*.example.com'], tls: {mode: PASSTHROUGH}}]\n",
    );
    for (name, origin) in [("even", &even), ("odd", &odd), ("rest", &rest)] {
        manifests += &entry(name, "TLS", origin.address);
    }
    let mut vs = |name: &str, host: &str, rules: &str| {
        write!(
            manifests,
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{hosts: ['{host}'], gateways: [istio-system/edge], tls: [{rules}]}}\n"
        )
        .unwrap();
    };
    let rule = |sni: &str, to: &str| {
        format!("{{match: [{{sniHosts: ['{sni}']}}], route: [{{destination: {{host: {to}.internal}}}}]}}")
    };
    for index in 0..NAMES {
        let host = format!("n{index}.example.com");
        vs(&format!("n{index}"), &host, &rule(&host, if index % 2 == 0 { "even" } else { "odd" }));
    }
    vs("wild", "*.example.com", &rule("*.example.com", "rest"));
    let running = Running::start(gateway(&manifests)).await;
    let client = Client::trusting(&ca);
    for (name, text) in [("n0", "even"), ("n1", "odd"), ("n298", "even"), ("n299", "odd"), ("n300", "rest")] {
        let answer = get_by(&client, running.address, &format!("{name}.example.com")).await.unwrap();
        assert_eq!(answer, (200, text.to_owned()), "{name}");
    }
    // Nobody has this name, and no byte of it is answered.
    assert!(client.connect(running.address, "far.example.org").await.is_err());
}

#[tokio::test]
async fn the_meshs_own_tls_goes_through_to_the_service_that_its_server_name_says() {
    const MESH_TLS: [&str; 1] = ["istio"];
    let ca = Authority::new("ca");
    let name = |subset: &str| format!("outbound_.443_.{subset}_.app.internal");
    let pair = ca.issue(&[&name(""), &name("v1"), &name("v2")]);
    let origin = async |text: &'static str| {
        let answer = move |_, _| http::Response::new(full(text));
        amime_testkit::tls::origin(server_config(&pair, None, &MESH_TLS), answer).await
    };
    let (one, two, plain) = (origin("v1").await, origin("v2").await, origin("no sidecar").await);
    let mut manifests = String::from(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: istio-system}\n\
         spec:\n  selector: {gateway: edge}\n  servers: [{port: {number: 15443, name: tls, protocol: TLS}, \
         hosts: ['*.internal'], tls: {mode: AUTO_PASSTHROUGH}}]\n\
         ---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: app, namespace: shop}\n\
         spec: {host: app.internal, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}\n",
    );
    let endpoint = |address: SocketAddr, labels: &str| {
        format!("{{address: {}, ports: {{p: {}}}, labels: {{{labels}}}}}", address.ip(), address.port())
    };
    let endpoints = [
        endpoint(one.address, "version: v1, security.istio.io/tlsMode: istio"),
        endpoint(two.address, "version: v2, security.istio.io/tlsMode: istio"),
        endpoint(plain.address, "version: v1"),
    ];
    for (host, location) in [("app.internal", "MESH_INTERNAL"), ("out.internal", "MESH_EXTERNAL")] {
        let (name, _) = host.split_once('.').unwrap();
        write!(
            manifests,
            "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{hosts: [{host}], location: {location}, resolution: STATIC, \
             ports: [{{number: 443, name: p, protocol: TLS}}], endpoints: [{}]}}\n",
            endpoints.join(", ")
        )
        .unwrap();
    }
    let running = Running::start(gateway(&manifests)).await;
    let client = Client::trusting(&ca);
    let mesh_client = client.clone().alpn(&MESH_TLS);
    for (subset, text) in [("v1", "v1"), ("v2", "v2")] {
        assert_eq!(get_by(&mesh_client, running.address, &name(subset)).await, Some((200, text.to_owned())));
    }
    // Both in turn, and never the one without a sidecar.
    let mut seen = BTreeSet::new();
    for _ in 0..64 {
        seen.insert(get_by(&mesh_client, running.address, &name("")).await.unwrap().1);
    }
    assert_eq!(seen, BTreeSet::from(["v1".to_owned(), "v2".to_owned()]));
    // Nobody but sidecars offers the mesh's protocols; no other service is reached.
    assert!(client.connect(running.address, &name("v2")).await.is_err());
    for name in ["app.internal", "outbound_.443_._.out.internal", "outbound_.80_._.app.internal"] {
        assert!(mesh_client.connect(running.address, name).await.is_err(), "{name}");
    }
}
