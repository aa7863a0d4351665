//! Each conflict is told of the loser, with the winner, its place and the rule; what is no conflict is not.

use crate::diagnostic::Severity;
use crate::resource::{MeshConfig, ResourceSet, load};
use crate::snapshot::{Held, Snapshot};

/// `code object field: message` of each conflict; places without the file's name.
fn found(text: &str) -> Vec<String> {
    let loaded = load("m.yaml", text);
    assert!(loaded.all_diagnostics().iter().all(|d| d.severity != Severity::Error), "{:?}", loaded.all_diagnostics());
    let resources = ResourceSet::of_files([&loaded]).0;
    let snapshot = Snapshot::build(&resources, &MeshConfig::default(), &Held::default()).snapshot;
    let line = |d: &crate::diagnostic::Diagnostic| {
        let id = d.resource.as_ref().expect("an object");
        assert!(d.place.is_some(), "{d:?}");
        format!("{} {}/{} {}: {}", d.code, id.namespace, id.name, d.field, d.message)
    };
    super::find(&snapshot).iter().map(line).collect()
}

fn virtual_service(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"
    )
}

fn gateway(name: &str, servers: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{selector: {{app: edge}}, servers: [{servers}]}}\n"
    )
}

const TO: &str = "route: [{destination: {host: web}}]";

#[test]
fn of_two_virtual_services_of_a_host_in_the_mesh_the_second_loses() {
    let a = virtual_service("a", &format!("{{hosts: [web, other], http: [{{{TO}}}]}}"));
    let b = virtual_service("b", &format!("{{hosts: [web.shop.svc.cluster.local], http: [{{{TO}}}]}}"));
    let found = found(&(a + &b));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("IST0109 shop/b spec.hosts: web.shop.svc.cluster.local of the mesh belongs to "));
    assert!(found[0].contains("VirtualService shop/a (m.yaml:2:1)"), "{found:?}");
    assert!(found[0].contains("the oldest goes first"));
}

#[test]
fn a_private_virtual_service_goes_first_for_its_namespaces_alone() {
    let a = virtual_service("a", &format!("{{hosts: [web], http: [{{{TO}}}]}}"));
    let b = virtual_service("b", &format!("{{hosts: [web], exportTo: [x1, x2], http: [{{{TO}}}]}}"));
    let found = found(&(a + &b));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("IST0109 shop/a"));
    assert!(found[0].contains("VirtualService shop/b (m.yaml:7:1) already for clients in x1, x2"), "{found:?}");
}

#[test]
fn rules_for_other_ports_clients_and_protocols_are_no_conflict() {
    let http =
        |name: &str, m: &str| virtual_service(name, &format!("{{hosts: [web], http: [{{match: [{m}], {TO}}}]}}"));
    let tcp = virtual_service("t", &format!("{{hosts: [web], tcp: [{{{TO}}}]}}"));
    let elsewhere = virtual_service("g", &format!("{{hosts: [web], gateways: [edge], http: [{{{TO}}}]}}"));
    let none = [
        http("a", "{port: 80}"),
        http("b", "{port: 81}"),
        http("c", "{port: 82, sourceNamespace: x1}"),
        http("d", "{port: 82, sourceNamespace: x2}"),
        http("e", "{port: 83, sourceLabels: {app: x1}}"),
        http("f", "{port: 83, sourceLabels: {app: x2}}"),
        tcp,
        elsewhere,
    ];
    assert_eq!(found(&none.concat()), Vec::<String>::new());
    assert_eq!(found(&(none.concat() + &http("z", "{uri: {prefix: /z}}"))).len(), 1);
}

