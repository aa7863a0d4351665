//! Each code on manifests of a few lines, and on near misses that it must be quiet about.

use crate::analyze::tests::{HTTP, found, object, pod, service, virtual_service};

/// `field` of each finding of one code, with its object.
fn told(code: &str, text: &str) -> Vec<String> {
    let line = |line: String| line.strip_prefix(&format!("{code} ")).map(str::to_owned);
    found(text).into_iter().filter_map(line).collect()
}

fn none() -> Vec<String> {
    Vec::new()
}

fn gateway(name: &str, servers: &str) -> String {
    let spec = format!("spec: {{selector: {{app: ingress}}, servers: [{servers}]}}");
    object("networking.istio.io/v1", "Gateway", name, &spec)
}

fn http_server(port: u32, hosts: &str) -> String {
    format!("{{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: [{hosts}]}}")
}

fn in_namespace(text: String, namespace: &str) -> String {
    text.replace("namespace: shop", &format!("namespace: {namespace}"))
}

const ROUTE: &str = "route: [{destination: {host: web}}]";

/// A VirtualService `a` with these rules of HTTP.
fn rules(rules: &[&str]) -> String {
    let rules: Vec<String> = rules.iter().map(|rule| format!("{{{rule}{ROUTE}}}")).collect();
    service("web", HTTP) + &virtual_service("a", &format!("{{hosts: [web], http: [{}]}}", rules.join(", ")))
}

#[test]
fn rules_that_earlier_ones_leave_nothing_are_told() {
    let second = ["VirtualService shop/a spec.http[1]"];
    let shadowed = [
        ["match: [{uri: {prefix: /a}}], ", "match: [{uri: {exact: /a/b}}], "],
        ["match: [{uri: {prefix: /a}}], ", "match: [{uri: {regex: '/a/[0-9]+'}}], "],
        ["match: [{uri: {prefix: /}}], ", "match: [{uri: {regex: 'a|b'}}], "],
        ["match: [{uri: {regex: '/a.*'}}], ", "match: [{uri: {prefix: /ab}, method: {exact: GET}}], "],
        ["match: [{uri: {prefix: /A}, ignoreUriCase: true}], ", "match: [{uri: {exact: /a}}], "],
        ["match: [{uri: {prefix: /a}}, {uri: {prefix: /b}}], ", "match: [{uri: {exact: /a}}, {uri: {exact: /b}}], "],
        ["match: [{headers: {x: {prefix: a}}}], ", "match: [{headers: {x: {exact: ab}, y: {}}}], "],
        ["match: [{headers: {x: {}}}], ", "match: [{headers: {x: {regex: '[a-z]'}}}], "],
        ["match: [{withoutHeaders: {x: {exact: ab}}}], ", "match: [{withoutHeaders: {x: {prefix: a}}}], "],
        ["match: [{queryParams: {q: {prefix: a}}}], ", "match: [{queryParams: {q: {exact: a}}, port: 80}], "],
        ["match: [{uri: {exact: /a}}], ", "match: [{uri: {exact: /a}, sourceLabels: {app: x}}], "],
        ["match: [{sourceNamespace: ops, uri: {prefix: /a}}], ", "match: [{sourceNamespace: ops, uri: {exact: /a}}], "],
    ];
    for pair in &shadowed {
        assert_eq!(told("AM-E11", &rules(pair)), second, "{pair:?}");
    }
    let quiet = [
        ["match: [{uri: {exact: /a}}], ", "match: [{uri: {prefix: /a}}], "],
        ["match: [{uri: {prefix: /a}, method: {exact: GET}}], ", "match: [{uri: {exact: /a}}], "],
        ["match: [{uri: {prefix: /a}, port: 80}], ", "match: [{uri: {exact: /a}}], "],
        ["match: [{uri: {prefix: /a}, sourceLabels: {app: x}}], ", "match: [{uri: {exact: /a}}], "],
        ["match: [{uri: {prefix: /a}, gateways: [gw]}], ", "match: [{uri: {exact: /a}}], "],
        ["match: [{uri: {prefix: /a}}], ", "match: [{uri: {exact: /a}}, {uri: {exact: /b}}], "],
        ["match: [{uri: {regex: '/[ab]'}}], ", "match: [{uri: {exact: /a}}], "],
        ["match: [{uri: {prefix: /A}}], ", "match: [{uri: {prefix: /a}, ignoreUriCase: true}], "],
        ["match: [{headers: {x: {prefix: a}}}], ", "match: [{headers: {x: {}}}], "],
        ["match: [{withoutHeaders: {x: {prefix: a}}}], ", "match: [{withoutHeaders: {x: {exact: ab}}}], "],
        ["match: [{withoutHeaders: {'@request.auth.claims.g': {exact: a}}}], ", "match: [{uri: {exact: /a}}], "],
    ];
    for pair in &quiet {
        assert_eq!(told("AM-E11", &rules(pair)), none(), "{pair:?}");
    }
}

