//! Who answers for a service: pods and WorkloadEntries that a ServiceEntry or Service selects, at which ports and with
//! which weights. YAML in, a running sidecar out.
#![allow(clippy::unwrap_used)] // Helpers of tests panic as tests do.

mod common;

use amime_testkit::client::get;
use amime_testkit::origin::{Origin, read_head, write};
use common::*;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

/// Says at which address of the loopback network it was reached.
async fn at(last: u8) -> Origin {
    at_port(last, 0).await
}

async fn at_port(last: u8, port: u16) -> Origin {
    let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port));
    Origin::tcp_at(address, |mut stream| async move {
        let body = stream.local_addr().unwrap().to_string();
        while !read_head(&mut stream).await.is_empty() {
            write(&mut stream, format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
        }
    })
    .await
}

/// Two at one port, which others of this machine may have at the second address.
async fn both_at(one: u8, two: u8) -> (Origin, Origin) {
    loop {
        let first = at(one).await;
        let port = port(&first);
        if std::net::TcpListener::bind((Ipv4Addr::new(127, 0, 0, two), port)).is_ok() {
            return (first, at_port(two, port).await);
        }
    }
}

/// So many requests, by who answered.
async fn answers(running: &Running, host: &str, requests: usize) -> BTreeMap<SocketAddr, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        let answer = get(running.address, host, "/").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        *counts.entry(answer.body.parse().unwrap()).or_default() += 1;
    }
    counts
}

fn port(origin: &Origin) -> u16 {
    origin.address.port()
}

const ROUND_ROBIN: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: turns, namespace: shop}
spec: {host: HOST, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}
---";

fn workload_entry(name: &str, namespace: &str, labels: &str, rest: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{labels: {{{labels}}}, {rest}}}
---"
    )
}

fn pod(name: &str, labels: &str, ip: &str, port: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{{labels}}}}}
spec: {{containers: [{{name: app, ports: [{port}]}}]}}
status: {{podIP: {ip}, phase: Running, conditions: [{{type: Ready, status: 'True'}}]}}
---"
    )
}

#[tokio::test]
async fn a_service_entry_selects_pods_and_workload_entries() {
    // The entry is at the target port too, for it says no other.
    let (pod_origin, entry) = both_at(2, 3).await;
    let (named, elsewhere) = (at(4).await, at(5).await);
    let target = port(&pod_origin);
    let text = [
        ROUND_ROBIN.replace("HOST", "store.shop.internal"),
        format!(
            "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: store, namespace: shop}}
spec:
  hosts: [store.shop.internal]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {target}}}]
  workloadSelector: {{labels: {{app: store}}}}
---"
        ),
        pod("store", "app: store", "127.0.0.2", "{containerPort: 8080}"),
        pod("other", "app: other", "127.0.0.5", "{containerPort: 8080}"),
        workload_entry("plain", "shop", "app: store", "address: 127.0.0.3"),
        workload_entry(
            "named",
            "shop",
            "app: store",
            &format!("address: 127.0.0.4, weight: 3, ports: {{http: {}}}", port(&named)),
        ),
        workload_entry(
            "far",
            "red",
            "app: store",
            &format!("address: 127.0.0.5, ports: {{http: {}}}", port(&elsewhere)),
        ),
    ]
    .concat();
    let running = Running::start(manifests::sidecar(&text, "0.0.0.0_80")).await;
    let counts = answers(&running, "store.shop.internal", 50).await;
    let of = |origin: &Origin| counts.get(&origin.address).copied().unwrap_or(0);
    assert_eq!(counts.len(), 3, "{counts:?}");
    // A turn of five, wherever it began.
    assert!((9..=11).contains(&of(&pod_origin)) && (9..=11).contains(&of(&entry)), "{counts:?}");
    assert!((28..=32).contains(&of(&named)), "{counts:?}");
}

#[tokio::test]
async fn a_service_selects_workload_entries_beside_its_pods() {
    let (of_pod, by_name, by_target, by_number) = (at(2).await, at(3).await, at(4).await, at(5).await);
    let text = [
        ROUND_ROBIN.replace("HOST", "web.shop.svc.cluster.local"),
        format!(
            "
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec:
  clusterIP: 10.96.0.10
  selector: {{app: web}}
  ports:
  - {{name: http, port: 80, targetPort: web}}
  - {{name: http-other, port: 81, targetPort: {}}}
---",
            port(&by_number)
        ),
        pod("web", "app: web", "127.0.0.2", &format!("{{name: web, containerPort: {}}}", port(&of_pod))),
        workload_entry(
            "by-name",
            "shop",
            "app: web",
            &format!("address: 127.0.0.3, ports: {{http: {}, web: 1}}", port(&by_name)),
        ),
        workload_entry(
            "by-target",
            "shop",
            "app: web",
            &format!("address: 127.0.0.4, ports: {{web: {}}}", port(&by_target)),
        ),
        // No port of it is known by the name `web`.
        workload_entry("by-number", "shop", "app: web", "address: 127.0.0.5"),
    ]
    .concat();
    let running = Running::start(manifests::sidecar(&text, "0.0.0.0_80")).await;
    let counts = answers(&running, "web", 12).await;
    let mut all: Vec<SocketAddr> = counts.into_keys().collect();
    all.sort();
    assert_eq!(all, [of_pod.address, by_name.address, by_target.address]);
}

#[tokio::test]
async fn hosts_with_a_wildcard_and_addresses_that_nobody_wrote() {
    let origin = at(2).await;
    let text = format!(
        "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: all, namespace: shop}}
spec:
  hosts: ['*.all.example']
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: 127.0.0.2, ports: {{http: {port}}}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: store, namespace: shop}}
spec:
  hosts: [store.example]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 9000, name: tcp, protocol: TCP}}]
  endpoints: [{{address: 127.0.0.2, ports: {{tcp: {port}}}}}]
",
        port = port(&origin),
    );
    let running = Running::start(manifests::sidecar(&text, "0.0.0.0_80")).await;
    for host in ["a.all.example", "b.c.all.example"] {
        assert_eq!(answers(&running, host, 1).await, BTreeMap::from([(origin.address, 1)]), "{host}");
    }
    // The mesh gives the one without a wildcard an address of its own, where its TCP listens.
    let running = Running::start(manifests::sidecar(&text, "240.240.")).await;
    assert_eq!(answers(&running, "whoever", 1).await, BTreeMap::from([(origin.address, 1)]));
}
