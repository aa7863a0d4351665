//! `amime control` as a process: ports, pages, files, signals.

mod common;

use amime_model::config::{EndpointAddress, ProxyConfig};
use amime_testkit::files::save;
use common::control::{Control, MESH, WEB, folder, sidecar, until};
use common::{example, try_get, try_send};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

const CLUSTER: &str = "outbound|80||web.default.svc.cluster.local";

#[tokio::test]
async fn a_proxy_gets_what_the_files_say_and_what_they_say_next() {
    let folder = folder(WEB);
    let control = Control::start([Path::new("--config"), folder.path()]);
    let mut configs = control.proxy(sidecar("caller-1", "default", "10.1.1.9"));
    let endpoints = |config: &ProxyConfig| {
        let found = config.endpoints.get(CLUSTER).into_iter().flat_map(|e| &e.localities).flat_map(|l| &l.endpoints);
        found
            .map(|endpoint| match &endpoint.address {
                EndpointAddress::Socket(address) => address.to_string(),
                other => format!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    until(&mut configs, |config| endpoints(config) == ["10.1.1.1:8080"]).await;
    save(&folder.path().join(MESH), &WEB.replace("10.1.1.1", "10.1.1.2"));
    until(&mut configs, |config| endpoints(config) == ["10.1.1.2:8080"]).await;

    // What is broken is told of, with its place, and changes nothing.
    let from = control.output().len();
    save(&folder.path().join(MESH), &WEB.replace("kind: Pod", "kind: [Pod"));
    control.wait_output(from, "mesh.yaml:");
    save(&folder.path().join(MESH), &WEB.replace("10.1.1.1", "10.1.1.3"));
    let config = until(&mut configs, |config| endpoints(config) != ["10.1.1.2:8080"]).await;
    assert_eq!(endpoints(&config), ["10.1.1.3:8080"]);
}

/// A proxy of the gateway that `EDGE` chooses.
fn gateway() -> amime_xds::Node {
    amime_xds::Node {
        id: "router~10.1.1.8~ingress-1.default~default.svc.cluster.local".into(),
        metadata: serde_json::json!({"NAMESPACE": "default", "LABELS": {"istio": "ingressgateway"}}),
        ..amime_xds::Node::default()
    }
}

const EDGE: &str = "
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}
  - {port: {number: 65000, name: high, protocol: HTTP}, hosts: ['*']}
";

#[tokio::test]
async fn gateway_ports_are_as_written_or_moved() {
    let folder = folder(&[WEB, EDGE].concat());
    let path = folder.path().display().to_string();
    for (args, ports) in [(&[][..], [80, 65000]), (&["--gateway-port-offset", "8000"], [8080, 65000])] {
        let control = Control::start(["--config", &path].iter().chain(args));
        let mut configs = control.proxy(gateway());
        let config = until(&mut configs, |config| !config.listeners.is_empty()).await;
        let names: Vec<&str> = config.listeners.keys().map(|name| &**name).collect();
        assert_eq!(names, ["0.0.0.0_65000", "0.0.0.0_80"]);
        let mut found: Vec<u16> = config.listeners.values().map(|listener| listener.address.port()).collect();
        found.sort_unstable();
        assert_eq!(found, ports, "{args:?}");
        assert!(config.routes.contains_key("http.80"), "names stay");
    }
    let mut alone = Control::spawn(["--config", &path, "--sidecar", "web"]);
    assert_eq!(alone.wait_exit(), 2);
    assert!(alone.output().contains("--stand-ins"), "{}", alone.output());
}

#[test]
fn ports_are_printed_and_pages_answer_get_and_head_alone() {
    let control = Control::start(["--config", &example("shop").display().to_string()]);
    let ask = |port: &str, method, path| {
        let port = control.address(port);
        assert!(port.ip().is_loopback() && port.port() != 0);
        try_send(port.port(), method, "x", path, &[]).expect("answered")
    };
    let status = |method| ask("http", method, "/ready").status;
    assert_eq!((status("GET"), status("HEAD"), status("POST")), (200, 200, 405));
    assert!(ask("http", "GET", "/").body.contains("/ready"));
    assert_eq!(ask("monitoring", "GET", "/version").body.trim(), env!("CARGO_PKG_VERSION"));
    assert!(TcpStream::connect(control.address("grpc")).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_streams_and_the_process_well() {
    for signal in ["TERM", "INT"] {
        let mut control = Control::start(["--config", &example("shop").display().to_string()]);
        let mut configs = control.proxy(sidecar("caller-1", "shop", "10.1.1.9"));
        until(&mut configs, |config| !config.listeners.is_empty()).await;
        control.signal(signal);
        assert_eq!(control.wait_exit(), 0, "{signal}: {}", control.output());
    }
}

#[test]
fn several_paths_and_standard_input_are_one_mesh() {
    let folder = folder(WEB);
    let path = folder.path().display().to_string();
    let mut control = Control::spawn(["--config", &path, &example("shop").display().to_string(), "--config", "-"]);
    let mut input = control.input().expect("piped");
    let http = control.address("http").port();
    // Nothing is served before all has been read.
    assert_ne!(try_get(http, "x", "/ready", &[]).map(|answer| answer.status), Some(200));
    input.write_all(b"apiVersion: v1\nkind: Service\nmetadata: {nam: x}\n").expect("written");
    drop(input);
    control.wait_ready();
    control.wait_output(0, "standard input:");
}

#[test]
fn what_cannot_be_is_said_with_its_remedy() {
    let mut missing = Control::spawn(["--config", "no-such-folder"]);
    assert_eq!(missing.wait_exit(), 2);
    assert!(missing.output().contains("no-such-folder"), "{}", missing.output());

    let mut none: Control = Control::spawn::<&str>([]);
    assert_eq!(none.wait_exit(), 2);

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let shop = example("shop").display().to_string();
    let mut refused = Control::with(["--config", &shop], [("grpc-port", port.as_str())]);
    assert_eq!(refused.wait_exit(), 1);
    let output = refused.output();
    assert!(output.contains("--grpc-port") && output.contains(&port), "{output}");
}
