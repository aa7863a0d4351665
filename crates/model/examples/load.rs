//! What loading costs: `cargo run --release -p amime-model --example load -- 10000` makes so many objects
//! (of the kinds of a usual mesh), loads them, checks them as `amime check` does, and prints CPU time and memory.

use amime_model::analyze::{Input, analyze};
use amime_model::resource::{MeshConfig, ResourceSet, load};
use std::fmt::Write;

/// One in four each: a VirtualService, a DestinationRule, a Service, a Deployment.
fn mesh(objects: usize) -> String {
    let mut text = String::new();
    for number in 0..objects / 4 {
        let name = format!("service-{number}");
        let namespace = format!("team-{}", number % 50);
        let _ = write!(
            text,
            "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  hosts: [{name}]
  http:
  - match:
    - uri: {{prefix: /api/v{number}}}
      headers:
        end-user: {{exact: jason}}
    route:
    - destination: {{host: {name}, subset: v2}}
    timeout: 5s
  - route:
    - destination: {{host: {name}, subset: v1}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: {name}
  namespace: {namespace}
spec:
  host: {name}
  subsets:
  - name: v1
    labels: {{version: v1}}
  - name: v2
    labels: {{version: v2}}
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: {namespace}
spec:
  selector: {{app: {name}}}
  ports:
  - {{name: http, port: 9080}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}, version: v1}}}}
    spec: {{containers: [{{name: app, image: app, ports: [{{containerPort: 9080}}]}}]}}
"
        );
    }
    text
}

/// User and system CPU seconds of this process, in clock ticks of 10 ms, and its memory in MB (Linux).
fn usage() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    let peak = peak.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0);
    ((ticks(11) + ticks(12)) / 100.0, peak / 1024.0)
}

fn main() {
    let objects = std::env::args().nth(1).and_then(|number| number.parse().ok()).unwrap_or(10_000);
    let text = mesh(objects);
    let (before, memory) = usage();
    let loaded = load("mesh.yaml", &text);
    let (set, _) = ResourceSet::of_files([&loaded]);
    let (after, peak) = usage();
    println!(
        "{} objects, {:.1} MB of text: {:.2} s of CPU, {peak:.0} MB at the most ({memory:.0} MB before), {} findings",
        set.len(),
        text.len() as f64 / 1e6,
        after - before,
        loaded.all_diagnostics().len()
    );
    let mesh = MeshConfig::default();
    let input =
        Input { resources: &set, for_tools: &loaded.for_tools, mesh: &mesh, networks: None, practices: true, now: 0 };
    let found = analyze(&input).len();
    let (checked, peak) = usage();
    println!(
        "checked: {:.2} s of CPU more, {:.0} objects a second in all, {peak:.0} MB at the most, {found} findings",
        checked - after,
        set.len() as f64 / (checked - before).max(0.01),
    );
}
