//! Listeners of sidecars, from YAML to sockets: a Sidecar's ingress and egress listeners, where unknown traffic goes,
//! and the rules of `tcp` and `tls`.
#![allow(clippy::unwrap_used)]

mod common;

use amime_testkit::client::{Raw, get};
use amime_testkit::origin::{Origin, full, write};
use amime_testkit::port::Port;
use amime_testkit::tls::{Authority, Client, server_config};
use common::sidecar::Sidecar;
use std::net::SocketAddr;

const WEB: &str = "workloadSelector: {labels: {app: web}}";

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"
    )
}

/// A service `NAME.example` at this address with one port and one endpoint.
fn entry(name: &str, address: &str, port: u16, protocol: &str, endpoint: SocketAddr) -> String {
    let addresses = if address.is_empty() { String::new() } else { format!("addresses: [{address}], ") };
    let spec = format!(
        "{{hosts: [{name}.example], {addresses}resolution: STATIC, ports: [{{number: {port}, name: p, protocol: {protocol}}}], \
         endpoints: [{{address: {}, ports: {{p: {}}}}}]}}",
        endpoint.ip(),
        endpoint.port()
    );
    object("ServiceEntry", name, &spec)
}

/// A server that says who it is and closes.
async fn speaker(name: &'static str) -> Origin {
    Origin::tcp(move |mut stream| async move { write(&mut stream, name).await }).await
}

async fn refused(address: SocketAddr) -> bool {
    Raw::try_connect(address).await.is_none()
}

#[tokio::test]
async fn an_ingress_port_that_is_not_captured_is_opened_where_bind_says() {
    let application = Origin::text("application").await;
    let (own, any, lost) = (Port::take(), Port::take(), Port::take());
    let endpoint = application.address;
    let ingress = format!(
        "{{{WEB}, ingress: [\
         {{port: {{number: {}, protocol: HTTP}}, bind: 127.0.0.3, captureMode: NONE, defaultEndpoint: '{endpoint}'}},\
         {{port: {{number: {}, protocol: TCP}}, captureMode: NONE, defaultEndpoint: '{endpoint}'}},\
         {{port: {{number: {}, protocol: HTTP}}, defaultEndpoint: '{endpoint}'}}]}}",
        own.number, any.number, lost.number
    );
    let _sidecar = Sidecar::start(&object("Sidecar", "web", &ingress)).await;
    let at = |ip: [u8; 4], port: &Port| SocketAddr::from((ip, port.number));
    assert_eq!(get(at([127, 0, 0, 3], &own), "web", "/").await.body, "application");
    assert!(refused(at([127, 0, 0, 1], &own)).await);
    // Without `bind` it is every address.
    assert_eq!(get(at([127, 0, 0, 1], &any), "web", "/").await.body, "application");
    assert_eq!(get(at([127, 0, 0, 4], &any), "web", "/").await.body, "application");
    assert!(refused(at([127, 0, 0, 1], &lost)).await);
}

#[tokio::test]
async fn an_egress_listener_that_is_not_captured_has_a_socket() {
    let (a, b) = (Origin::text("a").await, Origin::text("b").await);
    let (port, everywhere, tcp) = (Port::take(), Port::take(), Port::take());
    let egress = format!(
        "{{{WEB}, egress: [\
         {{port: {{number: {}, protocol: HTTP}}, captureMode: NONE, hosts: ['./a.example']}},\
         {{bind: 127.0.0.5, captureMode: NONE, hosts: ['./b.example', './c.example']}}]}}",
        port.number
    );
    let manifests = [
        object("Sidecar", "web", &egress),
        entry("a", "", port.number, "HTTP", a.address),
        entry("b", "", everywhere.number, "HTTP", b.address),
        entry("c", "", tcp.number, "TCP", b.address),
    ];
    let _sidecar = Sidecar::start(&manifests.concat()).await;
    let at = |ip: [u8; 4], port: &Port| SocketAddr::from((ip, port.number));
    // A port without `bind` is on the loopback address.
    assert_eq!(get(at([127, 0, 0, 1], &port), "a.example", "/").await.body, "a");
    assert!(refused(at([127, 0, 0, 5], &port)).await);
    // `bind` without a port is that address, at each port of the services.
    assert_eq!(get(at([127, 0, 0, 5], &everywhere), "b.example", "/").await.body, "b");
    assert_eq!(get(at([127, 0, 0, 5], &tcp), "whoever", "/").await.body, "b");
    assert!(refused(at([127, 0, 0, 1], &everywhere)).await);
}

