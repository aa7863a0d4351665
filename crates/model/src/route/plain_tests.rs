//! The compiled matcher against a plain one, written from the rules alone, over random tables and requests.

use super::listener::{ConnectionView, filter_chain};
use super::{Draws, Outcome, RequestView, RouteTable};
use crate::config::*;
use http::HeaderMap;
use proptest::prelude::*;
use std::sync::Arc;

/// The route that takes a request: (virtual host, route), by the rules and nothing else.
fn plain(config: &RouteConfig, request: &RequestView<'_>, draw: u32) -> Option<(usize, usize)> {
    let host = plain_host(config, &request.authority.to_ascii_lowercase())?;
    let routes = &config.virtual_hosts[host].routes;
    routes.iter().position(|route| plain_match(&route.matches, request, draw)).map(|route| (host, route))
}

fn plain_host(config: &RouteConfig, authority: &str) -> Option<usize> {
    let mut best: Option<(usize, usize, usize)> = None;
    for (index, host) in config.virtual_hosts.iter().enumerate() {
        for domain in &host.domains {
            let rank = if domain == authority {
                (3, 0)
            } else if domain == "*" {
                (0, 0)
            } else if let Some(suffix) = domain.strip_prefix('*') {
                if !authority.ends_with(suffix) || authority.len() <= suffix.len() {
                    continue;
                }
                (2, suffix.len())
            } else if let Some(prefix) = domain.strip_suffix('*') {
                if !authority.starts_with(prefix) || authority.len() <= prefix.len() {
                    continue;
                }
                (1, prefix.len())
            } else {
                continue;
            };
            if best.is_none_or(|(kind, length, _)| rank > (kind, length)) {
                best = Some((rank.0, rank.1, index));
            }
        }
    }
    best.map(|(_, _, index)| index)
}

fn plain_match(matches: &RouteMatch, request: &RequestView<'_>, draw: u32) -> bool {
    let fold = |text: &str| if matches.ignore_case { text.to_ascii_lowercase() } else { text.to_owned() };
    let path = fold(request.path.split(['?', '#']).next().unwrap());
    let path_holds = match &matches.path {
        PathMatch::Prefix(p) => path.starts_with(&fold(p)),
        PathMatch::Exact(p) => path == fold(p),
        PathMatch::SegmentPrefix(p) => path == fold(p) || path.starts_with(&(fold(p) + "/")),
        PathMatch::Regex(_) | PathMatch::Connect => unreachable!("not generated"),
    };
    let headers_hold = matches.headers.iter().all(|header| {
        let values: Vec<_> = request.headers.get_all(&header.name).iter().map(|v| v.to_str().unwrap()).collect();
        match &header.matches {
            ValueMatch::Present => (!values.is_empty() || header.absent_is_empty) != header.invert,
            _ if values.is_empty() && !header.absent_is_empty => false,
            value if values.is_empty() => plain_value(value, "") != header.invert,
            value => values.iter().any(|line| plain_value(value, line)) != header.invert,
        }
    });
    let query_holds = matches.query.iter().all(|query| {
        let (_, text) = request.path.split_once('?').unwrap_or(("", ""));
        let found = text.split('&').map(|p| p.split_once('=').unwrap_or((p, ""))).find(|(k, _)| *k == query.name);
        found.is_some_and(|(_, value)| plain_value(&query.matches, value))
    });
    let draw_holds = matches.fraction.is_none_or(|share| draw % 1_000_000 < share.0);
    path_holds && headers_hold && query_holds && draw_holds
}

fn plain_value(matches: &ValueMatch, found: &str) -> bool {
    let ValueMatch::String { value, ignore_case } = matches else { return true };
    let fold = |text: &str| if *ignore_case { text.to_ascii_lowercase() } else { text.to_owned() };
    let found = fold(found);
    match value {
        StringMatch::Exact(text) => found == fold(text),
        StringMatch::Prefix(text) => found.starts_with(&fold(text)),
        StringMatch::Suffix(text) => found.ends_with(&fold(text)),
        StringMatch::Contains(text) => found.contains(&fold(text)),
        StringMatch::Regex(_) => unreachable!("not generated"),
    }
}

pub(super) fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ab", "A", "aB", "", "abc"]).prop_map(str::to_owned)
}

pub(super) fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(word(), 0..3).prop_map(|words| format!("/{}", words.join("/")))
}

