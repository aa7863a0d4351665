//! `amime up` as a process: ports, signals, watching, errors, users.

mod common;

use amime_testkit::files::save;
use common::{Answer, Mesh, Start, copy_of, eventually, example, try_get, try_send};
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

const HOST: &str = "shop.example.com";

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("a file");
    assert!(text.contains(from), "{from} in {}", path.display());
    save(path, &text.replace(from, to));
}

#[test]
fn health_is_answered_by_get_and_head_alone() {
    let mesh = Mesh::up([example("shop")]);
    let ask = |method| try_send(mesh.claim.health, method, "x", "/healthz/ready", &[]).expect("answered");
    assert_eq!((ask("GET").status, ask("HEAD").status, ask("POST").status), (200, 200, 405));
    assert_eq!(ask("HEAD").body, "");
}

#[test]
fn the_table_names_gateways_hosts_and_workloads() {
    let mesh = Mesh::up([example("shop")]);
    for part in ["istio-ingress/", HOST, "shop/web-v1", "shop/reviews-v2", "shop/ratings-v1"] {
        mesh.wait_output(0, part);
    }
    assert!(!mesh.output().contains('\u{1b}'), "colour without a terminal");
}

#[test]
fn quiet_prints_no_line_a_request() {
    let mut mesh = Start::new().arg(example("shop")).arg("--quiet").ready();
    assert_eq!(mesh.get(HOST, "/quiet", &[]).status, 200);
    mesh.signal("TERM");
    assert_eq!(mesh.wait_exit(), 0);
    let output = mesh.output();
    assert!(output.contains("ready: ") && !output.contains("/quiet"), "{output}");
}

/// A mesh whose ratings are this test: a request that waits there is in flight, and nobody guesses.
struct Waiting {
    mesh: Mesh,
    request: std::thread::JoinHandle<Option<Answer>>,
    at_ratings: TcpStream,
}

impl Waiting {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let mesh = Start::new().arg(example("shop")).arg("--replace").arg(format!("shop/ratings-v1={address}")).ready();
        let port = mesh.port(80);
        let request = std::thread::spawn(move || {
            try_get(port, HOST, "/", &[("x-amime-call", "http://ratings:9080/"), ("x-try", "patience")])
        });
        let (at_ratings, _) = listener.accept().expect("the request comes");
        Self { mesh, request, at_ratings }
    }
}

#[test]
fn a_term_signal_drains_and_leaves_nothing_behind() {
    for signal in ["TERM", "INT"] {
        let mut waiting = Waiting::start();
        let port = waiting.mesh.port(80);
        waiting.mesh.signal(signal);
        // It takes nothing new, and holds on to what began.
        eventually("the gateway is closed", || TcpStream::connect(("127.0.0.1", port)).is_err().then_some(()));
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n{\"a\":1}";
        waiting.at_ratings.write_all(answer.as_bytes()).expect("written");
        let answer = waiting.request.join().expect("no panic").unwrap_or_else(|| panic!("{signal} lost the request"));
        assert_eq!(answer.called()["a"], 1, "{signal}");
        assert_eq!(waiting.mesh.wait_exit(), 0);
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut waiting = Waiting::start();
    waiting.mesh.signal("TERM");
    waiting.mesh.wait_output(0, "again");
    waiting.mesh.signal("TERM");
    assert_ne!(waiting.mesh.wait_exit(), 0);
    // Nobody answered what waits behind: the request is cut off, or told so.
    let answer = waiting.request.join().expect("no panic");
    assert!(answer.is_none_or(|answer| answer.status != 200 || answer.called()["a"].is_null()));
    drop(waiting.at_ratings);
}

#[test]
fn two_run_side_by_side() {
    let (one, two) = (Mesh::up([example("shop")]), Mesh::up([example("practices/one-version")]));
    assert_eq!(one.get(HOST, "/", &[]).workload(), "web-v1");
    assert_eq!(two.get("caller.example.com", "/", &[]).workload(), "caller");
    assert_eq!(two.get(HOST, "/", &[]).status, 404);
}

#[test]
fn a_port_in_use_is_an_error_that_names_the_gateway() {
    let start = Start::new().arg(example("shop"));
    let port = start.claim.offset + 80;
    let _other = TcpListener::bind(("127.0.0.1", port)).expect("free");
    let (code, output) = start.run();
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("Gateway shop/shop") && output.contains(&port.to_string()), "{output}");
}

#[test]
fn the_health_port_in_use_is_an_error_that_says_what_to_do() {
    let start = Start::new().arg(example("shop"));
    let _other = TcpListener::bind(("127.0.0.1", start.claim.health)).expect("free");
    let (code, output) = start.run();
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("--health-port"), "{output}");
}

