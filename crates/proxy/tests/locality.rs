//! Where requests go by where client and endpoints are, from YAML to sockets: failover, its lists and labels, shares,
//! a service's own wish, the mesh's settings, and retries that leave the locality.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::config::ProxyConfig;
use amime_model::resource::{MeshConfig, load_mesh_config};
use amime_testkit::client::Raw;
use amime_testkit::echo::Echo;
use amime_testkit::load::ANSWERED_BY;
use common::manifests::{PLACES, gateway_in, manifests};
use common::*;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

const HOST: &str = "app.example.com";
/// One error ejects, for good.
const EJECTS: &str = "outlierDetection: {consecutive5xxErrors: 1, baseEjectionTime: 3600s, maxEjectionPercent: 100}";
/// Detects nothing, but is there.
const DETECTS_NOTHING: &str = "outlierDetection: {consecutive5xxErrors: 0}";
const NO_RETRIES: &str = "{attempts: 0}";

/// The gateway is in r1/z1/s1, by its Node.
const EDGE: &str = "---
apiVersion: v1
kind: Node
metadata:
  name: node-1
  labels: {topology.kubernetes.io/region: r1, topology.kubernetes.io/zone: z1, topology.istio.io/subzone: s1}
---
apiVersion: v1
kind: Pod
metadata: {name: edge, namespace: istio-system, labels: {gateway: edge, rack: a, row: '1'}}
spec: {nodeName: node-1, containers: [{name: proxy}]}
status: {podIP: 127.0.0.1}
";

/// An origin with its place and labels.
struct At {
    origin: Echo,
    locality: &'static str,
    labels: &'static str,
}

/// Origins called by where they are.
async fn at(places: &[(&'static str, &'static str)]) -> Vec<At> {
    let mut all = Vec::new();
    for (locality, labels) in places {
        let name = if labels.is_empty() { locality } else { labels };
        all.push(At { origin: Echo::start(name).await, locality, labels });
    }
    all
}

async fn near_and_far() -> Vec<At> {
    at(&[("r1/z1/s1", ""), ("r1/z1/s2", ""), ("r1/z2/s1", ""), ("r2/z1/s1", "")]).await
}

fn text(place: &str, policy: &str, retries: &str, endpoints: &[At]) -> String {
    let addresses: Vec<SocketAddr> = endpoints.iter().map(|at| at.origin.address).collect();
    let mut text = manifests(place, policy, retries, &addresses);
    for At { origin, locality, labels } in endpoints {
        let ports = format!("ports: {{app: {}}}", origin.address.port());
        let before = format!("{{address: {}, labels: {{version: v1}}, {ports}", origin.address.ip());
        assert!(text.contains(&before), "{text}");
        let labels = format!("{{version: v1, {labels}}}");
        let after = format!("{{address: {}, locality: {locality}, labels: {labels}, {ports}", origin.address.ip());
        text = text.replace(&before, &after);
    }
    text + EDGE
}

fn config(manifests: &str) -> ProxyConfig {
    let (config, said) = gateway_in(&MeshConfig::default(), manifests);
    assert!(said.is_empty(), "{said:#?}");
    config
}

async fn running(place: &str, policy: &str, endpoints: &[At]) -> Running {
    Running::start(config(&text(place, policy, NO_RETRIES, endpoints))).await
}

/// How many of so many requests each origin answers.
async fn answered(address: SocketAddr, count: usize) -> BTreeMap<String, usize> {
    let mut client = Raw::connect(address).await;
    let mut by = BTreeMap::new();
    for _ in 0..count {
        let answer = client.get(HOST, "/", "").await;
        let name = answer.header(ANSWERED_BY).unwrap_or_else(|| panic!("{answer:?}")).to_owned();
        *by.entry(name).or_default() += 1;
    }
    by
}

/// Who answers, in the order of their names.
async fn who(address: SocketAddr) -> Vec<String> {
    answered(address, 40).await.into_keys().collect()
}

/// The next one to answer fails, and is ejected.
async fn eject(address: SocketAddr) {
    assert_eq!(Raw::connect(address).await.get(HOST, "/", "x-status: 500\r\n").await.status, 500);
}