#[test]
fn what_istios_codes_tell_of_rules_is_not_told_twice() {
    let pairs = [
        ["match: [{uri: {prefix: /a}}], ", "match: [{uri: {prefix: /a}}], "],
        ["match: [{uri: {prefix: /a}}], ", "match: [{uri: {prefix: /ab}}], "],
        ["", ""],
    ];
    for pair in &pairs {
        let all = found(&rules(pair));
        assert!(all.iter().any(|line| line.starts_with("IST013")), "{all:?}");
        assert!(!all.iter().any(|line| line.starts_with("AM-E11")), "{all:?}");
    }
}

/// A VirtualService for `a.test` at the gateway, made at that second.
fn at_gateway(name: &str, age: u32, spec: &str) -> String {
    let spec = format!("{{hosts: [a.test], gateways: [gw], {spec}}}");
    virtual_service(name, &spec)
        .replace("namespace: shop", &format!("namespace: shop, creationTimestamp: '2026-01-01T00:00:0{age}Z'"))
}

#[test]
fn rules_of_older_virtual_services_at_a_gateway_go_first() {
    let base = service("web", HTTP) + &gateway("gw", &http_server(80, "'*'"));
    let rule = |text: &str| format!("http: [{{{text}{ROUTE}}}]");
    let older = at_gateway("a", 1, &rule("match: [{uri: {prefix: /a}}], "));
    let newer = |spec: &str| base.clone() + &older + &at_gateway("b", 2, spec);
    let shadowed = ["VirtualService shop/b spec.http[0]"];
    assert_eq!(told("AM-E11", &newer(&rule("match: [{uri: {exact: /a/b}}], "))), shadowed);
    assert_eq!(told("AM-E11", &newer(&rule("match: [{uri: {exact: /b}}], "))), none());
    // The very same match has a code of its own.
    assert_eq!(told("AM-E11", &newer(&rule("match: [{uri: {prefix: /a}}], "))), none());
    assert_eq!(told("AM-L2", &newer(&rule("match: [{uri: {prefix: /a}}], "))), shadowed);
    // In the mesh, at another host and for those who do not see the older one it is in force.
    let narrow = rule("match: [{uri: {exact: /a/b}}], ");
    let in_mesh = newer(&narrow).replacen("name: b,", "name: b, labels: {},", 1);
    assert_eq!(told("AM-E11", &in_mesh), shadowed);
    let other = at_gateway("b", 2, &narrow);
    for (from, to) in [
        ("gateways: [gw]", "gateways: [gw, mesh]"),
        ("hosts: [a.test]", "hosts: [a.test, b.test]"),
        ("http:", "exportTo: [.], http:"),
    ] {
        let text = base.clone() + &older + &other.replacen(from, to, 1);
        assert_eq!(told("AM-E11", &text), none(), "{to}");
    }
    // What takes everything comes last, whoever is older.
    let open = at_gateway("a", 1, &rule(""));
    assert_eq!(told("AM-E11", &(base.clone() + &open + &at_gateway("b", 2, &narrow))), none());
    // Hosts are put together as the gateway's servers have them.
    let wild = base.replace("'*'", "a.test") + &older.replacen("hosts: [a.test]", "hosts: ['*.test']", 1) + &other;
    assert_eq!(told("AM-E11", &wild), shadowed);
    let apart = base.clone() + &older.replacen("hosts: [a.test]", "hosts: ['*.test']", 1) + &other;
    assert_eq!(told("AM-E11", &apart), none());
}

