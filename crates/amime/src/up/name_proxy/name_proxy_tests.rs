//! The printed proxy over real sockets; the sidecar notes the destination and answers over what follows.

use super::*;
use crate::up::machine::Network;
use crate::up::names::Answer;
use std::net::{IpAddr, Ipv4Addr};
use tokio::io::AsyncWriteExt;

const PORT: u16 = 15080;

struct Running {
    _network: Network,
    _proxy: NameProxy,
    address: SocketAddr,
    sidecar: Arc<TcpListener>,
}

async fn start() -> Running {
    let network = Network::lock().expect("a free network");
    let [a, b] = network.octets();
    let origin =
        Origin { pod_ip: IpAddr::V4(Ipv4Addr::new(a, b, 1, 1)), app_ip: IpAddr::V4(Ipv4Addr::new(a, b, 129, 1)) };
    let names = Names::new(Arc::new(|name: &str, _: &str| {
        if name == "ratings" {
            Answer::Addresses(vec!["10.9.8.7".parse().expect("an address")])
        } else {
            Answer::NoSuchName
        }
    }));
    let sidecar = Arc::new(TcpListener::bind((origin.pod_ip, 15001)).await.expect("bound"));
    let address = SocketAddr::new(origin.app_ip, PORT);
    let proxy = NameProxy::start(address, origin, "default".into(), names).await.expect("started");
    Running { _network: network, _proxy: proxy, address, sidecar }
}

/// What the sidecar read after the PROXY header, up to `end`, and the destination; it answers `answer`.
async fn sidecar(listener: Arc<TcpListener>, end: &'static [u8], answer: &'static [u8]) -> (SocketAddr, String) {
    let (mut stream, _) = listener.accept().await.expect("accepted");
    let mut header = [0; 28];
    stream.read_exact(&mut header).await.expect("a header");
    let parsed = ppp::v2::Header::try_from(&header[..]).expect("PROXY v2");
    let ppp::v2::Addresses::IPv4(to) = parsed.addresses else { panic!("not IPv4") };
    let mut read = Vec::new();
    while !read.ends_with(end) {
        read.push(stream.read_u8().await.expect("more"));
    }
    stream.write_all(answer).await.expect("written");
    ((to.destination_address, to.destination_port).into(), String::from_utf8(read).expect("text"))
}

/// Sends, closes its side, and returns all that comes back.
async fn exchange(address: SocketAddr, send: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(send).await.expect("written");
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.expect("read");
    String::from_utf8_lossy(&back).into_owned()
}

fn ratings(port: u16) -> SocketAddr {
    (Ipv4Addr::new(10, 9, 8, 7), port).into()
}

#[tokio::test]
async fn absolute_form_becomes_origin_form() {
    let running = start().await;
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let seen = tokio::spawn(sidecar(running.sidecar.clone(), b"\r\n\r\n", answer));
    let request = b"GET http://ratings:9080/r?x=1 HTTP/1.1\r\nHost: other\r\nProxy-Connection: keep-alive\r\n\
        Connection: close\r\n\r\n";
    let back = exchange(running.address, request).await;
    assert!(back.starts_with("HTTP/1.1 200 OK\r\n") && back.ends_with("\r\n\r\nok"), "{back}");
    let (destination, request) = seen.await.expect("seen");
    assert_eq!(destination, ratings(9080));
    assert!(request.starts_with("GET /r?x=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.to_lowercase().contains("\r\nhost: ratings:9080\r\n"), "{request}");
    assert!(!request.to_lowercase().contains("proxy-"), "{request}");
}

#[tokio::test]
async fn connect_is_a_tunnel() {
    let running = start().await;
    let seen = tokio::spawn(sidecar(running.sidecar.clone(), b"ping", b"pong"));
    let mut stream = TcpStream::connect(running.address).await.expect("connected");
    stream.write_all(b"CONNECT ratings:3306 HTTP/1.1\r\nHost: ratings:3306\r\n\r\n").await.expect("written");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("more"));
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "));
    stream.write_all(b"ping").await.expect("written");
    let mut back = [0; 4];
    stream.read_exact(&mut back).await.expect("read");
    assert_eq!(&back, b"pong");
    assert_eq!(seen.await.expect("seen"), (ratings(3306), "ping".into()));
}

#[tokio::test]
async fn socks_by_name_and_by_address() {
    let by_name = &b"\x05\x01\x00\x03\x07ratings\x0c\xea"[..];
    let by_address = &b"\x05\x01\x00\x01\x0a\x09\x08\x07\x0c\xea"[..];
    // Both live until the end: the second must not take the addresses that the first is leaving.
    let both = [(by_name, start().await), (by_address, start().await)];
    for (request, running) in &both {
        let seen = tokio::spawn(sidecar(running.sidecar.clone(), b"ping", b"pong"));
        let mut stream = TcpStream::connect(running.address).await.expect("connected");
        stream.write_all(b"\x05\x02\x02\x00").await.expect("written");
        let mut chosen = [0; 2];
        stream.read_exact(&mut chosen).await.expect("read");
        assert_eq!(chosen, [5, 0]);
        stream.write_all(request).await.expect("written");
        let mut reply = [0; 10];
        stream.read_exact(&mut reply).await.expect("read");
        assert_eq!(reply[..2], [5, 0]);
        stream.write_all(b"ping").await.expect("written");
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.expect("read");
        assert_eq!(&back, b"pong");
        assert_eq!(seen.await.expect("seen"), (ratings(3306), "ping".into()));
    }
}

#[tokio::test]
async fn refusals_are_spoken() {
    let running = start().await;
    let back =
        exchange(running.address, b"GET http://no-such.invalid/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(back.await.starts_with("HTTP/1.1 502 "));
    let back = exchange(running.address, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(back.starts_with("HTTP/1.1 400 ") && back.contains("http_proxy"), "{back}");
    assert_eq!(exchange(running.address, b"\x05\x01\x02").await.as_bytes()[..1], [5]);
    let back = exchange(running.address, b"\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x01").await;
    assert_eq!(back.as_bytes()[2..4], [5, COMMAND_NOT_SUPPORTED]);
}

const COMMAND_NOT_SUPPORTED: u8 = 7;