#[tokio::test]
async fn the_nearest_take_all_and_the_next_follow_when_they_fail() {
    let origins = near_and_far().await;
    for place in PLACES {
        let running = running(place, EJECTS, &origins).await;
        for At { locality, .. } in &origins {
            assert_eq!(who(running.address).await, [*locality], "{place}");
            eject(running.address).await;
        }
        assert_eq!(Raw::connect(running.address).await.get(HOST, "/", "").await.status, 503, "{place}");
    }
}

#[tokio::test]
async fn who_has_gone_is_followed_by_the_next() {
    let mut origins = near_and_far().await;
    while let Some(At { locality, .. }) = origins.first() {
        let running = running(PLACES[0], EJECTS, &origins).await;
        assert_eq!(who(running.address).await, [*locality]);
        origins.remove(0);
    }
}

#[tokio::test]
async fn the_part_that_the_nearest_can_no_longer_take_goes_farther() {
    let mut origins = at(&[("r1/z1/s1", "side: n1"), ("r1/z1/s1", "side: n2")]).await;
    origins.extend(at(&[("r2/z1/s1", "side: n3")]).await);
    let running = running(PLACES[0], EJECTS, &origins).await;
    assert_eq!(who(running.address).await, ["side: n1", "side: n2"]);
    eject(running.address).await;
    // Half of the nearest, times 1.4: seven in ten stay.
    let shares = answered(running.address, 1_000).await;
    assert_eq!(shares.len(), 2, "{shares:?}");
    assert!((240..360).contains(&shares["side: n3"]), "{shares:?}");
}

#[tokio::test]
async fn without_detection_or_where_it_is_off_all_are_alike() {
    let origins = near_and_far().await;
    let off = format!("{EJECTS}, loadBalancer: {{localityLbSetting: {{enabled: false}}}}");
    let no_zones = format!("{EJECTS}, loadBalancer: {{zoneAwareLbSetting: {{enabled: false}}}}");
    for place in PLACES {
        for policy in ["loadBalancer: {simple: ROUND_ROBIN}", &off, &no_zones] {
            let running = running(place, policy, &origins).await;
            assert_eq!(who(running.address).await.len(), 4, "{policy} {place}");
        }
    }
}

#[tokio::test]
async fn a_region_fails_over_to_the_one_that_is_named() {
    let origins = at(&[("r1/z2/s1", ""), ("r2/z1/s1", ""), ("r3/z1/s1", "")]).await;
    for place in PLACES {
        let failover = "localityLbSetting: {failover: [{from: r2, to: r1}, {from: r1, to: r3}]}";
        let running = running(place, &format!("{EJECTS}, loadBalancer: {{{failover}}}"), &origins).await;
        for expected in ["r1/z2/s1", "r3/z1/s1", "r2/z1/s1"] {
            assert_eq!(who(running.address).await, [expected], "{place}");
            eject(running.address).await;
        }
    }
}

#[tokio::test]
async fn labels_say_who_is_near() {
    let of_labels = [
        ("r2/z1/s1", "rack: a, row: '1'"),
        ("r2/z2/s1", "rack: a, row: '2'"),
        ("r1/z1/s1", "rack: b, row: '1'"),
        ("r1/z1/s1", "row: '3'"),
    ];
    let origins = at(&of_labels).await;
    for place in PLACES {
        let priority = "localityLbSetting: {failoverPriority: [rack, row]}";
        let running = running(place, &format!("{EJECTS}, loadBalancer: {{{priority}}}"), &origins).await;
        assert_eq!(who(running.address).await, [of_labels[0].1], "{place}");
        eject(running.address).await;
        assert_eq!(who(running.address).await, [of_labels[1].1], "{place}");
        eject(running.address).await;
        // In another rack the row counts no more.
        assert_eq!(who(running.address).await, [of_labels[2].1, of_labels[3].1], "{place}");
    }
    // A value in the place of the client's own, and places as labels.
    let priority = "localityLbSetting: {failoverPriority: [topology.kubernetes.io/region, row=3]}";
    let running = running(PLACES[0], &format!("{EJECTS}, loadBalancer: {{{priority}}}"), &origins).await;
    for expected in [&[of_labels[3].1][..], &[of_labels[2].1], &[of_labels[0].1, of_labels[1].1]] {
        assert_eq!(who(running.address).await, expected);
        eject(running.address).await;
    }
}

