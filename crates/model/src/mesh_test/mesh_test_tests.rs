//! Test files as they are read, what is compared, and invariants; no files and no program.

use super::{Breach, LoadedTests, breach, judge, load_tests};
use crate::explain::{Explainer, with_pods};
use crate::resource::{MeshConfig, ResourceSet, load, load_mesh_config};
use crate::snapshot::{Held, Snapshot};
use std::sync::Arc;

const MESH: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: dev}
---
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {clusterIP: 10.0.0.1, selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: 10.0.0.2, selector: {app: db}, ports: [{name: tcp, port: 5432}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews-v1, namespace: shop}
spec: {selector: {matchLabels: {app: reviews, version: v1}}, template: {metadata: {labels: {app: reviews, version: v1}}, spec: {containers: [{name: c, image: i}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews-v2, namespace: shop}
spec: {selector: {matchLabels: {app: reviews, version: v2}}, template: {metadata: {labels: {app: reviews, version: v2}}, spec: {containers: [{name: c, image: i}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db, namespace: shop}
spec: {selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: i}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: i}]}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http:
  - name: testers
    match: [{headers: {x-test: {exact: '1'}}}, {uri: {prefix: /beta}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - match: [{uri: {prefix: /old}}]
    redirect: {uri: /new}
  - match: [{uri: {prefix: /copy}}]
    mirror: {host: db, port: {number: 5432}}
    mirrorPercentage: {value: 25}
    route: [{destination: {host: reviews, subset: v1}}]
  - timeout: 3s
    retries: {attempts: 4}
    rewrite: {authority: other}
    route:
    - {destination: {host: reviews, subset: v1}, weight: 75, headers: {request: {set: {x-to: v1}, remove: [x-drop]}, response: {remove: [server]}}}
    - {destination: {host: reviews, subset: v2}, weight: 25, headers: {request: {set: {x-to: v1}, remove: [x-drop]}, response: {remove: [server]}}}
";

struct Mesh {
    snapshot: Arc<Snapshot>,
}

impl Mesh {
    fn of(more: &str, mesh_config: &str) -> Self {
        let loaded = load("mesh.yaml", &format!("{MESH}---\n{more}"));
        let (resources, _) = ResourceSet::of_files([&loaded]);
        let config = match mesh_config {
            "" => MeshConfig::default(),
            text => load_mesh_config("config.yaml", text).config,
        };
        Self { snapshot: Snapshot::build(&with_pods(&resources), &config, &Held::default()).snapshot }
    }

    /// The fields that differ.
    fn judged(&self, request: &str, expect: &str) -> Vec<String> {
        let tests =
            load_tests("a.mesh-test.yaml", &format!("tests: [{{request: {{{request}}}, expect: {{{expect}}}}}]"));
        assert!(!tests.has_errors(), "{:?}", tests.diagnostics);
        let case = &tests.cases[0];
        let question = case.request.question(&case.expect).expect("a URL");
        let verdict = Explainer::new(&self.snapshot).explain(&question).expect("a verdict");
        judge(&case.request, &case.expect, &verdict).into_iter().map(|mismatch| mismatch.field).collect()
    }

    fn breach(&self, never: &str) -> Result<Option<Breach>, String> {
        let tests = load_tests("a.mesh-test.yaml", &format!("never: [{{{never}}}]"));
        assert!(!tests.has_errors(), "{:?}", tests.diagnostics);
        breach(&tests.invariants[0].never, &mut Explainer::new(&self.snapshot), &self.snapshot)
    }

    fn holds(&self, never: &str) {
        let found = self.breach(never).expect("asked");
        assert_eq!(found, None, "{never}");
    }

    fn breaks(&self, never: &str, wanted: &str) {
        let found = self.breach(never).expect("asked").unwrap_or_else(|| panic!("{never} holds")).found();
        assert!(found.contains(wanted), "{never}: {found}");
    }
}

fn errors(text: &str) -> Vec<(String, u32)> {
    let LoadedTests { diagnostics, .. } = load_tests("a.mesh-test.yaml", text);
    diagnostics.into_iter().map(|found| (found.message, found.place.map_or(0, |place| place.line))).collect()
}

#[test]
fn cases_take_what_their_test_says_and_put_their_own_over_it() {
    let text = "
tests:
- name: all
  request: {from: shop/web, url: 'http://reviews:9080/a?x=1', headers: {one: '1', two: '2'}}
  expect: {weights: {v1: 75, v2: 25}, timeout: 3s}
  cases:
  - {name: plain}
  - {name: other, request: {at: edge/gateway, path: /b, headers: {two: '3'}}, expect: {weights: {v2: 20}, tolerance: 5}}
  - {request: {url: 'http://db:5432/', method: POST}}
";
    let tests = load_tests("a.mesh-test.yaml", text);
    assert!(!tests.has_errors(), "{:?}", tests.diagnostics);
    let names: Vec<&str> = tests.cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names, ["all: plain", "all: other", "all: POST http://db:5432/"]);
    assert_eq!(tests.cases[1].place.line, 8);
    let other = &tests.cases[1];
    let question = other.request.question(&other.expect).expect("a URL");
    assert_eq!((question.from, question.at.as_deref()), (None, Some("edge/gateway")));
    assert_eq!(question.url, "http://reviews:9080/b");
    let headers: Vec<_> = other.request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(headers, [("one", "1"), ("two", "3")]);
    assert_eq!(other.expect.weights.get("v1"), Some(&75.0));
    assert_eq!((other.expect.weights.get("v2"), other.expect.tolerance), (Some(&20.0), Some(5.0)));
    // A URL of the case's own brings its own path.
    let third = tests.cases[2].request.question(&tests.cases[2].expect).expect("a URL");
    assert_eq!((third.url.as_str(), third.method.as_deref()), ("http://db:5432/", Some("POST")));
    assert_eq!(third.from.as_deref(), Some("shop/web"));
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_line() {
    let one = |text: &str, wanted: &str, line: u32| {
        let found = errors(text);
        assert!(found.iter().any(|(message, at)| message.contains(wanted) && *at == line), "{text}: {found:?}");
    };
    one("tests: []\n", "there is no test", 1);
    one("tests:\n- request: {from: a}\n  expect: {status: 200}\n", "no URL", 2);
    one("tests:\n- request: {url: 'http://a/'}\n", "nothing is expected", 2);
    one("tests:\n- request: {url: 'http://a/', from: a, at: b}\n  expect: {status: 200}\n", "both from and at", 2);
    one("tests:\n- request: {url: 'http://a/'}\n  expect: {status: many}\n", "not a whole number", 3);
    one("tests:\n- request: {url: 'http://a/'}\n  expect: {timeout: long}\n", "long", 3);
    one("never:\n- {from: [anyone]}\n", "nothing is said", 2);
    one("never:\n- {reaches: a, by: address}\n", "names alone", 2);
    one("never:\n- {reach: a}\n", "reach", 2);
}

#[test]
fn every_expectation_holds_or_is_told() {
    let mesh = Mesh::of("", "");
    let plain = "from: shop/web, url: 'http://reviews:9080/a', headers: {x-drop: '1', x-keep: '2'}";
    let tester = "from: shop/web, url: 'http://reviews:9080/a', headers: {x-test: '1'}";
    let old = "from: shop/web, url: 'http://reviews:9080/old'";
    let copy = "from: shop/web, url: 'http://reviews:9080/copy'";
    let unknown = "from: shop/web, url: 'http://x.example.com:81/', address: 203.0.113.1";
    for (request, expect, field) in [
        (plain, "destination: reviews", ""),
        (plain, "destination: reviews.shop:9080", ""),
        (plain, "destination: 'reviews:80'", "destination"),
        (plain, "destination: review", "destination"),
        (plain, "subset: v1", "subset"),
        (tester, "subset: v2", ""),
        (plain, "weights: {v1: 75, v2: 25}", ""),
        (plain, "weights: {reviews v1: 75, reviews.shop v2: 25}", ""),
        (plain, "weights: {v1: 75}", "weights"),
        (plain, "weights: {v1: 70, v2: 30}, tolerance: 5", ""),
        (plain, "weights: {v1: 69, v2: 31}, tolerance: 5", "weights.v1"),
        (plain, "weights: {v1: 75, v2: 25, v3: 0}", ""),
        (plain, "weights: {v1: 75, v2: 25, v3: 1}", "weights.v3"),
        (plain, "timeout: 3s, retries: 4, host: other, path: /a", ""),
        (plain, "timeout: 2s", "timeout"),
        (plain, "retries: 2", "retries"),
        (plain, "host: reviews", "host"),
        (plain, "path: /b", "path"),
        (plain, "headers: {set: {x-to: v1, x-keep: '2'}, removed: [X-Drop]}", ""),
        (plain, "headers: {set: {x-to: v2}}", "headers.set.x-to"),
        (plain, "headers: {removed: [x-keep]}", "headers.removed"),
        (plain, "headers: {removed: [x-absent]}", "headers.removed"),
        (plain, "response: {removed: [server]}", ""),
        (plain, "response: {removed: [date]}", "response.removed"),
        (plain, "rule: 'shop/reviews http[3]'", ""),
        (plain, "rule: 'shop/reviews testers'", "rule"),
        (tester, "rule: 'shop/reviews testers'", ""),
        (old, "status: 301, redirect: 'http://reviews:9080/new'", ""),
        (old, "status: 302", "status"),
        (old, "redirect: /new", "redirect"),
        (old, "destination: reviews", "destination"),
        (old, "refused: false", ""),
        (copy, "mirrors: {db: 25}", ""),
        (copy, "mirrors: {db: 50}", "mirrors.db"),
        (unknown, "passthrough: true", ""),
        (unknown, "refused: true", "refused"),
        (plain, "denied: false", "denied"),
    ] {
        let found = mesh.judged(request, expect);
        match field {
            "" => assert!(found.is_empty(), "{expect}: {found:?}"),
            field => assert!(found.iter().any(|one| one == field), "{expect}: {found:?}, not {field}"),
        }
    }
}

#[test]
fn an_invariant_is_broken_by_a_request_that_is_named() {
    let mesh = Mesh::of("", "");
    mesh.breaks("reaches: reviews, subset: v2, from: [shop/web]", "GET http://reviews.shop.svc.cluster.local:9080/");
    mesh.breaks("reaches: reviews, subset: v2, unless: {headers: {x-test: '1'}}", "/beta");
    // The copies of requests come there too.
    mesh.breaks("reaches: db, from: [namespace dev], by: name", "/copy");
    mesh.breaks("reaches: db, from: [shop/web], by: name, unless: {path: /copy*}", "tcp://");
    mesh.holds("reaches: reviews, from: [internet]");
    let rest = "unless: {path: /copy*}";
    mesh.breaks(&format!("reaches: reviews, subset: v1, from: [shop/web], {rest}"), "GET http://");
}

#[test]
fn an_invariant_holds_where_no_rule_leads_there() {
    let scoped = "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: dev}
spec: {egress: [{hosts: ['./*']}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: only-v1, namespace: shop}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}}]}]}
";
    let mesh = Mesh::of(scoped, "outboundTrafficPolicy: {mode: REGISTRY_ONLY}");
    mesh.holds("reaches: db, from: [namespace dev]");
    mesh.holds("reaches: reviews, subset: v2");
    mesh.breaks("reaches: db", "from namespace shop");
    mesh.holds("reaches: db, from: [shop/web, namespace dev], except: [shop/web]");
    // What applications dial themselves is passed through, unless the mesh says otherwise.
    let open = Mesh::of(scoped, "");
    open.breaks("reaches: db, from: [namespace dev]", "REGISTRY_ONLY");
    open.holds("reaches: db, from: [namespace dev], by: name");
}

#[test]
fn an_invariant_of_nobody_is_a_mistake() {
    let mesh = Mesh::of("", "");
    for (never, wanted) in [
        ("reaches: nothing", "no service nothing"),
        ("reaches: reviews, subset: v9", "no DestinationRule of reviews has a subset v9"),
        ("reaches: db, from: [shop/nobody]", "no workload shop/nobody"),
        ("reaches: db, from: [namespace nowhere]", "no namespace nowhere"),
        ("reaches: db, except: [shop/nobody]", "no workload shop/nobody"),
    ] {
        let error = mesh.breach(never).expect_err(never);
        assert!(error.contains(wanted), "{error}");
    }
}
