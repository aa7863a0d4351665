//! Bodies and protocols that stream: gRPC with trailers, WebSocket, bodies both ways at once, 100-continue, HEAD.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::config::*;
use amime_proxy::Flags;
use amime_testkit::client::{Http2, Raw, get, text};
use amime_testkit::origin::{Origin as Server, Version, channel, full, read_head, write};
use bytes::Bytes;
use common::*;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn http2_cluster(name: &str, server: &Server) -> Cluster {
    Cluster { protocol: UpstreamProtocol::Http2, ..cluster(name, &[server.address]) }
}

fn trailers(status: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static(status))])
}

#[tokio::test]
async fn grpc_streams_both_ways_and_ends_with_trailers() {
    // Echoes each message as it comes, then says how it went.
    let server = Server::http(Version::Http2, |mut request: Request<Incoming>| async move {
        assert_eq!(request.headers()["te"], "trailers");
        let (sender, body) = channel();
        tokio::spawn(async move {
            while let Some(Ok(frame)) = request.body_mut().frame().await {
                if let Ok(data) = frame.into_data() {
                    sender.send(Frame::data(data)).await.unwrap();
                }
            }
            sender.send(Frame::trailers(trailers("0"))).await.unwrap();
        });
        Response::builder().header("content-type", "application/grpc").body(body).unwrap()
    })
    .await;
    let mut running = Running::start(http_config(vec![forward(to("a"))], [http2_cluster("a", &server)])).await;
    let mut client = Http2::connect(running.address).await;
    let (sender, body) = channel();
    let request = Request::post("http://a/x.Y/Z")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    let response = client.send(request).await.unwrap();
    let mut answer = response.into_body();
    for message in ["one", "two"] {
        sender.send(Frame::data(Bytes::from_static(message.as_bytes()))).await.unwrap();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), message);
    }
    drop(sender);
    let (rest, trailers) = text(answer).await;
    assert_eq!((rest.as_str(), trailers.unwrap()["grpc-status"].to_str().unwrap()), ("", "0"));
    let record = running.record().await;
    assert_eq!((record.grpc_status, record.bytes_received, record.bytes_sent), (Some(0), 6, 6));
}

#[tokio::test]
async fn the_proxys_own_answers_to_grpc_speak_grpc() {
    let running = Running::start(http_config(vec![forward(to("empty"))], [cluster("empty", &[])])).await;
    let mut client = Http2::connect(running.address).await;
    let request = Request::post("http://a/x.Y/Z").header("content-type", "application/grpc").body(full("")).unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!((response.status(), response.headers()["grpc-status"].to_str().unwrap()), (http::StatusCode::OK, "14"));
    assert_eq!(response.headers()["grpc-message"], "no healthy upstream");
}

