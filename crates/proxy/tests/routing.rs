//! What a route does with a request: redirects, answers, faults, rewrites, header edits, weights, CORS, mirrors.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::config::*;
use amime_proxy::Flags;
use amime_testkit::client::{Raw, get};
use amime_testkit::origin::{Origin as Server, Version, full};
use common::*;
use http::Response;
use hyper::body::Incoming;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A server that tells what it got: the request line, then the headers.
async fn mirror() -> Server {
    Server::http(Version::Http1, |request: http::Request<Incoming>| async move {
        let mut text = format!("{} {}\n", request.method(), request.uri());
        for (name, value) in request.headers() {
            text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
        }
        Response::builder().header("x-upstream", "1").header("server", "own").body(full(text)).unwrap()
    })
    .await
}

async fn with_routes(table: Vec<Route>) -> (Server, Running) {
    let origin = mirror().await;
    let running = Running::start(http_config(table, [cluster("a", &[origin.address])])).await;
    (origin, running)
}

#[tokio::test]
async fn answers_without_an_upstream() {
    let redirect = route(RouteAction::Redirect(Redirect {
        status: 302,
        authority: Some("new.example".into()),
        path: RedirectPath::Full("/there".into()),
        ..Default::default()
    }));
    let direct = route(RouteAction::Respond(DirectResponse { status: 418, body: b"teapot".to_vec() }));
    let mut edited = direct.clone();
    edited.response_headers.set.push(("x-added".into(), "%PROTOCOL% %RESPONSE_CODE%".into()));
    let (_origin, mut running) = with_routes(vec![
        at("/moved", redirect),
        at("/tea", direct),
        at("/edited", edited),
        at("/up", forward(to("a"))),
    ])
    .await;
    let answer = get(running.address, "a", "/moved/x").await;
    assert_eq!((answer.status, answer.header("location")), (302, Some("http://new.example/there")));
    assert_eq!(running.record().await.flags, Flags::NONE);
    let answer = get(running.address, "a", "/tea").await;
    assert_eq!((answer.status, answer.body.as_str()), (418, "teapot"));
    assert_eq!(get(running.address, "a", "/edited").await.header("x-added"), Some("HTTP/1.1 418"));
    let answer = get(running.address, "a", "/none").await;
    assert_eq!((answer.status, answer.body.as_str(), answer.header("server")), (404, "", Some("istio-envoy")));
    running.record().await;
    running.record().await;
    let record = running.record().await;
    assert_eq!((record.flags, record.details), (Flags::NR, "route_not_found"));
}

#[tokio::test]
async fn missing_clusters_and_hosts() {
    let origin = mirror().await;
    let table = vec![at("/nc", forward(to("nowhere"))), at("/uh", forward(to("empty")))];
    let mut running =
        Running::start(http_config(table, [cluster("empty", &[]), cluster("a", &[origin.address])])).await;
    for (path, flag, body) in [("/nc", Flags::NC, ""), ("/uh", Flags::UH, "no healthy upstream")] {
        let answer = get(running.address, "a", path).await;
        assert_eq!((answer.status, answer.body.as_str()), (503, body), "{path}");
        assert_eq!(running.record().await.flags, flag, "{path}");
    }
}

#[tokio::test]
async fn the_flag_header_is_for_the_own_workload() {
    let lying = Server::http(Version::Http1, |_| async {
        Response::builder().header("x-amime-flag", "UH").body(full("")).unwrap()
    })
    .await;
    for (direction, expected) in [(Direction::Outbound, Some("NC")), (Direction::Inbound, None)] {
        let table = vec![at("/nc", forward(to("nowhere"))), at("/up", forward(to("a")))];
        let mut config = http_config(table, [cluster("a", &[lying.address])]);
        let mut listener = (*config.listeners["test"]).clone();
        listener.direction = direction;
        config.listeners.insert("test".into(), std::sync::Arc::new(listener));
        let running = Running::start_with(config, |options| options.flag_header = true).await;
        assert_eq!(get(running.address, "a", "/nc").await.header("x-amime-flag"), expected);
        assert_eq!(get(running.address, "a", "/up").await.header("x-amime-flag"), None);
    }
}

