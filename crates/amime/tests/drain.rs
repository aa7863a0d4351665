//! How a gateway ends as a process, for each protocol that it carries; and its control plane by TLS.

mod common;

use amime_testkit::client::{Http2, Raw, get, text};
use amime_testkit::origin::{Body, Origin, Version, channel, echo, full};
use amime_testkit::port::Port;
use common::control::{Control, MESH, folder, service};
use common::eventually;
use common::proxy::Proxy;
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::Frame;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

const POD: [(&str, &str); 5] = [
    ("POD_NAME", "ingress-1"),
    ("POD_NAMESPACE", "default"),
    ("INSTANCE_IP", "127.0.0.1"),
    ("SERVICE_ACCOUNT", "ingress"),
    ("ISTIO_METAJSON_LABELS", r#"{"istio":"ingressgateway"}"#),
];

fn services(web: SocketAddr, calls: SocketAddr, bytes: SocketAddr) -> String {
    [
        service("web", "http", ("None", 80), web),
        service("calls", "grpc", ("None", 80), calls),
        service("bytes", "tcp", ("None", 80), bytes),
    ]
    .concat()
}

/// What a gateway opens for its HTTP and its TCP.
fn routes(http: &Port, tcp: &Port) -> String {
    let (http, tcp) = (http.number, tcp.number);
    format!(
        "
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - {{port: {{number: {http}, name: http, protocol: HTTP}}, hosts: ['*']}}
  - {{port: {{number: {tcp}, name: tcp, protocol: TCP}}, hosts: ['*']}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: all}}
spec:
  hosts: ['*']
  gateways: [edge]
  http:
  - {{match: [{{uri: {{prefix: /calls.}}}}], route: [{{destination: {{host: calls, port: {{number: 80}}}}}}]}}
  - {{route: [{{destination: {{host: web, port: {{number: 80}}}}}}]}}
  tcp: [{{match: [{{port: {tcp}}}], route: [{{destination: {{host: bytes, port: {{number: 80}}}}}}]}}]
"
    )
}

/// A gRPC server that answers one call for each permit.
async fn calls() -> (Origin, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let origin = Origin::http(Version::Http2, move |_| {
        let gate = opened.clone();
        async move {
            // Nobody closes it.
            if let Ok(permit) = gate.acquire().await {
                permit.forget();
            }
            let (frames, body) = channel();
            let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from(0))]);
            tokio::spawn(async move {
                let _ = frames.send(Frame::data(bytes::Bytes::from_static(b"\0\0\0\0\0"))).await;
                let _ = frames.send(Frame::trailers(trailers)).await;
            });
            let mut answer = Response::new(body);
            answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
            answer
        }
    });
    (origin.await, gate)
}

struct Edge {
    proxy: Proxy,
    http: Port,
    tcp: Port,
    _control: Control,
    _folder: tempfile::TempDir,
}

impl Edge {
    fn start(services: &str, environment: &[(&str, &str)]) -> Self {
        let (http, tcp) = (Port::take(), Port::take());
        let folder = folder(&[services, &routes(&http, &tcp)].concat());
        let control = Control::start(["--config", &folder.path().join(MESH).display().to_string()]);
        let environment: Vec<_> = POD.iter().chain(environment).copied().collect();
        let proxy = Proxy::spawn("gateway", ["--control", &control.address("grpc").to_string()], &environment);
        proxy.wait_ready();
        Self { proxy, http, tcp, _control: control, _folder: folder }
    }
}

