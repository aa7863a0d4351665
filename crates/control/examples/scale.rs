//! What many sidecars cost: services and pods in files, a control plane over them, and a client for each pod, all in
//! this process and on one in-memory connection, as `up` has them. The clients accept everything and run nothing.
//!
//!     cargo run --release -p amime-control --example scale -- SERVICES PODS [redirect]
//!
//! With `redirect` as in production, where clusters name no address of the pod.
//!
//! Prints time, CPU time and memory: at the start, after one endpoint has changed, and after one route has.

use amime_control::distribute::Distributor;
use amime_control::engine::{self, EngineOptions};
use amime_control::source::Input;
use amime_model::config::ProxyConfig;
use amime_model::translate::{Interception, Node, NodeKind};
use amime_model::workload::{AddressPlan, expand};
use amime_xds::client::{Client, ClientOptions};
use amime_xds::server::StreamOptions;
use amime_xds::transport::{Backoff, channel_over, run};
use std::fmt::Write;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

fn service(n: usize, replicas: usize) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: s{n}}}
spec: {{selector: {{app: s{n}}}, ports: [{{name: http, port: 80}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: s{n}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: s{n}}}}}
  template:
    metadata: {{labels: {{app: s{n}}}}}
    spec: {{containers: [{{name: app, image: x, ports: [{{containerPort: 80}}]}}]}}
---
"
    )
}

fn route(timeout: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: s0}}
spec: {{hosts: [s0], http: [{{timeout: {timeout}, route: [{{destination: {{host: s0}}}}]}}]}}
"
    )
}

/// User and system time of this process so far; clock ticks are hundredths of a second on Linux.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks: u64 = fields.iter().skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn resident_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or("");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}

struct Phase(Instant, Duration);

impl Phase {
    fn begin() -> Self {
        Self(Instant::now(), cpu())
    }

    fn end(self, what: &str) {
        let (wall, used) = (self.0.elapsed(), cpu().saturating_sub(self.1));
        println!("{what:<28} {wall:>8.2?}  CPU {used:>8.2?}  memory {} MB", resident_mb());
    }
}

async fn all(clients: &mut [watch::Receiver<Arc<ProxyConfig>>], ok: impl Fn(&ProxyConfig) -> bool) {
    for client in clients {
        client.wait_for(|config| ok(config)).await.expect("a client that runs");
    }
}

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|a| a.parse::<usize>().ok());
    let (services, pods) = (numbers.next().unwrap_or(1000), numbers.next().unwrap_or(1000));
    let interception = match std::env::args().any(|a| a == "redirect") {
        true => Interception::Redirect,
        false => Interception::ProxyProtocol,
    };
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file");
    let mut text = String::new();
    for n in 1..services {
        let _ = write!(text, "{}", service(n, pods / services + usize::from(n <= pods % services)));
    }
    write("services.yaml", &text);
    write("first.yaml", &service(0, 1));
    write("route.yaml", &route("1s"));

    let phase = Phase::begin();
    let mut plan = AddressPlan::default();
    let mut options = EngineOptions::new(vec![Input::Path(folder.path().into())]);
    options.prepare = Box::new(move |resources| (expand(resources, &mut plan).resources, Vec::new()));
    let snapshots = engine::start(options).expect("an engine");
    phase.end("first snapshot");

    let distributor = Distributor::start(snapshots.clone(), StreamOptions::default()).expect("a server");
    let (near, far) = tokio::io::duplex(1 << 20);
    tokio::spawn(async move { distributor.serve(far).await });
    let channel = channel_over(near);
    let snapshot = snapshots.borrow().snapshot.clone();
    let interner = Arc::default();
    let phase = Phase::begin();
    let mut clients: Vec<_> = snapshot
        .pods()
        .map(|pod| {
            let (id, metadata) = Node::of_pod(pod, NodeKind::Sidecar, interception, false).to_id();
            let node = amime_xds::Node { id, metadata, ..Default::default() };
            let client = Client::new(node, Arc::clone(&interner), ClientOptions::default());
            let (running, configs) = watch::channel(Arc::default());
            tokio::spawn(run(channel.clone(), client, Backoff::default(), move |update| {
                running.send_replace(update.config);
                std::future::ready(Ok(()))
            }));
            configs
        })
        .collect();
    drop(snapshot);
    all(&mut clients, |c| c.listeners.contains_key("virtualOutbound") && c.routes.contains_key("80")).await;
    phase.end(&format!("{} sidecars served", clients.len()));

    let first = "outbound|80||s0.default.svc.cluster.local";
    let endpoints = |c: &ProxyConfig| c.endpoints[first].localities.iter().map(|l| l.endpoints.len()).sum::<usize>();
    let phase = Phase::begin();
    write("first.yaml", &service(0, 2));
    all(&mut clients, |c| endpoints(c) == 2).await;
    phase.end("one endpoint more");

    let before: Vec<_> = clients.iter().map(|c| c.borrow().routes["80"].clone()).collect();
    let phase = Phase::begin();
    write("route.yaml", &route("2s"));
    for (client, before) in clients.iter_mut().zip(&before) {
        client.wait_for(|c| !Arc::ptr_eq(&c.routes["80"], before)).await.expect("a client that runs");
    }
    phase.end("one route changed");
}
