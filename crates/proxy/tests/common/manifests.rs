//! From manifests to what a gateway's proxy runs on, by way of the wire: for tests that show what a field does.

use amime_model::config::{ListenerFilter, ProxyConfig};
use amime_model::resource::{MeshConfig, ResourceSet, load};
use amime_model::snapshot::{Held, Snapshot};
use amime_model::translate::{Interception, Node, NodeKind, Scope, translate};
use amime_xds::{decode, encode};
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

/// The four places of a DestinationRule where a traffic policy can stand; `POLICY` is put into them.
pub const PLACES: [&str; 4] = [
    "{trafficPolicy: {POLICY}, subsets: [{name: v1, labels: {version: v1}}]}",
    "{trafficPolicy: {portLevelSettings: [{port: {number: 80}, POLICY}]}, subsets: [{name: v1, labels: {version: v1}}]}",
    "{subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {POLICY}}]}",
    "{subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {portLevelSettings: [{port: {number: 80}, POLICY}]}}]}",
];

/// A gateway that sends everything to subset v1 of a service with these endpoints, whose DestinationRule has this
/// policy at this place. `retries` is the rule's.
pub fn manifests(place: &str, policy: &str, retries: &str, endpoints: &[SocketAddr]) -> String {
    let route = format!(
        "http:
  - retries: {retries}
    route: [{{destination: {{host: app.shop.internal, subset: v1, port: {{number: 80}}}}}}]"
    );
    mesh("HTTP", &route, &place.replace("POLICY", policy), endpoints)
}

/// The same for connections that are not HTTP.
pub fn tcp_manifests(place: &str, policy: &str, endpoints: &[SocketAddr]) -> String {
    let route = "tcp: [{route: [{destination: {host: app.shop.internal, subset: v1, port: {number: 80}}}]}]";
    mesh("TCP", route, &place.replace("POLICY", policy), endpoints)
}

fn mesh(protocol: &str, route: &str, rule: &str, endpoints: &[SocketAddr]) -> String {
    let hosts = if protocol == "TCP" { "'*'" } else { "app.example.com" };
    let mut text = format!(
        "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: istio-system}}
spec:
  selector: {{gateway: edge}}
  servers: [{{port: {{number: 80, name: app, protocol: {protocol}}}, hosts: ['*/*']}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: app, namespace: shop}}
spec:
  hosts: [{hosts}]
  gateways: [istio-system/edge]
  {route}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: app, namespace: shop}}
spec: {{host: app.shop.internal, {rule}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: app, namespace: shop}}
spec:
  hosts: [app.shop.internal]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: app, protocol: {protocol}}}]
  endpoints:
",
        rule = &rule[1..],
    );
    for address in endpoints {
        let (ip, port) = (address.ip(), address.port());
        writeln!(text, "  - {{address: {ip}, labels: {{version: v1}}, ports: {{app: {port}}}}}").unwrap();
    }
    text
}

/// The configuration of the gateway `edge`, listening on any port.
///
/// Panics where something is wrong with the manifests, or a field in them is said to have no effect.
pub fn gateway(manifests: &str) -> ProxyConfig {
    let (config, said) = gateway_and_notes(manifests);
    assert!(said.iter().all(|said| said.starts_with("deprecated")), "{said:#?}\n{manifests}");
    config
}

/// The same, and what is said of the manifests.
pub fn gateway_and_notes(manifests: &str) -> (ProxyConfig, Vec<String>) {
    gateway_in(&MeshConfig::default(), manifests)
}

/// The same in a mesh of this MeshConfig. Where the gateway is, and with which labels, a Pod `edge` in `istio-system`
/// may say.
pub fn gateway_in(mesh: &MeshConfig, manifests: &str) -> (ProxyConfig, Vec<String>) {
    let (mut config, said) = gateway_as_written(mesh, manifests);
    for listener in config.listeners.values_mut() {
        let listener = Arc::make_mut(listener);
        listener.address = super::ANY.parse().unwrap();
        listener.additional_addresses.clear();
    }
    (config, said)
}