#[tokio::test]
async fn rewrites_and_edits_reach_the_upstream() {
    let mut edited = forward(Forward {
        rewrite: PathRewrite::Prefix("/new".into()),
        host_rewrite: Some("inner.example".into()),
        ..to("a")
    });
    edited.request_headers = HeaderEdits {
        remove: vec!["x-gone".into()],
        set: vec![("x-set".into(), "was %REQ(X-Set)% from %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%".into())],
        add: vec![("x-more".into(), "2".into())],
    };
    edited.response_headers = HeaderEdits {
        remove: vec!["x-upstream".into()],
        set: vec![("x-path".into(), "%REQ(:path)%".into())],
        add: Vec::new(),
    };
    let (_origin, running) = with_routes(vec![at("/old", edited)]).await;
    let mut client = Raw::connect(running.address).await;
    let answer = client
        .get("shop", "/old/x?y=1", "x-gone: 1\r\nX-Set: me\r\nx-more: 1\r\nConnection: x-hop\r\nx-hop: 1\r\n")
        .await;
    let lines: Vec<&str> = answer.body.lines().collect();
    assert_eq!(lines[0], "GET /new/x?y=1");
    for expected in [
        "host: inner.example",
        "x-set: was me from 127.0.0.1",
        "x-more: 1",
        "x-more: 2",
        "x-envoy-original-path: /old/x?y=1",
        "x-forwarded-proto: http",
    ] {
        assert!(lines.contains(&expected), "{expected} in {lines:?}");
    }
    assert!(lines.iter().any(|line| line.starts_with("x-request-id: ") && line.len() == 50), "{lines:?}");
    assert!(!lines.iter().any(|line| line.starts_with("x-gone") || line.starts_with("x-hop")), "{lines:?}");
    assert_eq!(answer.header("x-upstream"), None);
    assert_eq!(answer.header("x-path"), Some("/old/x?y=1"));
    assert_eq!(answer.header("server"), Some("istio-envoy"));
}

#[tokio::test]
async fn paths_are_normalised_before_they_are_matched() {
    let (_origin, running) = with_routes(vec![at("/b", forward(to("a")))]).await;
    let answer = get(running.address, "a", "/a/%2e%2E/b?x=/../y").await;
    assert_eq!(answer.body.lines().next(), Some("GET /b?x=/../y"));
}

#[tokio::test]
async fn the_edge_says_where_a_request_came_from() {
    let origin = mirror().await;
    for (edge, sent, forwarded, id_kept) in [
        (true, "x-forwarded-for: 1.2.3.4\r\n", "1.2.3.4,127.0.0.1", false),
        (false, "x-forwarded-for: 1.2.3.4\r\n", "1.2.3.4", true),
    ] {
        let config = http_config_with(vec![forward(to("a"))], [cluster("a", &[origin.address])], |hcm| {
            hcm.use_remote_address = edge;
        });
        let running = Running::start(config).await;
        let answer = Raw::connect(running.address)
            .await
            .get("a", "/", &format!("{sent}x-forwarded-proto: https\r\nx-request-id: mine\r\n"))
            .await;
        assert!(answer.body.contains(&format!("x-forwarded-for: {forwarded}\n")), "{}", answer.body);
        let scheme = if edge { "http" } else { "https" };
        assert!(answer.body.contains(&format!("x-forwarded-proto: {scheme}\n")), "{}", answer.body);
        assert_eq!(answer.body.contains("x-request-id: mine\n"), id_kept, "{}", answer.body);
    }
}

