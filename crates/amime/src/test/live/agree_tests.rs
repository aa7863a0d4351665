//! What a mesh does otherwise than it was explained is found, and chance is not.

use super::super::send::{Answer, Seen};
use super::disagreements;
use amime_model::config::{Direction, Origin};
use amime_model::explain::{Dialled, Explainer, Question, Verdict};
use amime_model::resource::{MeshConfig, ResourceSet, load};
use amime_model::snapshot::{Held, Snapshot};
use amime_model::workload::{AddressPlan, expand};
use amime_proxy::{Ends, Flags, Protocol, ProxyIdentity, RequestRecord, RequestText};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const MESH: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-v1, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web, version: v1}}, spec: {containers: [{name: c, image: i}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-v2, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web, version: v2}}, spec: {containers: [{name: c, image: i}]}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec: {host: web, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - match: [{uri: {prefix: /old}}]
    redirect: {uri: /new}
  - match: [{uri: {prefix: /one}}]
    headers: {request: {set: {x-to: one}, remove: [x-drop]}}
    route: [{destination: {host: web, subset: v1}}]
  - route: [{destination: {host: web, subset: v1}, weight: 90}, {destination: {host: web, subset: v2}, weight: 10}]
";

struct Asked {
    verdict: Verdict,
    dialled: Dialled,
    snapshot: Arc<Snapshot>,
}

fn asked(path: &str) -> Asked {
    let loaded = load("mesh.yaml", MESH);
    let (resources, _) = ResourceSet::of_files([&loaded]);
    let expanded = expand(&resources, &mut AddressPlan::default()).resources;
    let snapshot = Snapshot::build(&expanded, &MeshConfig::default(), &Held::default()).snapshot;
    let mut explainer = Explainer::new(&snapshot);
    let headers = [("x-drop".to_owned(), amime_model::explain::OneOrMany::One("1".to_owned()))].into();
    let question =
        Question { from: Some("web-v1".to_owned()), url: format!("http://web{path}"), headers, ..Question::default() };
    let verdict = explainer.explain(&question).expect("a verdict");
    let dialled = explainer.dialled(&question).expect("asked").expect("a proxy");
    Asked { verdict, dialled, snapshot: snapshot.clone() }
}

impl Asked {
    fn told(&self, seen: &Seen) -> String {
        disagreements(&self.verdict, &self.dialled, seen, &self.snapshot).join("; ")
    }
}

fn record(rule: usize, subset: &str, status: u16, flags: Flags) -> RequestRecord {
    let here: SocketAddr = ([127, 0, 0, 1], 1).into();
    let origin = Origin {
        kind: "VirtualService".into(),
        namespace: "shop".into(),
        name: "web".into(),
        path: format!("spec.http[{rule}]"),
    };
    RequestRecord {
        proxy: Arc::new(ProxyIdentity::default()),
        started: SystemTime::UNIX_EPOCH,
        duration: Duration::ZERO,
        direction: Direction::Outbound,
        listener: "0.0.0.0_80".into(),
        protocol: Protocol::Http11,
        request: RequestText::default(),
        rule: None,
        tcp_origin: Some(Arc::new(origin)),
        cluster: Some(format!("outbound|80|{subset}|web.shop.svc.cluster.local").into()),
        upstream: None,
        upstream_local: None,
        transport_failure: "",
        downstream: Ends { remote: here, direct: here, local: here },
        status,
        grpc_status: None,
        flags,
        details: "",
        bytes_received: 0,
        bytes_sent: 0,
        attempts: 1,
    }
}

fn answer(status: u16, body: serde_json::Value) -> Answer {
    Answer { status, headers: http::HeaderMap::new(), body }
}

fn seen(records: Vec<RequestRecord>, answers: Vec<Answer>) -> Seen {
    Seen { sent: records.len(), answers, records, ..Seen::default() }
}

#[test]
fn shares_may_differ_by_chance_and_no_more() {
    let asked = asked("/");
    let shares = |first: usize| {
        let all = (0..500).map(|n| record(2, if n < first { "v1" } else { "v2" }, 200, Flags::NONE));
        asked.told(&seen(all.collect(), Vec::new()))
    };
    for agreeing in [450, 440, 470] {
        assert_eq!(shares(agreeing), "");
    }
    for (other, wanted) in [(500, "500 of 500 to"), (400, "400 of 500 to"), (250, "not 90.0 %")] {
        assert!(shares(other).contains(wanted), "{}", shares(other));
    }
    let nobody = seen(vec![record(2, "v3", 200, Flags::NONE)], Vec::new());
    assert!(asked.told(&nobody).contains("sent to outbound|80|v3|"), "{}", asked.told(&nobody));
}

#[test]
fn what_the_application_saw_is_compared() {
    let asked = asked("/one");
    let body = |path: &str, headers: serde_json::Value| json!({"workload": "web-v1", "path": path, "headers": headers});
    let told =
        |body: serde_json::Value| asked.told(&seen(vec![record(1, "v1", 200, Flags::NONE)], vec![answer(200, body)]));
    assert_eq!(told(body("/one", json!({"host": "web", "x-to": "one"}))), "");
    for (body, wanted) in [
        (body("/", json!({"host": "web", "x-to": "one"})), "path /, not /one"),
        (body("/one", json!({"host": "other", "x-to": "one"})), "host"),
        (body("/one", json!({"host": "web"})), "x-to"),
        (body("/one", json!({"host": "web", "x-to": "one", "x-drop": "1"})), "x-drop, which is removed"),
    ] {
        let found = told(body);
        assert!(found.contains(wanted), "{found}, not {wanted}");
    }
}

#[test]
fn another_rule_flag_or_answer_is_told() {
    let one = asked("/one");
    let told = |asked: &Asked, record: RequestRecord, status: u16| {
        asked.told(&seen(vec![record], vec![answer(status, json!(null))]))
    };
    assert!(told(&one, record(2, "v1", 200, Flags::NONE), 200).contains("decided by shop/web http[2]"));
    assert!(told(&one, record(1, "v1", 503, Flags::UF), 503).contains("503 UF from"));
    let old = asked("/old");
    assert!(told(&old, record(0, "", 301, Flags::NONE), 301).contains("redirected to nowhere"));
    assert!(told(&old, record(0, "", 404, Flags::NR), 404).contains("404 NR, not the proxy answers 301"));
    let silent = Seen { sent: 1, unanswered: 1, why: "closed".to_owned(), ..Seen::default() };
    assert!(one.told(&silent).contains("no proxy of shop/web-v1"), "{}", one.told(&silent));
}