#[tokio::test]
async fn grpc_failures_are_retried_by_their_status() {
    let server = Server::http(Version::Http2, |_: Request<Incoming>| async move {
        use std::sync::atomic::{AtomicU32, Ordering};
        static TRIES: AtomicU32 = AtomicU32::new(0);
        let status = if TRIES.fetch_add(1, Ordering::SeqCst) == 0 { "14" } else { "0" };
        let response = Response::builder().header("content-type", "application/grpc").header("grpc-status", status);
        response.body(full("")).unwrap()
    })
    .await;
    let retried = Forward {
        retry: Some(RetryPolicy { on: vec!["unavailable".into()], attempts: 2, ..Default::default() }),
        ..to("a")
    };
    let running = Running::start(http_config(vec![forward(retried)], [http2_cluster("a", &server)])).await;
    let mut client = Http2::connect(running.address).await;
    let request = Request::post("http://a/x.Y/Z").header("content-type", "application/grpc").body(full("")).unwrap();
    assert_eq!(client.send(request).await.unwrap().headers()["grpc-status"], "0");
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn many_streams_share_one_upstream_connection() {
    let server = Server::http(Version::Http2, |_| async { Response::new(full("hello")) }).await;
    let running = Running::start(http_config(vec![forward(to("a"))], [http2_cluster("a", &server)])).await;
    let client = Http2::connect(running.address).await;
    let all = (0..50).map(|_| {
        let mut client = client.clone();
        async move { client.get("a", "/").await.2 }
    });
    assert!(futures_util::future::join_all(all).await.iter().all(|text| text == "hello"));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn websockets_become_tunnels() {
    let server = Server::tcp(|mut stream| async move {
        let head = read_head(&mut stream).await;
        assert!(head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
        write(&mut stream, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nearly").await;
        amime_testkit::origin::echo(stream).await;
    })
    .await;
    let mut running = Running::start(http_config(vec![forward(to("a"))], [cluster("a", &[server.address])])).await;
    let mut client = Raw::connect(running.address).await;
    // The client does not wait for the answer.
    client
        .send("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n\x01\x02")
        .await;
    let answer = client.answer(false).await.unwrap();
    assert_eq!(
        (answer.status, answer.header("upgrade"), answer.header("sec-websocket-accept")),
        (101, Some("websocket"), Some("x"))
    );
    assert_eq!(client.bytes(7).await, b"early\x01\x02");
    client.send("GET / not HTTP").await;
    assert_eq!(client.bytes(14).await, b"GET / not HTTP");
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.until_closed().await, b"");
    let record = running.record().await;
    assert_eq!((record.status, record.bytes_received, record.bytes_sent), (101, 16, 21));
}

#[tokio::test]
async fn a_tunnel_is_one_of_the_clusters_connections() {
    let server = Server::tcp(|mut stream| async move {
        if read_head(&mut stream).await.contains("upgrade: websocket") {
            let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            write(&mut stream, head).await;
            return amime_testkit::origin::echo(stream).await;
        }
        write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
    })
    .await;
    let mut limited = cluster("a", &[server.address]);
    limited.limits.max_connections = Some(1);
    let running = Running::start(http_config(vec![forward(to("a"))], [limited])).await;
    let mut tunnel = Raw::connect(running.address).await;
    assert_eq!(tunnel.get("a", "/", "Connection: upgrade\r\nUpgrade: websocket\r\n").await.status, 101);
    tunnel.send("x").await;
    assert_eq!(tunnel.bytes(1).await, b"x");
    let usage = async || running.proxy.clusters().await[0].usage;
    assert_eq!(usage().await.connections, 1);
    let address = running.address;
    let waiting = tokio::spawn(async move { get(address, "a", "/").await });
    let waits = async {
        while usage().await.pending != 1 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(amime_testkit::client::PATIENCE, waits).await.expect("the request to wait");
    drop(tunnel);
    assert_eq!(waiting.await.unwrap().body, "hello");
}

#[tokio::test]
async fn an_upgrade_that_the_upstream_declines_is_a_plain_answer() {
    let server = Server::text("no").await;
    let running = Running::start(http_config(vec![forward(to("a"))], [cluster("a", &[server.address])])).await;
    let mut client = Raw::connect(running.address).await;
    let answer = client.get("a", "/", "Connection: upgrade\r\nUpgrade: websocket\r\n").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "no"));
    assert_eq!(client.get("a", "/", "").await.status, 200);
    // To HTTP/2 in plaintext nobody is upgraded; the request is served.
    assert_eq!(client.get("a", "/", "Connection: upgrade\r\nUpgrade: h2c\r\n").await.status, 200);
}

#[tokio::test]
async fn bodies_stream_through_as_they_come() {
    let (frames, body) = channel();
    let body = std::sync::Mutex::new(Some(body));
    let server = Server::http(Version::Http1, move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Response::new(body) }
    })
    .await;
    let running = Running::start(http_config(vec![forward(to("a"))], [cluster("a", &[server.address])])).await;
    let mut client = Raw::connect(running.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    frames.send(Frame::data(Bytes::from_static(b"first"))).await.unwrap();
    // The first part is here while the second is not written yet.
    let head = read_head(&mut client.stream).await;
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    assert_eq!(client.bytes(10).await, b"5\r\nfirst\r\n");
    frames.send(Frame::data(Bytes::from_static(b"second"))).await.unwrap();
    assert_eq!(client.bytes(11).await, b"6\r\nsecond\r\n");
    drop(frames);
    assert_eq!(client.bytes(5).await, b"0\r\n\r\n");
}

#[tokio::test]
async fn an_early_answer_ends_the_request() {
    let server = Server::tcp(|mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let running = Running::start(http_config(vec![forward(to("a"))], [cluster("a", &[server.address])])).await;
    let mut client = Raw::connect(running.address).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc").await;
    let answer = client.answer(false).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (413, "no"));
}

#[tokio::test]
async fn expect_is_answered_here_and_not_sent_on() {
    let server = Server::http(Version::Http1, |request: Request<Incoming>| async move {
        assert!(!request.headers().contains_key("expect"));
        Response::new(full(text(request.into_body()).await.0))
    })
    .await;
    let running = Running::start(http_config(vec![forward(to("a"))], [cluster("a", &[server.address])])).await;
    let mut client = Raw::connect(running.address).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").await;
    assert_eq!(client.answer(false).await.unwrap().status, 100);
    client.send("hello").await;
    let answer = client.answer(false).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
}

#[tokio::test]
async fn answers_without_a_body_keep_their_length() {
    let server = Server::tcp(|mut stream| async move {
        loop {
            let head = read_head(&mut stream).await;
            let answer = match head.split(' ').next() {
                Some("HEAD") => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
                Some("DELETE") => "HTTP/1.1 204 No Content\r\n\r\n",
                Some("GET") => "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\netag: \"x\"\r\n\r\n",
                _ => return,
            };
            write(&mut stream, answer).await;
        }
    })
    .await;
    let mut running = Running::start(http_config(vec![forward(to("a"))], [cluster("a", &[server.address])])).await;
    let mut client = Raw::connect(running.address).await;
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.answer(true).await.unwrap().header("content-length"), Some("1234"));
        client.send("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.answer(false).await.unwrap().status, 204);
        assert_eq!(client.get("a", "/", "").await.status, 304);
    }
    for _ in 0..6 {
        assert_eq!(running.record().await.flags, Flags::NONE);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn large_bodies_cross_in_every_mix() {
    for (version, protocol) in [(Version::Http1, UpstreamProtocol::Http1), (Version::Http2, UpstreamProtocol::Http2)] {
        let server = Server::http(version, |request: Request<Incoming>| async move {
            Response::new(request.into_body().map_err(|_| unreachable!()).boxed())
        })
        .await;
        let cluster = Cluster { protocol, ..cluster("a", &[server.address]) };
        let running = Running::start(http_config(vec![forward(to("a"))], [cluster])).await;
        let body: String = (0..300_000).map(|i| format!("{i:07} ")).collect();
        let mut client = Http2::connect(running.address).await;
        let response = client.send(Request::post("http://a/").body(full(body.clone())).unwrap()).await.unwrap();
        assert!(text(response.into_body()).await.0 == body, "{version:?} from HTTP/2");
        let mut client = Raw::connect(running.address).await;
        let (mut reader, mut writer) = client.stream.split();
        let request =
            format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let mut answer = String::new();
        let (sent, read) = tokio::join!(writer.write_all(request.as_bytes()), reader.read_to_string(&mut answer));
        sent.unwrap();
        read.unwrap();
        assert!(answer.len() > body.len(), "{version:?} from HTTP/1: {}", answer.len());
    }
}

#[tokio::test]
async fn a_request_without_a_length_reaches_http1_in_chunks() {
    let server = Server::http(Version::Http1, |request: Request<Incoming>| async move {
        let coding = request.headers().get("transfer-encoding").cloned();
        let body = text(request.into_body()).await.0;
        Response::new(full(format!("{coding:?} {body}")))
    })
    .await;
    let running = Running::start(http_config(vec![forward(to("a"))], [cluster("a", &[server.address])])).await;
    for method in ["GET", "POST"] {
        let mut client = Http2::connect(running.address).await;
        let (sender, body) = channel();
        let request = Request::builder().method(method).uri("http://a/").body(body).unwrap();
        let sending = client.send(request);
        let feeding = async {
            sender.send(Frame::data(Bytes::from_static(b"hello"))).await.unwrap();
            drop(sender);
        };
        let (response, ()) = tokio::join!(sending, feeding);
        assert_eq!(text(response.unwrap().into_body()).await.0, "Some(\"chunked\") hello", "{method}");
    }
    assert_eq!(get(running.address, "a", "/").await.body, "None ");
}

#[tokio::test]
async fn a_busy_stream_outlives_the_idle_time() {
    let (frames, body) = channel();
    let body = std::sync::Mutex::new(Some(body));
    let server = Server::http(Version::Http2, move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Response::new(body) }
    })
    .await;
    let config = http_config_with(vec![forward(to("a"))], [http2_cluster("a", &server)], |hcm| {
        hcm.stream_idle_timeout = Some(std::time::Duration::from_millis(400));
    });
    let running = Running::start(config).await;
    let mut client = Http2::connect(running.address).await;
    let response = client.send(Request::get("http://a/").body(full("")).unwrap()).await.unwrap();
    let mut answer = response.into_body();
    // Longer than the idle time and the second that a connection gets beyond it, without a pause.
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_millis(1800) {
        frames.send(Frame::data(Bytes::from_static(b"x"))).await.unwrap();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
    }
    drop(frames);
    assert_eq!(text(answer).await.0, "");
}

