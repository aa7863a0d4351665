//! Clients and endpoints that break off or stall, and clusters that ask for what the proxy does not know: what is
//! held is let go of, and nothing half is taken for whole.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::config::*;
use amime_proxy::Flags;
use amime_testkit::client::{Http2, PATIENCE, Raw, get};
use amime_testkit::origin::{Origin as Server, Version, channel, echo, full, read_head, write};
use bytes::Bytes;
use common::*;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::{Semaphore, mpsc};

fn retried(on: &str, attempts: u32) -> Forward {
    let policy = RetryPolicy {
        on: vec![on.into()],
        attempts,
        backoff_base: Some(Duration::from_millis(1)),
        ..Default::default()
    };
    Forward { retry: Some(policy), ..to("a") }
}

/// A server that takes requests and never answers.
async fn silent() -> Server {
    Server::tcp(|mut stream| async move {
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await
}

#[tokio::test]
async fn an_upgrade_whose_client_is_gone_holds_nothing() {
    let (heads, mut seen) = mpsc::channel(1);
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let server = Server::tcp(move |mut stream| {
        let (heads, gate) = (heads.clone(), Arc::clone(&opened));
        async move {
            let head = read_head(&mut stream).await;
            if !head.contains("upgrade: websocket") {
                return write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
            heads.send(()).await.unwrap();
            gate.acquire().await.unwrap().forget();
            write(&mut stream, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                .await;
            echo(stream).await;
        }
    })
    .await;
    let mut limited = cluster("a", &[server.address]);
    limited.limits.max_requests = Some(1);
    let mut running = Running::start(http_config(vec![forward(to("a"))], [limited])).await;
    let mut client = Raw::connect(running.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    seen.recv().await.unwrap();
    // A reset, which nobody looks for while the answer is awaited: writing it fails.
    socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    gate.add_permits(1);
    assert!(running.record().await.flags.contains(Flags::DC));
    until(|| running.proxy.connections() == 0).await;
    assert_eq!(get(running.address, "a", "/").await.status, 200);
}

#[tokio::test]
async fn an_upgrade_goes_on_over_http1() {
    let server = Server::tcp(|mut stream| async move {
        let head = read_head(&mut stream).await;
        assert!(head.starts_with("GET / HTTP/1.1") && head.contains("upgrade: websocket\r\n"), "{head}");
        write(&mut stream, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        echo(stream).await;
    })
    .await;
    let http2 = Cluster { protocol: UpstreamProtocol::Http2, ..cluster("a", &[server.address]) };
    let running = Running::start(http_config(vec![forward(to("a"))], [http2])).await;
    let mut client = Raw::connect(running.address).await;
    let answer = client.get("a", "/", "Connection: upgrade\r\nUpgrade: websocket\r\n").await;
    assert_eq!(answer.status, 101);
    client.send("hello").await;
    assert_eq!(client.bytes(5).await, b"hello");
}

#[tokio::test]
async fn nothing_goes_in_the_clear_where_tls_is_wanted() {
    let server = Server::text("hello").await;
    let labelled = |name: &str, tls: Option<UpstreamTls>| TransportSocketMatch {
        name: name.into(),
        labels: vec![("tlsMode".into(), name.into())],
        tls,
        opaque: None,
    };
    let missing = UpstreamTls { validation: Some("nobody".into()), ..UpstreamTls::default() };
    let matches = vec![labelled("istio", Some(missing.clone())), labelled("disabled", None)];
    let endpoint = |label: &str| {
        let mut all = endpoints("a", &[server.address]);
        all.localities[0].endpoints[0].transport_labels = vec![("tlsMode".into(), label.into())];
        Discovery::Static(all)
    };
    let plain = || cluster("a", &[server.address]);
    let tls = Some(missing);
    let wanting = [
        Cluster { tls: tls.clone(), ..plain() },
        Cluster { transport_socket_matches: matches.clone(), discovery: endpoint("istio"), ..plain() },
        Cluster { tls: tls.clone(), transport_socket_matches: matches.clone(), ..plain() },
    ];
    for (n, cluster) in wanting.into_iter().enumerate() {
        let mut running = Running::start(http_config(vec![forward(retried("5xx", 2))], [cluster.clone()])).await;
        let answer = get(running.address, "a", "/").await;
        assert_eq!(answer.status, 503, "{n}");
        assert!(answer.body.contains("Secret is not supplied"), "{n}: {}", answer.body);
        let record = running.record().await;
        assert_eq!((record.flags, record.attempts), (Flags::UF, 1), "{n}");
        assert!(record.details.starts_with("upstream_"), "{n}: {}", record.details);

        let mut config = ProxyConfig::default();
        config.listeners.insert("test".into(), Arc::new(listener("test", ANY, vec![tcp_chain(&[("a", 1)])])));
        let mut running = Running::start(with_clusters(config, [cluster])).await;
        assert_eq!(Raw::connect(running.address).await.until_closed().await, b"", "{n}");
        assert_eq!(running.record().await.flags, Flags::UF, "{n}");
    }
    assert_eq!(server.connections(), 0);
    // The match that says plaintext wins over the cluster's own TLS.
    let allowed = Cluster { tls, transport_socket_matches: matches, discovery: endpoint("disabled"), ..plain() };
    let running = Running::start(http_config(vec![forward(to("a"))], [allowed])).await;
    assert_eq!(get(running.address, "a", "/").await.body, "hello");
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_off() {
    // Writes for as long as somebody takes it.
    let server = Server::tcp(|mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
        let _ = tokio::io::copy(&mut tokio::io::repeat(b'x'), &mut stream).await;
    })
    .await;
    let timed = Forward { timeout: Some(Duration::from_millis(100)), ..to("a") };
    // As Istio configures it: no limit on idle streams.
    let config = http_config_with(vec![forward(timed)], [cluster("a", &[server.address])], |hcm| {
        hcm.stream_idle_timeout = Some(Duration::ZERO);
    });
    let mut running = Running::start(config).await;
    let mut client = Raw::connect(running.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let record = running.record().await;
    assert_eq!((record.status, record.flags), (200, Flags::UT));
    until(|| running.proxy.connections() == 0).await;
}

#[tokio::test]
async fn a_body_that_does_not_come_times_out_whatever_the_configuration_says() {
    let server = silent().await;
    let config = http_config_with(vec![forward(to("a"))], [cluster("a", &[server.address])], |hcm| {
        hcm.stream_idle_timeout = Some(Duration::ZERO);
    });
    let limit = Duration::from_millis(100);
    let mut running = Running::start_with(config, |options| options.body_timeout = limit).await;
    let mut client = Raw::connect(running.address).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc").await;
    assert_eq!(client.answer(false).await.unwrap().status, 408);
    assert_eq!(running.record().await.flags, Flags::SI);
}

#[tokio::test]
async fn an_injected_delay_is_not_the_routes_time() {
    let server = Server::text("hello").await;
    let mut delayed = forward(Forward { timeout: Some(Duration::from_millis(500)), ..to("a") });
    delayed.fault = Some(Fault { delay: Some((PerMillion::ALL, Duration::from_millis(700))), abort: None });
    let running = Running::start(http_config(vec![delayed], [cluster("a", &[server.address])])).await;
    assert_eq!(get(running.address, "a", "/").await.status, 200);
}

#[tokio::test]
async fn a_request_under_way_outlives_its_cluster() {
    let server = Server::text("hello").await;
    let mut delayed = forward(to("a"));
    delayed.fault = Some(Fault { delay: Some((PerMillion::ALL, Duration::from_millis(300))), abort: None });
    let now = at("/now", forward(to("none")));
    let config = http_config(vec![now, delayed], [cluster("a", &[server.address])]);
    let running = Running::start(config.clone()).await;
    let mut client = Http2::connect(running.address).await;
    let mut other = client.clone();
    let mut waiting = std::pin::pin!(client.get("a", "/"));
    let begun = std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_pending()));
    assert!(begun.await);
    // Streams are begun in order: once this one is answered, the other's delay has begun.
    assert_eq!(other.get("a", "/now").await.0, 503);
    let without = ProxyConfig { clusters: Default::default(), ..config };
    running.proxy.apply(without).await.unwrap();
    let (status, _, body) = waiting.await;
    assert_eq!((status, body.as_str()), (200, "hello"));
}

#[tokio::test]
async fn each_try_sees_the_endpoints_of_now() {
    let good = Server::text("good").await;
    let nobody = std::net::TcpListener::bind(ANY).unwrap().local_addr().unwrap();
    let mut patient = retried("connect-failure", 2);
    if let Some(policy) = &mut patient.retry {
        policy.backoff_base = Some(Duration::from_millis(400));
    }
    let config = http_config(vec![forward(patient)], [cluster("a", &[nobody])]);
    let running = Running::start(config.clone()).await;
    let address = running.address;
    let waiting = tokio::spawn(async move { get(address, "a", "/").await });
    until(|| running.proxy.connections() == 1).await;
    running.proxy.apply(with_clusters(config, [cluster("a", &[good.address])])).await.unwrap();
    assert_eq!(waiting.await.unwrap().body, "good");
}

#[tokio::test]
async fn retries_of_one_request_count_one_at_a_time() {
    let server =
        Server::http(Version::Http1, |_| async { Response::builder().status(503).body(full("")).unwrap() }).await;
    let mut limited = cluster("a", &[server.address]);
    limited.limits.max_retries = Some(1);
    let mut running = Running::start(http_config(vec![forward(retried("5xx", 3))], [limited])).await;
    assert_eq!(get(running.address, "a", "/").await.status, 503);
    assert_eq!((server.requests(), running.record().await.flags), (4, Flags::URX));
}

#[tokio::test]
async fn what_failed_last_is_told_with_the_retries_before() {
    let nobody = std::net::TcpListener::bind(ANY).unwrap().local_addr().unwrap();
    let config = http_config(vec![forward(retried("connect-failure", 1))], [cluster("a", &[nobody])]);
    let running = Running::start(config).await;
    let answer = get(running.address, "a", "/").await;
    assert_eq!(
        answer.body,
        "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: \
         remote connection failure"
    );
    assert_eq!(answer.header("x-envoy-overloaded"), None);
    let mut closed = cluster("a", &[nobody]);
    closed.limits.max_requests = Some(0);
    let running = Running::start(http_config(vec![forward(to("a"))], [closed])).await;
    let answer = get(running.address, "a", "/").await;
    assert_eq!((answer.status, answer.header("x-envoy-overloaded")), (503, Some("true")));
    assert!(answer.body.ends_with("before headers. reset reason: overflow"), "{}", answer.body);
}

#[tokio::test]
async fn a_stream_that_a_goaway_leaves_out_is_tried_again() {
    let connections = Arc::new(AtomicUsize::new(0));
    let server = Server::tcp(move |stream| {
        let first = connections.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                refuse_by_goaway(stream).await;
                return;
            }
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                respond.send_response(Response::new(()), true).unwrap();
            }
        }
    })
    .await;
    let http2 = Cluster { protocol: UpstreamProtocol::Http2, ..cluster("a", &[server.address]) };
    let running = Running::start(http_config(vec![forward(retried("refused-stream", 1))], [http2])).await;
    assert_eq!(get(running.address, "a", "/").await.status, 200);
    assert_eq!(server.connections(), 2);
}

/// Says, by hand, that no stream was processed, and stays open.
async fn refuse_by_goaway(mut stream: tokio::net::TcpStream) {
    // SETTINGS.
    write(&mut stream, [0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        // HEADERS: GOAWAY with last stream 0 and NO_ERROR.
        if head[3] == 1 {
            write(&mut stream, [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await;
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            return;
        }
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_not_the_endpoints_fault() {
    for (version, protocol) in [(Version::Http1, UpstreamProtocol::Http1), (Version::Http2, UpstreamProtocol::Http2)] {
        let server = Server::http(version, |request: Request<Incoming>| async move {
            let _ = request.into_body().collect().await;
            Response::new(full("hello"))
        })
        .await;
        let mut detecting = Cluster { protocol, ..cluster("a", &[server.address]) };
        detecting.outlier = Some(OutlierDetection {
            consecutive_5xx: Some(1),
            base_ejection: Some(Duration::from_secs(60)),
            max_ejection_percent: Some(100),
            ..Default::default()
        });
        detecting.panic_threshold = Some(0);
        let mut running = Running::start(http_config(vec![forward(to("a"))], [detecting])).await;
        let mut client = Http2::connect(running.address).await;
        let (sender, body) = channel();
        let sending = tokio::spawn(async move {
            let _ = client.send(Request::post("http://a/").body(body).unwrap()).await;
        });
        sender.send(Frame::data(Bytes::from_static(b"half"))).await.unwrap();
        until(|| server.requests() == 1).await;
        sending.abort();
        drop(sending.await);
        drop(sender);
        let record = running.record().await;
        assert_eq!(record.flags, Flags::DC, "{version:?} {}", record.details);
        assert_eq!(get(running.address, "a", "/").await.status, 200, "{version:?}");
    }
}

#[tokio::test]
async fn half_an_upload_is_not_mirrored_as_a_whole_one() {
    let real = silent().await;
    let (told, mut ended) = mpsc::channel(1);
    let shadow = Server::http(Version::Http1, move |request: Request<Incoming>| {
        let told = told.clone();
        async move {
            let whole = request.into_body().collect().await.is_ok();
            told.send(whole).await.unwrap();
            Response::new(full(""))
        }
    })
    .await;
    let mirrored = Forward { mirrors: vec![Mirror { cluster: "shadow".into(), share: PerMillion::ALL }], ..to("a") };
    let clusters = [cluster("a", &[real.address]), cluster("shadow", &[shadow.address])];
    let running = Running::start(http_config(vec![forward(mirrored)], clusters)).await;
    let mut client = Raw::connect(running.address).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    until(|| shadow.requests() == 1).await;
    drop(client);
    assert!(!tokio::time::timeout(PATIENCE, ended.recv()).await.unwrap().unwrap());
}

#[tokio::test]
async fn many_small_parts_of_a_body_count_for_what_they_cost() {
    let server = Server::http(Version::Http1, |request: Request<Incoming>| async move {
        let _ = request.into_body().collect().await;
        Response::builder().status(503).body(full("")).unwrap()
    })
    .await;
    let running =
        Running::start(http_config(vec![forward(retried("5xx", 2))], [cluster("a", &[server.address])])).await;
    for (parts, requests) in [(10, 3), (20_000, 1)] {
        let before = server.requests();
        let mut client = Raw::connect(running.address).await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        client.send("1\r\nx\r\n".repeat(parts)).await;
        client.send("0\r\n\r\n").await;
        assert_eq!(client.answer(false).await.unwrap().status, 503);
        assert_eq!(server.requests() - before, requests, "{parts} parts");
    }
}