#[test]
fn wrong_arguments_exit_with_2() {
    let amime = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_amime")).args(args).output().expect("amime runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(amime(&["up"]).0, Some(2));
    assert_eq!(amime(&["up", "x", "--replace", "nonsense"]).0, Some(2));
    assert_eq!(amime(&["up", "x", "--no-such-flag"]).0, Some(2));
    let (code, text) = amime(&["up", "/no/such/path"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("/no/such/path"), "{text}");
    let (code, help) = {
        let output = Command::new(env!("CARGO_BIN_EXE_amime")).args(["up", "--help"]).output().expect("amime runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(code, Some(0));
    assert!(help.contains("amime up examples/shop"), "{help}");
}

#[test]
fn a_save_takes_effect() {
    let folder = copy_of("shop");
    let mesh = Mesh::up([folder.path()]);
    let reviews = folder.path().join("reviews.yaml");
    let call = [("x-amime-call", "http://reviews:9080/"), ("end-user", "jason")];
    assert_eq!(mesh.get(HOST, "/", &call).called()["workload"], "reviews-v2");
    edit(&reviews, "subset: v2", "subset: v3");
    eventually("jason gets v3", || (mesh.get(HOST, "/", &call).called()["workload"] == "reviews-v3").then_some(()));
}

#[test]
fn a_save_with_an_error_is_shown_as_a_compiler_would_and_keeps_what_was_good() {
    let folder = copy_of("shop");
    let mesh = Mesh::up([folder.path()]);
    let reviews = folder.path().join("reviews.yaml");
    let from = mesh.output().len();
    edit(&reviews, "subset: v2", "subst: v2");
    mesh.wait_output(from, "reviews.yaml:");
    let shown = eventually("a suggestion", || {
        let output = mesh.output()[from..].to_owned();
        output.contains("subset").then_some(output)
    });
    assert!(shown.contains("subst: v2") && shown.contains('^'), "{shown}");
    let call = [("x-amime-call", "http://reviews:9080/"), ("end-user", "jason")];
    for _ in 0..10 {
        assert_eq!(mesh.get(HOST, "/", &call).called()["workload"], "reviews-v2");
    }
}

#[test]
fn pods_come_and_go() {
    let folder = copy_of("shop");
    let mesh = Mesh::up([folder.path()]);
    let call = [("x-amime-call", "http://stock.shop/")];
    assert_eq!(mesh.get(HOST, "/", &call).called()["status"], serde_json::Value::Null);
    let stock = fs::read_to_string(example("shop/workloads.yaml"))
        .expect("a file")
        .split("---")
        .filter(|document| document.contains("name: ratings"))
        .collect::<Vec<_>>()
        .join("---")
        .replace("ratings", "stock")
        .replace("port: 9080", "port: 80\n      targetPort: 9080");
    let file = folder.path().join("stock.yaml");
    save(&file, &stock);
    eventually("stock answers", || (mesh.get(HOST, "/", &call).called()["workload"] == "stock-v1").then_some(()));
    fs::remove_file(&file).expect("removed");
    eventually("stock is gone", || (mesh.get(HOST, "/", &call).called()["workload"] != "stock-v1").then_some(()));
    assert_eq!(mesh.get(HOST, "/", &[]).workload(), "web-v1");
}

#[test]
fn what_is_not_enforced_or_not_known_is_named() {
    let folder = copy_of("shop");
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: closed, namespace: shop}\n\
        ---\napiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n";
    fs::write(folder.path().join("policy.yaml"), policy).expect("written");
    let mesh = Mesh::up([folder.path()]);
    let line = mesh.wait_output(0, "NOT ENFORCED");
    assert!(mesh.output().contains("AuthorizationPolicy shop/closed"), "{line}");
    mesh.wait_output(0, "Widget");
    let from = mesh.output().len();
    edit(&folder.path().join("reviews.yaml"), "subset: v2", "subset: v3");
    mesh.wait_output(from, "NOT ENFORCED");
    assert!(!mesh.output()[from..].contains("Widget"));
}

#[test]
fn two_objects_of_one_name_are_an_error_that_names_both_places() {
    let folder = copy_of("shop");
    fs::copy(folder.path().join("reviews.yaml"), folder.path().join("twice.yaml")).expect("copied");
    let mesh = Mesh::up([folder.path()]);
    mesh.wait_output(0, "twice.yaml");
    let output = mesh.output();
    assert!(output.contains("reviews.yaml") && output.contains("VirtualService shop/reviews"), "{output}");
}

/// As nobody where the tests run as root; else they run unprivileged already.
#[test]
fn an_unprivileged_user_can_run_it() {
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    let folder = copy_of("shop");
    Command::new("chmod").args(["-R", "a+rX"]).arg(folder.path()).status().expect("chmod runs");
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"];
    let start = Start::new().arg(folder.path());
    let mesh = if root { start.under(&nobody).ready() } else { start.ready() };
    assert_eq!(mesh.get(HOST, "/", &[]).workload(), "web-v1");
}

/// A pod port that the user must not bind (80) is bound elsewhere, and nobody notices.
#[test]
fn low_pod_ports_work_for_an_unprivileged_user() {
    let folder = copy_of("shop");
    edit(&folder.path().join("workloads.yaml"), "containerPort: 8080", "containerPort: 80");
    edit(&folder.path().join("workloads.yaml"), "targetPort: 8080", "targetPort: 80");
    Command::new("chmod").args(["-R", "a+rX"]).arg(folder.path()).status().expect("chmod runs");
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"];
    let start = Start::new().arg(folder.path());
    let mesh = if root { start.under(&nobody).ready() } else { start.ready() };
    assert_eq!(mesh.get(HOST, "/", &[]).workload(), "web-v1");
}

/// Folders in folders, JSON, a List, and a hidden file that would be an error.
#[test]
fn manifests_come_in_every_form() {
    let folder = tempfile::tempdir().expect("a folder");
    let deep = folder.path().join("deep/er");
    fs::create_dir_all(&deep).expect("made");
    let json = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
         "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "main"}]}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web"}},
         "spec": {"containers": [{"name": "web", "ports": [{"name": "main", "containerPort": 8080}]}]}}]}"#;
    fs::write(deep.join("web.json"), json).expect("written");
    let gateway = "apiVersion: networking.istio.io/v1alpha3\nkind: Gateway\nmetadata: {name: g}\nspec:\n  \
        selector: {istio: ingressgateway}\n  servers:\n  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}\n\
        ---\n# An empty document, then another.\n---\napiVersion: networking.istio.io/v1beta1\nkind: VirtualService\n\
        metadata: {name: v}\nspec:\n  hosts: ['*']\n  gateways: [g]\n  http:\n  - route: [{destination: {host: web, \
        port: {number: 80}}}]\n";
    fs::write(folder.path().join("gateway.yml"), gateway).expect("written");
    fs::write(folder.path().join(".hidden.yaml"), "kind: [").expect("written");
    fs::write(folder.path().join("notes.txt"), "kind: [").expect("written");
    let mesh = Mesh::up([folder.path()]);
    let answer = mesh.get("any", "/", &[]).json();
    assert_eq!((&answer["pod"], &answer["workload"]), (&"web".into(), &"web".into()));
    assert!(answer["version"].is_null());
    assert!(!mesh.output().contains("error"), "{}", mesh.output());
}

