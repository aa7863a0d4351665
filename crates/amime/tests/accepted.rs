//! A real Envoy takes all that `amime control` sends it, for the examples and for Istio's bookinfo: nothing is refused,
//! nothing stays cold, and no request ends without a cluster. Skipped, with a line that says so, where there is no Envoy
//! (scripts/envoy.sh).

mod common;
mod judge;

use common::{Claim, example, root, samples};
use judge::command::Control;
use judge::envoy::{Envoy, Who, Wire};
use judge::eventually;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt;

const BOOKINFO: &str = "bookinfo/platform/kube/bookinfo.yaml";

/// Names a service that is nowhere: its requests have no cluster.
const NOT_ASKED: &str = "certmanager-gateway.yaml";
/// Names of the internet, without which Envoy's cluster gets no address and stays cold.
const NOT_RUN: &str = "egress-rule-google-apis.yaml";

/// The gateways and these sidecars of a mesh, each an Envoy; and requests through them.
async fn check(binary: &Path, what: &str, files: &[PathBuf], sidecars: &[&str], wire: Wire, asks: bool) {
    let claim = Claim::take();
    let offset = claim.offset.to_string();
    let mut args: Vec<String> = vec!["--config".into()];
    args.extend(files.iter().map(|file| file.display().to_string()));
    args.extend(["--stand-ins".into(), "--gateway-port-offset".into(), offset]);
    for sidecar in sidecars {
        args.extend(["--sidecar".into(), (*sidecar).into()]);
    }
    let control = Control::start(&args);
    let wanted = control.wanted();
    assert!(wanted.len() >= sidecars.len(), "{what}: {}", control.output().text());
    let mut proxies = Vec::new();
    for who in &wanted {
        proxies.push((who, Envoy::start(binary, who, control.grpc, wire).await));
    }
    for (who, envoy) in &proxies {
        envoy.ready().await;
        // Cold is what nothing has come for: it is warm before long, or never.
        eventually(&format!("{what}: all of {} is warm", who.id()), || async {
            let faults = envoy.faults().await;
            let refused: Vec<&String> =
                faults.iter().filter(|f| f.contains("rejected") || f.contains("error_state")).collect();
            assert!(refused.is_empty(), "{what}: {}: {refused:?}\n{}", who.id(), envoy.output().text());
            faults.is_empty().then_some(())
        })
        .await;
        if asks {
            ask(what, who, envoy).await;
            explain(what, envoy).await;
        }
    }
    let complaints = control.output().text();
    assert!(!complaints.contains(" refuses "), "{what}: {complaints}");
}

/// A request to every host and path that its routes name, at the port where it listens.
async fn ask(what: &str, who: &Who, envoy: &Envoy) {
    let dump: serde_json::Value =
        serde_json::from_str(&envoy.admin("/config_dump").await.expect("a dump")).expect("JSON");
    let mut asked = 0;
    for (host, path) in routes(&dump) {
        for address in listening(&dump, who) {
            let Some(mut client) = amime_testkit::client::Raw::try_connect(address).await else { continue };
            if who.kind == "sidecar" {
                let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).unwrap_or(80);
                client.send(format!("PROXY TCP4 {0} 10.255.0.1 40000 {port}\r\n", who.ip)).await;
            }
            client.send(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")).await;
            // What is asked is asked; some rules answer late on purpose, and some listeners speak no HTTP.
            let mut byte = [0];
            drop(tokio::time::timeout(std::time::Duration::from_secs(8), client.stream.read(&mut byte)).await);
            asked += 1;
        }
    }
    let faults = envoy.faults().await;
    assert!(faults.is_empty(), "{what}: {}: after {asked} requests: {faults:?}", who.id());
}

/// `amime explain --dump` has an answer to each of these requests from what Envoy says that it has.
async fn explain(what: &str, envoy: &Envoy) {
    let text = envoy.admin("/config_dump?include_eds").await.expect("a dump");
    let dump: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let folder = tempfile::tempdir().expect("a folder");
    let (file, requests) = (folder.path().join("dump.json"), folder.path().join("requests.jsonl"));
    let asked = routes(&dump);
    let line = |(host, path): &(String, String)| {
        format!("{}\n", serde_json::json!({"from": "the proxy", "url": format!("http://{host}{path}")}))
    };
    std::fs::write(&file, text).expect("written");
    std::fs::write(&requests, asked.iter().map(line).collect::<String>()).expect("written");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_amime"))
        .args(["explain", "--dump"])
        .args([file.as_path(), Path::new("--requests"), requests.as_path()])
        .output()
        .expect("run");
    let answers = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(answers.lines().count(), asked.len(), "{what}: {answers}");
    assert!(!answers.contains("\"refuse\""), "{what}: {answers}");
}