#[tokio::test]
async fn no_client_steers_a_proxy() {
    let origin = mirror().await;
    for edge in [true, false] {
        let config = http_config_with(vec![forward(to("a"))], [cluster("a", &[origin.address])], |hcm| {
            hcm.use_remote_address = edge;
        });
        let running = Running::start(config).await;
        let sent = "x-envoy-retry-on: 5xx\r\nx-envoy-upstream-rq-timeout-ms: 1\r\nx-envoy-internal: true\r\nx-envoy-original-path: /\r\n\
                    x-forwarded-client-cert: URI=spiffe://a\r\nx-envoy-mine: 1\r\n";
        let body = Raw::connect(running.address).await.get("a", "/", sent).await.body;
        for gone in
            ["x-envoy-retry-on", "x-envoy-upstream-rq-timeout-ms", "x-envoy-internal", "x-forwarded-client-cert"]
        {
            assert!(!body.contains(gone), "{gone} in {body}");
        }
        assert!(body.contains("x-envoy-mine: 1\n"), "{body}");
        assert_eq!(body.contains("x-envoy-original-path"), !edge, "{body}");
    }
}

#[tokio::test]
async fn faults_delay_and_abort() {
    let delay = (PerMillion::ALL, Duration::from_millis(60));
    let mut delayed = forward(to("a"));
    delayed.fault = Some(Fault { delay: Some(delay), abort: None });
    let mut aborted = forward(to("a"));
    aborted.fault = Some(Fault { delay: Some(delay), abort: Some((PerMillion::ALL, Abort::Http(555))) });
    let mut grpc = forward(to("a"));
    grpc.fault = Some(Fault { delay: None, abort: Some((PerMillion::ALL, Abort::Grpc(7))) });
    let mut never = forward(to("a"));
    never.fault = Some(Fault { delay: None, abort: Some((PerMillion(0), Abort::Http(500))) });
    let (origin, mut running) =
        with_routes(vec![at("/delay", delayed), at("/abort", aborted), at("/grpc", grpc), at("/never", never)]).await;
    let begun = Instant::now();
    assert_eq!(get(running.address, "a", "/delay").await.status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(60));
    assert_eq!(running.record().await.flags, Flags::DI);
    let answer = get(running.address, "a", "/abort").await;
    assert_eq!((answer.status, answer.body.as_str()), (555, "fault filter abort"));
    assert_eq!(running.record().await.flags, Flags::DI.with(Flags::FI));
    let answer = Raw::connect(running.address).await.get("a", "/grpc", "content-type: application/grpc\r\n").await;
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("7")));
    assert_eq!(get(running.address, "a", "/never").await.status, 200);
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn weights_share_the_requests() {
    let (a, b) = (Server::text("a").await, Server::text("b").await);
    let mut weighted = to("a");
    weighted.clusters = vec![
        WeightedCluster { name: "a".into(), weight: 80, ..Default::default() },
        WeightedCluster {
            name: "b".into(),
            weight: 20,
            response_headers: HeaderEdits { set: vec![("x-b".into(), "1".into())], ..Default::default() },
            ..Default::default()
        },
    ];
    let running =
        Running::start(http_config(vec![forward(weighted)], [cluster("a", &[a.address]), cluster("b", &[b.address])]))
            .await;
    let mut client = Raw::connect(running.address).await;
    let mut seen: HashMap<String, u32> = HashMap::new();
    for _ in 0..1_000 {
        let answer = client.get("a", "/", "").await;
        assert_eq!(answer.header("x-b").is_some(), answer.body == "b");
        *seen.entry(answer.body).or_default() += 1;
    }
    assert!((700..900).contains(&seen["a"]), "{seen:?}");
}

#[tokio::test]
async fn cors_answers_preflights() {
    let mut route = forward(to("a"));
    route.cors = Some(Cors {
        allow_origins: vec![StringMatch::Exact("http://shop".into())],
        allow_methods: vec!["GET".into(), "PUT".into()],
        expose_headers: vec!["x-a".into()],
        ..Default::default()
    });
    let (origin, running) = with_routes(vec![route]).await;
    let mut client = Raw::connect(running.address).await;
    client
        .send("OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: http://shop\r\nAccess-Control-Request-Method: PUT\r\n\r\n")
        .await;
    let answer = client.answer(false).await.unwrap();
    assert_eq!((answer.status, answer.header("access-control-allow-methods")), (200, Some("GET,PUT")));
    assert_eq!(origin.requests(), 0);
    let answer = client.get("a", "/", "Origin: http://shop\r\n").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("http://shop"));
    assert_eq!(answer.header("access-control-expose-headers"), Some("x-a"));
}