/// Names are those of a cluster, seen from the pod that asks.
#[test]
fn stand_ins_resolve_names_as_in_a_cluster() {
    let mesh = Mesh::up([example("shop")]);
    let call = |host: &str| {
        let url = format!("http://{host}:9080/");
        mesh.get(HOST, "/", &[("x-amime-call", &url)]).called()
    };
    for host in ["ratings", "ratings.shop", "ratings.shop.svc", "ratings.shop.svc.cluster.local"] {
        assert_eq!(call(host)["workload"], "ratings-v1", "{host}");
    }
    for host in ["no-such", "ratings.other.svc.cluster.local"] {
        let called = call(host);
        assert!(called["status"].is_null() && called["flag"].is_null(), "{host}: {called}");
        assert!(called["body"].as_str().is_some_and(|body| body.contains("no such host")), "{called}");
    }
}

/// A literal port wins over a moved one, and the loser is told where it went. The offset is the usual one here, so
/// that something moves: the test is skipped where somebody has these ports.
#[test]
fn two_gateways_that_want_one_port() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = |name: &str, port: u16| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec:\n  selector: {{app: \
             {name}}}\n  servers:\n  - {{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: ['*']}}\n"
        )
    };
    let text = gateway("moved", 80) + "---\n" + &gateway("literal", 8080);
    fs::write(folder.path().join("gateways.yaml"), text).expect("written");
    if TcpListener::bind("127.0.0.1:8080").is_err() || TcpListener::bind("127.0.0.1:8081").is_err() {
        eprintln!("skipped: ports 8080 and 8081 are in use");
        return;
    }
    let mesh = Start::new().arg(folder.path()).without_offset().ready();
    let line = mesh.wait_output(0, "Gateway default/moved: port 80 is opened at");
    let port: u16 = line
        .split("opened at ")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .and_then(|p| p.parse().ok())
        .expect("a port");
    assert!(port > 8080, "{line}");
    for port in [8080, port] {
        assert_eq!(common::get(port, "any", "/", &[]).status, 404);
    }
}