fn call() -> Request<Body> {
    let request = Request::post("http://edge/calls.Calls/Call").header("content-type", "application/grpc");
    request.header("te", "trailers").body(full(&b"\0\0\0\0\0"[..])).expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_protocol_is_finished_before_the_end() {
    let (web, web_gate) = Origin::gated(Version::Http1).await;
    let (calls, calls_gate) = calls().await;
    let bytes = Origin::tcp(echo).await;
    let mut edge = Edge::start(
        &services(web.address, calls.address, bytes.address),
        &[("TERMINATION_DRAIN_DURATION_SECONDS", "10")],
    );

    let mut tcp = Raw::connect(edge.tcp.address()).await;
    tcp.send("before").await;
    assert_eq!(tcp.bytes(6).await, b"before");
    let client = Http2::connect(edge.http.address()).await;
    let (mut plain, mut grpc) = (client.clone(), client.clone());
    let plain = tokio::spawn(async move { plain.get("edge", "/").await });
    let grpc = tokio::spawn(async move { grpc.send(call()).await.expect("an answer") });
    eventually("both at their origins", || (web.requests() + calls.requests() == 2).then_some(()));

    edge.proxy.process.signal("TERM");
    edge.proxy.wait_health(503, "draining");
    // GOAWAY: nothing more goes over this connection, and what is under way ends well.
    web_gate.add_permits(2);
    calls_gate.add_permits(2);
    let (status, _, body) = plain.await.expect("no panic");
    assert_eq!((status, body.as_str()), (200, "hello"));
    let answer = grpc.await.expect("no panic");
    assert_eq!(answer.status(), 200);
    let (_, trailers) = text(answer.into_body()).await;
    assert_eq!(trailers.expect("trailers")["grpc-status"], "0");
    eventually("GOAWAY", || client.is_closed().then_some(()));
    // Who has not learnt it yet is answered all the same.
    let mut late = Http2::connect(edge.http.address()).await;
    let answer = late.send(call()).await.expect("an answer");
    assert_eq!(text(answer.into_body()).await.1.expect("trailers")["grpc-status"], "0");
    // A connection of bytes goes on until its client ends it.
    tcp.send("after").await;
    assert_eq!(tcp.bytes(5).await, b"after");
    drop(late);
    tcp.stream.shutdown().await.expect("ended");
    tcp.until_closed().await;
    assert_eq!(edge.proxy.process.wait_exit(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_on_zero_waits_for_the_last_connection_and_no_longer() {
    let (web, gate) = Origin::gated(Version::Http1).await;
    let environment = [
        ("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "true"),
        ("MINIMUM_DRAIN_DURATION", "500ms"),
        // Not what counts here: with it all would be cut off at once.
        ("TERMINATION_DRAIN_DURATION_SECONDS", "0"),
    ];
    let mut edge = Edge::start(&services(web.address, web.address, web.address), &environment);
    let address = edge.http.address();
    let begun = tokio::spawn(async move { get(address, "web", "/").await });
    eventually("a request at the origin", || (web.requests() > 0).then_some(()));
    edge.proxy.process.signal("TERM");
    eventually("a closed port", || std::net::TcpStream::connect(address).is_err().then_some(()));
    assert_eq!(edge.proxy.get("admin", "/server_info").json()["state"], "DRAINING", "one connection is left");
    gate.add_permits(1);
    assert_eq!(begun.await.expect("no panic").status, 200);
    assert_eq!(edge.proxy.process.wait_exit(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_plane_is_reached_by_tls_and_only_where_it_is_the_right_one() {
    let web = Origin::text("hello").await;
    let (http, tcp, state) = (Port::take(), Port::take(), tempfile::tempdir().expect("a folder"));
    let folder = folder(&[services(web.address, web.address, web.address), routes(&http, &tcp)].concat());
    let config = folder.path().join(MESH).display().to_string();
    let control = Control::start(["--config", &config, "--state", &state.path().display().to_string()]);
    let tls = format!("localhost:{}", control.address("grpc-tls").port());
    let ca = state.path().join("tls.crt").display().to_string();
    let start = |ca: &str, more: &[&str]| {
        let args = ["--control", tls.as_str(), "--control-tls", "--control-ca", ca];
        Proxy::spawn("gateway", args.iter().chain(more), &POD)
    };
    let proxy = start(&ca, &[]);
    proxy.wait_ready();
    assert_eq!(get(http.address(), "web", "/").await.body, "hello");
    drop(proxy);

    let another = tempfile::tempdir().expect("a folder");
    let others = Control::start(["--config", &config, "--state", &another.path().display().to_string()]);
    let wrong_ca = start(&another.path().join("tls.crt").display().to_string(), &[]);
    wrong_ca.wait_health(503, "certificate");
    drop(others);
    let wrong_name = start(&ca, &["--control-name", "somebody.else"]);
    wrong_name.wait_health(503, "somebody.else");
}