#[test]
fn rules_of_connections_are_compared_as_filter_chains() {
    let of = |kind: &str, rules: &str| {
        let spec = format!("{{hosts: [web, '*.test'], {kind}: [{rules}]}}").replace("ROUTE", ROUTE);
        told("AM-E11", &(service("web", "{name: tcp, port: 80}") + &virtual_service("a", &spec)))
    };
    let second = |kind: &str| [format!("VirtualService shop/a spec.{kind}[1]")];
    let tcp =
        |one: &str, two: &str| of("tcp", &format!("{{match: [{{{one}}}], ROUTE}}, {{match: [{{{two}}}], ROUTE}}"));
    assert_eq!(tcp("port: 80", "port: 80, sourceLabels: {app: x}"), second("tcp"));
    assert_eq!(tcp("port: 80", "port: 80, destinationSubnets: [10.0.0.0/8]"), second("tcp"));
    assert_eq!(
        tcp("destinationSubnets: [10.0.0.0/8, 10.1.1.1]", "port: 80, destinationSubnets: [10.1.1.1/32]"),
        second("tcp")
    );
    // The longer prefix is looked at first, wherever it stands.
    assert_eq!(tcp("destinationSubnets: [10.0.0.0/8]", "destinationSubnets: [10.1.0.0/16]"), none());
    assert_eq!(tcp("port: 80", "port: 81"), none());
    assert_eq!(tcp("port: 80, sourceLabels: {app: x}", "port: 80"), none());
    let tls =
        |one: &str, two: &str| of("tls", &format!("{{match: [{{{one}}}], ROUTE}}, {{match: [{{{two}}}], ROUTE}}"));
    assert_eq!(tls("sniHosts: [b.test, a.test]", "sniHosts: [a.test], port: 80"), second("tls"));
    // So is the exact name.
    assert_eq!(tls("sniHosts: ['*.test']", "sniHosts: [a.test]"), none());
    assert_eq!(tls("sniHosts: [a.test], port: 80", "sniHosts: [a.test]"), none());
}

#[test]
fn the_first_rule_for_connections_takes_a_gateways_server() {
    let server = "{port: {number: 90, name: tcp, protocol: TCP}, hosts: ['*']}";
    let base = service("web", "{name: tcp, port: 80}") + &gateway("gw", server);
    let tcp = |port: u32| format!("tcp: [{{match: [{{port: {port}}}], {ROUTE}}}]");
    let both = |port: u32| base.clone() + &at_gateway("a", 1, &tcp(90)) + &at_gateway("b", 2, &tcp(port));
    assert_eq!(told("AM-E11", &both(90)), ["VirtualService shop/b spec.tcp[0]"]);
    assert_eq!(told("AM-E11", &both(91)), none());
    let server = "{port: {number: 443, name: tls, protocol: TLS}, tls: {mode: PASSTHROUGH}, hosts: ['*']}";
    let base = service("web", "{name: tls, port: 443}") + &gateway("gw", server);
    let tls = |name: &str| format!("tls: [{{match: [{{sniHosts: [{name}]}}], {ROUTE}}}]");
    let hosts = |text: String| text.replace("hosts: [a.test]", "hosts: ['*.test']");
    let both =
        |name: &str| base.clone() + &hosts(at_gateway("a", 1, &tls("a.test"))) + &hosts(at_gateway("b", 2, &tls(name)));
    assert_eq!(told("AM-E11", &both("a.test")), ["VirtualService shop/b spec.tls[0]"]);
    assert_eq!(told("AM-E11", &both("b.test")), none());
    // One with a name that is taken is left out as a whole, and one with another name of it is not.
    assert_eq!(told("AM-E11", &both("a.test, b.test")), ["VirtualService shop/b spec.tls[0]"]);
    let one = |names: &str| format!("{{match: [{{sniHosts: [{names}]}}], {ROUTE}}}");
    let two = format!("tls: [{}, {}]", one("a.test, b.test"), one("b.test"));
    assert_eq!(told("AM-E11", &(base.clone() + &hosts(at_gateway("a", 1, &two)))), none());
}