#[tokio::test]
async fn idle_http2_connections_upstream_are_closed() {
    let ended = std::sync::Arc::new(tokio::sync::Notify::new());
    let told = ended.clone();
    let server = Server::tcp(move |stream| {
        let told = told.clone();
        async move {
            let service = hyper::service::service_fn(|_: Request<Incoming>| async {
                Ok::<_, std::convert::Infallible>(Response::new(full("hello")))
            });
            let builder = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
            let _ = builder.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await;
            told.notify_one();
        }
    })
    .await;
    let mut cluster = http2_cluster("a", &server);
    cluster.idle_timeout = Some(std::time::Duration::from_millis(50));
    let running = Running::start(http_config(vec![forward(to("a"))], [cluster])).await;
    assert_eq!(get(running.address, "a", "/").await.body, "hello");
    tokio::time::timeout(amime_testkit::client::PATIENCE, ended.notified()).await.expect("the connection to close");
    assert_eq!(get(running.address, "a", "/").await.body, "hello");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_tunnel_whose_client_went_away_leaves_nothing() {
    let server = Server::tcp(|mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let mut running = Running::start(http_config(vec![forward(to("a"))], [cluster("a", &[server.address])])).await;
    for _ in 0..20 {
        let mut client = Raw::connect(running.address).await;
        client.send("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
        // Gone without waiting for the answer, by a reset.
        socket2::SockRef::from(&client.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(client);
    }
    for _ in 0..20 {
        // Each leaves its record, so nothing holds on to it.
        running.record().await;
    }
}
