//! A request that one route of a table takes: looked for by trying, and true because the matcher says so. Where none is
//! found and it is not proved that there is none, nobody knows.
//!
//! Tests ask it for invariants (`explain::reach`). A request is begun with what the route wants; where an earlier rule
//! takes it, it is changed so that this one does not.

use super::cover::covers;
use super::matcher::Matcher;
use super::regex::Regex;
use super::{RequestView, RouteTable};
use crate::config::{HeaderMatch, PathMatch, RouteMatch, StringMatch, ValueMatch};
use http::{HeaderMap, HeaderName, HeaderValue};
use regex_syntax::hir::{Class, Hir, HirKind};
use std::collections::{BTreeMap, BTreeSet};

/// A request, as it would be asked of the matcher.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Witness {
    pub method: String,
    pub authority: String,
    /// Without the query.
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub query: BTreeMap<String, String>,
}

/// What is known of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It takes this request.
    Taken(Box<Witness>),
    /// Rules before it, or what is left out, take every request that it would.
    Covered,
    /// No request was found, and it is not proved that there is none.
    Unknown,
}

/// How many requests are tried for one route.
const TRIES: usize = 400;
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "PATCH"];

/// A request with this scheme that the route takes and none of `but` does.
pub fn find(table: &RouteTable, host: usize, route: usize, scheme: &str, but: &[RouteMatch]) -> Found {
    let config = table.config();
    let Some(virtual_host) = config.virtual_hosts.get(host) else { return Found::Unknown };
    let Some(own) = virtual_host.routes.get(route).map(|route| &route.matches) else { return Found::Unknown };
    let earlier: Vec<&RouteMatch> =
        virtual_host.routes[..route].iter().map(|earlier| &earlier.matches).chain(but).collect();
    // Of rules for a share of the requests only nothing is proved.
    if earlier.iter().any(|wide| covers(wide, own)) {
        return Found::Covered;
    }
    let compiled = |matches: &RouteMatch| Matcher::compile(matches).ok();
    let (Some(matcher), Some(others)) = (compiled(own), but.iter().map(compiled).collect::<Option<Vec<_>>>()) else {
        return Found::Unknown;
    };
    let mut search = Search { scheme, own, matcher: &matcher, tried: BTreeSet::new(), waiting: Vec::new() };
    // What is offered last is tried first, and of the names the first is what people call it by.
    for authority in virtual_host.domains.iter().rev().map(|domain| authority(domain)) {
        if table.virtual_host(&authority).is_some_and(|found| found.name == virtual_host.name) {
            search.begin(&authority);
        }
    }
    while let Some(request) = search.next() {
        let headers = request.header_map();
        let path = request.path_and_query();
        let view = request.view(scheme, &path, &headers);
        let taken = table.select(&view, DRAW);
        let by = match taken {
            Some(taken) if taken.host_index == host && taken.route_index == route => {
                let excluded = others.iter().position(|other| other.check(&view, DRAW).is_ok());
                match excluded {
                    None => return Found::Taken(Box::new(request)),
                    Some(index) => &but[index],
                }
            }
            Some(taken) if taken.host_index == host => &taken.route.matches,
            _ => continue,
        };
        search.away_from(&request, by);
    }
    Found::Unknown
}

/// As `explain` draws: what only some requests get is not what this one gets.
const DRAW: u32 = 999_999;

struct Search<'a> {
    scheme: &'a str,
    own: &'a RouteMatch,
    matcher: &'a Matcher,
    tried: BTreeSet<Witness>,
    /// The last is tried first.
    waiting: Vec<Witness>,
}