#[test]
fn parts_of_virtual_services_that_no_proxy_has() {
    let base = service("web", HTTP) + &gateway("gw", &(http_server(80, "a.test, '*.b.test'"))) + &pod("ingress");
    let of = |hosts: &str, rest: &str| {
        let spec = format!("{{hosts: [{hosts}], {rest}}}").replace("ROUTE", ROUTE);
        let lines = told("AM-E1", &(base.clone() + &virtual_service("a", &spec)));
        lines.into_iter().map(|line| line.replace("VirtualService shop/a ", "")).collect::<Vec<_>>()
    };
    let http = "http: [{ROUTE}]";
    let at = |rest: &str| format!("gateways: [gw], {rest}");
    assert_eq!(of("a.test", &at(http)), none());
    assert_eq!(of("a.test, c.test", &at(http)), ["spec.hosts[1]"]);
    assert_eq!(of("a.test, x.b.test, '*.b.test', '*'", &at(http)), none());
    // With none of the hosts Istio's code tells it.
    assert_eq!(of("c.test", &at(http)), none());
    assert_eq!(of("a.test, c.test", &format!("gateways: [gw, gone], {http}")), none());
    assert_eq!(of("a.test", &at("tcp: [{ROUTE}]")), ["spec.tcp"]);
    assert_eq!(of("a.test", &at("tls: [{match: [{sniHosts: [a.test]}], ROUTE}]")), ["spec.tls"]);
    let matched = |m: &str| format!("http: [{{match: [{{{m}}}], ROUTE}}]");
    assert_eq!(of("a.test", &at(&matched("port: 8080"))), ["spec.http[0].match[0].port"]);
    assert_eq!(of("a.test", &at(&matched("port: 80"))), none());
    assert_eq!(of("web", &matched("port: 8080")), ["spec.http[0].match[0].port"]);
    assert_eq!(of("web, x.test", &matched("port: 8080")), none());
    // Port 80 has the hosts of the mesh that have no such port.
    let base_81 = service("web", "{name: http, port: 81}");
    let at_80 = virtual_service("a", "{hosts: [web], http: [{match: [{port: 80}], ROUTE}]}").replace("ROUTE", ROUTE);
    assert_eq!(told("AM-E1", &(base_81 + &at_80)), none());
    assert_eq!(of("a.test", &at(&matched("gateways: [mesh]"))), ["spec.http[0].match[0].gateways"]);
    assert_eq!(of("a.test", &format!("gateways: [gw, mesh], {}", matched("gateways: [mesh]"))), none());
    // Names in the mesh: a short one is of this namespace, a full one may be of another input.
    assert_eq!(of("webb", http), ["spec.hosts[0]"]);
    assert_eq!(of("webb.ops.svc.cluster.local, www.test, '*.test'", http), none());
    let elsewhere = in_namespace(service("web", HTTP), "ops");
    assert_eq!(
        told(
            "AM-E1",
            &(elsewhere + &virtual_service("a", &format!("{{hosts: [web], {}}}", http.replace("ROUTE", ROUTE))))
        ),
        none()
    );
    // Gateways that cannot be read are none.
    assert_eq!(of("a.test", "gateways: {a: b}, http: [{ROUTE}]"), none());
    // The gateway's pods have to see it.
    assert_eq!(of("a.test", &at(&format!("exportTo: [ops], {http}"))), ["spec.exportTo"]);
    assert_eq!(of("a.test", &at(&format!("exportTo: [., ops], {http}"))), none());
}

