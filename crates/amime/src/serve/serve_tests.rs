//! The server over real sockets: methods, unknown pages, the peer, the end.

use super::*;
use http::StatusCode;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

const TREE: &[Page] = &[
    Page::read("/stats", "numbers"),
    Page::read("/probe/*", "probes"),
    Page { path: "/log", methods: Methods::ReadOrPost, about: "levels" },
    Page::post("/quit", "ends"),
];

async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    answer
}

async fn ask(address: SocketAddr, method: &str, path: &str) -> String {
    exchange(address, &format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
}

async fn pages(request: Request<Incoming>) -> Answer {
    let page = match find(TREE, &request) {
        Ok(page) => page,
        Err(answer) => return *answer,
    };
    let asked = query(&request, "a").unwrap_or_default().into_owned();
    let from = request.extensions().get::<Peer>().expect("always there").0.ip();
    text(StatusCode::OK, format!("{} {asked} {from}", page.path))
}

#[tokio::test]
async fn pages_are_found_by_path_and_method() {
    let listeners = listen_local(0).await.expect("a port");
    let address = listeners[0].local_addr().expect("bound");
    let _server = http(listeners, pages);
    for (method, path, status, end) in [
        ("GET", "/stats?a=b%20c", "200 OK", "\r\n\r\n/stats b c 127.0.0.1"),
        ("HEAD", "/stats", "200 OK", "\r\n\r\n"),
        ("GET", "/probe/web/ready", "200 OK", "/probe/*  127.0.0.1"),
        ("POST", "/log", "200 OK", "/log  127.0.0.1"),
        ("POST", "/quit", "200 OK", "/quit  127.0.0.1"),
        ("GET", "/quit", "405 Method Not Allowed", "/quit is asked for by POST\n"),
        ("GET", "/probe/", "404 Not Found", "  /quit     POST: ends\n"),
        ("GET", "/statsx", "404 Not Found", "  /quit     POST: ends\n"),
    ] {
        let answer = ask(address, method, path).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.ends_with(end),
            "{method} {path}: {answer}"
        );
    }
    let refused = ask(address, "DELETE", "/stats").await;
    assert!(refused.to_ascii_lowercase().contains("allow: get, head\r\n"), "{refused}");
    let other = listen(address).await.expect_err("taken");
    assert!(other.to_string().contains(&address.to_string()), "{other}");
}

#[tokio::test]
async fn what_has_begun_is_answered_before_the_end() {
    let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (has_begun, may_go_on) = (begun.clone(), go_on.clone());
    let server = http(vec![listener], move |_| {
        let (begun, go_on) = (has_begun.clone(), may_go_on.clone());
        async move {
            begun.notify_one();
            go_on.notified().await;
            json(&["done"])
        }
    });
    let asking = tokio::spawn(async move { exchange(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await });
    begun.notified().await;
    let ended = Arc::new(AtomicBool::new(false));
    let has_ended = ended.clone();
    let finishing = tokio::spawn(async move {
        server.finish().await;
        has_ended.store(true, Ordering::SeqCst);
    });
    // The port is closed, and the request is still there.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!ended.load(Ordering::SeqCst));
    go_on.notify_one();
    let answer = asking.await.expect("no panic");
    assert!(answer.contains("200 OK") && answer.contains("\"done\""), "{answer}");
    finishing.await.expect("no panic");
}

#[tokio::test]
async fn who_comes_takes_the_place_of_who_has_been_silent_longest() {
    let listeners = listen_local(0).await.expect("a port");
    let address = listeners[0].local_addr().expect("bound");
    let limits = Limits { connections: 2, ..PAGES };
    let _server = within(limits, listeners, pages);
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(address).await.expect("connected"));
    }
    let first = tokio::time::timeout(Duration::from_secs(10), silent[0].read_u8()).await.expect("an end");
    assert!(first.is_err(), "the first has given its place to the third");
    let answer = tokio::time::timeout(Duration::from_secs(10), ask(address, "GET", "/stats")).await;
    assert!(answer.expect("an answer").starts_with("HTTP/1.1 200 OK"));
    let mut last = silent.pop().expect("the third");
    last.write_all(b"GET /stats HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("written");
    let mut answer = String::new();
    last.read_to_string(&mut answer).await.expect("read");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "the last to come has stayed: {answer}");
}

#[tokio::test]
async fn every_address_of_the_machine_is_one_socket() {
    let listener = listen_everywhere(0).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    if address.is_ipv6() {
        assert!(!socket2::SockRef::from(&listener).only_v6().expect("an IPv6 socket"));
    }
    TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).await.expect("IPv4 too");
}
