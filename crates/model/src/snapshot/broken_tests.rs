//! Decisive fields that are misspelt, where there is no last good version.

use crate::resource::{MeshConfig, ResourceSet, load};
use crate::snapshot::{Held, Snapshot};
use std::sync::Arc;

fn snapshot(kind: &str, spec: &str) -> Arc<Snapshot> {
    let text = format!("apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {spec}\n");
    let (resources, _) = ResourceSet::of_files([&load("a.yaml", &text)]);
    Snapshot::build(&resources, &MeshConfig::default(), &Held::default()).snapshot
}

/// Of the DestinationRule: whether it denies, and its subsets.
fn rule(spec: &str) -> (bool, Vec<String>) {
    let snapshot = snapshot("DestinationRule", &format!("{{host: a, {spec}}}"));
    let rule = snapshot.destination_rules.all().next().expect("a rule").clone();
    (rule.denies, rule.rule.subsets.iter().map(|subset| subset.name.clone()).collect())
}

#[test]
fn tls_that_was_misspelt_is_not_taken_for_none() {
    for spec in [
        "traficPolicy: {tls: {mode: MUTUAL}}",
        "trafficPolicy: soon",
        "trafficPolicy: {tsl: {mode: ISTIO_MUTUAL}}",
        "trafficPolicy: {tls: {mode: ISTIO_MUTAL}}",
        "trafficPolicy: {portLevelSetings: [{port: {number: 80}, tls: {mode: SIMPLE}}]}",
        "trafficPolicy: {portLevelSettings: [{port: {number: 80}, tsl: {mode: SIMPLE}}]}",
    ] {
        assert!(rule(spec).0, "{spec}");
    }
    assert!(!rule("trafficPolicy: {loadBalancer: {simple: SOON}}").0);
    assert!(!rule("trafficPolicy: {laodBalancer: {simple: RANDOM}, connectionPool: {tcp: {maxConnections: 9}}}").0);
}

#[test]
fn a_subset_of_unknown_members_or_tls_is_not_there() {
    let good = "{name: v1, labels: {version: v1}}";
    for bad in [
        "{name: v2, lables: {version: v2}}",
        "{name: v2, labels: {version: v2}, traficPolicy: {tls: {mode: SIMPLE}}}",
        "{name: v2, labels: {version: v2}, trafficPolicy: {tsl: {mode: SIMPLE}}}",
    ] {
        assert_eq!(rule(&format!("subsets: [{bad}, {good}]")), (false, vec!["v1".to_owned()]), "{bad}");
    }
}

#[test]
fn a_gateway_whose_selector_may_have_been_misspelt_opens_nothing() {
    let server = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}";
    for (selector, opens) in [("selector: {a: b}", true), ("selectr: {a: b}", false), ("chooses: {a: b}", false)] {
        let snapshot = snapshot("Gateway", &format!("{{{selector}, servers: [{server}]}}"));
        assert_eq!(snapshot.gateways()[0].broken.is_empty(), opens, "{selector}");
    }
}