#[test]
fn export_to_that_hides_what_a_virtual_service_leads_to() {
    let ingress = in_namespace(pod("ingress"), "edge");
    let base = gateway("gw", &http_server(80, "'*'")) + &pod("web");
    let vs = |gateways: &str| {
        let route = "route: [{destination: {host: web, subset: v1}}]";
        virtual_service("a", &format!("{{hosts: [web], {gateways}http: [{{{route}}}]}}"))
    };
    let rule = |export: &str| {
        let spec = format!("spec: {{host: web, {export}subsets: [{{name: v1, labels: {{app: web}}}}]}}");
        object("networking.istio.io/v1", "DestinationRule", "r", &spec)
    };
    let web = service("web", HTTP);
    let private = "exportTo: [.], ";
    let of = |web: &str, vs: &str, rule: &str| told("AM-E3", &(base.clone() + &ingress + web + vs + rule));
    let hidden = ["DestinationRule shop/r spec.exportTo"];
    assert_eq!(of(&web, &vs("gateways: [gw], "), &rule(private)), hidden);
    assert_eq!(of(&web, &vs("gateways: [gw], "), &rule("exportTo: [., edge], ")), none());
    assert_eq!(of(&web, &vs("gateways: [gw], "), &rule("")), none());
    // Who does not see the VirtualService is not led there.
    assert_eq!(of(&web, &vs("gateways: [gw], exportTo: [.], "), &rule(private)), none());
    // In the mesh: for those of its clients that are known to have sidecars.
    assert_eq!(of(&web, &vs(""), &rule(private)), none());
    let client =
        in_namespace(pod("caller"), "ops").replace("app: caller", "app: caller, sidecar.istio.io/inject: 'true'");
    assert_eq!(told("AM-E3", &(base.clone() + &web + &client + &vs("") + &rule(private))), hidden);
    // A rule that is not for the gateway leads nobody there, and what is mirrored is missed by nobody.
    let elsewhere = vs("gateways: [gw, mesh], ").replace("http: [{", "http: [{match: [{gateways: [mesh]}], ");
    assert_eq!(of(&web, &elsewhere, &rule(private)), none());
    let mirrored = vs("gateways: [gw], ").replace("route: [{destination", "mirrors: [{destination");
    assert_eq!(
        of(&web, &mirrored.replace("}]}]}", "}], route: [{destination: {host: web}}]}]}"), &rule(private)),
        none()
    );
    // Nor is the gateway itself a client in the mesh.
    let proxy = ingress.replace("app: ingress", "app: ingress, sidecar.istio.io/inject: 'true'");
    assert_eq!(told("AM-E3", &(base.clone() + &proxy + &web + &vs("") + &rule(private))), none());
    // Services, by their annotation.
    let annotated = web.replace("namespace: shop", "namespace: shop, annotations: {networking.istio.io/exportTo: .}");
    let field = "Service shop/web metadata.annotations[\"networking.istio.io/exportTo\"]";
    assert_eq!(of(&annotated, &vs("gateways: [gw], "), &rule("")), [field]);
    assert_eq!(of(&annotated, &vs("gateways: [gw], exportTo: [.], "), &rule("")), none());
    let sidecar = |entry: &str| {
        let spec = format!("spec: {{egress: [{{hosts: ['{entry}']}}]}}");
        in_namespace(object("networking.istio.io/v1", "Sidecar", "s", &spec), "ops")
    };
    assert_eq!(told("AM-E3", &(annotated.clone() + &sidecar("shop/web.shop.svc.cluster.local"))), [field]);
    assert_eq!(told("AM-E3", &(annotated + &sidecar("shop/*"))), none());
}

