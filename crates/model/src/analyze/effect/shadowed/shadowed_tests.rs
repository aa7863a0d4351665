//! A rule that is called shadowed is chosen by no proxy: over meshes, requests and connections by chance, asked of the
//! routes and filter chains that are made for sidecars and gateways.
//!
//! The same in each run; `AMIME_SEED=N` makes others, and a failing seed is printed.

use crate::analyze::{Input, analyze};
use crate::config::{NetworkFilter, Origin, ProxyConfig};
use crate::diagnostic::codes;
use crate::explain::with_pods;
use crate::resource::{MeshConfig, ResourceSet, load};
use crate::route::listener::{ConnectionView, filter_chain};
use crate::route::{RequestView, RouteTable};
use crate::snapshot::{Held, Snapshot};
use crate::translate::{Interception, Node, NodeKind, Scope, translate};
use http::HeaderMap;
use std::collections::BTreeSet;
use std::fmt::Write;

const MESHES: u64 = 150;
const ASKED: usize = 40;

/// xorshift64*.
struct Chance(u64);

impl Chance {
    fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    fn one_of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

const HOSTS: [&str; 6] =
    ["web.shop.svc.cluster.local", "db.shop.svc.cluster.local", "a.test", "x.a.test", "'*.test'", "'*.a.test'"];
const SNI: [&str; 4] = ["a.test", "x.a.test", "'*.test'", "'*.a.test'"];

fn value(chance: &mut Chance) -> &'static str {
    chance.one_of(&[
        "{exact: a}",
        "{exact: ab}",
        "{prefix: a}",
        "{regex: 'a.*'}",
        "{regex: '[ab]+'}",
        "{}",
        "{regex: '.*'}",
    ])
}

/// `, key: value` of what is there by chance.
fn sometimes(chance: &mut Chance, times: usize, text: &mut String, part: impl Fn(&mut Chance) -> String) {
    if chance.once_in(times) {
        let part = part(chance);
        text.push_str(if text.is_empty() { "" } else { ", " });
        text.push_str(&part);
    }
}

fn places(chance: &mut Chance, text: &mut String) {
    sometimes(chance, 6, text, |c| format!("port: {}", c.one_of(&["80", "81", "90", "443"])));
    sometimes(chance, 8, text, |c| format!("gateways: [{}]", c.one_of(&["mesh", "gw", "two", "gw, mesh"])));
    sometimes(chance, 8, text, |c| {
        format!("sourceLabels: {{{}}}", c.one_of(&["app: one", "app: two", "app: one, v: a"]))
    });
    sometimes(chance, 10, text, |c| format!("sourceNamespace: {}", c.one_of(&["shop", "ops"])));
}

fn http_match(chance: &mut Chance) -> String {
    let mut text = String::new();
    sometimes(chance, 2, &mut text, |c| {
        let path = c.one_of(&["/", "/a", "/ab", "/a/b", "/A"]);
        match c.below(5) {
            0 => format!("uri: {{exact: {path}}}"),
            1 => format!("uri: {{regex: '{}'}}", c.one_of(&["/a.*", "/a|/b", "/ab?", ".*", "/[ab]+", "/a/b"])),
            2 => format!("uri: {{prefix: {path}}}, ignoreUriCase: true"),
            _ => format!("uri: {{prefix: {path}}}"),
        }
    });
    sometimes(chance, 4, &mut text, |c| format!("headers: {{{}: {}}}", c.one_of(&["x", "y"]), value(c)));
    sometimes(chance, 6, &mut text, |c| format!("withoutHeaders: {{{}: {}}}", c.one_of(&["x", "y"]), value(c)));
    sometimes(chance, 6, &mut text, |c| format!("queryParams: {{q: {}}}", value(c).replace("{}", "{exact: a}")));
    sometimes(chance, 5, &mut text, |c| format!("method: {{exact: {}}}", c.one_of(&["GET", "POST"])));
    sometimes(chance, 8, &mut text, |c| format!("authority: {{{}}}", c.one_of(&["prefix: a", "exact: a.test"])));
    places(chance, &mut text);
    if text.is_empty() { "name: any".to_owned() } else { text }
}

fn tcp_match(chance: &mut Chance) -> String {
    let mut text = String::new();
    sometimes(chance, 2, &mut text, |c| {
        format!(
            "destinationSubnets: [{}]",
            c.one_of(&["10.0.0.0/8", "10.1.0.0/16", "10.1.1.1, 10.0.0.0/8", "10.1.1.1"])
        )
    });
    places(chance, &mut text);
    if text.is_empty() { "port: 90".to_owned() } else { text }
}