/// Hosts and paths of all route configurations of a dump. Rules of a service hold at port 80 too, as in Istio; where
/// the service has no such port, there is nothing to be asked.
fn routes(dump: &serde_json::Value) -> BTreeSet<(String, String)> {
    let empty = Vec::new();
    let list = |value: &serde_json::Value, name: &str| value[name].as_array().unwrap_or(&empty).clone();
    let mut found = BTreeSet::new();
    let clusters: BTreeSet<String> = list(dump, "configs")
        .iter()
        .flat_map(|part| list(part, "dynamic_active_clusters"))
        .filter_map(|cluster| cluster["cluster"]["name"].as_str().map(str::to_owned))
        .collect();
    let has_port = |domain: &str| match domain.split_once(".svc.cluster.local:") {
        Some((name, port)) => clusters.contains(&format!("outbound|{port}||{name}.svc.cluster.local")),
        None => true,
    };
    for part in list(dump, "configs") {
        for config in list(&part, "dynamic_route_configs") {
            for host in list(&config["route_config"], "virtual_hosts") {
                let Some(name) = host["name"].as_str().filter(|name| has_port(name)) else { continue };
                let of_service = name.contains(".svc.cluster.local:").then_some(name);
                let Some(domain) = of_service.or(host["domains"][0].as_str()) else { continue };
                let name = if domain.starts_with('*') { domain.replacen('*', "any", 1) } else { domain.to_owned() };
                for route in list(&host, "routes") {
                    let matches = &route["match"];
                    let path =
                        ["path", "prefix", "path_separated_prefix"].into_iter().find_map(|k| matches[k].as_str());
                    found.insert((name.clone(), path.unwrap_or("/").to_owned()));
                }
            }
        }
    }
    found
}

/// Where it takes requests: a gateway's ports, a sidecar's port for its application.
fn listening(dump: &serde_json::Value, who: &Who) -> Vec<SocketAddr> {
    let empty = Vec::new();
    let mut found = Vec::new();
    for part in dump["configs"].as_array().unwrap_or(&empty) {
        for listener in part["dynamic_listeners"].as_array().unwrap_or(&empty) {
            let listener = &listener["active_state"]["listener"];
            let socket = &listener["address"]["socket_address"];
            let bound = listener["bind_to_port"] != false && listener["name"] != "virtualInbound";
            let address = (socket["address"].as_str(), socket["port_value"].as_u64());
            if let (true, (Some(ip), Some(port))) = (bound, address)
                && (who.kind == "router" || port == 15001)
            {
                found.extend(format!("{ip}:{port}").parse::<SocketAddr>());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples() {
    let Some(binary) = amime_testkit::envoy::binary() else { return };
    let entries = std::fs::read_dir(root().join("examples")).expect("a folder");
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).filter(|p| p.is_dir()).collect();
    names.sort();
    for (number, path) in names.iter().enumerate() {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let files = if name == "practices" { folders(path) } else { vec![example(&name)] };
        for folder in files {
            // Each by one of the two protocols: what differs between them is tested with the wire.
            let wire = if number % 2 == 0 { Wire::Delta } else { Wire::StateOfTheWorld };
            let sidecars = if name == "shop" { vec!["shop/web-v1"] } else { Vec::new() };
            check(&binary, &name, std::slice::from_ref(&folder), &sidecars, wire, true).await;
        }
    }
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.is_dir()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bookinfo() {
    let Some(binary) = amime_testkit::envoy::binary() else { return };
    let Some(samples) = samples() else { return };
    let entries = std::fs::read_dir(samples.join("bookinfo/networking")).expect("a folder");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    for (number, file) in files.iter().enumerate() {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let wire = if number % 2 == 0 { Wire::Delta } else { Wire::StateOfTheWorld };
        let mut all = vec![samples.join(BOOKINFO), file.clone()];
        if !name.starts_with("destination-rule-") {
            all.push(samples.join("bookinfo/networking/destination-rule-all.yaml"));
        }
        if !name.ends_with("gateway.yaml") {
            all.push(samples.join("bookinfo/networking/bookinfo-gateway.yaml"));
        }
        if name == NOT_RUN {
            println!("skipped: {name}: resolution DNS, and hosts on the internet");
            continue;
        }
        check(&binary, &name, &all, &["productpage-v1"], wire, name != NOT_ASKED).await;
    }
}
