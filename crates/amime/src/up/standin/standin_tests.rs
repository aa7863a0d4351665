//! Stand-ins over real sockets, with a sidecar that only notes where it was to connect.

use super::*;
use crate::up::machine::Network;
use crate::up::names::Answer;
use ::http::{HeaderMap, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One network for all tests of the process; each takes a pod address of its own.
static NETWORK: LazyLock<Network> = LazyLock::new(|| Network::lock().expect("a free network"));
static NEXT_POD: AtomicU8 = AtomicU8::new(1);

struct Running {
    stand_in: StandIn,
    http: SocketAddr,
    echo: SocketAddr,
    origin: Origin,
}

/// The stand-in of reviews-v1 with a port 9080 that detects and one 3306 that echoes. The mesh knows `ratings`.
async fn reviews() -> Running {
    let [a, b] = NETWORK.octets();
    let host = NEXT_POD.fetch_add(1, Ordering::Relaxed);
    let (pod_ip, app_ip) = (IpAddr::V4(Ipv4Addr::new(a, b, 1, host)), IpAddr::V4(Ipv4Addr::new(a, b, 129, host)));
    let origin = Origin { pod_ip, app_ip };
    let pod = Pod {
        namespace: "default".into(),
        name: "reviews-v1-abc".into(),
        workload: "reviews-v1".into(),
        calls: super::Calls::ThroughSidecar,
        version: Some("v1".into()),
        origin,
    };
    let names = Names::new(Arc::new(|name: &str, namespace: &str| {
        if name == "ratings" && namespace == "default" {
            Answer::Addresses(vec!["10.9.8.7".parse().expect("an address")])
        } else {
            Answer::NoSuchName
        }
    }));
    let (http, echo) = (SocketAddr::new(app_ip, 9080), SocketAddr::new(app_ip, 3306));
    let identity = Identity { pod, ports: BTreeMap::from([(http, Talk::Detect), (echo, Talk::EchoOnly)]) };
    let stand_in = StandIn::start(identity, Mesh::new(names)).await.expect("started");
    Running { stand_in, http, echo, origin }
}

async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let stream = TcpStream::connect(address).await.expect("connected");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("spoken");
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await.expect("answered")
}

async fn json_of(response: Response<Incoming>) -> Value {
    let body = response.into_body().collect().await.expect("read").to_bytes();
    serde_json::from_slice(&body).expect("JSON")
}

fn get(path: &str, headers: &[(&'static str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::get(path).header("host", "reviews:9080");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).expect("a request")
}

/// A sidecar that answers every request itself; what it was asked comes out of the returned task.
async fn sidecar(origin: Origin, answer: &'static str) -> tokio::task::JoinHandle<(SocketAddr, String)> {
    let listener = TcpListener::bind((origin.pod_ip, 15001)).await.expect("bound");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let mut header = [0; 28];
        stream.read_exact(&mut header).await.expect("a header");
        let parsed = ppp::v2::Header::try_from(&header[..]).expect("PROXY v2");
        let ppp::v2::Addresses::IPv4(addresses) = parsed.addresses else { panic!("not IPv4") };
        assert_eq!(IpAddr::V4(addresses.source_address), origin.pod_ip);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.expect("a request"));
        }
        stream.write_all(answer.as_bytes()).await.expect("written");
        let destination = (addresses.destination_address, addresses.destination_port).into();
        (destination, String::from_utf8(request).expect("text"))
    })
}

