//! What is found is taken by the route, and what is said to be covered is never chosen; both asked of the matcher.

use super::{Found, find, of_regex};
use crate::config::*;
use crate::route::plain_tests::{name, path, respond, route_match, word};
use crate::route::{RequestView, RouteTable};
use http::HeaderMap;
use proptest::prelude::*;
use std::sync::Arc;

fn table(rules: &[RouteMatch]) -> RouteTable {
    let routes = rules.iter().map(|matches| respond(matches.clone(), 200)).collect();
    let host = VirtualHost { name: "h".into(), domains: vec!["h".into()], routes, ..VirtualHost::default() };
    let config = RouteConfig { virtual_hosts: vec![Arc::new(host)], ..RouteConfig::default() };
    RouteTable::compile(Arc::new(config)).expect("a table")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_route_that_takes_a_request_is_said_to_take_none(
        rules in prop::collection::vec(route_match(), 1..8),
        requests in prop::collection::vec((path(), prop::collection::vec((name(), word()), 0..4)), 40),
    ) {
        let table = table(&rules);
        let found: Vec<Found> = (0..rules.len()).map(|route| find(&table, 0, route, "http", &[])).collect();
        for (path, headers) in requests {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
            }
            let request = RequestView { method: "GET", scheme: "http", authority: "h", path: &path, headers: &map };
            if let Some(chosen) = table.select(&request, 0) {
                prop_assert_ne!(&found[chosen.route_index], &Found::Covered, "{:?}", request);
            }
        }
    }
}

fn to(path: PathMatch) -> RouteMatch {
    RouteMatch { path, ..RouteMatch::default() }
}

fn prefix(text: &str) -> RouteMatch {
    to(PathMatch::Prefix(text.into()))
}

fn with(matches: RouteMatch, name: &str, value: StringMatch, invert: bool) -> RouteMatch {
    let value = ValueMatch::String { value, ignore_case: false };
    let header = HeaderMatch { name: name.to_owned(), matches: value, invert, absent_is_empty: invert };
    RouteMatch { headers: [matches.headers, vec![header]].concat(), ..matches }
}

fn exact(text: &str) -> StringMatch {
    StringMatch::Exact(text.into())
}

/// The request of the last rule.
fn last(rules: &[RouteMatch], but: &[RouteMatch]) -> Found {
    find(&table(rules), 0, rules.len() - 1, "http", but)
}

#[test]
fn a_way_past_earlier_rules_is_found() {
    let ways = [
        vec![prefix("/")],
        vec![prefix("/admin"), prefix("/")],
        vec![with(prefix("/"), "x-user", exact("anna"), false), prefix("/")],
        // Only those who have it come to the second.
        vec![with(prefix("/"), "x-user", exact(""), true), prefix("/")],
        vec![with(prefix("/"), ":method", exact("GET"), false), prefix("/a")],
        vec![to(PathMatch::Exact("/a".into())), to(PathMatch::Regex("/a(/[0-9]+)?".into()))],
        vec![
            with(prefix("/"), "x-user", exact("anna"), false),
            with(prefix("/"), "x-user", StringMatch::Prefix("ann".into()), false),
        ],
        vec![
            with(prefix("/"), ":method", exact("GET"), false),
            with(prefix("/"), "x-team", exact("a"), true),
            to(PathMatch::Exact("/b".into())),
            prefix("/b"),
        ],
    ];
    for rules in ways {
        assert!(matches!(last(&rules, &[]), Found::Taken(_)), "{rules:?}");
    }
}

#[test]
fn where_there_is_none_it_is_said() {
    assert_eq!(last(&[prefix("/"), prefix("/a")], &[]), Found::Covered);
    let tester = with(prefix("/"), "x-test", exact("1"), false);
    assert_eq!(last(&[tester.clone(), prefix("/b")], std::slice::from_ref(&prefix("/"))), Found::Covered);
    assert_eq!(last(std::slice::from_ref(&tester), std::slice::from_ref(&tester)), Found::Covered);
    assert!(matches!(last(&[prefix("/")], &[tester]), Found::Taken(_)));
    // Two rules together take what a third wants, which is not proved.
    let (even, odd) = (to(PathMatch::Regex("/[02468]".into())), to(PathMatch::Regex("/[13579]".into())));
    assert_eq!(last(&[even, odd, to(PathMatch::Regex("/[0-9]".into()))], &[]), Found::Unknown);
}

#[test]
fn regular_expressions_have_examples() {
    for regex in ["/a.*", "/(a|b)/[0-9]+", "/api/v[0-9]{2}/.+", "(?i)/x", "[^/]+@example\\.com", "/a?b*"] {
        assert!(!of_regex(regex).is_empty(), "{regex}");
    }
}