pub(super) fn value() -> impl Strategy<Value = ValueMatch> {
    let text = prop_oneof![
        word().prop_map(StringMatch::Exact),
        word().prop_map(StringMatch::Prefix),
        word().prop_map(StringMatch::Suffix),
        word().prop_map(StringMatch::Contains),
    ];
    prop_oneof![
        1 => Just(ValueMatch::Present),
        4 => (text, any::<bool>()).prop_map(|(value, ignore_case)| ValueMatch::String { value, ignore_case }),
    ]
}

pub(super) fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["x", "y"]).prop_map(str::to_owned)
}

prop_compose! {
    pub(super) fn route_match()(
        path in prop_oneof![
            path().prop_map(PathMatch::Prefix),
            path().prop_map(PathMatch::Exact),
            path().prop_filter("segments do not end in a slash", |p| !p.ends_with('/')).prop_map(PathMatch::SegmentPrefix),
        ],
        ignore_case in any::<bool>(),
        headers in prop::collection::vec((name(), value(), any::<bool>(), any::<bool>()), 0..3),
        query in prop::collection::vec((name(), value()), 0..2),
        fraction in prop::option::of((0..1_000_000u32).prop_map(PerMillion)),
    ) -> RouteMatch {
        RouteMatch {
            path,
            ignore_case,
            headers: headers.into_iter()
                .map(|(name, matches, invert, absent_is_empty)| HeaderMatch { name, matches, invert, absent_is_empty })
                .collect(),
            query: query.into_iter().map(|(name, matches)| QueryMatch { name, matches }).collect(),
            fraction,
            grpc_only: false,
        }
    }
}

pub(super) fn respond(matches: RouteMatch, status: u16) -> Route {
    Route::new(matches, RouteAction::Respond(DirectResponse { status, body: Vec::new() }))
}

/// Each domain in one virtual host only.
fn route_config() -> impl Strategy<Value = RouteConfig> {
    let domains = vec!["a.b", "a.b:80", "*.b", "*.a.b", "*b", "a.*", "a*", "*", "c"];
    let count = domains.len();
    (
        Just(domains),
        prop::collection::vec(0..4usize, count),
        prop::collection::vec(prop::collection::vec(route_match(), 0..6), 3),
    )
        .prop_map(|(domains, owners, routes)| {
            let virtual_hosts = routes.into_iter().enumerate().map(|(index, matches)| {
                Arc::new(VirtualHost {
                    name: index.to_string(),
                    domains: domains
                        .iter()
                        .zip(&owners)
                        .filter(|(_, owner)| **owner == index)
                        .map(|(domain, _)| (*domain).to_owned())
                        .collect(),
                    // The status tells which route answered.
                    routes: matches
                        .into_iter()
                        .enumerate()
                        .map(|(i, m)| respond(m, (200 + 10 * index + i) as u16))
                        .collect(),
                    ..VirtualHost::default()
                })
            });
            RouteConfig { virtual_hosts: virtual_hosts.collect(), ..RouteConfig::default() }
        })
}

/// What may have been there before `config`: some of its virtual hosts, others in the place of the rest.
fn before(config: &RouteConfig, kept: &[bool], turned: bool) -> RouteConfig {
    let mut before = config.clone();
    for (index, host) in before.virtual_hosts.iter_mut().enumerate().filter(|(index, _)| !kept[*index]) {
        let routes = vec![respond(RouteMatch::default(), 199)];
        *host = Arc::new(VirtualHost { domains: vec![format!("x{index}")], routes, ..VirtualHost::default() });
    }
    if turned {
        before.virtual_hosts.reverse();
    }
    before
}

