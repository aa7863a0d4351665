//! Each family on manifests of a few lines: what is told, of which object and field, and what is not.

use super::*;
use crate::resource::load;

/// `code kind namespace/name field` of each finding but for those about namespaces' labels.
fn found(text: &str) -> Vec<String> {
    let loaded = load("m.yaml", text);
    let resources = ResourceSet::of_files([&loaded]).0;
    let mesh = MeshConfig::default();
    let input = Input {
        resources: &resources,
        for_tools: &loaded.for_tools,
        mesh: &mesh,
        networks: None,
        practices: true,
        now: 1_800_000_000,
    };
    let line = |finding: &Diagnostic| {
        let id = finding.resource.as_ref().expect("an object");
        assert!(finding.place.is_some(), "{finding:?}");
        format!("{} {} {}", finding.code, id, finding.field)
    };
    let mut found: Vec<String> = analyze(&input).iter().map(line).collect();
    found.sort();
    found
}

fn object(api: &str, kind: &str, name: &str, rest: &str) -> String {
    format!("---\napiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\n{rest}\n")
}

fn virtual_service(name: &str, spec: &str) -> String {
    object("networking.istio.io/v1", "VirtualService", name, &format!("spec: {spec}"))
}

fn service(name: &str, ports: &str) -> String {
    object("v1", "Service", name, &format!("spec: {{selector: {{app: {name}}}, ports: [{ports}]}}"))
}

fn pod(name: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}\n\
         spec: {{containers: [{{name: c, image: i}}]}}\n"
    )
}

const HTTP: &str = "{name: http, port: 80}";

#[test]
fn destinations_that_lead_nowhere_are_told_at_their_hosts() {
    let to = |to: &str| format!("{{hosts: [web], http: [{{route: [{{destination: {{{to}}}}}]}}]}}");
    let services = service("web", HTTP) + &service("two", "{name: http, port: 80}, {name: http-b, port: 81}");
    let told = |destination: &str| found(&(services.clone() + &virtual_service("a", &to(destination))));
    let field = "VirtualService shop/a spec.http[0].route[0].destination.host";
    assert_eq!(told("host: web, port: {number: 80}"), Vec::<String>::new());
    assert_eq!(told("host: nobody"), [format!("IST0101 {field}")]);
    assert_eq!(told("host: web, port: {number: 82}"), [format!("IST0101 {field}")]);
    assert_eq!(told("host: two"), [format!("IST0112 {field}")]);
    assert_eq!(told("host: gone.other.svc.cluster.local"), [format!("AM-E12 {field}")]);
}

#[test]
fn subsets_without_a_rule_are_missing_where_the_input_is_whole() {
    let vs = virtual_service("a", "{hosts: [web], http: [{route: [{destination: {host: web, subset: v1}}]}]}");
    let field = "VirtualService shop/a spec.http[0].route[0].destination.host";
    assert_eq!(found(&(service("web", HTTP) + &vs)), [format!("AM-T8 {field}")]);
    assert_eq!(found(&(service("web", HTTP) + &pod("web") + &vs)), [format!("IST0101 {field}")]);
}

#[test]
fn rules_behind_one_that_takes_all_are_unreachable() {
    let route = "route: [{destination: {host: web}}]";
    let rules = format!(
        "{{match: [{{uri: {{prefix: /a}}}}], {route}}}, {{match: [{{uri: {{prefix: /a}}}}, {{uri: {{prefix: /ab}}}}], {route}}}, \
         {{{route}}}, {{{route}}}"
    );
    let vs = virtual_service("a", &format!("{{hosts: [web], http: [{rules}]}}"));
    let of = "VirtualService shop/a spec.http";
    let wanted = [
        format!("IST0130 {of}[3]"),
        format!("IST0131 {of}[1].match[0]"),
        format!("IST0131 {of}[1].match[1].uri.prefix"),
    ];
    assert_eq!(found(&(service("web", HTTP) + &vs)), wanted);
}

#[test]
fn practices_and_effects() {
    let vs = virtual_service("a", "{hosts: ['*.example.com', web], http: [{route: [{destination: {host: web}}]}]}");
    let policy = object("security.istio.io/v1", "AuthorizationPolicy", "all", "spec: {rules: [{}]}");
    let found = found(&(service("web", HTTP) + &vs + &policy));
    let wanted = [
        "AM-E9 AuthorizationPolicy shop/all spec.rules[0]",
        "AM-T6 VirtualService shop/a spec.hosts",
        "AM-T6 VirtualService shop/a spec.hosts[0]",
        "IST0127 AuthorizationPolicy shop/all spec.selector",
    ];
    assert_eq!(found, wanted);
}
