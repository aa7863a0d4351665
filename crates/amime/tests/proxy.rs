//! `amime proxy` as a process, beside `amime control`: identity, pages, outages, its end.

mod common;

use amime_testkit::client::{Raw, get};
use amime_testkit::origin::{Origin, Version};
use amime_testkit::port::Port;
use common::control::{Control, run_printed, service};
use common::proxy::Proxy;
use common::{Claim, PATIENCE, eventually, example, try_get};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What Istio's injector sets.
const POD: [(&str, &str); 5] = [
    ("POD_NAME", "ingress-1"),
    ("POD_NAMESPACE", "default"),
    ("INSTANCE_IP", "127.0.0.1"),
    ("SERVICE_ACCOUNT", "ingress"),
    ("ISTIO_METAJSON_LABELS", r#"{"istio":"ingressgateway","app":"ingress"}"#),
];

/// A gateway at `port` in front of an origin.
fn mesh(port: u16, origin: SocketAddr) -> String {
    let routes = format!(
        "
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  selector: {{istio: ingressgateway}}
  servers: [{{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: ['*']}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web}}
spec:
  hosts: ['*']
  gateways: [edge]
  http: [{{route: [{{destination: {{host: web, port: {{number: 80}}}}}}]}}]
"
    );
    service("web", "http", ("10.0.0.10", 80), origin) + &routes
}

/// A control plane and a gateway in front of an origin, ready.
struct Edge {
    control: Control,
    proxy: Proxy,
    address: SocketAddr,
    folder: tempfile::TempDir,
    /// Nobody else gets them, also while nothing listens there.
    port: Port,
    grpc: Port,
}

impl Edge {
    fn start(origin: SocketAddr, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = Port::take();
        fs::write(folder.path().join("mesh.yaml"), mesh(port.number, origin)).expect("written");
        let grpc = Port::take();
        let control = Self::control(&grpc, folder.path());
        let proxy = Self::proxy(&grpc.address().to_string(), args, environment);
        proxy.wait_ready();
        Self { control, proxy, address: port.address(), folder, port, grpc }
    }

    /// What the folder has, at that port.
    fn control(grpc: &Port, folder: &Path) -> Control {
        let port = grpc.number.to_string();
        let mut control = Control::with([Path::new("--config"), &folder.join("mesh.yaml")], [("grpc-port", &*port)]);
        control.wait_ready();
        control
    }

    fn proxy(control: &str, args: &[&str], environment: &[(&str, &str)]) -> Proxy {
        let environment: Vec<_> = POD.iter().chain(environment).copied().collect();
        Proxy::spawn("gateway", ["--control", control].iter().chain(args), &environment)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_tell_what_the_proxy_runs() {
    let origin = Origin::text("hello").await;
    let edge = Edge::start(origin.address, &["--concurrency", "2"], &[]);
    assert_eq!(get(edge.address, "web", "/").await.body, "hello");
    let proxy = &edge.proxy;

    assert_eq!(proxy.get("health", "/healthz/ready").body, "ready\n");
    assert_eq!(proxy.get("agent", "/healthz/ready").status, 200);
    let head = proxy.send("HEAD", "health", "/healthz/ready");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(proxy.get("admin", "/ready").body, "LIVE\n");

    let info = proxy.get("admin", "/server_info").json();
    assert_eq!((&info["state"], &info["node"]["metadata"]["SERVICE_ACCOUNT"]), (&"LIVE".into(), &"ingress".into()));
    assert_eq!(info["node"]["id"], "router~127.0.0.1~ingress-1.default~default.svc.cluster.local");
    assert_eq!(info["command_line_options"]["concurrency"], 2);

    let cluster = "outbound|80||web.default.svc.cluster.local";
    let clusters = proxy.get("admin", "/clusters").body;
    let health = format!("{cluster}::{}::health_flags::healthy\n", origin.address);
    assert!(clusters.contains(&health), "{clusters}");
    let clusters = proxy.get("admin", "/clusters?format=json").json();
    let statuses = clusters["cluster_statuses"].as_array().expect("statuses");
    let web = statuses.iter().find(|status| status["name"] == cluster).expect("the cluster");
    assert_eq!(web["host_statuses"][0]["health_status"]["eds_health_status"], "HEALTHY");

    let listeners = proxy.get("admin", "/listeners").body;
    assert!(listeners.contains(&format!(":{}\n", edge.address.port())), "{listeners}");
    let listeners = proxy.get("admin", "/listeners?format=json").json();
    let port = &listeners["listener_statuses"][0]["local_address"]["socket_address"]["port_value"];
    assert_eq!(port, edge.address.port());

    let dump = proxy.get("admin", "/config_dump?include_eds").json();
    let kinds: Vec<_> = dump["configs"].as_array().expect("configs").iter().map(|c| c["@type"].to_string()).collect();
    for kind in ["Bootstrap", "Clusters", "Endpoints", "Listeners", "Routes"] {
        assert!(kinds.iter().any(|name| name.contains(&format!(".{kind}ConfigDump"))), "{kind} in {kinds:?}");
    }
    let only = proxy.get("admin", "/config_dump?resource=dynamic_active_clusters").json();
    assert!(only["configs"].as_array().is_some_and(|all| !all.is_empty()), "{only}");
    assert_eq!(proxy.get("admin", "/config_dump?resource=nothing").status, 404);

    for (page, path) in [("stats", "/stats/prometheus"), ("agent", "/metrics"), ("admin", "/stats/prometheus")] {
        let metrics = proxy.get(page, path).body;
        assert!(metrics.contains("istio_requests_total{"), "{page}{path}: {metrics}");
        assert!(metrics.contains("amime_control_plane_connected 1\n"), "{page}{path}: {metrics}");
    }
    let stats = proxy.get("admin", "/stats?filter=upstream_rq_total").body;
    assert!(stats.contains(&format!("cluster.{cluster}.upstream_rq_total: 1\n")), "{stats}");
    assert_eq!(proxy.get("admin", "/stats?format=json&filter=server.live").json()["stats"][0]["value"], 1);

    assert_eq!(proxy.get("admin", "/logging").body, "active loggers:\n  amime: warn\n");
    assert_eq!(proxy.send("POST", "admin", "/logging?level=debug").body, "active loggers:\n  amime: debug\n");
    assert_eq!(proxy.send("POST", "admin", "/logging?level=loud").status, 400);
    assert_ne!(proxy.get("admin", "/memory").json()["total_physical_bytes"], "0");
    assert!(proxy.get("admin", "/help").body.contains("/config_dump"));
    assert_eq!(proxy.get("admin", "/nothing").status, 404);
    assert_eq!(proxy.get("agent", "/quitquitquit").status, 405);
    assert_eq!(proxy.get("admin", "/quitquitquit").status, 405);
    assert_eq!(get(edge.address, "web", "/").await.body, "hello");
}

/// The practice's script for a Job, with the ports of this test, around a command.
fn wrapped(proxy: &Proxy, host: &str, command: &str) -> Command {
    let script = "
until curl -fsI http://localhost:15021/healthz/ready; do sleep 0.05; done
COMMAND
code=$?
curl -fsI -X POST http://localhost:15020/quitquitquit
exit $code
";
    let script = script
        .replace("COMMAND", command)
        .replace("15021", &proxy.address("health").port().to_string())
        .replace("15020", &proxy.address("agent").port().to_string())
        .replace("localhost", host);
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]);
    shell
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrapped_job_ends_its_proxy_also_when_it_fails() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: curl is not there");
        return;
    }
    let origin = Origin::text("hello").await;
    for (host, command, code) in [("localhost", "true", 0), ("127.0.0.1", "sh -c 'exit 3'", 3), ("[::1]", "false", 1)] {
        if host == "[::1]" && std::net::TcpListener::bind("[::1]:0").is_err() {
            eprintln!("skipped for {host}: this machine has no IPv6");
            continue;
        }
        let mut edge = Edge::start(origin.address, &[], &[]);
        let output = wrapped(&edge.proxy, host, command).output().expect("sh runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{host} {command}: {text}");
        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{host} {command}: {text}");
        assert_eq!(edge.proxy.process.wait_exit(), 0, "{host} {command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_answers_what_is_there_and_what_still_comes() {
    let (origin, gate) = Origin::gated(Version::Http1).await;
    let mut edge = Edge::start(origin.address, &[], &[("TERMINATION_DRAIN_DURATION_SECONDS", "8")]);
    let address = edge.address;
    let begun = tokio::spawn(async move { get(address, "web", "/").await });
    let mut kept = Raw::connect(address).await;
    while origin.requests() < 1 {
        tokio::task::yield_now().await;
    }
    edge.proxy.process.signal("TERM");
    edge.proxy.wait_health(503, "draining");
    assert_eq!(edge.proxy.get("admin", "/server_info").json()["state"], "DRAINING");
    gate.add_permits(3);
    // Who has not learnt it yet is still answered, and told to go.
    for answer in [get(address, "web", "/").await, kept.get("web", "/", "").await] {
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    }
    assert_eq!(begun.await.expect("no panic").status, 200);
    assert_eq!(edge.proxy.process.wait_exit(), 0);
    assert!(Raw::try_connect(address).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    let (origin, _gate) = Origin::gated(Version::Http1).await;
    let mut edge = Edge::start(origin.address, &[], &[("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "true")]);
    let address = edge.address;
    let begun =
        tokio::spawn(async move { Raw::connect(address).await.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await });
    begun.await.expect("no panic");
    edge.proxy.process.signal("TERM");
    edge.proxy.wait_health(503, "draining");
    edge.proxy.process.signal("TERM");
    assert_eq!(edge.proxy.process.wait_exit(), 130);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_said_and_the_proxy_is_not_ready() {
    let taken = Origin::text("another program").await;
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("mesh.yaml"), mesh(taken.address.port(), taken.address)).expect("written");
    let control = Control::start([Path::new("--config"), &folder.path().join("mesh.yaml")]);
    let proxy = Edge::proxy(&control.address("grpc").to_string(), &[], &[]);
    proxy.process.wait_output(0, &format!("cannot listen on 0.0.0.0:{}", taken.address.port()));
    proxy.wait_health(503, "no configuration was accepted yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_by_a_page_then_a_signal() {
    let origin = Origin::text("hello").await;
    let mut edge = Edge::start(origin.address, &[], &[]);
    assert_eq!(edge.proxy.get("agent", "/drain").status, 405);
    assert_eq!(edge.proxy.send("POST", "admin", "/drain_listeners").body, "OK\n");
    edge.proxy.wait_health(503, "draining");
    while Raw::try_connect(edge.address).await.is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(edge.proxy.get("admin", "/server_info").json()["state"], "DRAINING", "it goes on running");
    edge.proxy.process.signal("TERM");
    assert_eq!(edge.proxy.process.wait_exit(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_control_plane_is_told_and_changes_nothing() {
    let origin = Origin::text("hello").await;
    let edge = Edge::start(origin.address, &[], &[]);
    edge.control.kill();
    let told = edge.proxy.wait_health(200, "no control plane since");
    assert!(told.starts_with("ready\n") && told.contains("serving the last configuration, accepted 20"), "{told}");
    assert!(edge.proxy.get("stats", "/stats/prometheus").body.contains("amime_control_plane_connected 0\n"));
    assert_eq!(get(edge.address, "web", "/").await.body, "hello");

    let config = edge.folder.path().join("mesh.yaml");
    let other = Origin::text("another").await;
    fs::write(&config, mesh(edge.address.port(), other.address)).expect("written");
    let _control = Edge::control(&edge.grpc, edge.folder.path());
    let told = edge.proxy.wait_health(200, "ready\n");
    while get(edge.address, "web", "/").await.body != "another" {
        tokio::task::yield_now().await;
    }
    assert_eq!(edge.proxy.wait_health(200, "ready\n"), "ready\n", "first it said {told}");
}

#[test]
fn what_is_missing_is_named_with_its_remedy() {
    let complete = ["--control", "127.0.0.1:1"];
    for (args, without, expected) in [
        (&complete[..], "POD_NAME", "pass --pod-name NAME or set POD_NAME"),
        (&[], "", "pass --control HOST:PORT, or discoveryAddress in PROXY_CONFIG"),
        (&["--control", "istiod"], "", "--control istiod: write HOST:PORT"),
        (&["--control", "a:1", "--agent-port", "15001"], "", "--agent-port and --outbound-port are both 15001"),
        (&["--control", "a:1", "--control-tls"], "", "--control-ca"),
    ] {
        let environment: Vec<_> = POD.into_iter().filter(|(name, _)| *name != without).collect();
        let output = Command::new(env!("CARGO_BIN_EXE_amime"))
            .env_clear()
            .envs(environment)
            .args(["proxy", "sidecar"])
            .args(args)
            .output()
            .expect("amime runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(expected), "{args:?}: {text}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_amime"))
        .env_clear()
        .envs(POD)
        .args(["proxy", "gateway", "--control", "127.0.0.1:1", "--admin-port", &port])
        .output()
        .expect("amime runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("--admin-port N takes another"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_and_every_sidecar_as_processes_of_their_own() {
    let claim = Claim::take();
    let offset = claim.offset.to_string();
    let shop = example("shop").display().to_string();
    let workloads = ["web-v1", "reviews-v1", "reviews-v2", "reviews-v3", "ratings-v1"];
    let mut args = vec!["--config".to_owned(), shop, "--stand-ins".into(), "--gateway-port-offset".into(), offset];
    for workload in workloads {
        args.extend(["--sidecar".to_owned(), format!("shop/{workload}")]);
    }
    let control = Control::start(&args);
    let lines = control.output();
    let sidecar_lines = lines.lines().filter(|line| line.starts_with("sidecar shop/"));
    let mut sidecars: Vec<Proxy> = sidecar_lines.map(|line| Proxy { process: run_printed(line) }).collect();
    assert_eq!(sidecars.len(), workloads.len() + 1, "web-v1 has two pods: {lines}");
    let gateway = Proxy { process: run_printed(&control.wait_output(0, "gateway istio-ingress/")) };
    sidecars.iter().chain([&gateway]).for_each(Proxy::wait_ready);

    let port = 80 + claim.offset;
    let chain = [("end-user", "jason"), ("x-amime-call", "http://reviews:9080/,http://ratings:9080/")];
    let begun = Instant::now();
    let answer = loop {
        let answer = try_get(port, "shop.example.com", "/", &chain);
        match answer {
            Some(answer) if answer.status == 200 && answer.called()["workload"] == "ratings-v1" => break answer,
            other => assert!(begun.elapsed() < PATIENCE, "{other:?}\n{}", gateway.get("admin", "/clusters").body),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(answer.workload(), "web-v1");
    // The rule for this user decides at web's sidecar, whatever its turn.
    for _ in 0..10 {
        let answer = common::get(port, "shop.example.com", "/", &chain);
        assert_eq!(answer.json()["called"]["workload"], "reviews-v2", "{answer:?}");
    }

    // Each hop was counted at both of its ends, by names.
    let metrics = |proxy: &Proxy| proxy.get("stats", "/stats/prometheus").body;
    let counted = |text: &str, labels: &[&str]| {
        text.lines()
            .any(|line| line.starts_with("istio_requests_total{") && labels.iter().all(|label| line.contains(label)))
    };
    let of = |workload: &str| {
        let metrics: Vec<String> = sidecars.iter().filter(|proxy| proxy.is_of(workload)).map(metrics).collect();
        metrics.concat()
    };
    let web = of("web-v1");
    let gateway = "source_workload=\"ingressgateway\"";
    let from_gateway = ["reporter=\"destination\"", gateway, "destination_workload=\"web-v1\""];
    let to_reviews = ["reporter=\"source\"", "source_workload=\"web-v1\"", "destination_workload=\"reviews-v2\""];
    assert!(counted(&web, &from_gateway) && counted(&web, &to_reviews), "{web}");
    let ratings = of("ratings-v1");
    assert!(counted(&ratings, &["reporter=\"destination\"", "destination_workload=\"ratings-v1\""]), "{ratings}");

    // One ends; the others do not notice more than that.
    let index = sidecars.iter().position(|proxy| proxy.is_of("reviews-v3")).expect("started");
    let mut gone = sidecars.swap_remove(index);
    gone.process.signal("TERM");
    assert_eq!(common::get(port, "shop.example.com", "/", &chain).status, 200);
    assert_eq!(gone.send("POST", "agent", "/quitquitquit").status, 200);
    assert_eq!(gone.process.wait_exit(), 0);
    assert_eq!(common::get(port, "shop.example.com", "/", &chain).status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_starts_from_what_it_saved_while_no_control_plane_is_there() {
    let origin = Origin::text("hello").await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gateway.saved");
    let saved = file.display().to_string();
    let edge = Edge::start(origin.address, &["--save", &saved], &[]);
    assert_eq!(get(edge.address, "web", "/").await.body, "hello");
    eventually("a saved configuration", || file.exists().then_some(()));
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).expect("there").permissions());
    assert_eq!(mode & 0o777, 0o600);

    // All of it dies at once.
    let Edge { control, mut proxy, address, folder: config, port: _kept, grpc } = edge;
    proxy.process.signal("KILL");
    control.kill();
    proxy.process.wait_exit();
    assert!(Raw::try_connect(address).await.is_none());

    let args = ["--save", &saved, "--start-from-saved"];
    let proxy = Edge::proxy(&grpc.address().to_string(), &args, &[]);
    proxy.wait_ready();
    let told = proxy.wait_health(200, "no control plane since");
    assert!(told.contains("serving the last configuration, saved 20"), "{told}");
    assert_eq!(get(address, "web", "/").await.body, "hello");

    // The control plane comes back, with something new.
    let other = Origin::text("another").await;
    let path = config.path().join("mesh.yaml");
    fs::write(&path, mesh(address.port(), other.address)).expect("written");
    let _control = Edge::control(&grpc, config.path());
    while get(address, "web", "/").await.body != "another" {
        tokio::task::yield_now().await;
    }
    assert_eq!(proxy.get("health", "/healthz/ready").body, "ready\n");

    // Another proxy does not take this one's.
    let other = Edge::proxy("127.0.0.1:1", &[&args[..], &["--pod-name", "ingress-2"]].concat(), &[]);
    other.process.wait_output(0, "it is of another proxy, router~127.0.0.1~ingress-1");
    assert_eq!(other.get("health", "/healthz/ready").status, 503);
}