fn tls_match(chance: &mut Chance) -> String {
    let mut text = format!("sniHosts: [{}]", chance.one_of(&SNI));
    if chance.once_in(3) {
        text = format!("sniHosts: [{}, {}]", chance.one_of(&SNI[..2]), chance.one_of(&SNI[2..]));
    }
    places(chance, &mut text);
    text
}

fn rules(chance: &mut Chance, of_match: fn(&mut Chance) -> String, may_be_open: bool) -> String {
    let rule = |chance: &mut Chance| {
        let matches: Vec<String> = (0..1 + chance.below(2)).map(|_| format!("{{{}}}", of_match(chance))).collect();
        let open = may_be_open && chance.once_in(8);
        let matches = if open { String::new() } else { format!("match: [{}], ", matches.join(", ")) };
        format!("{{{matches}route: [{{destination: {{host: web.shop.svc.cluster.local, port: {{number: 80}}}}}}]}}")
    };
    let rules: Vec<String> = (0..1 + chance.below(5)).map(|_| rule(chance)).collect();
    rules.join(", ")
}

fn mesh(chance: &mut Chance) -> String {
    let mut text = String::new();
    for (name, namespace, labels) in [
        ("one", "shop", "app: one, v: a"),
        ("two", "shop", "app: two"),
        ("far", "ops", "app: one"),
        ("ingress", "edge", "app: ingress"),
        ("inner", "shop", "app: ingress"),
    ] {
        writeln!(
            text,
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}\n\
             spec: {{containers: [{{name: c, image: i}}]}}\nstatus: {{podIP: 10.9.0.{}, phase: Running}}",
            name.len()
        )
        .unwrap();
    }
    for (name, address, ports) in [
        ("web", "10.1.1.1", "{name: http, port: 80}, {name: http-b, port: 81}"),
        ("db", "10.1.1.2", "{name: tcp, port: 90}, {name: tls, port: 443}"),
    ] {
        writeln!(
            text,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{clusterIP: {address}, selector: {{app: one}}, ports: [{ports}]}}"
        )
        .unwrap();
    }
    for name in ["gw", "two"] {
        let mut servers = Vec::new();
        for (number, protocol, tls) in
            [(80, "HTTP", ""), (81, "HTTP", ""), (90, "TCP", ""), (443, "TLS", "tls: {mode: PASSTHROUGH}, ")]
        {
            let hosts = chance.one_of(&["'*'", "'*.test'", "a.test, '*.a.test'", "shop/*, ops/a.test", "a.test"]);
            let port = format!("{{number: {number}, name: p{number}, protocol: {protocol}}}");
            servers.push(format!("{{port: {port}, {tls}hosts: [{hosts}]}}"));
        }
        writeln!(
            text,
            "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{selector: {{app: ingress}}, servers: [{}]}}",
            servers.join(", ")
        )
        .unwrap();
    }
    for index in 0..2 + chance.below(4) {
        let namespace = chance.one_of(&["shop", "shop", "ops"]);
        let gateways = chance.one_of(&["mesh", "shop/gw", "shop/gw", "shop/gw", "shop/gw, mesh", "shop/gw, shop/two"]);
        let hosts = if chance.once_in(3) {
            format!("{}, {}", chance.one_of(&HOSTS[..3]), chance.one_of(&HOSTS[3..]))
        } else {
            chance.one_of(&HOSTS).to_owned()
        };
        let export = match chance.below(4) {
            0 => format!("exportTo: [{}], ", chance.one_of(&[".", "edge", "., edge", "shop, edge"])),
            _ => String::new(),
        };
        let mut kinds = vec![format!("http: [{}]", rules(chance, http_match, true).replace("[gw", "[shop/gw"))];
        if chance.once_in(2) {
            kinds.push(format!("tcp: [{}]", rules(chance, tcp_match, true)));
            kinds.push(format!("tls: [{}]", rules(chance, tls_match, false)));
        }
        let kinds = kinds
            .join(", ")
            .replace("gateways: [gw", "gateways: [shop/gw")
            .replace("gateways: [two", "gateways: [shop/two");
        writeln!(
            text,
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v{index}, namespace: \
             {namespace}, creationTimestamp: '2026-01-01T00:00:0{}Z'}}\nspec: {{hosts: [{hosts}], gateways: [{gateways}], \
             {export}{kinds}}}",
            chance.below(9)
        )
        .unwrap();
    }
    text
}

/// `shop/v1 spec.http[2]`.
fn name(origin: &Origin) -> String {
    format!("{}/{} {}", origin.namespace, origin.name, origin.path)
}