#[tokio::test]
async fn mirrors_get_a_copy_and_nobody_waits_for_them() {
    let (sender, mut copies) = tokio::sync::mpsc::unbounded_channel();
    let shadow = Server::http(Version::Http1, move |request: http::Request<Incoming>| {
        let sender = sender.clone();
        async move {
            let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
            let told = (header("host"), header("x-forwarded-for"));
            let body = amime_testkit::client::text(request.into_body()).await.0;
            sender.send((told, body)).unwrap();
            // The answer never comes.
            std::future::pending().await
        }
    })
    .await;
    let origin = mirror().await;
    let mut mirrored = to("a");
    mirrored.mirrors = vec![Mirror { cluster: "shadow".into(), share: PerMillion::ALL }];
    let clusters = [cluster("a", &[origin.address]), cluster("shadow", &[shadow.address])];
    let running = Running::start_with(http_config(vec![forward(mirrored)], clusters), |options| {
        options.identity.node_id = "sidecar~10.1.1.1~a-1.shop~shop.svc.cluster.local".into();
    })
    .await;
    let mut client = Raw::connect(running.address).await;
    client.send("POST /x HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(client.answer(false).await.unwrap().status, 200);
    let copy = tokio::time::timeout(Duration::from_secs(5), copies.recv()).await.unwrap().unwrap();
    assert_eq!(copy, (("a-shadow:80".to_owned(), "10.1.1.1".to_owned()), "hello".to_owned()));
}

#[tokio::test]
async fn a_mirror_takes_no_longer_than_its_request_may() {
    let (sender, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let shadow = Server::tcp(move |mut stream| {
        let sender = sender.clone();
        async move {
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            sender.send(()).unwrap();
        }
    })
    .await;
    let origin = mirror().await;
    let mirrors = vec![Mirror { cluster: "shadow".into(), share: PerMillion::ALL }];
    let mirrored = Forward { mirrors, timeout: Some(Duration::from_secs(2)), ..to("a") };
    let running = Running::start(http_config(
        vec![forward(mirrored)],
        [cluster("a", &[origin.address]), cluster("shadow", &[shadow.address])],
    ))
    .await;
    assert_eq!(get(running.address, "a", "/").await.status, 200);
    tokio::time::timeout(amime_testkit::client::PATIENCE, ended.recv()).await.expect("the mirror to end").unwrap();
}

#[tokio::test]
async fn a_cookie_keeps_its_host() {
    let servers = [Server::text("1").await, Server::text("2").await, Server::text("3").await];
    let mut sticky = to("a");
    sticky.hash = vec![HashPolicy {
        kind: HashKind::Cookie {
            name: "user".into(),
            path: "/".into(),
            ttl: Some(Duration::from_secs(60)),
            attributes: Vec::new(),
        },
        terminal: false,
    }];
    let mut ring = cluster("a", &servers.iter().map(|s| s.address).collect::<Vec<_>>());
    ring.lb = LbPolicy::RingHash { min_size: None, max_size: None };
    let running = Running::start(http_config(vec![forward(sticky)], [ring])).await;
    for _ in 0..5 {
        let mut client = Raw::connect(running.address).await;
        let first = client.get("a", "/", "").await;
        let cookie = first.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        for _ in 0..5 {
            let again = client.get("a", "/", &format!("Cookie: {cookie}\r\n")).await;
            assert_eq!((again.body, again.headers.iter().any(|(n, _)| n == "set-cookie")), (first.body.clone(), false));
        }
    }
}