#[test]
fn rules_for_requests_at_ports_that_are_not_http() {
    let of = |ports: &str, vs: &str| told("AM-E4", &(service("web", ports) + &virtual_service("a", vs)));
    let plain = "{name: tcp-web, port: 80}";
    let vs = "{hosts: [web], http: [{route: [{destination: {host: web}}]}]}";
    assert_eq!(of(plain, vs), ["VirtualService shop/a spec.http"]);
    assert_eq!(of(&plain.replace("tcp-web", "http-web"), vs), none());
    // Detected, or told by appProtocol.
    assert_eq!(of(&plain.replace("tcp-web", "web"), vs), none());
    assert_eq!(of("{name: tcp-web, port: 80, appProtocol: http}", vs), none());
    assert_eq!(of("{name: http, port: 80, appProtocol: tcp}", vs), ["VirtualService shop/a spec.http"]);
    let two = "{name: tcp-web, port: 80}, {name: http, port: 81}";
    assert_eq!(of(two, vs), none());
    let at = |port: u32| {
        format!("{{hosts: [web], http: [{{match: [{{port: {port}}}], route: [{{destination: {{host: web}}}}]}}]}}")
    };
    assert_eq!(of(two, &at(80)), ["VirtualService shop/a spec.http[0].match[0].port"]);
    assert_eq!(of(two, &at(81)), none());
    // Without rules there is nothing that could do nothing.
    assert_eq!(of(plain, "{hosts: [web]}"), none());
    // At a gateway the server's protocol counts.
    let gw = gateway("gw", &http_server(80, "'*'"));
    assert_eq!(of(plain, &(vs.replace("http:", "gateways: [gw], http:"))).len() + told("AM-E4", &gw).len(), 0);
}

#[test]
fn egress_that_lets_nothing_through() {
    let services = service("web", HTTP) + &in_namespace(service("api", HTTP), "ops");
    let of = |egress: &str| {
        let sidecar = object("networking.istio.io/v1", "Sidecar", "s", &format!("spec: {{{egress}}}"));
        let lines = told("AM-E6", &(services.clone() + &sidecar));
        lines.into_iter().map(|line| line.replace("Sidecar shop/s ", "")).collect::<Vec<_>>()
    };
    let hosts = |hosts: &str| format!("egress: [{{hosts: [{hosts}]}}]");
    assert_eq!(of("egress: []"), ["spec.egress"]);
    assert_eq!(
        of("ingress: [{port: {number: 80, protocol: HTTP, name: http}, defaultEndpoint: 127.0.0.1:80}]"),
        none()
    );
    assert_eq!(of(&hosts("'./*', ops/api.ops.svc.cluster.local")), none());
    assert_eq!(of(&hosts("'./web'")), ["spec.egress[0].hosts[0]"]);
    assert_eq!(of(&hosts("'./*', ops/api")), ["spec.egress[0].hosts[1]"]);
    assert_eq!(of(&hosts("ops/apii.ops.svc.cluster.local")), ["spec.egress[0].hosts[0]"]);
    assert_eq!(of(&hosts("'./web', ops/api")), ["spec.egress"]);
    // Nothing on purpose, another input's namespace, the world outside.
    assert_eq!(of(&hosts("'~/*'")), none());
    assert_eq!(of(&hosts("'other/*', istio-system/*")), none());
    assert_eq!(of(&hosts("'*/www.example.com', ./db.example.com")), none());
    let port = "egress: [{port: {number: 81, protocol: HTTP, name: http}, hosts: ['./*']}]";
    assert_eq!(of(port), ["spec.egress[0].hosts[0]"]);
    assert_eq!(of(&port.replace("81", "80")), none());
    // A VirtualService that is let through is something.
    let entry = hosts("./v.shop.svc.cluster.local");
    assert_eq!(of(&entry), ["spec.egress[0].hosts[0]"]);
    let sidecar = object("networking.istio.io/v1", "Sidecar", "s", &format!("spec: {{{entry}}}"));
    let vs = virtual_service("a", "{hosts: [v], http: [{route: [{destination: {host: web}}]}]}");
    assert_eq!(told("AM-E6", &(services.clone() + &sidecar + &vs)), none());
}

