use super::*;
use crate::resource::{Spec, load};

fn of(spec: &str) -> Option<Arc<Sidecar>> {
    let text = format!("apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: a}}\n{spec}\n");
    let loaded = load("a.yaml", &text);
    let Spec::Sidecar(sidecar) = &loaded.objects[0].spec else { panic!("{loaded:?}") };
    effective(&loaded.objects[0], sidecar)
}

fn hosts(spec: &str) -> Vec<String> {
    let sidecar = of(spec).expect("it is in force");
    let closed = sidecar.outbound_traffic_policy.as_ref().map(|policy| policy.mode);
    assert_eq!(closed, Some(SidecarOutboundMode::RegistryOnly), "{spec}");
    sidecar.egress.iter().flat_map(|egress| egress.hosts.clone()).collect()
}

#[test]
fn one_whose_workloads_are_not_known_is_left_out() {
    for spec in [
        "spec: {workloadSelectr: {labels: {app: a}}, egress: [{hosts: [./*]}]}",
        "spec: {workloadSelector: soon, egress: [{hosts: [./*]}]}",
        "spec: {workloadSelector: {lables: {app: a}}, egress: [{hosts: [./*]}]}",
        "spec: {chooses: {app: a}, egress: [{hosts: [./*]}]}",
        "spec: soon",
        "spce: {egress: [{hosts: [./*]}]}",
    ] {
        assert_eq!(of(spec), None, "{spec}");
    }
}

#[test]
fn one_that_is_broken_otherwise_opens_nothing() {
    let selects = "workloadSelector: {labels: {app: a}}";
    assert_eq!(hosts(&format!("spec: {{{selects}, egres: [{{hosts: [./*]}}]}}")), ["~/*"]);
    assert_eq!(hosts(&format!("spec: {{{selects}, egress: [{{hosts: {{a: b}}}}]}}")), ["~/*"]);
    assert_eq!(
        hosts(&format!(
            "spec: {{{selects}, egress: [{{port: {{number: 80, protocol: HTTP, name: http}}, hots: [./*]}}, {{hosts: [./*]}}]}}"
        )),
        ["./*"]
    );
    assert_eq!(hosts("spec: {egress: [{hosts: [./*]}], outboundTrafficPolicy: {mode: PERHAPS}}"), ["./*"]);
}
