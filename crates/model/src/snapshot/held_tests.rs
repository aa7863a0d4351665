use super::super::Snapshot;
use super::*;
use crate::resource::{MeshConfig, load};

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: reviews}, ports: [{port: 9080, name: http}]}
---
";
const RULE: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
";

fn vs(rules: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews, namespace: shop}}
spec:
  hosts: [reviews]
  http:
{rules}
---
"
    )
}

const TO_V2: &str = "  - route: [{destination: {host: reviews, subset: v2}}]";
const BROKEN: &str = "  - timeout: soon\n    route: [{destination: {host: reviews, subset: v1}}]";

struct Steps {
    held: Held,
}

/// What is in force after a save: the VirtualService's timeout-free rules, and the subsets of the rule.
struct Now {
    routes_to: Vec<String>,
    subsets: Vec<String>,
    said: Vec<String>,
}

impl Steps {
    fn save(&mut self, parts: &[&str]) -> Now {
        let loaded = load("shop.yaml", &parts.concat());
        let (resources, _) = ResourceSet::of_files([&loaded]);
        let effective = effective(&resources, &self.held);
        let built = Snapshot::build(&resources, &MeshConfig::default(), &self.held);
        self.held = built.held;
        let mut now = Now { routes_to: Vec::new(), subsets: Vec::new(), said: Vec::new() };
        for object in effective.resources.iter() {
            match &object.spec {
                Spec::VirtualService(vs) => {
                    let destinations = vs.http.iter().flat_map(|r| &r.route).filter_map(|r| r.destination.as_ref());
                    now.routes_to.extend(destinations.map(|d| d.subset.clone()));
                }
                Spec::DestinationRule(rule) => now.subsets.extend(rule.subsets.iter().map(|s| s.name.clone())),
                _ => {}
            }
        }
        now.said = built.diagnostics.iter().map(|d| d.message.clone()).collect();
        now
    }
}

#[test]
fn a_broken_version_leaves_the_last_good_one() {
    let mut steps = Steps { held: Held::default() };
    steps.save(&[SERVICE, RULE, &vs(TO_V2)]);
    let now = steps.save(&[SERVICE, RULE, &vs(BROKEN)]);
    assert_eq!(now.routes_to, ["v2"]);
    assert!(now.said.iter().any(|s| s.contains("stays at its last good version")), "{:?}", now.said);
    // It stays so for as long as it is broken, and no longer.
    assert_eq!(steps.save(&[SERVICE, RULE, &vs(BROKEN)]).routes_to, ["v2"]);
    let mended = "  - route: [{destination: {host: reviews, subset: v1}}]";
    assert_eq!(steps.save(&[SERVICE, RULE, &vs(mended)]).routes_to, ["v1"]);
}

#[test]
fn a_subset_that_goes_away_goes_on_for_those_who_route_to_it() {
    let mut steps = Steps { held: Held::default() };
    steps.save(&[SERVICE, RULE, &vs(TO_V2)]);
    let newer = RULE.replace("  - {name: v2, labels: {version: v2}}\n", "  - {name: v3, labels: {version: v3}}\n");
    let now = steps.save(&[SERVICE, &newer, &vs(TO_V2)]);
    assert_eq!(now.routes_to, ["v2"]);
    assert_eq!(now.subsets, ["v1", "v3", "v2"], "the newer rule, with what it took away");
    assert_eq!(steps.save(&[SERVICE, &vs(TO_V2)]).subsets, ["v2"], "the whole rule is gone");
    let to_v1 = "  - route: [{destination: {host: reviews}}]";
    assert!(steps.save(&[SERVICE, &vs(to_v1)]).subsets.is_empty(), "nobody routes to it any more");
}

#[test]
fn a_rule_that_never_was_good_is_compiled_as_it_stands() {
    let mut steps = Steps { held: Held::default() };
    let nowhere = "  - route: [{destination: {host: reviews, subset: v9}}]";
    let now = steps.save(&[SERVICE, RULE, &vs(nowhere)]);
    assert_eq!(now.routes_to, ["v9"]);
    assert!(now.said.iter().any(|s| s.contains("there is no subset v9")), "{:?}", now.said);
    // Another edit of the same object is not held back by what was missing before.
    let other = "  - route: [{destination: {host: reviews, subset: v8}}]";
    assert_eq!(steps.save(&[SERVICE, RULE, &vs(other)]).routes_to, ["v8"]);
}

