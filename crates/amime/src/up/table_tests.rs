//! The table of what runs.

use super::*;
use amime_model::resource::{MeshConfig, ResourceSet, load};
use amime_model::snapshot::Held;
use amime_model::workload::{AddressPlan, GatewayPortPolicy, Replacement, expand};

const MESH: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-v1, namespace: shop}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, ports: [{containerPort: 8080}, {containerPort: 9090}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: mine, namespace: shop}
spec:
  template:
    metadata: {labels: {app: mine}}
    spec: {containers: [{name: mine, ports: [{containerPort: 80}]}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: way-in, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: [./*.example.com]}
  - {port: {number: 9000, name: tcp, protocol: TCP}, hosts: ['*']}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: all, namespace: shop}
spec:
  hosts: [shop.example.com, other.org]
  gateways: [way-in]
  http:
  - match: [{uri: {exact: /cart}}]
    route: [{destination: {host: web}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: any, namespace: shop}
spec:
  hosts: ['*.any.example.com']
  gateways: [way-in]
  http:
  - route: [{destination: {host: web}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bytes, namespace: shop}
spec:
  hosts: ['*']
  gateways: [way-in]
  tcp:
  - route: [{destination: {host: web}}]
";

fn table(text: &str) -> Table {
    let mut resources = ResourceSet::default();
    for object in load("mesh.yaml", text).objects {
        resources.insert(object).expect("no duplicates");
    }
    let replacement = Replacement {
        namespace: "shop".into(),
        workload: "mine".into(),
        port: None,
        address: "127.0.0.1:9999".parse().expect("an address"),
    };
    let mut plan = AddressPlan::default()
        .with_gateways(Vec::new(), GatewayPortPolicy::Unprivileged)
        .with_replacements(vec![replacement]);
    let expanded = expand(&resources, &mut plan);
    Table::of(&Snapshot::build(&expanded.resources, &MeshConfig::default(), &Held::default()).snapshot)
}

#[test]
fn rows_say_where_things_are_and_what_to_type() {
    let table = table(MESH);
    let gateways: Vec<String> = table.gateways.iter().map(|row| row[1..].join(" | ")).collect();
    assert_eq!(gateways, ["shop/way-in | 80 HTTP | localhost:8080", "shop/way-in | 9000 TCP | localhost:9000"]);
    assert!(table.gateways[0][0].starts_with("istio-ingress/ingressgateway"), "{:?}", table.gateways);
    let hosts: Vec<String> = table.hosts.iter().map(|row| row.join(" | ")).collect();
    let expected = [
        "*.any.example.com | VirtualService shop/any | curl -H 'Host: any.any.example.com' http://localhost:8080/",
        "shop.example.com | VirtualService shop/all | curl -H 'Host: shop.example.com' http://localhost:8080/cart",
        "* | VirtualService shop/bytes | nc localhost 9000",
    ];
    for row in expected {
        assert!(hosts.iter().any(|host| host == row), "{row} in {hosts:#?}");
    }
    assert_eq!(hosts.len(), 3, "{hosts:#?}");
    let workloads: Vec<String> = table.workloads.iter().map(|row| row.join(" | ")).collect();
    assert_eq!(
        workloads,
        ["shop/mine | 1 | 80 | port 80: your process at 127.0.0.1:9999", "shop/web-v1 | 2 | 8080 9090 | stand-in"]
    );
}

#[test]
fn columns_line_up() {
    let shown = anstream::adapter::strip_str(&table(MESH).to_string()).to_string();
    let starts: BTreeSet<_> =
        shown.lines().take(3).filter_map(|line| line.find("OPENED AT").or(line.find("localhost"))).collect();
    assert_eq!(starts.len(), 1, "{shown}");
    assert!(shown.lines().all(|line| line == line.trim_end()), "{shown}");
}
