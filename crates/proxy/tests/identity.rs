//! Who a request comes from: peers' metadata between proxies, traces and request ids on their way through.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::config::*;
use amime_proxy::{MetricsFormat, ProxyOptions};
use amime_testkit::client::{PATIENCE, Raw};
use amime_testkit::origin::{Origin as Server, Version, full};
use common::*;
use http::{Request, Response};
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Answers with the headers that it got, one a line.
async fn mirror() -> Server {
    Server::http(Version::Http1, |request: Request<Incoming>| async move {
        let headers = request.headers().iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()));
        Response::new(full(headers.collect::<String>()))
    })
    .await
}

/// The value of a header that the application got.
fn got<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn sidecar(workload: &'static str, app: &'static str) -> impl FnOnce(&mut ProxyOptions) {
    move |options| {
        options.identity.node_id = format!("sidecar~127.0.0.1~{workload}-x.shop~shop.svc.cluster.local");
        options.identity.workload = workload.into();
        options.identity.namespace = "shop".into();
        options.identity.labels = [("app".to_owned(), app.to_owned()), ("version".to_owned(), "v7".to_owned())].into();
    }
}

/// The inbound side of a sidecar.
fn inbound(application: SocketAddr) -> ProxyConfig {
    let mut config = http_config(vec![forward(to("inbound|80||"))], [cluster("inbound|80||", &[application])]);
    Arc::make_mut(config.listeners.get_mut("test").unwrap()).direction = Direction::Inbound;
    config
}

/// The way out to a service whose endpoints are in the mesh, or not.
fn outbound(to_address: SocketAddr, external: bool) -> ProxyConfig {
    let mut endpoints = endpoints("b", &[to_address]);
    endpoints.localities[0].endpoints[0].workload.workload = "b-v1".into();
    let name = || "b".to_owned();
    let service = ClusterService { host: name(), name: name(), namespace: "shop".into(), external };
    let cluster = Cluster { service: Some(service), ..Cluster::new("b", Discovery::Static(endpoints)) };
    http_config(vec![forward(to("b"))], [cluster])
}

async fn until(running: &Running, part: &str) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let metrics = running.proxy.metrics(MetricsFormat::Prometheus).await;
        if metrics.lines().any(|line| line.starts_with("istio_requests_total") && line.contains(part)) {
            return metrics;
        }
        assert!(Instant::now() < end, "no request has {part}:\n{metrics}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn both_sides_learn_who_the_other_is_and_the_applications_see_nothing() {
    let application = mirror().await;
    let server = Running::start_with(inbound(application.address), sidecar("b-v1", "b")).await;
    let client = Running::start_with(outbound(server.address, false), sidecar("a-v1", "a")).await;
    // What the application says of itself is nobody's.
    let answer = Raw::connect(client.address).await.get("b", "/", "x-envoy-peer-metadata: forged\r\n").await;
    assert_eq!(answer.status, 200);
    assert_eq!(got(&answer.body, "x-envoy-peer-metadata"), None, "{}", answer.body);
    assert_eq!(got(&answer.body, "x-envoy-peer-metadata-id"), None, "{}", answer.body);
    assert_eq!((answer.header("x-envoy-peer-metadata"), answer.header("x-envoy-peer-metadata-id")), (None, None));
    let at_server = "source_workload=\"a-v1\",source_canonical_service=\"a\",source_canonical_revision=\"v7\",\
                     source_workload_namespace=\"shop\",source_principal=\"unknown\",source_app=\"a\",source_version=\"v7\"";
    until(&server, at_server).await;
    let metrics = until(&client, "destination_app=\"b\",destination_version=\"v7\"").await;
    assert!(metrics.contains("destination_workload=\"b-v1\""), "{metrics}");
}