#[test]
fn a_new_reference_to_nothing_holds_the_whole_object_back() {
    let mut steps = Steps { held: Held::default() };
    steps.save(&[SERVICE, RULE, &vs(TO_V2)]);
    let now = steps.save(&[SERVICE, RULE, &vs("  - route: [{destination: {host: reviews, subset: v9}}]")]);
    assert_eq!(now.routes_to, ["v2"]);
    assert!(now.said.iter().any(|s| s.contains("the last good version goes on")), "{:?}", now.said);
}

#[test]
fn a_removed_service_goes_on_for_those_who_route_to_it() {
    let mut steps = Steps { held: Held::default() };
    steps.save(&[SERVICE, RULE, &vs(TO_V2)]);
    steps.save(&[RULE, &vs(TO_V2)]);
    let loaded = load("shop.yaml", &[RULE, &vs(TO_V2)].concat());
    let (resources, _) = ResourceSet::of_files([&loaded]);
    let built = Snapshot::build(&resources, &MeshConfig::default(), &steps.held);
    assert!(built.snapshot.services_of_host("reviews.shop.svc.cluster.local").is_some());
}

#[test]
fn a_deleted_object_is_gone() {
    let mut steps = Steps { held: Held::default() };
    steps.save(&[SERVICE, RULE, &vs(TO_V2)]);
    let now = steps.save(&[SERVICE]);
    assert!(now.routes_to.is_empty() && now.subsets.is_empty());
}

#[test]
fn a_broken_rule_keeps_a_subset_that_was_brought_back() {
    let mut steps = Steps { held: Held::default() };
    steps.save(&[SERVICE, RULE, &vs(TO_V2)]);
    let without_v2 = RULE.replace("  - {name: v2, labels: {version: v2}}\n", "");
    assert_eq!(steps.save(&[SERVICE, &without_v2, &vs(TO_V2)]).subsets, ["v1", "v2"]);
    let broken = without_v2.replace("{version: v1}", "soon");
    let now = steps.save(&[SERVICE, &broken, &vs(TO_V2)]);
    assert_eq!((now.subsets, now.routes_to), (vec!["v1".to_owned(), "v2".to_owned()], vec!["v2".to_owned()]));
    assert_eq!(steps.save(&[SERVICE, &broken, &vs(TO_V2)]).subsets, ["v1", "v2"]);
}

#[test]
fn an_edit_is_judged_by_what_is_in_force_and_not_by_what_is_broken() {
    let mut steps = Steps { held: Held::default() };
    let to_v1 = TO_V2.replace("v2", "v1");
    steps.save(&[SERVICE, RULE, &vs(&to_v1)]);
    let broken = RULE.replace("  - {name: v2, labels: {version: v2}}", "  - {nam: v2, labels: {version: v2}}");
    assert_eq!(steps.save(&[SERVICE, &broken, &vs(TO_V2)]).routes_to, ["v2"], "the subset is there still");
}

#[test]
fn an_edit_that_refers_to_nothing_leaves_a_version_that_referred_to_nothing() {
    let mut steps = Steps { held: Held::default() };
    let redirect = vs("  - redirect: {uri: /}");
    steps.save(&[SERVICE, RULE, &redirect]);
    let now = steps.save(&[SERVICE, RULE, &vs("  - route: [{destination: {host: nowhere}}]")]);
    assert!(now.routes_to.is_empty(), "{:?}", now.routes_to);
}

/// Every kind but security policies is put back, before anything is made of the objects.
#[test]
fn every_kind_but_policies_stays_at_its_last_sound_version() {
    let deployment = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews, namespace: shop}
spec: {replicas: 2, template: {metadata: {labels: {app: reviews}}}}
---
";
    let policy = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: reviews, namespace: shop}
spec: {action: ALLOW}
";
    let resources = |text: String| ResourceSet::of_files([&load("shop.yaml", &text)]).0;
    let mut held = Held::default();
    let good = resources([SERVICE, deployment, policy].concat());
    assert!(held.replace_broken(&good).1.is_empty());
    let broken = [SERVICE, deployment, policy].concat();
    let broken = broken.replace("replicas: 2", "replicas: two").replace("{app: reviews}, ports", "soon, ports");
    let broken = resources(broken.replace("ALLOW", "PERHAPS"));
    for _ in 0..2 {
        let (now, said) = held.replace_broken(&broken);
        let same = |kind| now.of_kind(kind).zip(good.of_kind(kind)).all(|(a, b)| Arc::ptr_eq(a, b));
        assert!(same(Kind::Deployment) && same(Kind::Service));
        assert!(!same(Kind::AuthorizationPolicy), "a policy is never held back");
        assert_eq!(said.len(), 2, "{said:?}");
    }
}
