//! Requests that rules may decide differently: made of the rules' own conditions, each met, and each broken.
//!
//! `requests` asks the matcher about each of them; what is made here need not be what a rule takes.

use super::sample::{self, OTHER};
use crate::config::{PathMatch, RouteMatch};
use std::collections::{BTreeMap, BTreeSet};

/// A request, but for its host and who sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    pub method: Option<String>,
    pub authority: Option<String>,
    /// Without a query.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: BTreeMap<String, String>,
}

impl Draft {
    pub(super) fn path_and_query(&self) -> String {
        let pairs: Vec<_> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, pairs.join("&")) }
    }
}

/// What may be chosen for each part of a request; the plainest choice first, which is that a part is not there.
#[derive(Debug, Clone)]
pub(super) struct Choices {
    methods: Vec<Option<String>>,
    authorities: Vec<Option<String>>,
    paths: Vec<String>,
    query: Vec<(String, Vec<Option<String>>)>,
    headers: Vec<(String, Vec<Option<String>>)>,
}

/// Of so many texts pairs are joined too, for one that two patterns both take.
const JOINED: usize = 3;

impl Choices {
    /// `removed` are headers that rules take away, which shows only where they are there.
    pub(super) fn of<'m>(rules: impl IntoIterator<Item = &'m RouteMatch>, removed: &BTreeSet<String>) -> Self {
        let mut methods: BTreeSet<String> = BTreeSet::new();
        let mut authorities: BTreeSet<String> = BTreeSet::new();
        let mut paths: Vec<String> = vec!["/".to_owned()];
        let mut values: BTreeMap<(bool, String), Vec<String>> = BTreeMap::new();
        for rule in rules {
            paths.extend(paths_of(rule));
            if rule.path == PathMatch::Connect {
                methods.insert("CONNECT".to_owned());
            }
            for header in &rule.headers {
                let texts = sample::of_value(&header.matches);
                match header.name.as_str() {
                    ":method" => methods.extend(texts.into_iter().filter(|text| is_token(text))),
                    ":authority" | "host" => authorities.extend(texts.into_iter().filter(|text| is_host(text))),
                    // A request has the scheme of its URL, and its path is a choice of its own.
                    name if name.starts_with(':') => {}
                    name => values.entry((true, name.to_owned())).or_default().extend(texts),
                }
            }
            for query in &rule.query {
                let texts = sample::of_value(&query.matches).into_iter().filter(|text| is_of_query(text));
                values.entry((false, query.name.clone())).or_default().extend(texts);
            }
            if rule.grpc_only {
                values.entry((true, "content-type".to_owned())).or_default().push("application/grpc".to_owned());
            }
        }
        for name in removed {
            values.entry((true, name.clone())).or_default();
        }
        let (headers, query): (Vec<_>, Vec<_>) = values.into_iter().partition(|((header, _), _)| *header);
        let optional = |all: Vec<((bool, String), Vec<String>)>| -> Vec<(String, Vec<Option<String>>)> {
            all.into_iter().map(|((_, name), texts)| (name, with_none(joined(texts)))).collect()
        };
        Self {
            methods: none_and(methods),
            authorities: none_and(authorities),
            paths: distinct(joined_paths(paths)),
            query: optional(query),
            headers: optional(headers),
        }
    }

    /// How many requests these are; usize::MAX where it is more than can be counted.
    pub(super) fn count(&self) -> usize {
        self.sizes().into_iter().fold(1, usize::saturating_mul)
    }

    fn sizes(&self) -> Vec<usize> {
        let optional = self.query.iter().chain(&self.headers).map(|(_, values)| values.len());
        let rest = [self.paths.len(), self.methods.len(), self.authorities.len()];
        rest.into_iter().chain(optional).collect()
    }

    /// The first of them: what differs from the plainest in few parts comes before what differs in many.
    pub(super) fn first(&self, most: usize) -> impl Iterator<Item = Draft> {
        let sizes = self.sizes();
        let count = self.count();
        let all = (count <= most).then(|| (0..count).map(|number| self.by_number(number, &sizes)).collect::<Vec<_>>());
        all.unwrap_or_else(|| self.few(&sizes, most)).into_iter()
    }

    fn by_number(&self, mut number: usize, sizes: &[usize]) -> Draft {
        let mut digits = Vec::with_capacity(sizes.len());
        for size in sizes {
            digits.push(number % size);
            number /= size;
        }
        self.draft(&digits)
    }

    /// Parts chosen one, two and all at a time.
    fn few(&self, sizes: &[usize], most: usize) -> Vec<Draft> {
        let mut drafts = Vec::new();
        let plain = vec![0; sizes.len()];
        for path in 0..sizes[0] {
            let mut digits = plain.clone();
            digits[0] = path;
            drafts.push(self.draft(&digits));
            // Every condition met, by each of its texts in turn.
            for turn in 1..4 {
                let met: Vec<_> = digits.iter().zip(sizes).skip(1).map(|(_, size)| turn.min(size - 1)).collect();
                let digits: Vec<_> = std::iter::once(path).chain(met).collect();
                drafts.push(self.draft(&digits));
                // And each of them broken.
                for part in 1..sizes.len() {
                    drafts.push(self.draft(&changed(&digits, part, 0)));
                }
            }
            for (part, size) in sizes.iter().enumerate().skip(1) {
                for choice in 1..*size {
                    drafts.push(self.draft(&changed(&digits, part, choice)));
                }
            }
            if drafts.len() >= most {
                break;
            }
        }
        drafts.truncate(most);
        drafts
    }

    fn draft(&self, digits: &[usize]) -> Draft {
        let optional = |values: &[(String, Vec<Option<String>>)], digits: &[usize]| -> Vec<(String, String)> {
            let chosen = values.iter().zip(digits);
            chosen.filter_map(|((name, values), digit)| Some((name.clone(), values[*digit].clone()?))).collect()
        };
        let (query, headers) = digits[3..].split_at(self.query.len());
        Draft {
            path: self.paths[digits[0]].clone(),
            method: self.methods[digits[1]].clone(),
            authority: self.authorities[digits[2]].clone(),
            query: optional(&self.query, query),
            headers: optional(&self.headers, headers).into_iter().collect(),
        }
    }
}