#[test]
fn policies_about_requests_at_ports_that_are_not_http() {
    let base = |ports: &str| service("web", ports) + &pod("web");
    let of = |ports: &str, action: &str, rule: &str| {
        let spec = format!("spec: {{selector: {{matchLabels: {{app: web}}}}, action: {action}, rules: [{{{rule}}}]}}");
        let policy = object("security.istio.io/v1", "AuthorizationPolicy", "p", &spec);
        let lines = told("AM-E8", &(base(ports) + &policy));
        lines.into_iter().map(|line| line.replace("AuthorizationPolicy shop/p spec.rules[0]", "")).collect::<Vec<_>>()
    };
    let (plain, http) = ("{name: tcp, port: 90}", "{name: http, port: 80}");
    let both = format!("{plain}, {http}");
    let get = "to: [{operation: {methods: [GET]}}]";
    let methods = [".to[0].operation.methods"];
    assert_eq!(of(plain, "ALLOW", get), methods);
    assert_eq!(of(http, "ALLOW", get), none());
    assert_eq!(of(&both, "ALLOW", get), none());
    assert_eq!(of("{name: web, port: 90}", "ALLOW", get), none());
    // What is denied on a TCP port is more than what is written.
    assert_eq!(of(&both, "DENY", get), methods);
    assert_eq!(of(http, "DENY", get), none());
    assert_eq!(of(&both, "AUDIT", get), none());
    let at = |port: u32| format!("to: [{{operation: {{ports: ['{port}'], methods: [GET]}}}}]");
    assert_eq!(of(&both, "ALLOW", &at(90)), methods);
    assert_eq!(of(&both, "ALLOW", &at(80)), none());
    assert_eq!(of(&both, "DENY", &at(80)), none());
    assert_eq!(of(&both, "ALLOW", "to: [{operation: {ports: ['90']}}]"), none());
    // Ports are the workload's.
    assert_eq!(of("{name: tcp, port: 80, targetPort: 90}, {name: http, port: 81}", "ALLOW", &at(90)), methods);
    let token = "from: [{source: {requestPrincipals: ['*']}}]";
    assert_eq!(of(plain, "ALLOW", token), [".from[0].source.requestPrincipals"]);
    assert_eq!(of(plain, "ALLOW", "from: [{source: {requestPrincipals: ['*']}}, {source: {principals: [a]}}]"), none());
    assert_eq!(of(plain, "ALLOW", "when: [{key: 'request.headers[x]', values: [a]}]"), [".when[0]"]);
    assert_eq!(of(plain, "ALLOW", "when: [{key: source.ip, values: [10.0.0.1]}]"), none());
    // A gateway's ports are its servers'.
    let spec = format!("spec: {{selector: {{matchLabels: {{app: ingress}}}}, action: DENY, rules: [{{{get}}}]}}");
    let policy = object("security.istio.io/v1", "AuthorizationPolicy", "p", &spec);
    let text = service("ingress", "{name: https, port: 443}") + &pod("ingress") + &policy;
    assert_eq!(told("AM-E8", &text).len(), 1);
    assert_eq!(told("AM-E8", &(text + &gateway("gw", &http_server(443, "'*'")))), none());
}