#[test]
fn a_gateway_rule_that_an_older_virtual_service_has_is_shadowed() {
    let vs = |name: &str, rules: &str| {
        virtual_service(name, &format!("{{hosts: [web.example.com], gateways: [edge], http: [{rules}]}}"))
    };
    let a = vs("a", &format!("{{match: [{{uri: {{prefix: /one}}}}], {TO}}}, {{{TO}}}"));
    let b = vs(
        "b",
        &format!(
            "{{name: second, match: [{{name: m, uri: {{prefix: /one}}}}], {TO}}}, \
             {{match: [{{uri: {{prefix: /one}}}}, {{uri: {{prefix: /two}}}}], {TO}}}, {{match: [{{uri: {{prefix: /}}}}], {TO}}}"
        ),
    );
    let found = found(&(a + &b));
    let fields: Vec<_> = found.iter().map(|line| line.split(':').next().expect("a field")).collect();
    assert_eq!(fields, ["AM-L2 shop/b spec.http[0]", "AM-L2 shop/b spec.http[2]"]);
    assert!(found[0].contains("VirtualService shop/a (m.yaml:2:1) has one with the same match for web.example.com"));
}

#[test]
fn gateways_lose_ports_hosts_and_server_names() {
    let tls = |host: &str| {
        format!(
            "{{port: {{number: 443, name: s, protocol: HTTPS}}, hosts: [{host}], tls: {{mode: SIMPLE, credentialName: c}}}}"
        )
    };
    let http = |hosts: &str| format!("{{port: {{number: 80, name: h, protocol: HTTP}}, hosts: [{hosts}]}}");
    let tcp = "{port: {number: 80, name: t, protocol: TCP}, hosts: ['*']}";
    let through = "{port: {number: 8443, name: p, protocol: TLS}, hosts: ['*.example.com'], tls: {mode: PASSTHROUGH}}";
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: c, namespace: shop}\ntype: Opaque\nstringData: {key: k, cert: c}\n";
    let sni = |name: &str| {
        let rule = format!("{{match: [{{sniHosts: [a.example.com]}}], {TO}}}");
        virtual_service(name, &format!("{{hosts: [a.example.com], gateways: [a], tls: [{rule}]}}"))
    };
    let all = [
        gateway("a", &format!("{}, {}, {through}", http("web.example.com"), tls("web.example.com"))),
        gateway("b", &format!("{}, {}, {tcp}", http("web.example.com"), tls("web.example.com"))),
        sni("v"),
        sni("w"),
        secret.to_string(),
    ];
    let found = found(&all.concat());
    let fields: Vec<_> = found.iter().map(|line| line.split(':').next().expect("a field")).collect();
    // Plaintext servers of a port are put together.
    let losers =
        ["IST0145 shop/b spec.servers[1]", "IST0145 shop/b spec.servers[2]", "IST0145 shop/w spec.tls[0].match[0]"];
    let told: Vec<_> = fields.iter().filter(|f| f.starts_with("IST0145")).copied().collect();
    assert_eq!(told, losers, "{found:#?}");
    let of = |field: &str| found.iter().find(|line| line.contains(field)).expect("told");
    assert!(of("b spec.servers[1]").contains("has the host web.example.com: Gateway shop/a (m.yaml:5:"), "{found:#?}");
    assert!(of("b spec.servers[2]").contains("port 80, with another protocol: Gateway shop/a"), "{found:#?}");
    assert!(of("w spec.tls").contains("VirtualService shop/v"), "{found:#?}");
}

#[test]
fn tcp_services_without_addresses_share_no_listener() {
    let entry = |name: &str, addresses: &str, protocol: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{hosts: [{name}.example.com], {addresses} resolution: DNS, ports: [{{number: 3306, name: p, protocol: {protocol}}}]}}\n"
        )
    };
    let without = [entry("a", "", "MYSQL"), entry("b", "", "MYSQL"), entry("c", "addresses: [10.1.1.1],", "MYSQL")];
    let found = found(&without.concat());
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("AM-L1 shop/b : sidecars do not listen for it at 0.0.0.0_3306"), "{found:#?}");
    assert!(found[0].contains("ServiceEntry shop/a (m.yaml:2:1)") && found[0].contains("capture DNS"), "{found:#?}");
}
