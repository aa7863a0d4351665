//! `amime proxy sidecar` as a process: its ports, its application's metrics and probes, who may end it, and how it
//! ends while its application still calls.

mod common;

use amime_testkit::client::{Http2, Raw, get};
use amime_testkit::origin::{Origin, Version, full};
use amime_testkit::port::Port;
use common::control::{Control, MESH, folder, service};
use common::process::Process;
use common::proxy::Proxy;
use common::{eventually, exchange, own_address};
use http::Response;
use std::net::SocketAddr;
use std::process::Command;

/// What Istio's injector sets. The pod's address is not 127.0.0.1: what is a pod's own does not go through its proxy.
const POD: [(&str, &str); 4] = [
    ("POD_NAME", "caller-1"),
    ("POD_NAMESPACE", "default"),
    ("INSTANCE_IP", "127.0.0.2"),
    ("SERVICE_ACCOUNT", "caller"),
];

/// A service at an origin, which sidecars offer their applications at 127.0.0.1 and the service's port.
fn mesh(port: u16, origin: SocketAddr) -> String {
    let routes = format!(
        "
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: default}}
spec:
  egress:
  - {{port: {{number: {port}, name: http, protocol: HTTP}}, bind: 127.0.0.1, captureMode: NONE, hosts: ['./*']}}
"
    );
    service("web", "http", ("10.0.0.10", port), origin) + &routes
}

/// A control plane, and a sidecar whose application calls an origin.
struct Beside {
    proxy: Proxy,
    /// Where the application calls.
    out: Port,
    inbound: Port,
    outbound: Port,
    _control: Control,
    _folder: tempfile::TempDir,
}

impl Beside {
    fn start(origin: SocketAddr, args: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::run(origin, args, environment, Process::spawn)
    }