#[tokio::test]
async fn who_is_not_in_the_mesh_is_told_nothing() {
    let application = mirror().await;
    let client = Running::start_with(outbound(application.address, true), sidecar("a-v1", "a")).await;
    let answer = Raw::connect(client.address).await.get("b", "/", "").await;
    assert_eq!(got(&answer.body, "x-envoy-peer-metadata"), None, "{}", answer.body);
    let client = Running::start_with(outbound(application.address, false), sidecar("a-v1", "a")).await;
    let answer = Raw::connect(client.address).await.get("b", "/", "").await;
    let id = got(&answer.body, "x-envoy-peer-metadata-id");
    assert_eq!(id, Some("sidecar~127.0.0.1~a-v1-x.shop~shop.svc.cluster.local"));
    assert!(got(&answer.body, "x-envoy-peer-metadata").is_some());
}

#[tokio::test]
async fn trace_context_passes_untouched() {
    let application = mirror().await;
    let traces = [
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("tracestate", "congo=t61rcWkgMzE"),
        ("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"),
        ("x-b3-traceid", "80f198ee56343ba864fe8b2a57d3eff7"),
        ("x-b3-spanid", "e457b5a2e4d86bd1"),
        ("x-b3-parentspanid", "05e3ac9a4f6e3b90"),
        ("x-b3-sampled", "1"),
        ("x-b3-flags", "0"),
    ];
    let sent: String = traces.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let server = Running::start_with(inbound(application.address), sidecar("b-v1", "b")).await;
    let client = Running::start_with(outbound(server.address, false), sidecar("a-v1", "a")).await;
    let mut connection = Raw::connect(client.address).await;
    let answer = connection.get("b", "/", &sent).await;
    for (name, value) in traces {
        assert_eq!(got(&answer.body, name), Some(value), "{}", answer.body);
    }
    // None is made up either.
    let answer = connection.get("b", "/", "").await;
    assert!(traces.iter().all(|(name, _)| got(&answer.body, name).is_none()), "{}", answer.body);
}

#[tokio::test]
async fn a_request_keeps_the_id_that_it_has_inside_the_mesh() {
    let application = mirror().await;
    let server = Running::start_with(inbound(application.address), sidecar("b-v1", "b")).await;
    let mut client = Running::start_with(outbound(server.address, false), sidecar("a-v1", "a")).await;
    let mut connection = Raw::connect(client.address).await;
    let answer = connection.get("b", "/", "x-request-id: mine\r\n").await;
    assert_eq!(got(&answer.body, "x-request-id"), Some("mine"));
    // The answer does not tell it, as Envoy's does not.
    assert_eq!(answer.header("x-request-id"), None);
    assert_eq!(client.record().await.request.id(), "mine");
    let answer = connection.get("b", "/", "").await;
    let made = got(&answer.body, "x-request-id").unwrap().to_owned();
    assert_eq!((made.len(), made.as_bytes()[14]), (36, b'4'), "a random UUID: {made}");
    assert_eq!(client.record().await.request.id(), made);
}

#[tokio::test]
async fn the_edge_gives_what_comes_from_outside_an_id_of_its_own() {
    let application = mirror().await;
    let edge = |hops, preserve| {
        let all = [cluster("a", &[application.address])];
        http_config_with(vec![forward(to("a"))], all, move |hcm| {
            hcm.use_remote_address = true;
            hcm.xff_num_trusted_hops = hops;
            hcm.preserve_external_request_id = preserve;
        })
    };
    let outside = "x-forwarded-for: 8.8.8.8\r\nx-request-id: theirs\r\nx-envoy-peer-metadata: forged\r\n";
    for (hops, preserve, kept) in [(1, false, false), (1, true, true), (0, false, false)] {
        let running = Running::start_with(edge(hops, preserve), sidecar("gateway", "gateway")).await;
        let answer = Raw::connect(running.address).await.get("a", "/", outside).await;
        // Without trusted hops the client is the neighbour, and no address counts as one of the inside.
        assert_eq!(got(&answer.body, "x-request-id") == Some("theirs"), kept, "{hops} {preserve}: {}", answer.body);
        assert_eq!(got(&answer.body, "x-envoy-peer-metadata"), None, "{}", answer.body);
    }
}
