//! Rules and matches of one VirtualService that earlier ones leave no request (IST0130, IST0131).

use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::Object;
use crate::resource::virtual_service::{HttpMatch, HttpRoute, StringMatch};
use std::collections::{BTreeMap, HashMap, HashSet};

pub(in crate::analyze::istio) fn find(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    for (object, vs) in world.virtual_services() {
        let http = vs.http.iter().map(|rule| (rule.name.as_str(), keys(rule.matches.iter().map(bare))));
        let tcp = vs.tcp.iter().map(|rule| ("", keys(rule.matches.iter())));
        let tls = vs.tls.iter().map(|rule| ("", keys(rule.matches.iter())));
        in_order(object, "http", http, found);
        in_order(object, "tcp", tcp, found);
        in_order(object, "tls", tls, found);
        covered_prefixes(object, &vs.http, found);
    }
}

/// Matches as texts: those that say the same are equal.
fn keys(matches: impl Iterator<Item = impl std::fmt::Debug>) -> Vec<String> {
    matches.map(|m| key(&m)).collect()
}

fn key(m: &impl std::fmt::Debug) -> String {
    format!("{m:?}")
}

/// The match without its name, which decides nothing.
fn bare(m: &HttpMatch) -> HttpMatch {
    HttpMatch { name: String::new(), ..m.clone() }
}

/// A rule as messages name it.
fn rule_name(name: &str, index: usize) -> String {
    if name.is_empty() { format!("{index}") } else { format!("{index} ({name})") }
}

/// Rules of one list, each with its name and the keys of its matches.
fn in_order<'a>(
    object: &Object,
    list: &str,
    rules: impl Iterator<Item = (&'a str, Vec<String>)>,
    found: &mut Vec<Diagnostic>,
) {
    let mut taken: HashMap<String, usize> = HashMap::new();
    let mut takes_all: Option<usize> = None;
    for (index, (name, matches)) in rules.enumerate() {
        let rule = format!("spec.{list}[{index}]");
        let name = rule_name(name, index);
        let mut unreachable = |field: &str, why: String| {
            let message = format!("rule {name} is reached by no request: {why}");
            found.push(about(codes::UNREACHABLE_RULE, object, field, message));
        };
        if matches.is_empty() {
            if let Some(earlier) = takes_all {
                unreachable(&rule, format!("rule {earlier} has no match, so that it takes all"));
            }
            takes_all = Some(index);
            continue;
        }
        let mut duplicates = Vec::new();
        let count = matches.len();
        for (at, key) in matches.into_iter().enumerate() {
            let field = format!("{rule}.match[{at}]");
            if let Some(earlier) = takes_all {
                unreachable(&field, format!("rule {earlier} before it has no match, so that it takes all"));
                continue;
            }
            match taken.get(&key) {
                Some(earlier) => duplicates.push((field, *earlier)),
                None => drop(taken.insert(key, index)),
            }
        }
        if duplicates.len() == count {
            unreachable(&rule, "all of its matches stand before it".to_owned());
        }
        for (field, earlier) in duplicates {
            let message = format!("rule {earlier} has the same match before rule {name}");
            found.push(about(codes::INEFFECTIVE_MATCH, object, &field, message));
        }
    }
}

/// A match by a prefix of the path, in the form in which two are compared.
struct PrefixMatch<'a> {
    rule: usize,
    at: usize,
    prefix: &'a str,
    m: &'a HttpMatch,
    method: String,
}

/// Prefixes that begin with an earlier one, under conditions which the earlier one has too.
fn covered_prefixes(object: &Object, rules: &[HttpRoute], found: &mut Vec<Diagnostic>) {
    let first_open = rules.iter().position(|rule| rule.matches.is_empty()).unwrap_or(rules.len());
    let mut seen = HashSet::new();
    let mut prefixes: Vec<PrefixMatch<'_>> = Vec::new();
    for (rule, route) in rules.iter().enumerate().take(first_open) {
        for (at, m) in route.matches.iter().enumerate() {
            if !seen.insert(key(&bare(m))) {
                continue;
            }
            if let Some(prefix) = m.uri.as_ref().and_then(|uri| uri.prefix.as_deref()).filter(|p| !p.is_empty()) {
                let method = Some(text(m.method.as_ref())).filter(|method| !method.is_empty());
                prefixes.push(PrefixMatch { rule, at, prefix, m, method: method.unwrap_or_else(|| "=GET".to_owned()) });
            }
        }
    }
    for (index, earlier) in prefixes.iter().enumerate() {
        for later in prefixes[index + 1..].iter().filter(|later| earlier.covers(later)) {
            let message = format!(
                "match {} of rule {} is not used: match {} of rule {} before it takes the prefix {}, which {} begins with",
                later.at, later.rule, earlier.at, earlier.rule, earlier.prefix, later.prefix
            );
            let field = format!("spec.http[{}].match[{}].uri.prefix", later.rule, later.at);
            found.push(about(codes::INEFFECTIVE_MATCH, object, &field, message));
        }
    }
}

/// `=value` of an exact match, `value*` as `^value` of a prefix; anything else says nothing here.
fn text(m: Option<&StringMatch>) -> String {
    match m {
        Some(StringMatch { exact: Some(exact), .. }) if !exact.is_empty() => format!("={exact}"),
        Some(StringMatch { prefix: Some(prefix), .. }) if !prefix.is_empty() => format!("^{prefix}"),
        _ => String::new(),
    }
}

impl PrefixMatch<'_> {
    fn covers(&self, later: &Self) -> bool {
        let (one, other) = (self.m, later.m);
        self.prefix != later.prefix
            && later.prefix.starts_with(self.prefix)
            && one.port == other.port
            && self.method.starts_with(&later.method)
            && text(one.authority.as_ref()).starts_with(&text(other.authority.as_ref()))
            && same_keys(&one.headers, &other.headers)
            && same_keys(&one.query_params, &other.query_params)
            && same_keys(&one.without_headers, &other.without_headers)
    }
}

fn same_keys(one: &BTreeMap<String, StringMatch>, other: &BTreeMap<String, StringMatch>) -> bool {
    let narrower = |key: &String| other.get(key).is_some_and(|m| text(one.get(key)).starts_with(&text(Some(m))));
    one.len() == other.len() && one.keys().all(narrower)
}