    fn run(
        origin: SocketAddr,
        args: &[&str],
        environment: &[(&str, &str)],
        spawn: impl FnOnce(Command) -> Process,
    ) -> Self {
        let (out, outbound, inbound) = (Port::take(), Port::take(), Port::take());
        let folder = folder(&mesh(out.number, origin));
        let control = Control::start(["--config", &folder.path().join(MESH).display().to_string()]);
        let (grpc, outside, inside) =
            (control.address("grpc").to_string(), outbound.number.to_string(), inbound.number.to_string());
        let own = ["--control", &grpc, "--outbound-port", &outside, "--inbound-port", &inside];
        let environment: Vec<_> = POD.iter().chain(environment).copied().collect();
        let proxy = Proxy { process: spawn(Proxy::command("sidecar", own.iter().chain(args), &environment)) };
        proxy.wait_ready();
        Self { proxy, out, inbound, outbound, _control: control, _folder: folder }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_s_way_out_stays_open_while_the_sidecar_drains() {
    let (origin, gate) = Origin::gated(Version::Http1).await;
    let beside = Beside::start(origin.address, &[], &[("TERMINATION_DRAIN_DURATION_SECONDS", "600")]);
    let out = beside.out.address();
    let begun = tokio::spawn(async move { get(out, "web", "/begun").await });
    eventually("a request at the origin", || (origin.requests() > 0).then_some(()));
    let mut kept = Raw::connect(out).await;
    beside.proxy.process.signal("TERM");
    beside.proxy.wait_health(503, "draining");
    gate.add_permits(1000);
    assert_eq!(begun.await.expect("no panic").status, 200);
    // What the application still has to call, over old and new connections.
    for _ in 0..10 {
        for answer in [kept.get("web", "/", "").await, get(out, "web", "/").await] {
            assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
        }
    }
    // Those who call it learn late: their listener still takes connections.
    assert!(Raw::try_connect(beside.inbound.address()).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn its_ports_are_those_of_its_flags_until_its_time_is_over() {
    let origin = Origin::text("hello").await;
    let mut beside = Beside::start(origin.address, &[], &[("TERMINATION_DRAIN_DURATION_SECONDS", "1")]);
    let listeners = beside.proxy.get("admin", "/listeners").body;
    for (name, port) in [("virtualInbound", &beside.inbound), ("virtualOutbound", &beside.outbound)] {
        assert!(listeners.contains(&format!("{name}::0.0.0.0:{}\n", port.number)), "{listeners}");
        assert!(Raw::try_connect(port.address()).await.is_some());
    }
    assert!(!listeners.contains(":15006\n") && !listeners.contains(":15001\n"), "{listeners}");
    beside.proxy.process.signal("TERM");
    assert_eq!(beside.proxy.process.wait_exit(), 0);
    for port in [&beside.inbound, &beside.outbound, &beside.out] {
        assert!(Raw::try_connect(port.address()).await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_merged_with_the_application_s_in_the_scraper_s_time() {
    let application = Origin::http(Version::Http1, |request| async move {
        match request.uri().path() {
            "/prom" => {
                let told = request.headers().get("x-prometheus-scrape-timeout-seconds");
                let told = told.and_then(|value| value.to_str().ok()).unwrap_or("none").to_owned();
                Response::new(full(format!("app_requests_total{{timeout=\"{told}\"}} 7\n# EOF\n")))
            }
            _ => std::future::pending().await,
        }
    })
    .await;
    let port = application.address.port();
    let beside = |path: &str| {
        let annotations = format!(r#"{{"scrape":"true","path":"{path}","port":"{port}"}}"#);
        Beside::start(application.address, &[], &[("ISTIO_PROMETHEUS_ANNOTATIONS", &annotations)])
    };
    let scrape = |beside: &Beside, page: &str, timeout: &str| {
        let request = format!(
            "GET /stats/prometheus HTTP/1.1\r\nhost: x\r\nx-prometheus-scrape-timeout-seconds: {timeout}\r\n\
             connection: close\r\n\r\n"
        );
        exchange(beside.proxy.address(page), request.as_bytes()).expect("answered").body
    };
    let answers = beside("/prom");
    let merged = scrape(&answers, "agent", "7.5");
    assert!(merged.contains("app_requests_total{timeout=\"7.5\"} 7\n"), "{merged}");
    assert!(merged.contains("envoy_server_live 1\n") && !merged.contains("# EOF"), "{merged}");
    assert!(!scrape(&answers, "stats", "7.5").contains("app_requests_total"));

    // An application that says nothing loses its part alone.
    let hangs = beside("/never");
    let merged = scrape(&hangs, "agent", "0.2");
    assert!(merged.contains("envoy_server_live 1\n"), "{merged}");
    hangs.proxy.process.wait_output(0, "the application's metrics are left out");
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_sent_on_to_the_application() {
    let application = Origin::http(Version::Http1, |request| async move {
        let mut answer = Response::new(full("well"));
        if request.uri().path() != "/ready" {
            *answer.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        }
        answer
    })
    .await;
    let port = application.address.port();
    let probers = format!(
        r#"{{"/app-health/web/readyz":{{"httpGet":{{"path":"/ready","port":{port}}},"timeoutSeconds":5}},
             "/app-health/web/livez":{{"httpGet":{{"path":"/live","port":{port}}},"timeoutSeconds":5}},
             "/app-health/web/startupz":{{"tcpSocket":{{"port":{port}}},"timeoutSeconds":5}}}}"#
    );
    let beside = Beside::start(
        application.address,
        &[],
        &[("ISTIO_KUBE_APP_PROBERS", &probers), ("REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION", "true")],
    );
    let probe = |path: &str| beside.proxy.get("agent", path);
    assert_eq!((probe("/app-health/web/readyz").status, probe("/app-health/web/readyz").body.as_str()), (200, "well"));
    assert_eq!(probe("/app-health/web/livez").status, 500);
    assert_eq!(probe("/app-health/web/startupz").status, 200);
    let unknown = probe("/app-health/other/readyz");
    assert!(unknown.status == 400 && unknown.body.contains("/app-health/web/readyz"), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_machines_may_ask_for_its_pages_and_not_end_it() {
    let Some(ip) = own_address() else {
        println!("skipped: this machine has no address but loopback ones");
        return;
    };
    let origin = Origin::text("hello").await;
    let beside = Beside::start(origin.address, &["--bind", &ip.to_string()], &[]);
    let line = beside.proxy.process.wait_output(0, &format!("agent {ip}:"));
    let (_, address) = line.split_once(' ').expect("a name and an address");
    let ask = |method: &str, path: &str| {
        // Whatever it says of itself.
        let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        exchange(address, request.as_bytes()).expect("answered").status
    };
    assert_eq!((ask("GET", "/healthz/ready"), ask("GET", "/stats/prometheus")), (200, 200));
    assert_eq!((ask("POST", "/quitquitquit"), ask("POST", "/drain")), (403, 403));
    assert_eq!(ask("GET", "/healthz/ready"), 200);
    assert_eq!(get(beside.out.address(), "web", "/").await.body, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_its_log_that_stands_still_holds_up_no_request() {
    let origin = Origin::text("hello").await;
    let beside = Beside::run(origin.address, &["--log-level", "trace"], &[], Process::unread_errors);
    // Of HTTP/2 each frame is logged.
    let mut client = Http2::connect(beside.out.address()).await;
    loop {
        for _ in 0..100 {
            assert_eq!(client.get("web", "/").await.0, 200);
        }
        let metrics = beside.proxy.get("stats", "/stats/prometheus").body;
        let lost = metrics.lines().find_map(|line| line.strip_prefix("amime_log_lost_lines_total "));
        if lost.expect("the metric") != "0" {
            break;
        }
    }
    assert_eq!(client.get("web", "/").await.0, 200);
}