#[tokio::test]
async fn it_answers_who_it_is_and_what_it_was_asked() {
    let running = reviews().await;
    let mut request = get("/reviews/1?x=1", &[("end-user", "jason")]);
    request.headers_mut().append("x-two", "1".parse().expect("a value"));
    request.headers_mut().append("x-two", "2".parse().expect("a value"));
    let response = send(running.http, request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/json");
    let expected = json!({
        "workload": "reviews-v1", "pod": "reviews-v1-abc", "namespace": "default", "version": "v1",
        "method": "GET", "path": "/reviews/1?x=1",
        "headers": {"host": "reviews:9080", "end-user": "jason", "x-two": ["1", "2"]},
    });
    assert_eq!(json_of(response).await, expected);
}

#[tokio::test]
async fn a_call_goes_through_the_sidecar_and_its_json_is_shown() {
    let running = reviews().await;
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n{\"a\":1}";
    let asked = sidecar(running.origin, answer).await;
    let chain = "http://ratings:9080/ratings/1,http://details/";
    let request = get("/", &[("x-amime-call", chain), ("end-user", "jason"), ("x-amime-status", "503")]);
    let response = send(running.http, request).await;
    assert_eq!(response.status(), StatusCode::OK, "the status is for the end of the chain");
    assert_eq!(json_of(response).await["called"], json!({"a": 1}));
    let (destination, request) = asked.await.expect("asked");
    assert_eq!(destination, "10.9.8.7:9080".parse().expect("an address"));
    assert!(request.starts_with("GET /ratings/1 HTTP/1.1\r\n"), "{request}");
    for line in ["host: ratings:9080", "end-user: jason", "x-amime-status: 503", "x-amime-call: http://details/"] {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "{line} in {request}");
    }
}

#[tokio::test]
async fn a_failed_call_shows_status_flag_and_body() {
    let running = reviews().await;
    let answer = "HTTP/1.1 503 Service Unavailable\r\nx-amime-flag: UH\r\ncontent-length: 2\r\n\r\nno";
    let asked = sidecar(running.origin, answer).await;
    let response = send(running.http, get("/", &[("x-amime-call", "http://ratings/")])).await;
    assert_eq!(json_of(response).await["called"], json!({"status": 503, "flag": "UH", "body": "no"}));
    assert_eq!(asked.await.expect("asked").0.port(), 80);
}

#[tokio::test]
async fn a_call_without_an_answer_has_a_null_status() {
    let running = reviews().await;
    let asked = sidecar(running.origin, "").await;
    let response = send(running.http, get("/", &[("x-amime-call", "http://ratings/")])).await;
    let called = json_of(response).await["called"].clone();
    assert_eq!((&called["status"], &called["flag"]), (&Value::Null, &Value::Null));
    assert!(!called["body"].as_str().expect("a reason").is_empty());
    asked.await.expect("asked");
}

#[tokio::test]
async fn answers_are_shaped() {
    let running = reviews().await;
    let response = send(running.http, get("/", &[("x-amime-status", "418")])).await;
    assert_eq!(response.status(), 418);
    assert_eq!(json_of(response).await["workload"], "reviews-v1");

    let start = std::time::Instant::now();
    let response = send(running.http, get("/", &[("x-amime-delay", "60ms")])).await;
    assert_eq!(response.status(), 200);
    assert!(start.elapsed().as_millis() >= 60);

    let mut statuses = Vec::new();
    for _ in 0..3 {
        let request = get("/", &[("x-amime-fail-first", "2"), ("x-request-id", "shaped")]);
        statuses.push(send(running.http, request).await.status().as_u16());
    }
    assert_eq!(statuses, [503, 503, 200]);

    let response = send(running.http, get("/", &[("x-amime-delay", "later")])).await;
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn cleartext_http2_and_grpc() {
    let running = reviews().await;
    let stream = TcpStream::connect(running.http).await.expect("connected");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("spoken");
    tokio::spawn(connection);

    let request = Request::get("http://reviews:9080/x").body(Full::<Bytes>::default()).expect("a request");
    let answer = json_of(sender.send_request(request).await.expect("answered")).await;
    assert_eq!((&answer["path"], &answer["headers"]["host"]), (&json!("/x"), &json!("reviews:9080")));

    let mut grpc = async |path: &str, headers: &[(&'static str, &str)], message: &'static [u8]| {
        let mut request =
            Request::post(format!("http://reviews:9080{path}")).header("content-type", "application/grpc");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from_static(message))).expect("a request");
        let (head, body) = sender.send_request(request).await.expect("answered").into_parts();
        assert_eq!(head.status, 200);
        let body = body.collect().await.expect("read");
        let status = |headers: &HeaderMap| headers.get("grpc-status").map(|s| s.to_str().expect("a number").to_owned());
        let status = body.trailers().and_then(status).or_else(|| status(&head.headers)).expect("a status");
        (status, body.to_bytes())
    };
    let empty = &[0, 0, 0, 0, 0];
    let check = grpc("/grpc.health.v1.Health/Check", &[], empty).await;
    assert_eq!(check, ("0".into(), Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1])));
    let message = b"\0\0\0\0\x02hi\0\0\0\0\x01!";
    assert_eq!(grpc("/proto.Echo/Say", &[], message).await, ("0".into(), Bytes::from_static(message)));
    assert_eq!(grpc("/grpc.health.v1.Health/List", &[], empty).await.0, "12");
    assert_eq!(grpc("/proto.Echo/Say", &[("x-amime-status", "503")], empty).await.0, "14");
    assert_eq!(grpc("/proto.Echo/Say", &[("x-amime-status", "5")], empty).await.0, "5");

    let request = Request::post("http://reviews:9080/grpc.health.v1.Health/Watch")
        .header("content-type", "application/grpc")
        .body(Full::new(Bytes::from_static(empty)))
        .expect("a request");
    let mut watch = sender.send_request(request).await.expect("answered").into_body();
    let first = watch.frame().await.expect("a frame").expect("read").into_data().expect("data");
    assert_eq!(first, Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]));
    let drained = tokio::spawn(running.stand_in.drain());
    let last = watch.frame().await.expect("a frame").expect("read").into_data().expect("data");
    assert_eq!(last, Bytes::from_static(&[0, 0, 0, 0, 2, 8, 2]));
    assert!(watch.frame().await.expect("trailers").expect("read").is_trailers());
    drained.await.expect("drained");
}