#[tokio::test]
async fn localities_get_the_shares_that_are_written() {
    let mut origins = near_and_far().await;
    origins.extend(at(&[("r3/z1/s1", "")]).await);
    let shares = "[{from: r2/*, to: {r2/*: 100}}, {from: r1/z1/*, to: {r1/z1/*: 60, r1/z2/s1: 10, r2: 30}}]";
    for (place, detection) in PLACES.into_iter().zip(["", "outlierDetection: {}, ", "", "outlierDetection: {}, "]) {
        let policy = format!("{detection}loadBalancer: {{localityLbSetting: {{distribute: {shares}}}}}");
        let running = running(place, &policy, &origins).await;
        let seen = answered(running.address, 2_000).await;
        let expected = [("r1/z1/s1", 600), ("r1/z1/s2", 600), ("r1/z2/s1", 200), ("r2/z1/s1", 600)];
        assert_eq!(seen.len(), expected.len(), "{place}: {seen:?}");
        for (name, share) in expected {
            assert!(seen[name].abs_diff(share) < 110, "{name} at {place}: {seen:?}");
        }
    }
}

#[tokio::test]
async fn zones_of_a_region_are_alike_and_regions_follow() {
    let origins = near_and_far().await;
    let far = at(&[("r3/z1/s1", "")]).await;
    let all: Vec<_> = origins.into_iter().chain(far).collect();
    let setting = "loadBalancer: {zoneAwareLbSetting: {failover: [{from: r1, to: r3}]}}";
    for place in PLACES {
        let running = running(place, &format!("{EJECTS}, {setting}"), &all).await;
        assert_eq!(who(running.address).await, ["r1/z1/s1", "r1/z1/s2", "r1/z2/s1"], "{place}");
    }
    let all = at(&[("r1/z2/s1", ""), ("r2/z1/s1", ""), ("r3/z1/s1", "")]).await;
    let running = running(PLACES[0], &format!("{EJECTS}, {setting}"), &all).await;
    for expected in ["r1/z2/s1", "r3/z1/s1", "r2/z1/s1"] {
        assert_eq!(who(running.address).await, [expected]);
        eject(running.address).await;
    }
}

#[tokio::test]
async fn the_mesh_says_it_for_all() {
    let origins = near_and_far().await;
    let alike = "loadBalancer: {simple: ROUND_ROBIN}";
    let ejects = format!("defaultTrafficPolicy: {{{EJECTS}}}");
    for (mesh, policy, expected) in [
        ("localityLbSetting: {enabled: false}", EJECTS, vec!["r1/z1/s1", "r1/z1/s2", "r1/z2/s1", "r2/z1/s1"]),
        ("localityLbSetting: {distribute: [{from: r1, to: {r2: 100}}]}", alike, vec!["r2/z1/s1"]),
        (
            "localityLbSetting: {failoverPriority: [topology.kubernetes.io/region]}",
            EJECTS,
            vec!["r1/z1/s1", "r1/z1/s2", "r1/z2/s1"],
        ),
        ("zoneAwareLbSetting: {}", alike, vec!["r1/z1/s1", "r1/z1/s2", "r1/z2/s1"]),
        (&ejects, alike, vec!["r1/z1/s1"]),
        // A rule's own setting counts instead.
        (
            "localityLbSetting: {distribute: [{from: r1, to: {r2: 100}}]}",
            &format!("{EJECTS}, loadBalancer: {{localityLbSetting: {{}}}}"),
            vec!["r1/z1/s1"],
        ),
    ] {
        let mesh = load_mesh_config("mesh.yaml", mesh).config;
        let (config, _) = gateway_in(&mesh, &text(PLACES[0], policy, NO_RETRIES, &origins));
        let running = Running::start(config).await;
        assert_eq!(who(running.address).await, expected, "{mesh:?} {policy}");
    }
}

/// A Service with pods at those places (Node, and whether they are ready), which wants its clients to prefer some.
fn service(distribution: &str, pods: &[(&Echo, &str, bool)]) -> String {
    let mut text = format!(
        "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: istio-system}}
spec:
  selector: {{gateway: edge}}
  servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ['*/*']}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: app, namespace: shop}}
