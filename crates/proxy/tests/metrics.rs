//! Istio's standard metrics, over real connections.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::config::*;
use amime_proxy::{MetricsFormat, Placement, ProxyOptions};
use amime_testkit::client::{Http2, PATIENCE, Raw, get, text};
use amime_testkit::origin::{Origin as Server, Version, echo, full};
use common::*;
use http::{Request, Response};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

/// The value of the one sample that has these labels.
fn value(metrics: &str, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
    let mut found = metrics.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|(key, value)| {
                let label = format!("{key}=\"{value}\"");
                line.contains(&format!("{{{label}")) || line.contains(&format!(",{label}"))
            })
    });
    let line = found.next()?;
    assert!(found.next().is_none(), "more than one {name} has {labels:?}");
    Some(line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// Asks until the metrics say so: an answer may reach its client before the request is counted.
async fn until(running: &Running, done: impl Fn(&str) -> bool) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let metrics = running.proxy.metrics(MetricsFormat::Prometheus).await;
        if done(&metrics) {
            return metrics;
        }
        assert!(Instant::now() < end, "it never came to that:\n{metrics}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn productpage(options: &mut ProxyOptions) {
    options.identity.workload = "productpage-v1".into();
    options.identity.labels =
        [("app", "productpage"), ("version", "v1")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
}

/// The cluster of reviews, whose endpoints tell their workload.
fn reviews(server: &Server) -> Cluster {
    let mut endpoints = endpoints("reviews", &[server.address]);
    endpoints.localities[0].endpoints[0].workload = WorkloadIdentity {
        workload: "reviews-v2".into(),
        namespace: "shop".into(),
        canonical_service: "reviews".into(),
        canonical_revision: "v2".into(),
        cluster: "Kubernetes".into(),
        network: String::new(),
    };
    let service = ClusterService {
        host: "reviews.shop.svc.cluster.local".into(),
        name: "reviews".into(),
        namespace: "shop".into(),
        external: false,
    };
    Cluster { service: Some(service), ..Cluster::new("reviews", Discovery::Static(endpoints)) }
}

#[tokio::test]
async fn a_request_has_istios_labels() {
    let server = Server::text("hello").await;
    let config = http_config(vec![forward(to("reviews"))], [reviews(&server)]);
    let running = Running::start_with(config, productpage).await;
    for _ in 0..3 {
        assert_eq!(get(running.address, "reviews", "/").await.status, 200);
    }
    let metrics = until(&running, |text| value(text, "istio_requests_total", &[]) == Some(3)).await;
    let line = metrics.lines().find(|line| line.starts_with("istio_requests_total")).unwrap();
    assert_eq!(
        line,
        "istio_requests_total{reporter=\"source\",source_workload=\"productpage-v1\",\
         source_canonical_service=\"productpage\",source_canonical_revision=\"v1\",\
         source_workload_namespace=\"default\",source_principal=\"unknown\",source_app=\"productpage\",\
         source_version=\"v1\",source_cluster=\"Kubernetes\",destination_workload=\"reviews-v2\",\
         destination_workload_namespace=\"shop\",destination_principal=\"unknown\",destination_app=\"unknown\",\
         destination_version=\"unknown\",destination_service=\"reviews.shop.svc.cluster.local\",\
         destination_canonical_service=\"reviews\",destination_canonical_revision=\"v2\",\
         destination_service_name=\"reviews\",destination_service_namespace=\"shop\",\
         destination_cluster=\"Kubernetes\",request_protocol=\"http\",response_code=\"200\",\
         grpc_response_status=\"\",response_flags=\"-\",connection_security_policy=\"unknown\"} 3"
    );
    assert_eq!(value(&metrics, "istio_request_duration_milliseconds_count", &[]), Some(3));
    assert_eq!(value(&metrics, "istio_response_bytes_bucket", &[("le", "3600000")]), Some(3));
    assert!(value(&metrics, "istio_response_bytes_sum", &[]).unwrap() > 3 * 5, "the body and the head");
    let of_cluster = [("cluster_name", "reviews")];
    assert_eq!(value(&metrics, "envoy_cluster_upstream_rq_total", &of_cluster), Some(3));
    assert_eq!(value(&metrics, "envoy_cluster_upstream_rq_active", &of_cluster), Some(0));
    assert_eq!(value(&metrics, "envoy_server_live", &[]), Some(1));
    assert_eq!(value(&metrics, "amime_control_plane_connected", &[]), Some(0));
    running.proxy.tell_control_plane(true);
    let metrics = running.proxy.metrics(MetricsFormat::OpenMetrics).await;
    assert_eq!(value(&metrics, "amime_control_plane_connected", &[]), Some(1));
    assert!(metrics.contains("# TYPE istio_requests counter\n") && metrics.ends_with("# EOF\n"), "{metrics}");
}

#[tokio::test]
async fn what_was_not_forwarded() {
    let server = Server::text("hello").await;
    let config = http_config(
        vec![at("/a", forward(to("a"))), at("/gone", forward(to("gone")))],
        [cluster("a", &[server.address])],
    );
    let running = Running::start_with(config, productpage).await;
    get(running.address, "shop.example:80", "/a").await;
    get(running.address, "shop.example:80", "/gone").await;
    get(running.address, "shop.example:80", "/none").await;
    let of = |status, flags| {
        [("response_code", status), ("response_flags", flags), ("destination_service", "shop.example:80")]
    };
    let metrics = until(&running, |text| value(text, "istio_requests_total", &of("404", "NR")) == Some(1)).await;
    assert_eq!(value(&metrics, "istio_requests_total", &of("503", "NC")), Some(1));
    assert_eq!(value(&metrics, "istio_requests_total", &of("200", "-")), Some(1));
}

#[tokio::test]
async fn the_destination_reports_too() {
    let server = Server::text("hello").await;
    let mut config = http_config(vec![forward(to("reviews"))], [reviews(&server)]);
    Arc::make_mut(config.listeners.get_mut("test").unwrap()).direction = Direction::Inbound;
    let running = Running::start_with(config, |options| {
        options.identity.workload = "reviews-v2".into();
        options.identity.namespace = "shop".into();
    })
    .await;
    get(running.address, "reviews", "/").await;
    let of = [
        ("reporter", "destination"),
        ("source_workload", "unknown"),
        ("source_canonical_revision", "latest"),
        ("destination_workload", "reviews-v2"),
        ("destination_service", "reviews.shop.svc.cluster.local"),
        ("connection_security_policy", "none"),
    ];
    until(&running, |text| value(text, "istio_requests_total", &of) == Some(1)).await;
}

#[tokio::test]
async fn grpc_is_told_apart_and_its_messages_counted() {
    let server = Server::http(Version::Http2, |request: Request<hyper::body::Incoming>| async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut response = Response::new(full(body));
        response.headers_mut().insert("grpc-status", "5".parse().unwrap());
        response
    })
    .await;
    let mut cluster = reviews(&server);
    cluster.protocol = UpstreamProtocol::Http2;
    let running = Running::start(http_config(vec![forward(to("reviews"))], [cluster])).await;
    let mut client = Http2::connect(running.address).await;
    let messages: &[u8] = &[0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 0];
    let request = Request::post("http://reviews/x.Y/Z").header("content-type", "application/grpc");
    let response = client.send(request.body(full(messages)).unwrap()).await.unwrap();
    text(response.into_body()).await;
    let of = [("request_protocol", "grpc"), ("grpc_response_status", "5"), ("response_code", "200")];
    let metrics = until(&running, |text| value(text, "istio_requests_total", &of) == Some(1)).await;
    assert_eq!(value(&metrics, "istio_request_messages_total", &of), Some(2));
    assert_eq!(value(&metrics, "istio_response_messages_total", &of), Some(2));
}

#[tokio::test]
async fn tcp_connections_are_counted_while_they_are_open() {
    let server = Server::tcp(echo).await;
    let mut config = ProxyConfig::default();
    config.listeners.insert("test".into(), Arc::new(listener("test", ANY, vec![tcp_chain(&[("reviews", 1)])])));
    let running = Running::start(with_clusters(config, [reviews(&server)])).await;
    let mut client = Raw::connect(running.address).await;
    client.send("hello").await;
    assert_eq!(client.bytes(5).await, b"hello");
    let of = [("request_protocol", "tcp"), ("destination_workload", "reviews-v2"), ("response_flags", "-")];
    let metrics = until(&running, |text| value(text, "istio_tcp_sent_bytes_total", &of) == Some(5)).await;
    assert_eq!(value(&metrics, "istio_tcp_received_bytes_total", &of), Some(5));
    assert_eq!(value(&metrics, "istio_tcp_connections_opened_total", &of), Some(1));
    assert_eq!(value(&metrics, "istio_tcp_connections_closed_total", &of), Some(0));
    assert_eq!(value(&metrics, "envoy_cluster_upstream_cx_active", &[("cluster_name", "reviews")]), Some(1));
    client.stream.shutdown().await.unwrap();
    client.until_closed().await;
    let metrics = until(&running, |text| value(text, "istio_tcp_connections_closed_total", &of) == Some(1)).await;
    assert_eq!(value(&metrics, "istio_tcp_sent_bytes_total", &of), Some(5));
    assert_eq!(value(&metrics, "envoy_listener_downstream_cx_active", &[]), Some(0));
}

#[tokio::test]
async fn workers_counts_are_added_up() {
    let server = Server::text("hello").await;
    let config = http_config(vec![forward(to("reviews"))], [reviews(&server)]);
    let running = Running::start_with(config, |options| options.placement = Placement::All).await;
    for _ in 0..40 {
        get(running.address, "reviews", "/").await;
    }
    until(&running, |text| value(text, "istio_requests_total", &[]) == Some(40)).await;
}

#[tokio::test]
async fn counts_outlive_endpoints() {
    let (first, second) = (Server::text("1").await, Server::text("2").await);
    let config = |server| http_config(vec![forward(to("reviews"))], [reviews(server)]);
    let mut of_first = config(&first);
    let running = Running::start(of_first.clone()).await;
    get(running.address, "reviews", "/").await;
    of_first.clusters = config(&second).clusters;
    running.proxy.apply(of_first).await.unwrap();
    assert_eq!(get(running.address, "reviews", "/").await.body, "2");
    let metrics = until(&running, |text| value(text, "istio_requests_total", &[]) == Some(2)).await;
    assert_eq!(value(&metrics, "envoy_cluster_upstream_rq_total", &[("cluster_name", "reviews")]), Some(2));
}
