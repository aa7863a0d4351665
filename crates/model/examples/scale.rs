//! How long a thousand services, pods and VirtualServices take. Run by hand:
//! `cargo run --release -p amime-model --example scale`.
#![allow(clippy::unwrap_used)] // A measurement fails by panicking.

use amime_model::resource::{MeshConfig, ResourceSet, load};
use amime_model::snapshot::{Held, Snapshot};
use amime_model::translate::{Interception, LocalScope, Node, NodeKind, Scope, translate_local, translate_shared};
use amime_model::workload::{AddressPlan, expand};
use std::collections::HashMap;
use std::fmt::Write;
use std::time::Instant;

fn main() {
    let mut text = String::new();
    for n in 0..1000 {
        let ns = format!("ns{}", n % 10);
        write!(
            text,
            "
apiVersion: v1
kind: Service
metadata: {{name: s{n}, namespace: {ns}}}
spec: {{selector: {{app: s{n}}}, ports: [{{port: 80, targetPort: 8080, name: http}}, {{port: 6379, name: tcp}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: s{n}, namespace: {ns}}}
spec: {{template: {{metadata: {{labels: {{app: s{n}, version: v1}}}}, spec: {{containers: [{{name: a, ports: [{{containerPort: 8080}}]}}]}}}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: s{n}, namespace: {ns}}}
spec:
  hosts: [s{n}]
  http:
  - match: [{{headers: {{end-user: {{exact: jason}}}}}}]
    route: [{{destination: {{host: s{n}, subset: v1}}}}]
  - route: [{{destination: {{host: s{n}}}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: s{n}, namespace: {ns}}}
spec: {{host: s{n}, subsets: [{{name: v1, labels: {{version: v1}}}}]}}
---
"
        )
        .expect("text");
    }
    let mut since = Instant::now();
    let mut lap = |what: &str| {
        println!("{what}: {:?}", since.elapsed());
        since = Instant::now();
    };
    let loaded = load("scale.yaml", &text);
    let (resources, _) = ResourceSet::of_files([&loaded]);
    lap("load");
    let mut plan = AddressPlan::default();
    let expanded = expand(&resources, &mut plan).resources;
    lap("expand");
    let built = Snapshot::build(&expanded, &MeshConfig::default(), &Held::default());
    lap("build");
    let again = Snapshot::build(&expanded, &MeshConfig::default(), &built.held);
    lap("build again");
    let snapshot = &again.snapshot;
    let pods: Vec<_> = snapshot.pods().cloned().collect();
    let scopes: Vec<_> = pods
        .iter()
        .map(|pod| Node::of_pod(pod, NodeKind::Sidecar, Interception::ProxyProtocol, true))
        .map(|node| Scope::of(snapshot, &Node { binds_upstream: true, ..node }))
        .collect();
    lap("scopes of 1000 pods");
    let mut shared = HashMap::new();
    for scope in &scopes {
        shared.entry(&scope.shared).or_insert_with(|| translate_shared(snapshot, &scope.shared));
    }
    println!("{} shared scopes", shared.len());
    lap("shared translations");
    let one = &shared[&scopes[0].shared];
    println!(
        "{} listeners, {} routes, {} left out",
        one.config.listeners.len(),
        one.config.routes.len(),
        one.exclusions.len()
    );
    drop(one.clone());
    lap("a copy of one");
    let clusters: usize =
        scopes.iter().map(|scope| translate_local(snapshot, scope, &shared[&scope.shared]).config.clusters.len()).sum();
    println!("{clusters} clusters");
    lap("own parts of 1000 pods, which bind upstream sockets themselves");
    let scope = Scope { local: LocalScope { binds_upstream: false, ..scopes[0].local.clone() }, ..scopes[0].clone() };
    translate_local(snapshot, &scope, &shared[&scope.shared]);
    lap("the own part of one whose clusters say so");
}