spec:
  hosts: [app.example.com]
  gateways: [istio-system/edge]
  http: [{{route: [{{destination: {{host: app}}}}]}}]
---
apiVersion: v1
kind: Service
metadata: {{name: app, namespace: shop}}
spec: {{selector: {{app: app}}, ports: [{{name: http, port: 80}}], trafficDistribution: {distribution}}}
---
apiVersion: v1
kind: Node
metadata: {{name: node-2, labels: {{topology.kubernetes.io/region: r1, topology.kubernetes.io/zone: z1}}}}
---
apiVersion: v1
kind: Node
metadata: {{name: node-3, labels: {{topology.kubernetes.io/region: r1, topology.kubernetes.io/zone: z2}}}}
{EDGE}"
    );
    for (number, (origin, node, ready)) in pods.iter().enumerate() {
        let (ip, port) = (origin.address.ip(), origin.address.port());
        write!(
            text,
            "---
apiVersion: v1
kind: Pod
metadata: {{name: app-{number}, namespace: shop, labels: {{app: app}}}}
spec: {{nodeName: {node}, containers: [{{name: app}}]}}
status: {{podIP: {ip}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: app-{number}, namespace: shop, labels: {{kubernetes.io/service-name: app}}}}
addressType: IPv4
ports: [{{name: http, port: {port}}}]
endpoints:
- addresses: [{ip}]
  conditions: {{ready: {ready}}}
  targetRef: {{kind: Pod, namespace: shop, name: app-{number}}}
"
        )
        .unwrap();
    }
    text
}

#[tokio::test]
async fn a_service_says_whom_its_clients_prefer() {
    let same_node = Echo::start("same node").await;
    let same_zone = Echo::start("same zone").await;
    let far = Echo::start("far").await;
    let pods =
        |near: bool, zone: bool| [(&same_node, "node-1", near), (&same_zone, "node-2", zone), (&far, "node-3", true)];
    for (distribution, pods, expected) in [
        ("PreferSameNode", pods(true, true), vec!["same node"]),
        // Those that are not ready count among those that should answer, and get nothing.
        ("PreferSameNode", pods(false, true), vec!["same zone"]),
        ("PreferSameNode", pods(false, false), vec!["far"]),
        ("PreferSameZone", pods(true, true), vec!["same node", "same zone"]),
        ("PreferClose", pods(true, true), vec!["same node", "same zone"]),
        ("PreferClose", pods(false, true), vec!["far", "same zone"]),
        ("PreferClose", pods(false, false), vec!["far"]),
        ("''", pods(true, true), vec!["far", "same node", "same zone"]),
    ] {
        let running = Running::start(config(&service(distribution, &pods))).await;
        let shares = answered(running.address, 200).await;
        assert_eq!(shares.keys().collect::<Vec<_>>(), expected, "{distribution}: {shares:?}");
    }
}

#[tokio::test]
async fn a_retry_leaves_the_locality_that_was_tried_twice() {
    let origins = at(&[("r1/z1/s1", ""), ("r1/z2/s1", "")]).await;
    let ask = async |retries: &str| {
        let running = Running::start(config(&text(PLACES[0], DETECTS_NOTHING, retries, &origins))).await;
        let answer = Raw::connect(running.address).await.get(HOST, "/", "x-status: 500\r\n").await;
        assert_eq!(answer.status, 500);
        answer.header(ANSWERED_BY).unwrap().to_owned()
    };
    assert_eq!(ask("{attempts: 1, retryOn: 5xx, backoff: 1ms, retryRemoteLocalities: true}").await, "r1/z1/s1");
    assert_eq!(ask("{attempts: 2, retryOn: 5xx, backoff: 1ms, retryRemoteLocalities: true}").await, "r1/z2/s1");
    assert_eq!(ask("{attempts: 3, retryOn: 5xx, backoff: 1ms, retryRemoteLocalities: true}").await, "r1/z2/s1");
    // All were tried, so they begin anew.
    assert_eq!(ask("{attempts: 4, retryOn: 5xx, backoff: 1ms, retryRemoteLocalities: true}").await, "r1/z1/s1");
    assert_eq!(ask("{attempts: 2, retryOn: 5xx, backoff: 1ms}").await, "r1/z1/s1");
}