proptest! {
    #[test]
    fn the_compiled_matcher_equals_the_plain_one(
        config in route_config(),
        authority in prop::sample::select(vec!["a.b", "A.B", "a.b:80", "x.b", "x.a.b", ".b", "b", "a.c", "c", "d", ""]),
        path in path(),
        query in prop::option::of(prop::sample::select(vec!["x=a", "x=&y=ab", "y", "z=1&x=b&x=a", ""])),
        headers in prop::collection::vec((name(), word()), 0..4),
        draw in any::<u32>(),
        kept in prop::collection::vec(any::<bool>(), 3),
        turned in any::<bool>(),
    ) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
        let path = query.map_or(path.clone(), |q| format!("{path}?{q}"));
        let request = RequestView { method: "GET", scheme: "http", authority, path: &path, headers: &map };
        let expected = plain(&config, &request, draw).map(|(h, r)| config.virtual_hosts[h].routes[r].action.clone());
        let before = before(&config, &kept, turned);
        let config = Arc::new(config);
        let table = RouteTable::compile(Arc::clone(&config)).unwrap();
        let found = table.select(&request, draw).map(|s| s.route.action.clone());
        prop_assert_eq!(&found, &expected);
        // So does one that took over what it could.
        let before = RouteTable::compile(Arc::new(before)).unwrap();
        let after = RouteTable::compile_after(config, Some(&before)).unwrap();
        let found = after.select(&request, draw).map(|s| s.route.action.clone());
        prop_assert_eq!(&found, &expected);
        // The explanation ends where the decision does, and every other candidate has a reason.
        let candidates = table.candidates(&request, draw);
        let winners = candidates.iter().filter(|(_, miss)| miss.is_none()).count();
        prop_assert_eq!(winners, usize::from(expected.is_some()));
        if expected.is_some() {
            prop_assert!(candidates.last().unwrap().1.is_none());
        }
    }

    /// Every draw falls on a cluster of weight above zero, in proportion.
    #[test]
    fn weights_are_kept(weights in prop::collection::vec(0..50u32, 1..5)) {
        let total: u32 = weights.iter().sum();
        prop_assume!(total > 0);
        let clusters = weights.iter().enumerate()
            .map(|(i, weight)| WeightedCluster { name: i.to_string(), weight: *weight, ..WeightedCluster::default() });
        let forward = Forward { clusters: clusters.collect(), ..Forward::default() };
        let mut route = respond(RouteMatch::default(), 200);
        route.action = RouteAction::Forward(Box::new(forward));
        let host = VirtualHost { domains: vec!["*".into()], routes: vec![route], ..VirtualHost::default() };
        let table =
            RouteTable::compile(Arc::new(RouteConfig { virtual_hosts: vec![host.into()], ..RouteConfig::default() })).unwrap();
        let headers = HeaderMap::new();
        let request = RequestView { method: "GET", scheme: "http", authority: "h", path: "/", headers: &headers };
        let mut hits = vec![0; weights.len()];
        for weight in 0..total {
            let draws = Draws { weight, ..Draws::default() };
            let decision = super::decide::decide(&table, &request, NO_FILTERS, &draws);
            let Outcome::Forward(forwarding) = decision.outcome else { panic!("not forwarded") };
            hits[forwarding.cluster_index] += 1;
        }
        if weights.len() > 1 {
            prop_assert_eq!(hits, weights);
        }
    }
}

const NO_FILTERS: super::decide::RouteFilters =
    super::decide::RouteFilters { cors: false, fault: false, fault_first: false };

fn chain(name: &str, matches: FilterChainMatch) -> FilterChain {
    FilterChain { name: name.into(), matches, tls: None, opaque_transport: None, filters: Vec::new(), origin: None }
}

#[test]
fn filter_chains_are_chosen_in_envoys_order() {
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let listener = Listener {
        direction: Direction::Inbound,
        filter_chains: vec![
            chain("port", FilterChainMatch { destination_port: Some(80), ..FilterChainMatch::default() }),
            chain(
                "http",
                FilterChainMatch {
                    destination_port: Some(80),
                    application_protocols: names(&["http/1.1", "h2c"]),
                    ..FilterChainMatch::default()
                },
            ),
            chain("exact", FilterChainMatch { server_names: names(&["a.example"]), ..FilterChainMatch::default() }),
            chain("wild", FilterChainMatch { server_names: names(&["*.example"]), ..FilterChainMatch::default() }),
            chain(
                "net",
                FilterChainMatch { prefix_ranges: vec!["10.1.0.0/16".parse().unwrap()], ..FilterChainMatch::default() },
            ),
        ],
        default_filter_chain: Some(Box::new(chain("default", FilterChainMatch::default()))),
        ..Listener::new("l", "0.0.0.0:15006".parse().unwrap())
    };
    let find = |destination: &str, server_name: Option<&str>, protocols: &[&str]| {
        let connection = ConnectionView {
            destination: destination.parse().unwrap(),
            source: "10.0.0.1:4".parse().unwrap(),
            server_name,
            tls: server_name.is_some(),
            application_protocols: protocols,
        };
        filter_chain(&listener, &connection).unwrap().name.clone()
    };
    assert_eq!(find("10.1.1.1:80", None, &["http/1.1"]), "http");
    assert_eq!(find("10.1.1.1:80", None, &[]), "port");
    assert_eq!(find("10.1.1.1:81", None, &[]), "net");
    assert_eq!(find("10.2.1.1:81", Some("a.example"), &[]), "exact");
    assert_eq!(find("10.2.1.1:81", Some("B.Example"), &[]), "wild");
    // The longer address prefix is chosen first, and there is no way back to the server names.
    assert_eq!(find("10.1.1.1:81", Some("a.example"), &[]), "net");
    assert_eq!(find("10.2.1.1:81", None, &[]), "default");
}