/// Lines that nobody reads fill the pipe: requests go on, files are followed, and the end comes when it is asked for.
#[test]
fn a_terminal_that_stands_still_holds_up_nothing() {
    let folder = copy_of("shop");
    let mut mesh = Start::new().arg(folder.path()).unread().ready();
    for _ in 0..1000 {
        assert_eq!(mesh.get(HOST, "/", &[]).status, 200);
    }
    edit(&folder.path().join("reviews.yaml"), "subset: v2", "subset: v3");
    let call = [("x-amime-call", "http://reviews:9080/"), ("end-user", "jason")];
    eventually("jason gets v3", || (mesh.get(HOST, "/", &call).called()["workload"] == "reviews-v3").then_some(()));
    mesh.signal("TERM");
    assert_eq!(mesh.wait_exit(), 0);
}

/// A pod that ran with a sidecar becomes a gateway when a Gateway selects it, and a sidecar's again.
#[test]
fn a_gateway_may_come_after_its_pod() {
    let folder = copy_of("shop");
    let gateway = fs::read_to_string(folder.path().join("gateway.yaml")).expect("a file");
    fs::remove_file(folder.path().join("gateway.yaml")).expect("removed");
    let own = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: way-in, namespace: shop}\nspec:\n  template:\n    \
        metadata: {labels: {istio: ingressgateway}}\n    spec: {containers: [{name: proxy, image: auto}]}\n";
    fs::write(folder.path().join("way-in.yaml"), own).expect("written");
    let mesh = Mesh::up([folder.path()]);
    assert!(try_get(mesh.port(80), HOST, "/", &[]).is_none());
    for _ in 0..2 {
        save(&folder.path().join("gateway.yaml"), &gateway);
        eventually("the gateway opens", || {
            try_get(mesh.port(80), HOST, "/", &[]).filter(|answer| answer.status == 200)
        });
        mesh.wait_output(0, "shop/way-in");
        fs::remove_file(folder.path().join("gateway.yaml")).expect("removed");
        eventually("it closes", || try_get(mesh.port(80), HOST, "/", &[]).is_none().then_some(()));
    }
}

/// ALLOW_ANY lets a call to a service that is hidden from the caller through as it was dialled; a virtual address
/// leads to a pod all the same, and one that stands for nothing leads nowhere.
#[test]
fn what_is_passed_through_reaches_pods_and_stays_on_the_machine() {
    let folder = copy_of("shop");
    let hidden = "apiVersion: v1\nkind: Service\nmetadata: {name: hidden, namespace: other, annotations: \
        {networking.istio.io/exportTo: '.'}}\nspec: {selector: {app: hidden}, ports: [{name: http, port: 80, targetPort: \
        8080}]}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: hidden, namespace: other}\nspec:\n  \
        template: {metadata: {labels: {app: hidden}}, spec: {containers: [{name: c, ports: [{containerPort: 8080}]}]}}\n";
    fs::write(folder.path().join("hidden.yaml"), hidden).expect("written");
    let mesh = Mesh::up([folder.path()]);
    let call = |url: &str| mesh.get(HOST, "/", &[("x-amime-call", url)]).called();
    assert_eq!(call("http://hidden.other/")["workload"], "hidden");
    let nowhere = call("http://no-such-host.invalid/");
    assert_eq!((&nowhere["status"], &nowhere["flag"]), (&503.into(), &"UF".into()), "{nowhere}");
}