#[tokio::test]
async fn a_generic_http_proxy_port_serves_all_services_and_ports() {
    let (a, b) = (Origin::text("a").await, Origin::text("b").await);
    let port = Port::take();
    let egress = format!(
        "{{{WEB}, egress: [{{port: {{number: {}, protocol: HTTP_PROXY}}, bind: 127.0.0.6, captureMode: NONE, hosts: ['*/*']}}]}}",
        port.number
    );
    let manifests = [
        object("Sidecar", "web", &egress),
        entry("a", "", 80, "HTTP", a.address),
        entry("b", "", 8081, "HTTP", b.address),
    ];
    let _sidecar = Sidecar::start(&manifests.concat()).await;
    let address = SocketAddr::from(([127, 0, 0, 6], port.number));
    let mut client = Raw::connect(address).await;
    client.send("GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    assert_eq!(client.answer(false).await.unwrap().body, "a");
    assert_eq!(get(address, "a.example", "/").await.body, "a");
    assert_eq!(get(address, "a.example:80", "/").await.body, "a");
    assert_eq!(get(address, "b.example:8081", "/").await.body, "b");
    assert_ne!(get(address, "b.example", "/").await.body, "b");
}

#[tokio::test]
async fn unknown_traffic_goes_to_the_egress_proxy() {
    let (known, out) = (Origin::text("known").await, Origin::text("egress proxy").await);
    let egress = format!(
        "{{{WEB}, outboundTrafficPolicy: {{mode: ALLOW_ANY, egressProxy: {{host: out.example, port: {{number: 8080}}}}}}}}"
    );
    let manifests = [
        object("Sidecar", "web", &egress),
        entry("known", "10.9.0.1", 80, "HTTP", known.address),
        entry("out", "10.9.0.2", 8080, "HTTP", out.address),
    ];
    let sidecar = Sidecar::start(&manifests.concat()).await;
    assert_eq!(sidecar.dial("10.9.0.1:80").await.get("known.example", "/", "").await.body, "known");
    // HTTP for a host that nobody knows, and connections to an address that nobody has.
    assert_eq!(sidecar.dial("10.9.0.7:80").await.get("unknown.example", "/", "").await.body, "egress proxy");
    assert_eq!(sidecar.dial("10.9.0.7:4444").await.get("unknown.example", "/", "").await.body, "egress proxy");
}

#[tokio::test]
async fn tcp_rules_go_by_subnet_and_weight() {
    let (near, far, rest) = (speaker("near").await, speaker("far").await, speaker("rest").await);
    let to = |host: &str, weight: u32| format!("{{destination: {{host: {host}.example}}, weight: {weight}}}");
    let rules = format!(
        "{{hosts: [wide.example], tcp: [\
         {{match: [{{destinationSubnets: [10.8.1.0/24], port: 9000}}], route: [{}]}},\
         {{match: [{{destinationSubnets: [10.8.2.0/24]}}], route: [{}, {}]}},\
         {{match: [{{sourceLabels: {{app: other}}}}], route: [{}]}}]}}",
        to("near", 1),
        to("far", 100),
        to("near", 0),
        to("near", 1)
    );
    let manifests = [
        entry("wide", "10.8.0.0/16", 9000, "TCP", rest.address),
        entry("near", "10.7.0.1", 1, "TCP", near.address),
        entry("far", "10.7.0.2", 1, "TCP", far.address),
        object("VirtualService", "wide", &rules),
    ];
    let sidecar = Sidecar::start(&manifests.concat()).await;
    for (address, who) in [("10.8.1.1:9000", "near"), ("10.8.2.1:9000", "far"), ("10.8.3.1:9000", "rest")] {
        let said = sidecar.dial(address).await.until_closed().await;
        assert_eq!(String::from_utf8_lossy(&said), who, "{address}");
    }
}

#[tokio::test]
async fn tls_rules_of_a_sidecar_go_by_server_name() {
    let ca = Authority::new("ca");
    let pair = ca.issue(&["one.example", "three.example"]);
    let origin = async |text: &'static str| {
        let answer = move |_, _| http::Response::new(full(text));
        amime_testkit::tls::origin(server_config(&pair, None, &[]), answer).await
    };
    let (one, two, three) = (origin("one").await, origin("two").await, origin("three").await);
    let rules = "{hosts: [one.example], tls: [{match: [{sniHosts: [one.example]}], \
                 route: [{destination: {host: two.example}}]}]}";
    let manifests = [
        // None has an address of its own: the name alone tells them apart.
        entry("one", "", 443, "TLS", one.address),
        entry("two", "", 443, "TLS", two.address),
        entry("three", "", 443, "TLS", three.address),
        object("VirtualService", "one", rules),
    ];
    let sidecar = Sidecar::start(&manifests.concat()).await;
    for (name, text) in [("one.example", "two"), ("three.example", "three")] {
        let dialled = sidecar.dial("10.6.0.1:443").await.stream;
        let stream = Client::trusting(&ca).over(dialled, name).await.unwrap();
        assert_eq!(Raw::over(stream).get(name, "/", "").await.body, text, "{name}");
    }
}
