//! Each family on manifests of a few lines: what is told, of which object and field, and what is not.

use super::*;
use crate::resource::load;

/// `code kind namespace/name field` of each finding but for AM-T7, which nearly every manifest here has.
pub(in crate::analyze) fn found(text: &str) -> Vec<String> {
    let mut found = all_found(text, &MeshConfig::default());
    found.retain(|line| !line.starts_with("AM-T7"));
    found
}

pub(in crate::analyze) fn all_found(text: &str, mesh: &MeshConfig) -> Vec<String> {
    let loaded = load("m.yaml", text);
    let resources = ResourceSet::of_files([&loaded]).0;
    let input = Input {
        resources: &resources,
        for_tools: &loaded.for_tools,
        mesh,
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

pub(in crate::analyze) fn object(api: &str, kind: &str, name: &str, rest: &str) -> String {
    format!("---\napiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\n{rest}\n")
}

pub(in crate::analyze) fn virtual_service(name: &str, spec: &str) -> String {
    object("networking.istio.io/v1", "VirtualService", name, &format!("spec: {spec}"))
}

pub(in crate::analyze) fn service(name: &str, ports: &str) -> String {
    object("v1", "Service", name, &format!("spec: {{selector: {{app: {name}}}, ports: [{ports}]}}"))
}

pub(in crate::analyze) fn pod(name: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}\n\
         spec: {{containers: [{{name: c, image: i}}]}}\n"
    )
}

pub(in crate::analyze) const HTTP: &str = "{name: http, port: 80}";

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
fn a_policy_split_by_a_dash_is_told() {
    let from = "from: [{source: {namespaces: [a]}}]";
    let to = "to: [{operation: {methods: [GET]}}]";
    let told = |rules: &str| {
        let spec = format!("spec: {{rules: [{rules}]}}");
        let mut all = found(&object("security.istio.io/v1", "AuthorizationPolicy", "p", &spec));
        all.retain(|line| line.starts_with("AM-E7"));
        all
    };
    assert_eq!(told(&format!("{{{from}}}, {{{to}}}")), ["AM-E7 AuthorizationPolicy shop/p spec.rules[1]"]);
    assert_eq!(told(&format!("{{{from}, {to}}}, {{{to}}}")), Vec::<String>::new());
}

#[test]
fn rules_for_services_of_others_are_looked_up_as_clients_do() {
    let rule = |namespace: &str, subsets: &str, export: &str| {
        let spec = format!("spec: {{host: web.shop.svc.cluster.local, subsets: [{subsets}]{export}}}");
        object("networking.istio.io/v1", "DestinationRule", "r", &spec)
            .replace("namespace: shop", &format!("namespace: {namespace}"))
    };
    let told = |rules: String| {
        let mut all = found(&(service("web", HTTP) + &pod("web") + &rules));
        all.retain(|line| line.starts_with("AM-E2") || line.starts_with("AM-E5"));
        all
    };
    let v1 = "{name: v1, labels: {app: web}}";
    let client = pod("caller").replace("namespace: shop", "namespace: ops");
    let dropped = ["AM-E5 DestinationRule ops/r spec.host"];
    assert_eq!(told(rule("shop", v1, "") + &rule("ops", "", "")), ["AM-E2 DestinationRule ops/r spec.host"]);
    assert_eq!(told(rule("shop", v1, "") + &rule("ops", "", "") + &client), dropped);
    assert_eq!(told(rule("shop", v1, "") + &rule("ops", v1, "") + &client), Vec::<String>::new());
    let private = ", exportTo: [.]";
    assert_eq!(told(rule("shop", v1, private) + &rule("ops", "", "") + &client), Vec::<String>::new());
    assert_eq!(told(rule("shop", v1, "") + &rule("istio-system", "", "")), Vec::<String>::new());
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