#[test]
fn modes_of_mutual_tls_that_fight() {
    let peer = |name: &str, spec: &str| {
        object("security.istio.io/v1", "PeerAuthentication", name, &format!("spec: {{{spec}}}"))
    };
    let rule =
        |spec: &str| object("networking.istio.io/v1", "DestinationRule", "r", &format!("spec: {{host: web, {spec}}}"));
    let tls = |mode: &str| rule(&format!("trafficPolicy: {{tls: {{mode: {mode}}}}}"));
    let base = service("web", "{name: http, port: 80, targetPort: 8080}, {name: http-b, port: 81}") + &pod("web");
    let of = |objects: String| {
        let lines = told("AM-E10", &(base.clone() + &objects));
        lines.into_iter().map(|line| line.replace("DestinationRule shop/r spec.", "")).collect::<Vec<_>>()
    };
    let strict = peer("all", "mtls: {mode: STRICT}");
    let mode = ["trafficPolicy.tls.mode"];
    assert_eq!(of(strict.clone() + &tls("DISABLE")), mode);
    assert_eq!(of(strict.clone() + &tls("SIMPLE")), mode);
    assert_eq!(of(strict.clone() + &tls("ISTIO_MUTUAL")), none());
    assert_eq!(of(strict.clone() + &rule("trafficPolicy: {loadBalancer: {simple: RANDOM}}")), none());
    assert_eq!(of(tls("DISABLE")), none());
    let (off, permissive) = (peer("all", "mtls: {mode: DISABLE}"), peer("all", "mtls: {mode: PERMISSIVE}"));
    assert_eq!(of(off.clone() + &tls("ISTIO_MUTUAL")), mode);
    assert_eq!(of(off + &tls("SIMPLE")), none());
    assert_eq!(of(permissive + &tls("ISTIO_MUTUAL")), none());
    // A workload's own goes before its namespace's, a port's before both.
    let own = |spec: &str| peer("own", &format!("selector: {{matchLabels: {{app: web}}}}, {spec}"));
    assert_eq!(of(strict.clone() + &own("mtls: {mode: PERMISSIVE}") + &tls("DISABLE")), none());
    assert_eq!(of(strict.clone() + &own("mtls: {mode: UNSET}") + &tls("DISABLE")), mode);
    let ports = "mtls: {mode: PERMISSIVE}, portLevelMtls: {'8080': {mode: STRICT}}";
    assert_eq!(of(own(ports) + &tls("DISABLE")), mode);
    // The port is the workload's.
    assert_eq!(of(own(&ports.replace("8080", "80")) + &tls("DISABLE")), none());
    let of_port = |port: u32| {
        rule(&format!("trafficPolicy: {{portLevelSettings: [{{port: {{number: {port}}}, tls: {{mode: DISABLE}}}}]}}"))
    };
    assert_eq!(of(own(ports) + &of_port(80)), ["trafficPolicy.portLevelSettings[0].tls.mode"]);
    assert_eq!(of(own(ports) + &of_port(81)), none());
    let subset = "subsets: [{name: v1, labels: {app: web}, trafficPolicy: {tls: {mode: DISABLE}}}]";
    assert_eq!(of(strict.clone() + &rule(subset)), ["subsets[0].trafficPolicy.tls.mode"]);
    // Of the mesh: known to have a sidecar alone.
    let mesh = in_namespace(strict.clone(), "istio-system");
    assert_eq!(of(mesh.clone() + &tls("DISABLE")), none());
    let namespace = |labels: &str| {
        format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: shop, labels: {{{labels}}}}}\n")
    };
    assert_eq!(of(mesh.clone() + &namespace("istio-injection: enabled") + &tls("DISABLE")), mode);
    assert_eq!(of(strict.clone() + &namespace("istio-injection: disabled") + &tls("DISABLE")), none());
    // Nor for services of others, or without workloads.
    assert_eq!(told("AM-E10", &(service("web", HTTP) + &strict + &tls("DISABLE"))), none());
}