impl Search<'_> {
    /// With all that the route wants.
    fn begin(&mut self, authority: &str) {
        let empty = Witness {
            method: "GET".to_owned(),
            authority: authority.to_owned(),
            path: "/".to_owned(),
            headers: BTreeMap::new(),
            query: BTreeMap::new(),
        };
        let mut begun: Vec<Witness> =
            paths(self.own).into_iter().map(|path| Witness { path, ..empty.clone() }).collect();
        for header in self.own.headers.iter().filter(|header| !header.invert) {
            begun = with_each(&begun, &values(&header.matches), |request, value| request.set(&header.name, value));
        }
        for query in &self.own.query {
            begun = with_each(&begun, &values(&query.matches), |request, value| {
                request.query.insert(query.name.clone(), value.to_owned());
            });
        }
        if self.own.grpc_only {
            begun.iter_mut().for_each(|request| request.set("content-type", "application/grpc"));
        }
        begun.into_iter().rev().for_each(|request| self.offer(request));
    }

    /// Not one that the route does not take.
    fn offer(&mut self, request: Witness) {
        let headers = request.header_map();
        let path = request.path_and_query();
        let takes = self.matcher.check(&request.view(self.scheme, &path, &headers), DRAW).is_ok();
        if takes && self.tried.len() < TRIES && self.tried.insert(request.clone()) {
            self.waiting.push(request);
        }
    }

    fn next(&mut self) -> Option<Witness> {
        self.waiting.pop()
    }

    /// Requests that differ in one thing, so that the match no longer takes them.
    fn away_from(&mut self, request: &Witness, other: &RouteMatch) {
        let mut offered = Vec::new();
        for path in paths(self.own) {
            offered.push(Witness { path, ..request.clone() });
        }
        for header in &other.headers {
            offered.extend(self.header_changed(request, header));
        }
        for query in &other.query {
            let mut without = request.clone();
            without.query.remove(&query.name);
            offered.push(without);
            let own = self.own.query.iter().filter(|own| own.name == query.name).flat_map(|own| values(&own.matches));
            offered.extend(own.chain(["other".to_owned()]).map(|value| {
                let mut changed = request.clone();
                changed.query.insert(query.name.clone(), value);
                changed
            }));
        }
        offered.into_iter().rev().for_each(|changed| self.offer(changed));
    }

    fn header_changed(&self, request: &Witness, header: &HeaderMatch) -> Vec<Witness> {
        let own = self.own.headers.iter().filter(|own| own.name == header.name && !own.invert);
        let mut all: Vec<String> = own.flat_map(|own| values(&own.matches)).collect();
        match header.name.as_str() {
            ":method" => all.extend(METHODS.map(str::to_owned)),
            // Of these nothing else can be sent.
            ":authority" | ":scheme" | ":path" => return Vec::new(),
            _ if header.invert => all.extend(values(&header.matches)),
            _ => all.push("other".to_owned()),
        }
        let mut changed: Vec<Witness> = Vec::new();
        if !header.name.starts_with(':') {
            let mut without = request.clone();
            without.headers.remove(&header.name);
            changed.push(without);
        }
        changed.extend(all.into_iter().map(|value| {
            let mut with = request.clone();
            with.set(&header.name, &value);
            with
        }));
        changed
    }
}

fn with_each(begun: &[Witness], values: &[String], change: impl Fn(&mut Witness, &str)) -> Vec<Witness> {
    /// So that many conditions with many values each are not all tried together.
    const MOST: usize = 24;
    let all = begun.iter().flat_map(|request| {
        values.iter().map(|value| {
            let mut request = request.clone();
            change(&mut request, value);
            request
        })
    });
    all.take(MOST).collect()
}

impl Witness {
    fn set(&mut self, name: &str, value: &str) {
        match name {
            ":method" => value.clone_into(&mut self.method),
            ":authority" | "host" => value.clone_into(&mut self.authority),
            ":scheme" | ":path" => {}
            _ => {
                self.headers.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    pub fn path_and_query(&self) -> String {
        let pairs: Vec<String> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, pairs.join("&")) }
    }

    /// What no header can hold is left out, and then missed by the matcher.
    fn header_map(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
                map.insert(name, value);
            }
        }
        map
    }

    fn view<'w>(&'w self, scheme: &'w str, path: &'w str, headers: &'w HeaderMap) -> RequestView<'w> {
        RequestView { method: &self.method, scheme, authority: &self.authority, path, headers }
    }
}