/// The same, at the addresses and ports that the manifests say.
pub fn gateway_as_written(mesh: &MeshConfig, manifests: &str) -> (ProxyConfig, Vec<String>) {
    let node = Node {
        kind: NodeKind::Gateway,
        namespace: "istio-system".into(),
        name: "edge".into(),
        labels: [("gateway".to_owned(), "edge".to_owned())].into(),
        addresses: vec!["127.0.0.1".parse().unwrap()],
        interception: Interception::Redirect,
        dns_capture: false,
        locality: Default::default(),
        host: String::new(),
        binds_upstream: false,
    };
    of_node(mesh, manifests, &node)
}

/// What the sidecar of a pod `client` in the namespace `shop` runs on: of its listeners the first alone whose name
/// begins so, open at any port. The application asks the mesh for names.
///
/// Panics as `gateway` does.
pub fn sidecar(manifests: &str, listener: &str) -> ProxyConfig {
    sidecar_in(&MeshConfig::default(), manifests, listener)
}

/// The same in a mesh of this MeshConfig.
pub fn sidecar_in(mesh: &MeshConfig, manifests: &str, listener: &str) -> ProxyConfig {
    let node = Node {
        kind: NodeKind::Sidecar,
        namespace: "shop".into(),
        name: "client".into(),
        labels: [("app".to_owned(), "client".to_owned())].into(),
        addresses: vec!["10.0.0.9".parse().unwrap()],
        interception: Interception::Redirect,
        dns_capture: true,
        locality: Default::default(),
        host: String::new(),
        binds_upstream: false,
    };
    let (mut config, said) = of_node(mesh, manifests, &node);
    assert!(said.is_empty(), "{said:#?}\n{manifests}");
    let all: Vec<String> = config.listeners.keys().map(ToString::to_string).collect();
    let first = all.iter().find(|name| name.starts_with(listener)).cloned().unwrap_or_default();
    config.listeners.retain(|name, _| **name == *first);
    let only = config.listeners.values_mut().next().unwrap_or_else(|| panic!("no {listener} among {all:?}"));
    let only = Arc::make_mut(only);
    (only.address, only.bind_to_port) = (super::ANY.parse().unwrap(), true);
    config
}

/// The inbound side of the sidecar of pod `app` in `shop`, at 127.0.0.1, on any port. In the place of the kernel, clients
/// say by a PROXY header whom they dialled.
pub fn inbound(manifests: &str) -> ProxyConfig {
    let node = Node {
        kind: NodeKind::Sidecar,
        namespace: "shop".into(),
        name: "app".into(),
        labels: [("app".to_owned(), "app".to_owned())].into(),
        addresses: vec!["127.0.0.1".parse().unwrap()],
        interception: Interception::Redirect,
        dns_capture: false,
        locality: Default::default(),
        host: String::new(),
        binds_upstream: false,
    };
    let (mut config, said) = of_node(&MeshConfig::default(), manifests, &node);
    // Nothing shows a port's name, and the one field is of clients.
    let expected = |said: &String| said.starts_with("`name`") || said.starts_with("`h2UpgradePolicy`");
    assert!(said.iter().all(expected), "{said:#?}");
    config.listeners.retain(|name, _| &**name == "virtualInbound");
    for listener in config.listeners.values_mut() {
        let listener = Arc::make_mut(listener);
        listener.address = super::ANY.parse().unwrap();
        listener.listener_filters.retain(|filter| *filter != ListenerFilter::OriginalDst);
        listener.listener_filters.insert(0, ListenerFilter::ProxyProtocol);
    }
    config
}

fn of_node(mesh: &MeshConfig, manifests: &str, node: &Node) -> (ProxyConfig, Vec<String>) {
    let loaded = load("test.yaml", manifests);
    let (resources, duplicates) = ResourceSet::of_files([&loaded]);
    let built = Snapshot::build(&resources, mesh, &Held::default());
    let said = loaded.all_diagnostics().into_iter().chain(duplicates).chain(built.diagnostics.iter().cloned());
    let said = said.map(|diagnostic| diagnostic.message).collect();
    let mut config = translate(&built.snapshot, &Scope::of(&built.snapshot, node)).config;
    for cluster in config.clusters.values_mut() {
        let sent = decode::cluster(&encode::cluster(cluster)).unwrap();
        assert_eq!(sent, **cluster);
        *cluster = Arc::new(sent);
    }
    for endpoints in config.endpoints.values() {
        assert_eq!(decode::endpoints(&encode::endpoints(endpoints)).unwrap(), **endpoints);
    }
    (config, said)
}