/// The rules that take a few requests of each route table of a proxy.
fn of_requests(chance: &mut Chance, config: &ProxyConfig) -> BTreeSet<String> {
    let mut chosen = BTreeSet::new();
    for routes in config.routes.values() {
        let table = RouteTable::compile(routes.clone()).expect("routes");
        for _ in 0..ASKED {
            let mut headers = HeaderMap::new();
            for header in ["x", "y"] {
                for _ in 0..chance.below(3) {
                    headers.append(header, chance.one_of(&["a", "ab", "b", "", "A"]).parse().expect("a value"));
                }
            }
            let authority = chance.one_of(&[
                "web.shop.svc.cluster.local",
                "web",
                "db:90",
                "a.test",
                "x.a.test",
                "b.test:80",
                "other",
                "y.x.a.test",
            ]);
            let path = chance.one_of(&["/", "/a", "/ab", "/abc", "/A/b", "/a/b", "/b", "/ba", "*"]);
            let path = format!("{path}{}", chance.one_of(&["", "?q=a", "?q=ab", "?q=b&q=a", "?q", "?z"]));
            let method = chance.one_of(&["GET", "POST", "PUT"]);
            let request = RequestView { method, scheme: "http", authority, path: &path, headers: &headers };
            let selected = table.select(&request, 0);
            chosen.extend(selected.and_then(|selected| selected.route.origin.as_ref()).map(name));
        }
    }
    chosen
}

/// The rules that take a few connections to each listener of a proxy.
fn of_connections(chance: &mut Chance, config: &ProxyConfig) -> BTreeSet<String> {
    let mut chosen = BTreeSet::new();
    for listener in config.listeners.values() {
        for _ in 0..ASKED {
            let server_name =
                Some(chance.one_of(&["a.test", "x.a.test", "b.test", "y.x.a.test"])).filter(|_| chance.once_in(2));
            let ip = chance.one_of(&["10.1.1.1", "10.1.1.2", "10.1.2.3", "10.2.0.1", "11.0.0.1"]);
            let connection = ConnectionView {
                destination: format!("{ip}:{}", listener.address.port()).parse().expect("an address"),
                source: "10.9.0.3:4000".parse().expect("an address"),
                server_name,
                tls: server_name.is_some(),
                application_protocols: &[],
            };
            let Some(chain) = filter_chain(listener, &connection) else { continue };
            chosen.extend(chain.filters.iter().filter_map(|filter| match filter {
                NetworkFilter::Tcp(proxy) => proxy.origin.as_ref().map(name),
                _ => None,
            }));
        }
    }
    chosen
}

#[test]
fn a_shadowed_rule_is_chosen_by_no_proxy() {
    let first: u64 = std::env::var("AMIME_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seed {first}");
    let (mut told, mut used) = ([0, 0, 0], 0);
    for seed in first..first + MESHES {
        let mut chance = Chance::of(seed);
        let text = mesh(&mut chance);
        let loaded = load("m.yaml", &text);
        let resources = ResourceSet::of_files([&loaded]).0;
        let mesh = MeshConfig::default();
        let input =
            Input { resources: &resources, for_tools: &[], mesh: &mesh, networks: None, practices: false, now: 0 };
        let shadowed: BTreeSet<String> = analyze(&input)
            .into_iter()
            .filter(|finding| finding.code == codes::SHADOWED_RULE)
            .map(|finding| {
                let id = finding.resource.expect("an object");
                format!("{}/{} {}", id.namespace, id.name, finding.field)
            })
            .collect();
        for (count, kind) in told.iter_mut().zip(["http", "tcp", "tls"]) {
            *count += shadowed.iter().filter(|rule| rule.contains(kind)).count();
        }
        let built = Snapshot::build(&with_pods(&resources), &mesh, &Held::default());
        for pod in built.snapshot.pods() {
            let kind = if pod.labels["app"] == "ingress" { NodeKind::Gateway } else { NodeKind::Sidecar };
            let node = Node::of_pod(pod, kind, Interception::Redirect, false);
            let config = translate(&built.snapshot, &Scope::of(&built.snapshot, &node)).config;
            let mut chosen = of_requests(&mut chance, &config);
            chosen.extend(of_connections(&mut chance, &config));
            used += chosen.len();
            let wrong: Vec<_> = chosen.intersection(&shadowed).collect();
            assert!(wrong.is_empty(), "seed {seed}: {}/{} chooses {wrong:?} of\n{text}", pod.namespace, pod.name);
        }
    }
    println!("told of http, tcp, tls: {told:?}; rules chosen: {used}");
    assert!(told.iter().all(|count| *count > 10) && used > 1000, "{told:?} {used}: too few to say anything");
}