/// A name that a domain of a virtual host stands for; `name:80` stands for what others say without the port.
fn authority(domain: &str) -> String {
    let anything = "anything";
    match (domain.strip_prefix('*'), domain.strip_suffix('*')) {
        (Some(""), _) => format!("{anything}.invalid"),
        (Some(suffix), _) => format!("{anything}{suffix}"),
        (None, Some(prefix)) => format!("{prefix}{anything}"),
        (None, None) => domain.to_owned(),
    }
}

/// Some of the paths that a match takes.
fn paths(matches: &RouteMatch) -> Vec<String> {
    let mut all = match &matches.path {
        PathMatch::Exact(text) => vec![text.clone()],
        PathMatch::Prefix(text) => {
            let slash = if text.ends_with('/') { "" } else { "/" };
            vec![text.clone(), format!("{text}{slash}anything"), format!("{text}-anything"), format!("{text}{slash}")]
        }
        PathMatch::SegmentPrefix(text) => {
            let bare = text.trim_end_matches('/');
            vec![bare.to_owned(), format!("{bare}/anything"), format!("{bare}/")]
        }
        PathMatch::Regex(regex) => of_regex(regex),
        PathMatch::Connect => Vec::new(),
    };
    if matches.ignore_case {
        let upper: Vec<String> = all.iter().map(|path| path.to_ascii_uppercase()).collect();
        all.extend(upper);
    }
    all.retain(|path| path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()));
    all
}

/// Some of the values that a condition holds for.
fn values(matches: &ValueMatch) -> Vec<String> {
    let ValueMatch::String { value, ignore_case } = matches else { return vec!["anything".to_owned()] };
    let mut all = match value {
        StringMatch::Exact(text) => vec![text.clone()],
        StringMatch::Prefix(text) => vec![text.clone(), format!("{text}-anything")],
        StringMatch::Suffix(text) => vec![text.clone(), format!("anything-{text}")],
        StringMatch::Contains(text) => vec![text.clone(), format!("anything-{text}-anything")],
        StringMatch::Regex(regex) => of_regex(regex),
    };
    if *ignore_case {
        let upper: Vec<String> = all.iter().map(|value| value.to_ascii_uppercase()).collect();
        all.extend(upper);
    }
    all
}

/// Some of the texts that a regular expression takes.
fn of_regex(source: &str) -> Vec<String> {
    let Ok(hir) = regex_syntax::ParserBuilder::new().build().parse(source) else { return Vec::new() };
    let Ok(regex) = Regex::new(source) else { return Vec::new() };
    let mut all: Vec<String> = Vec::new();
    for (turn, more) in [(0, 0), (0, 1), (1, 0), (2, 1), (3, 2)] {
        let mut text = String::new();
        write(&hir, turn, more, &mut text);
        if regex.is_match(&text) && !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

/// The alternative whose turn it is, and so many repetitions more than are needed.
fn write(hir: &Hir, turn: usize, more: u32, text: &mut String) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(class) => text.extend(letter(class, turn)),
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(u32::MAX);
            (0..(repetition.min + more).min(most)).for_each(|_| write(&repetition.sub, turn, more, text));
        }
        HirKind::Capture(capture) => write(&capture.sub, turn, more, text),
        HirKind::Concat(parts) => parts.iter().for_each(|part| write(part, turn, more, text)),
        HirKind::Alternation(parts) => {
            if let Some(part) = parts.get(turn % parts.len().max(1)) {
                write(part, turn, more, text);
            }
        }
    }
}

/// A letter or digit where the class has one.
fn letter(class: &Class, turn: usize) -> Option<char> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.iter().map(|range| (range.start(), range.end())).collect(),
        Class::Bytes(class) => class.iter().map(|range| (char::from(range.start()), char::from(range.end()))).collect(),
    };
    let usual = ('a'..='z').chain('0'..='9').chain('A'..='Z').chain("-_./~=;, ".chars());
    let fits = |c: &char| ranges.iter().any(|(first, last)| first <= c && c <= last);
    let fitting: Vec<char> = usual.filter(fits).collect();
    match fitting.len() {
        0 => ranges.first().map(|(first, _)| *first),
        many => fitting.get(turn % many).copied(),
    }
}

#[cfg(test)]
#[path = "witness_tests.rs"]
mod tests;
