//! `--replace`: a process of the user's own as a workload of the mesh, in both directions.

mod common;

use common::{Mesh, Start, example, exchange};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

const HOST: &str = "shop.example.com";
const JASON: [(&str, &str); 2] = [("x-amime-call", "http://reviews:9080/reviews/1"), ("end-user", "jason")];

/// The user's own reviews: answers every connection with one JSON object.
fn own_reviews() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                    head.extend(byte);
                }
                let body = "{\"workload\":\"my own\"}";
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                // The sidecar may have gone away.
                let _ = stream.write_all(answer.as_bytes());
            });
        }
    });
    address
}

fn proxy_of(mesh: &Mesh) -> SocketAddr {
    let line = mesh.wait_output(0, "http_proxy=http://");
    let address = line.split("http_proxy=http://").nth(1).expect("an address");
    address.split([' ', '/', '"']).next().expect("an address").parse().expect("an address")
}

#[test]
fn a_process_takes_the_place_of_a_workload() {
    let target = own_reviews();
    let mesh = Start::new().arg(example("shop")).arg("--replace").arg(format!("shop/reviews-v2={target}")).ready();
    let answer = mesh.get(HOST, "/", &JASON);
    assert_eq!(answer.called()["workload"], "my own");

    let output = mesh.output();
    let proxy = proxy_of(&mesh);
    assert!(output.contains(&format!("HTTP_PROXY=http://{proxy}")), "{output}");
    assert!(output.contains(&format!("-Dhttp.proxyHost={}", proxy.ip())), "{output}");

    // By the proxy it is reviews-v2: names are those of its namespace, and the live line tells who asked.
    let from = mesh.output().len();
    let answer =
        exchange(proxy, b"GET http://ratings:9080/own HTTP/1.1\r\nhost: ratings:9080\r\nconnection: close\r\n\r\n");
    assert_eq!(answer.expect("answered").workload(), "ratings-v1");
    let line = mesh.wait_output(from, "ratings:9080/own");
    assert!(line.contains("shop/reviews-v2") && line.contains("VirtualService shop/ratings"), "{line}");

    let mut tunnel = TcpStream::connect(proxy).expect("connected");
    tunnel.write_all(b"CONNECT ratings:9080 HTTP/1.1\r\nhost: ratings:9080\r\n\r\n").expect("written");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        tunnel.read_exact(&mut byte).expect("an answer");
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 200"));
    assert!(ask(tunnel).contains("ratings-v1"));

    let mut socks = TcpStream::connect(proxy).expect("connected");
    socks.write_all(b"\x05\x01\x00\x05\x01\x00\x03\x0cratings.shop\x23\x78").expect("written");
    let mut reply = [0; 12];
    socks.read_exact(&mut reply).expect("a reply");
    assert_eq!((reply[1], reply[3]), (0, 0));
    assert!(ask(socks).contains("ratings-v1"));
}

fn ask(mut stream: TcpStream) -> String {
    stream.write_all(b"GET /x HTTP/1.1\r\nhost: ratings:9080\r\nconnection: close\r\n\r\n").expect("written");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("read");
    text
}

#[test]
fn a_process_that_is_not_there_is_a_503_and_a_line_that_says_so() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let mesh = Start::new().arg(example("shop")).arg("--replace").arg(format!("shop/reviews-v2={closed}")).ready();
    let called = mesh.get(HOST, "/", &JASON).called();
    assert_eq!(called["status"], Value::from(503));
    mesh.wait_output(0, "503 UF");
}

#[test]
fn a_workload_that_does_not_exist_is_named() {
    let start = Start::new().arg(example("shop")).args(["--replace", "shop/revews-v2=127.0.0.1:1"]);
    let (code, output) = start.run();
    assert_eq!(code, 2, "{output}");
    assert!(output.contains("shop/revews-v2") && output.contains("shop/reviews-v2"), "{output}");
}