fn changed(digits: &[usize], part: usize, choice: usize) -> Vec<usize> {
    let mut digits = digits.to_vec();
    digits[part] = choice;
    digits
}

fn paths_of(rule: &RouteMatch) -> Vec<String> {
    let mut paths = match &rule.path {
        PathMatch::Exact(path) => vec![path.clone()],
        PathMatch::Prefix(path) => vec![path.clone(), format!("{path}x"), format!("{}/x", path.trim_end_matches('/'))],
        PathMatch::SegmentPrefix(path) => vec![path.clone(), format!("{}/x", path.trim_end_matches('/'))],
        PathMatch::Regex(regex) => sample::of_regex(regex),
        PathMatch::Connect => Vec::new(),
    };
    if rule.ignore_case {
        paths.extend(paths.clone().iter().map(|path| path.to_ascii_uppercase()));
    }
    paths.retain(|path| is_path(path));
    paths
}

/// A path as clients send it, without a query.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#')
}

fn is_of_query(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic() && b != b'&' && b != b'#')
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b))
}

fn joined_paths(paths: Vec<String>) -> Vec<String> {
    let mut all = distinct(paths);
    if all.len() <= JOINED * 3 {
        let own = all.clone();
        let heads = own.iter().filter(|head| head.len() > 1);
        all.extend(heads.flat_map(|head| own.iter().map(move |tail| format!("{}{tail}", head.trim_end_matches('/')))));
    }
    all
}

fn joined(texts: Vec<String>) -> Vec<String> {
    let mut all = distinct(texts);
    if (2..=JOINED).contains(&all.len()) {
        let own = all.clone();
        all.extend(own.iter().flat_map(|one| own.iter().map(move |other| format!("{one}{other}"))));
    }
    all
}

fn distinct(texts: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    texts.into_iter().filter(|text| seen.insert(text.clone())).collect()
}

fn none_and(texts: BTreeSet<String>) -> Vec<Option<String>> {
    std::iter::once(None).chain(texts.into_iter().map(Some)).collect()
}

/// Not there, the values, and one that is none of them.
fn with_none(texts: Vec<String>) -> Vec<Option<String>> {
    let texts = distinct(texts.into_iter().chain([OTHER.to_owned()]).collect());
    std::iter::once(None).chain(texts.into_iter().map(Some)).collect()
}
