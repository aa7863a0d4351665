//! Manifests and requests by chance, of a small vocabulary so that they often meet.

use amime_testkit::chance::Chance;
use serde_json::{Value, json};
use std::fmt::Write;

/// Services with their versions.
const SERVICES: [&str; 3] = ["apple", "berry", "cherry"];
const VERSIONS: [&str; 2] = ["v1", "v2"];
const PATHS: [&str; 8] = ["/", "/a", "/a/b", "/ab", "/A", "/a/", "/b/c.txt", "/c?x=1"];
const USERS: [&str; 4] = ["anna", "ann", "ben", ""];
const METHODS: [&str; 3] = ["GET", "POST", "DELETE"];
pub(crate) const FRONT: &str = "front.example.com";

/// One request, from outside through the gateway, or from the workload `front` through its sidecar.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) from_front: bool,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) method: &'static str,
    pub(crate) user: Option<&'static str>,
}

impl Asked {
    pub(crate) fn by_chance(chance: &mut Chance) -> Self {
        let from_front = chance.once_in(2);
        let service = chance.one_of(&SERVICES);
        let host = match (from_front, chance.below(8)) {
            (true, 0) => "nobody".to_owned(),
            (true, 1) => format!("{service}.shop.svc.cluster.local"),
            (true, 2) => format!("{service}.shop"),
            (true, _) => service.to_owned(),
            (false, 0) => "other.example.org".to_owned(),
            (false, 1) => format!("x.{service}.example.com"),
            (false, 2) => format!("{}.EXAMPLE.com", service.to_uppercase()),
            (false, _) => format!("{service}.example.com"),
        };
        // A stand-in's call is a GET.
        let method = if from_front { "GET" } else { chance.one_of(&METHODS) };
        let user = (!chance.once_in(3)).then(|| chance.one_of(&USERS));
        Self { from_front, host, path: chance.one_of(&PATHS).to_owned(), method, user }
    }

    /// As `amime explain --requests` reads it.
    pub(crate) fn line(&self, id: usize) -> Value {
        let from = if self.from_front { "shop/front" } else { "gateway" };
        let mut headers = json!({});
        if let Some(user) = self.user {
            headers["x-user"] = json!(user);
        }
        let url = format!("http://{}{}", self.host, self.path);
        json!({"id": id.to_string(), "from": from, "url": url, "method": self.method, "headers": headers})
    }
}

/// Workloads, Services, and rules by chance.
pub(crate) fn manifests(chance: &mut Chance) -> String {
    let mut text = String::new();
    workload(&mut text, "front", "front", "v1");
    for service in SERVICES {
        for version in VERSIONS {
            workload(&mut text, &format!("{service}-{version}"), service, version);
        }
        destination_rule(&mut text, service, chance);
    }
    for service in SERVICES.iter().chain(&["front"]) {
        write!(
            text,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {service}, namespace: shop}}\nspec:\n  selector: {{app: \
             {service}}}\n  ports: [{{name: http, port: 80, targetPort: 8080}}]\n"
        )
        .expect("text");
    }
    text.push_str(
        "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: shop}\nspec:\n  selector: \
         {istio: ingressgateway}\n  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*.example.com']}]\n",
    );
    virtual_service(&mut text, "front", "edge", FRONT, "  - route: [{destination: {host: front}}]\n");
    for number in 0..8 {
        let service = chance.one_of(&SERVICES);
        let at_gateway = chance.once_in(2);
        let host = match (at_gateway, chance.below(5)) {
            (true, 0) => "'*.example.com'".to_owned(),
            (true, 1) => format!("'*.{service}.example.com'"),
            (true, _) => format!("{service}.example.com"),
            (false, 0) => format!("{service}.shop.svc.cluster.local"),
            (false, _) => service.to_owned(),
        };
        let rules: String = (0..=chance.below(4)).map(|_| rule(chance)).collect();
        virtual_service(&mut text, &format!("r{number}"), if at_gateway { "edge" } else { "mesh" }, &host, &rules);
    }
    text
}

fn workload(text: &mut String, name: &str, app: &str, version: &str) {
    write!(
        text,
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  selector: \
         {{matchLabels: {{app: {app}, version: {version}}}}}\n  template:\n    metadata: {{labels: {{app: {app}, version: \
         {version}}}}}\n    spec: {{containers: [{{name: c, image: {app}, ports: [{{containerPort: 8080}}]}}]}}\n"
    )
    .expect("text");
}

