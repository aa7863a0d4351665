//! What is said to cover takes all that the other takes: over random matches and requests, asked of the matcher itself.

use super::{Index, covers};
use crate::config::*;
use crate::route::plain_tests::{name, path, respond, route_match, word};
use crate::route::{RequestView, RouteTable};
use http::HeaderMap;
use proptest::prelude::*;
use std::sync::Arc;

fn regex() -> impl Strategy<Value = String> {
    let all =
        ["/a.*", "/a/b", ".*", "/.*", "^/ab.*$", "/[ab]+", "/a|/b", "/a\\.b", "(?i)/a", "/ab?", "/ab*", "a", "a.*", ""];
    prop::sample::select(all.to_vec()).prop_map(str::to_owned)
}

/// As `route_match`, with regular expressions in some places, and conditions as rules without headers have them.
fn any_match() -> impl Strategy<Value = RouteMatch> {
    let value = prop_oneof![
        regex().prop_map(StringMatch::Regex),
        word().prop_map(StringMatch::Exact),
        word().prop_map(StringMatch::Prefix),
    ];
    let without = prop::option::of((name(), prop::option::of(value)));
    let invert = any::<bool>();
    (route_match(), prop::option::weighted(0.3, regex()), without, invert, 0..4usize).prop_map(
        |(mut matches, regex, header, invert, kept)| {
            if let Some(regex) = regex {
                matches.path = PathMatch::Regex(regex);
            }
            matches.headers.truncate(kept);
            matches.query.truncate(kept);
            if kept != 3 {
                matches.fraction = None;
            }
            matches.headers.extend(header.map(|(name, value)| {
                let matches = match value {
                    Some(value) => ValueMatch::String { value, ignore_case: false },
                    None => ValueMatch::Present,
                };
                let absent_is_empty = invert && matches != ValueMatch::Present;
                HeaderMatch { name, matches, invert, absent_is_empty }
            }));
            matches
        },
    )
}

type Asked = (String, Option<&'static str>, Vec<(String, String)>, u32);

fn request() -> impl Strategy<Value = Asked> {
    let path = prop_oneof![
        3 => path(),
        1 => prop::sample::select(vec!["*", "", "/a.b", "/é", "/A", "/%0A", "/aé"]).prop_map(str::to_owned),
    ];
    let query = prop::option::of(prop::sample::select(vec!["x=a", "x=&y=ab", "y", "z=1&x=b&x=a", "", "x=A&y=aé"]));
    (path, query, prop::collection::vec((name(), word()), 0..4), any::<u32>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_rule_that_is_covered_is_never_chosen(
        rules in prop::collection::vec(any_match(), 2..12),
        requests in prop::collection::vec(request(), 60),
    ) {
        let mut earlier = Index::default();
        let mut shadowed = Vec::new();
        for (index, matches) in rules.iter().enumerate() {
            let by = earlier.covering(matches, |_, _| true).copied();
            // What is found by the index is what is found without it.
            prop_assert_eq!(by, rules[..index].iter().position(|wide| covers(wide, matches)));
            shadowed.push(by);
            earlier.add(matches.clone(), index);
        }
        let routes: Vec<Route> = rules.iter().map(|matches| respond(matches.clone(), 200)).collect();
        let host = VirtualHost { domains: vec!["*".into()], routes, ..VirtualHost::default() };
        let config = RouteConfig { virtual_hosts: vec![Arc::new(host)], ..RouteConfig::default() };
        let table = RouteTable::compile(Arc::new(config)).unwrap();
        for (path, query, headers, draw) in requests {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
            }
            let path = query.map_or(path.clone(), |q| format!("{path}?{q}"));
            let request = RequestView { method: "GET", scheme: "http", authority: "h", path: &path, headers: &map };
            if let Some(chosen) = table.select(&request, draw) {
                let by = shadowed[chosen.route_index];
                prop_assert_eq!(by, None, "{:?} takes {:?}", rules[chosen.route_index], request);
            }
        }
    }
}

fn to(path: PathMatch) -> RouteMatch {
    RouteMatch { path, ..RouteMatch::default() }
}

fn with(name: &str, value: StringMatch, invert: bool) -> RouteMatch {
    let matches = ValueMatch::String { value, ignore_case: false };
    let header = HeaderMatch { name: name.to_owned(), matches, invert, absent_is_empty: invert };
    RouteMatch { headers: vec![header], ..RouteMatch::default() }
}

#[test]
fn paths() {
    let prefix = |text: &str| to(PathMatch::Prefix(text.to_owned()));
    let exact = |text: &str| to(PathMatch::Exact(text.to_owned()));
    let regex = |text: &str| to(PathMatch::Regex(text.to_owned()));
    let folded = |matches: RouteMatch| RouteMatch { ignore_case: true, ..matches };
    let yes = [
        (prefix("/"), prefix("/a")),
        (prefix("/a"), exact("/ab")),
        (prefix("/a"), regex("/a/[0-9]+")),
        (prefix("/a"), regex("/ab?")),
        (regex("/a.*"), exact("/ab")),
        (regex(".*"), regex("x|y")),
        (regex("/[a-z]+"), regex("/[a-z]+")),
        (regex("/a\\.b"), exact("/a.b")),
        (folded(prefix("/A")), prefix("/ab")),
        (folded(exact("/a")), folded(exact("/A"))),
        (prefix("/1"), folded(prefix("/1a"))),
    ];
    for (wide, narrow) in yes {
        assert!(covers(&wide, &narrow), "{wide:?} {narrow:?}");
    }
    let no = [
        (prefix("/a"), prefix("/")),
        (exact("/a"), prefix("/a")),
        (prefix("/ab"), regex("/ab?")),
        (prefix("/a"), regex("/a|/b")),
        (regex("/a.b"), exact("/a.c")),
        (regex("/[a-z]+"), exact("/a")),
        (prefix("/a"), folded(prefix("/a"))),
        (prefix("/A"), prefix("/ab")),
    ];
    for (wide, narrow) in no {
        assert!(!covers(&wide, &narrow), "{wide:?} {narrow:?}");
    }
}

#[test]
fn conditions() {
    let text = |text: &str| StringMatch::Exact(text.to_owned());
    let starts = |text: &str| StringMatch::Prefix(text.to_owned());
    let all = RouteMatch::default();
    assert!(covers(&all, &with("x", text("a"), false)));
    assert!(!covers(&with("x", text("a"), false), &all));
    assert!(covers(&with("x", starts("a"), false), &with("x", text("ab"), false)));
    assert!(!covers(&with("x", starts("a"), false), &with("y", text("ab"), false)));
    // Without a header of more values is narrower.
    assert!(covers(&with("x", text("ab"), true), &with("x", starts("a"), true)));
    assert!(!covers(&with("x", starts("a"), true), &with("x", text("ab"), true)));
    assert!(!covers(&with("x", text("a"), true), &with("x", text("b"), false)));
    let two = RouteMatch {
        headers: [with("x", text("a"), false).headers, with("y", text("b"), false).headers].concat(),
        ..RouteMatch::default()
    };
    assert!(covers(&with("y", text("b"), false), &two));
    assert!(!covers(&two, &with("y", text("b"), false)));
}
