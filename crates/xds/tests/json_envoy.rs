//! A real Envoy's `/config_dump` is read back as what the Envoy was started with.
//!
//! Skipped, saying so, where AMIME_ENVOY names no Envoy.

mod examples;

use amime_model::config::{Discovery, Listener, NetworkFilter, ProxyConfig, RouteSource};
use amime_xds::json::{DumpOptions, Versions, config_dump, from_config_dump, to_json};
use amime_xds::{ResourceType, encode};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An Envoy, ended with the value.
struct Envoy {
    child: Child,
    room: tempfile::TempDir,
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Envoy {
    fn start(envoy: &std::ffi::OsStr, bootstrap: &Value) -> Self {
        let room = tempfile::tempdir().expect("a folder");
        let file = room.path().join("bootstrap.json");
        std::fs::write(&file, bootstrap.to_string()).expect("written");
        let mut command = Command::new(envoy);
        command.args(["--use-dynamic-base-id", "--concurrency", "1", "-l", "error", "-c"]).arg(file);
        command.arg("--admin-address-path").arg(room.path().join("admin"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("Envoy starts");
        Self { child, room }
    }

    /// Waits until it answers 200, and returns the answer.
    fn page(&mut self, path: &str) -> Value {
        let start = Instant::now();
        loop {
            if let Some(body) = self.get(path) {
                return serde_json::from_str(&body).expect("JSON");
            }
            assert_eq!(self.child.try_wait().expect("a child"), None, "Envoy has ended");
            assert!(start.elapsed() < Duration::from_secs(60), "Envoy does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn get(&self, path: &str) -> Option<String> {
        let address = std::fs::read_to_string(self.room.path().join("admin")).ok()?;
        let mut stream = TcpStream::connect(address.trim()).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        head.split(' ').nth(1).filter(|status| *status == "200")?;
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        if chunked { joined(body) } else { Some(body.to_owned()) }
    }
}

/// A chunked body in one piece.
fn joined(mut rest: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole.push_str(after.get(..size)?);
        rest = after.get(size..)?.strip_prefix("\r\n")?;
    }
}

/// As far as it goes into a static configuration: endpoints and routes in the place of their names, no port bound.
fn whole(mut config: ProxyConfig) -> ProxyConfig {
    let (endpoints, routes) = (std::mem::take(&mut config.endpoints), std::mem::take(&mut config.routes));
    for cluster in config.clusters.values_mut() {
        let cluster = Arc::make_mut(cluster);
        if let Discovery::Eds(_) = cluster.discovery {
            let endpoints = endpoints.get(cluster.name.as_str()).map(|e| (**e).clone()).unwrap_or_default();
            cluster.discovery =
                Discovery::Static(amime_model::config::ClusterEndpoints { cluster: cluster.name.clone(), ..endpoints });
        }
    }
    for listener in config.listeners.values_mut() {
        let listener: &mut Listener = Arc::make_mut(listener);
        listener.bind_to_port = false;
        for chain in listener.filter_chains.iter_mut().chain(listener.default_filter_chain.as_deref_mut()) {
            for filter in &mut chain.filters {
                if let NetworkFilter::Http(manager) = filter
                    && let RouteSource::Rds(name) = &manager.routes
                {
                    manager.routes = RouteSource::Inline(routes[name.as_str()].clone());
                }
            }
        }
    }
    config
}

fn bootstrap(config: &ProxyConfig) -> Value {
    let json = |kind: ResourceType, bytes: bytes::Bytes| to_json(kind.type_url(), &bytes).expect("JSON");
    let clusters = config.clusters.values().map(|c| json(ResourceType::Cluster, encode::cluster(c)));
    let listeners = config.listeners.values().map(|l| json(ResourceType::Listener, encode::listener(l)));
    json!({
        "node": { "id": "sidecar~10.0.0.1~a.b~b.svc.cluster.local", "cluster": "a" },
        "admin": { "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } } },
        "static_resources": { "clusters": clusters.collect::<Value>(), "listeners": listeners.collect::<Value>() },
    })
}

#[test]
fn envoys_dump_is_what_it_was_started_with() {
    let Some(envoy) = std::env::var_os("AMIME_ENVOY") else {
        println!("skipped: AMIME_ENVOY names no Envoy");
        return;
    };
    // One of each example: a sidecar's configuration is much like its neighbour's.
    let mut seen = HashSet::new();
    let each =
        examples::proxies().into_iter().filter(|(name, _)| seen.insert(name.split(' ').next().map(str::to_owned)));
    for (name, config) in each {
        let config = whole(config);
        let mut running = Envoy::start(&envoy, &bootstrap(&config));
        let dump = running.page("/config_dump?include_eds");
        let (read, unknown) = from_config_dump(&dump);
        let unknown: Vec<_> = unknown.iter().map(ToString::to_string).collect();
        assert_eq!(unknown, [""; 0], "{name}");
        assert_eq!(read, config, "{name}");
        // The parts of both dumps have the same names, so that a reader of one reads the other.
        let ours = config_dump(&config, &Versions::default(), DumpOptions { include_eds: true, node: None });
        for part in parts(&ours) {
            assert!(parts(&dump).contains(&part), "{part}");
        }
    }
}

fn parts(dump: &Value) -> Vec<String> {
    let configs = dump["configs"].as_array().expect("a list");
    configs.iter().map(|part| part["@type"].as_str().expect("a type").to_owned()).collect()
}
