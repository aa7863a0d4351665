//! What `amime control` tells at its monitoring port, of real clients.

mod common;

use amime_model::config::EndpointAddress;
use amime_testkit::files::save;
use amime_xds::client::{Client, ClientOptions};
use amime_xds::transport::{Backoff, run};
use common::control::{Control, MESH, WEB, folder, sidecar, until};
use common::{Answer, PATIENCE, own_address, try_send};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

/// What is said of `WEB`.
const RULES: &str = "
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec: {host: web, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec: {hosts: [web], http: [{route: [{destination: {host: web, subset: v1}}]}]}
";

fn mesh() -> String {
    [WEB, RULES].concat()
}

fn start(folder: &tempfile::TempDir) -> Control {
    Control::start([Path::new("--config"), folder.path()])
}

/// Asks again until the page is as wanted; each answer is a moment later, so there is nothing to wait for but it.
async fn page_until(control: &Control, path: &str, ok: impl Fn(&Answer) -> bool) -> Answer {
    let start = Instant::now();
    loop {
        let answer = control.page(path);
        if ok(&answer) {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "{path} stays {}", answer.body);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

fn states(entry: &Value) -> Vec<&str> {
    ["CDS", "LDS", "EDS", "RDS"].iter().map(|kind| entry["types"][kind]["state"].as_str().unwrap_or("?")).collect()
}

/// The value of the first sample that begins so.
fn metric(control: &Control, name: &str) -> f64 {
    let text = control.page("/metrics").body;
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in\n{text}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_tell_what_a_proxy_has_and_what_waits() {
    let folder = folder(&mesh());
    let control = start(&folder);
    assert_eq!(control.page("/debug/syncz").json(), json!([]));
    let mut configs = control.proxy(sidecar("caller-1", "default", "10.1.1.9"));
    until(&mut configs, |config| !config.routes.is_empty()).await;
    let synced = |answer: &Answer| states(&answer.json()[0]) == ["SYNCED"; 4];
    let first = page_until(&control, "/debug/syncz", synced).await.json()[0].clone();
    assert_eq!(
        (first["proxy"].as_str(), first["pending"].as_array().map(Vec::len)),
        (Some("caller-1.default"), Some(0))
    );
    assert_eq!(first["types"]["RDS"]["sent_version"], first["types"]["RDS"]["acked_version"]);
    assert!(first["types"]["RDS"]["sent_version"].is_string(), "{first}");
    assert!(metric(&control, "pilot_xds{") >= 1.0);
    assert!(metric(&control, "pilot_xds_pushes{type=\"rds\"}") >= 1.0);
    assert!(metric(&control, "pilot_proxy_convergence_time_count") >= 1.0);
    assert!(metric(&control, "process_resident_memory_bytes") > 1e6);

    // What it is to have is what it has.
    let dump = control.page("/debug/config_dump?proxyID=caller-1.default&include_eds").body;
    assert!(dump.contains("\"version_info\""), "{dump}");
    let endpoints = control.page("/debug/edsz?proxyID=caller-1").body;
    let running = configs.borrow().clone();
    for cluster in running.clusters.keys() {
        assert!(dump.contains(&**cluster), "no {cluster} in {dump}");
    }
    for endpoint in running.endpoints.values().flat_map(|e| &e.localities).flat_map(|l| &l.endpoints) {
        let EndpointAddress::Socket(address) = &endpoint.address else { continue };
        let ip = address.ip().to_string();
        assert!(dump.contains(&ip) && endpoints.contains(&ip), "no {ip} in {dump} or {endpoints}");
    }
    let scopes = control.page("/debug/sidecarz").json();
    assert_eq!((scopes[0]["proxies"].as_u64(), scopes[0]["names"][0].as_str()), (Some(1), Some("caller-1.default")));
    assert_eq!(control.page("/debug/connections").json()["totalClients"], 1);
    for path in ["adsz", "configz", "registryz", "endpointz", "mesh", "push_status", "instancesz", "list"] {
        let answer = control.page(&format!("/debug/{path}"));
        assert!(answer.status == 200 && !answer.json().is_null(), "{path}: {answer:?}");
    }

    // The subset goes: the route that names it waits, and its last good version goes on.
    save(&folder.path().join(MESH), &mesh().replace("name: v1, labels", "name: v9, labels"));
    let pending = |answer: &Answer| answer.json()[0]["pending"].as_array().is_some_and(|p| p.len() == 1);
    let entry = page_until(&control, "/debug/syncz", pending).await.json()[0].clone();
    assert_eq!(
        entry["pending"][0],
        "VirtualService default/web: waits for subset v1 of host web.default.svc.cluster.local; its last good version goes on"
    );
    assert_ne!(entry["inputs"], first["inputs"]);

    // A control plane that never saw the subset has the same inputs, and something else in force.
    let other = start(&folder);
    let here = control.page("/debug/push_status").json();
    let there = other.page("/debug/push_status").json();
    assert_eq!(here["inputs"], there["inputs"]);
    assert_ne!(here["in_force"], there["in_force"]);
    assert_eq!(here["pending"][0], entry["pending"][0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_refuses_is_named_with_its_object() {
    let folder = folder(&mesh());
    let control = start(&folder);
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", control.address("grpc")));
    let channel = channel.expect("a URI").connect_lazy();
    let client = Client::new(sidecar("picky-1", "default", "10.1.1.9"), Arc::default(), ClientOptions::default());
    tokio::spawn(run(channel, client, Backoff::default(), |update| {
        let refuses = update.config.clusters.contains_key("outbound|80|v1|web.default.svc.cluster.local");
        std::future::ready(if refuses { Err("no subsets, please".to_owned()) } else { Ok(()) })
    }));
    let rejected = |answer: &Answer| states(&answer.json()[0]).contains(&"REJECTED");
    let entry = page_until(&control, "/debug/syncz", rejected).await.json()[0].clone();
    let refused = entry["types"].as_object().into_iter().flatten().find(|(_, t)| t["state"] == "REJECTED");
    let (kind, refused) = refused.expect("one is rejected");
    assert_eq!(refused["error"], "no subsets, please", "{entry}");
    assert!(refused["object"].as_str().is_some_and(|object| object.contains("DestinationRule default/web")), "{entry}");
    let status = control.page("/debug/push_status").json();
    assert_eq!(
        (status["rejected"][0]["proxy"].as_str(), status["rejected"][0]["type"].as_str()),
        (Some("picky-1.default"), Some(kind.as_str()))
    );
    assert_eq!(status["rejected"][0]["object"], refused["object"]);
    let kind = kind.to_lowercase();
    assert!(metric(&control, &format!("pilot_total_xds_rejects{{type=\"{kind}\"}}")) >= 1.0);
    assert!(metric(&control, &format!("pilot_xds_{kind}_reject{{node=\"picky-1.default\"")) >= 1.0);

    // `amime status` reads the same page.
    let address = control.address("monitoring").to_string();
    let status = Command::new(env!("CARGO_BIN_EXE_amime")).args(["status", "--control", &address]).output();
    let output = String::from_utf8_lossy(&status.expect("it runs").stdout).into_owned();
    for word in ["picky-1.default", "REJECTED", "DestinationRule default/web", "no subsets, please"] {
        assert!(output.contains(word), "no {word} in\n{output}");
    }
}

#[test]
fn pages_are_read_and_those_that_are_not_here_say_why() {
    let folder = folder(&mesh());
    let control = start(&folder);
    let port = control.address("monitoring").port();
    let ask =
        |method, path, headers: &[(&str, &str)]| try_send(port, method, "localhost", path, headers).expect("answered");
    for path in ["/metrics", "/version", "/debug", "/debug/syncz", "/debug/configz"] {
        assert_eq!(ask("GET", path, &[]).status, 200, "{path}");
        let head = ask("HEAD", path, &[]);
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        let refused = ask("POST", path, &[]);
        assert_eq!(
            (refused.status, refused.headers.get("allow").map(String::as_str)),
            (405, Some("GET, HEAD")),
            "{path}"
        );
    }
    assert!(ask("GET", "/metrics", &[]).headers["content-type"].starts_with("text/plain; version=0.0.4"));
    assert_eq!(ask("GET", "/version", &[("accept", "application/json")]).json()["version"], env!("CARGO_PKG_VERSION"));
    assert!(ask("GET", "/debug", &[("accept", "text/html")]).body.contains("<table>"));
    let absent = ask("GET", "/debug/ambientz", &[]);
    assert!(absent.status == 404 && absent.body.contains("no ambient mode"), "{absent:?}");
    let unknown = ask("GET", "/debug/nothing", &[]);
    assert!(unknown.status == 404 && unknown.body.contains("/debug/syncz"), "{unknown:?}");
    let whom = ask("GET", "/debug/config_dump", &[]);
    assert!(whom.status == 400 && whom.body.contains("proxyID"), "{whom:?}");
    // A page of another site, by a name that leads here.
    assert_eq!(try_send(port, "GET", "attacker.example", "/debug/configz", &[]).expect("answered").status, 403);
    assert_eq!(try_send(port, "GET", "attacker.example", "/metrics", &[]).expect("answered").status, 200);
}

#[test]
fn debug_is_told_to_other_machines_only_where_a_flag_says_so() {
    let Some(ip) = own_address() else {
        println!("skipped: this machine has no address but loopback ones");
        return;
    };
    let folder = folder(&mesh());
    let path = folder.path().display().to_string();
    for (flag, status) in [(None, 403), (Some("--debug-from-anywhere"), 200)] {
        let control = Control::start(["--config", &path, "--bind", "0.0.0.0"].into_iter().chain(flag));
        let port = control.address("monitoring").port();
        let ask = |path: &str| {
            let request = format!("GET {path} HTTP/1.1\r\nhost: {ip}\r\nconnection: close\r\n\r\n");
            common::exchange((ip, port), request.as_bytes()).expect("answered").status
        };
        assert_eq!((ask("/debug/syncz"), ask("/debug"), ask("/metrics"), ask("/version")), (status, status, 200, 200));
    }
}