#[tokio::test]
async fn websockets_and_other_upgrades_echo() {
    let running = reviews().await;
    let request = get(
        "/ws",
        &[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ],
    );
    let response = send(running.http, request).await;
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.expect("upgraded"));
    stream.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await.expect("written");
    let mut frame = [0; 4];
    stream.read_exact(&mut frame).await.expect("read");
    assert_eq!(&frame, &[0x81, 2, b'h', b'i']);

    let response = send(running.http, get("/", &[("connection", "upgrade"), ("upgrade", "raw")])).await;
    assert_eq!(response.status(), 101);
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.expect("upgraded"));
    stream.write_all(b"bytes").await.expect("written");
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.expect("read");
    assert_eq!(&back, b"bytes");
}

#[tokio::test]
async fn other_bytes_are_echoed() {
    let running = reviews().await;
    for (address, text) in [
        (running.http, "hello\n"),
        // Might become a method, and never does.
        (running.http, "HELLO"),
        (running.echo, "GET / HTTP/1.1\r\n\r\n"),
    ] {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(text.as_bytes()).await.expect("written");
        let mut back = vec![0; text.len()];
        stream.read_exact(&mut back).await.expect("echoed");
        assert_eq!(back, text.as_bytes());
        stream.shutdown().await.expect("half closed");
        assert_eq!(stream.read(&mut back).await.expect("closed"), 0);
    }
}

#[tokio::test]
async fn draining_finishes_what_began_and_takes_nothing_new() {
    let running = reviews().await;
    let address = running.http;
    let sidecar = TcpListener::bind((running.origin.pod_ip, 15001)).await.expect("bound");
    let slow = tokio::spawn(send(address, get("/", &[("x-amime-call", "http://ratings/")])));
    let idle = TcpStream::connect(running.echo).await.expect("connected");
    // The call has come, so its request is in flight.
    let (call, _) = sidecar.accept().await.expect("accepted");
    let drained = tokio::spawn(running.stand_in.drain());
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!slow.is_finished() && !drained.is_finished());
    drop(call);
    assert_eq!(slow.await.expect("no panic").status(), 200);
    drained.await.expect("drained");
    drop(idle);
}

#[tokio::test]
async fn it_becomes_another_without_losing_its_connections() {
    let mut running = reviews().await;
    let stream = TcpStream::connect(running.http).await.expect("connected");
    let (mut kept, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("spoken");
    tokio::spawn(connection);
    assert_eq!(kept.send_request(get("/", &[])).await.expect("answered").status(), 200);

    let mut identity = (*running.stand_in.identity.borrow().clone()).clone();
    identity.pod.version = Some("v2".into());
    let new = SocketAddr::new(running.http.ip(), 9090);
    identity.ports = BTreeMap::from([(running.http, Talk::Detect), (new, Talk::Detect)]);
    running.stand_in.update(identity).await.expect("updated");
    kept.ready().await.expect("open");
    let answer = json_of(kept.send_request(get("/", &[])).await.expect("answered")).await;
    assert_eq!(answer["version"], "v2");
    assert_eq!(send(new, get("/", &[])).await.status(), 200);
    while TcpStream::connect(running.echo).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