/// `gone` selects nobody.
fn destination_rule(text: &mut String, service: &str, chance: &mut Chance) {
    if chance.once_in(6) {
        return;
    }
    write!(
        text,
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {service}, namespace: shop}}\n\
         spec:\n  host: {service}\n  subsets:\n  - {{name: v1, labels: {{version: v1}}}}\n  - {{name: v2, labels: {{version: \
         v2}}}}\n  - {{name: gone, labels: {{version: v0}}}}\n"
    )
    .expect("text");
}

fn virtual_service(text: &mut String, name: &str, gateway: &str, host: &str, rules: &str) {
    write!(
        text,
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  \
         hosts: [{host}]\n  gateways: [{gateway}]\n  http:\n{rules}"
    )
    .expect("text");
}

fn rule(chance: &mut Chance) -> String {
    let matches: Vec<String> = (0..chance.below(3)).map(|_| one_match(chance)).collect();
    let matches = if matches.is_empty() { String::new() } else { format!("match: [{}], ", matches.join(", ")) };
    let headers = match chance.below(5) {
        0 => "headers: {request: {set: {x-rule: 'yes'}, remove: [x-user]}}, ",
        1 => "rewrite: {uri: /new}, ",
        _ => "",
    };
    let fault = match chance.below(8) {
        0 => "fault: {abort: {httpStatus: 418, percentage: {value: 100}}}, ",
        _ => "",
    };
    let action = match chance.below(9) {
        0 => return format!("  - {{{matches}redirect: {{uri: /moved, authority: elsewhere.example.com}}}}\n"),
        1 => return format!("  - {{{matches}directResponse: {{status: 299}}}}\n"),
        2 => {
            let shares = [destination(chance), destination(chance)];
            let weight = chance.one_of(&[0, 50, 90]);
            format!("route: [{{{}, weight: {weight}}}, {{{}, weight: {}}}]", shares[0], shares[1], 100 - weight)
        }
        _ => format!("route: [{{{}}}]", destination(chance)),
    };
    format!("  - {{{matches}{fault}{headers}{action}}}\n")
}

fn destination(chance: &mut Chance) -> String {
    let service = if chance.once_in(12) { "missing" } else { chance.one_of(&SERVICES) };
    let subset = match chance.below(6) {
        0 => "",
        1 => ", subset: gone",
        2 => ", subset: unknown",
        3 => ", subset: v1",
        _ => ", subset: v2",
    };
    format!("destination: {{host: {service}{subset}}}")
}

fn one_match(chance: &mut Chance) -> String {
    let path = |chance: &mut Chance| chance.one_of(&["/", "/a", "/a/b", "/ab", "/b/", "/c"]);
    let user = |chance: &mut Chance| chance.one_of(&["anna", "ann", "ben"]);
    let mut parts = Vec::new();
    match chance.below(6) {
        0 => parts.push(format!("uri: {{exact: {}}}", path(chance))),
        1 | 2 => parts.push(format!("uri: {{prefix: {}}}", path(chance))),
        3 => parts.push("uri: {regex: '/[a-b]+(/.*)?'}".to_owned()),
        _ => {}
    }
    if chance.once_in(5) && !parts.is_empty() {
        parts.push("ignoreUriCase: true".to_owned());
    }
    match chance.below(6) {
        0 => parts.push(format!("headers: {{x-user: {{exact: {}}}}}", user(chance))),
        1 => parts.push(format!("headers: {{x-user: {{prefix: {}}}}}", user(chance))),
        2 => parts.push("headers: {x-user: {regex: 'a.*'}}".to_owned()),
        3 => parts.push(format!("withoutHeaders: {{x-user: {{exact: {}}}}}", user(chance))),
        _ => {}
    }
    if chance.once_in(6) {
        parts.push(format!("method: {{exact: {}}}", chance.one_of(&METHODS)));
    }
    if chance.once_in(8) {
        parts.push("queryParams: {x: {exact: '1'}}".to_owned());
    }
    if parts.is_empty() {
        parts.push(format!("uri: {{prefix: {}}}", path(chance)));
    }
    format!("{{{}}}", parts.join(", "))
}
