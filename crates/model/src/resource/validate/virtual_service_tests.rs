//! What is without effect at gateways is said there, and nowhere else.

use crate::resource::load;

/// `field: message` of all findings of a VirtualService with these gateways and rules.
fn said(gateways: &str, rules: &str) -> Vec<String> {
    let text = format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a}}\n\
         spec: {{hosts: [a.example.com], gateways: [{gateways}], {rules}}}\n"
    );
    let found = load("a.yaml", &text).all_diagnostics();
    found.into_iter().map(|d| format!("{} {}: {}", d.code, d.field, d.message)).collect()
}

const TO: &str = "route: [{destination: {host: b.example.com}}]";

#[test]
fn connections_at_gateways_go_by_port_alone() {
    let tcp = |m: &str| format!("tcp: [{{match: [{{{m}}}], {TO}}}]");
    for (field, m) in [
        ("destinationSubnets", "destinationSubnets: [10.0.0.0/8]"),
        ("sourceLabels", "sourceLabels: {app: a}"),
        ("sourceNamespace", "sourceNamespace: shop"),
    ] {
        assert_eq!(said("mesh", &tcp(m)), Vec::<String>::new());
        let expected = format!("AM-R4 spec.tcp[0].match[0].{field}: `{field}` has no effect at gateway edge: ");
        for found in [said("edge", &tcp(m)), said("mesh, edge", &tcp(m))] {
            assert!(matches!(found.as_slice(), [one] if one.starts_with(&expected)), "{found:?}");
        }
        assert_eq!(said("mesh, edge", &tcp(&format!("gateways: [mesh], {m}"))), Vec::<String>::new());
        let tls = format!("tls: [{{match: [{{sniHosts: [a.example.com], {m}}}], {TO}}}]");
        assert!(said("edge", &tls)[0].starts_with(&expected.replace("tcp", "tls")));
    }
    assert_eq!(said("edge", &tcp("port: 80, gateways: [edge]")), Vec::<String>::new());
    assert!(said("mesh", &tcp("sourceSubnet: 10.0.0.0/8"))[0].contains("sourceSubnet"));
}

#[test]
fn claims_of_tokens_are_named() {
    let rule =
        |kind: &str| format!("http: [{{match: [{{{kind}: {{'@request.auth.claims.group': {{exact: a}}}}}}], {TO}}}]");
    let found = said("edge", &rule("headers"));
    assert!(matches!(found.as_slice(), [one] if one.starts_with("AM-R4") && one.contains("never holds")), "{found:?}");
    let found = said("edge", &rule("withoutHeaders"));
    assert!(matches!(found.as_slice(), [one] if one.contains("all are without this one")), "{found:?}");
    assert!(said("mesh", &rule("headers"))[0].contains("at gateways alone"));
}
