//! A test file: read strictly, each test and case with its place.

use super::never::{BY_NAME, Invariant, Never};
use crate::diagnostic::{Diagnostic, Place, Severity, codes};
use crate::explain::{OneOrMany, Question};
use crate::resource::{Duration, decode_strictly};
use crate::yaml;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a test file holds.
#[derive(Debug, Clone)]
pub struct LoadedTests {
    /// As the user named it, and its text, for showing lines of it.
    pub file: Arc<str>,
    pub text: Arc<str>,
    /// Paths of manifests, seen from the file; empty: those beside it.
    pub manifests: Vec<String>,
    /// Path of a MeshConfig, seen from the file.
    pub mesh_config: Option<String>,
    /// The cases of all tests, in the order of the file.
    pub cases: Vec<Case>,
    /// What no request may come to.
    pub invariants: Vec<Invariant>,
    pub diagnostics: Vec<Diagnostic>,
}

/// One request, and what must come of it.
#[derive(Debug, Clone)]
pub struct Case {
    /// `test: case`, or the test's name alone.
    pub name: String,
    pub place: Place,
    pub request: Request,
    pub expect: Expect,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    manifests: Vec<String>,
    mesh_config: Option<String>,
    tests: Vec<Test>,
    never: Vec<Never>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Test {
    name: String,
    request: Request,
    expect: Expect,
    cases: Vec<Test>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Request {
    /// As `Question::from`; `internet` where neither this nor `at` is there.
    pub from: Option<String>,
    pub at: Option<String>,
    pub url: Option<String>,
    /// In place of the URL's path and query.
    pub path: Option<String>,
    pub method: Option<String>,
    pub headers: BTreeMap<String, String>,
    /// The authority, in place of the URL's.
    pub host: Option<String>,
    /// The IP address that is dialled.
    pub address: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Expect {
    pub destination: Option<String>,
    pub subset: Option<String>,
    /// Percentages.
    pub weights: BTreeMap<String, f64>,
    /// Of weights and mirrors, in percentage points.
    pub tolerance: Option<f64>,
    pub status: Option<u16>,
    pub flag: Option<String>,
    pub redirect: Option<String>,
    pub path: Option<String>,
    pub host: Option<String>,
    pub headers: Edits,
    pub response: Edits,
    pub timeout: Option<Duration>,
    pub retries: Option<u32>,
    /// Percentages.
    pub mirrors: BTreeMap<String, f64>,
    pub rule: Option<String>,
    pub refused: Option<bool>,
    pub passthrough: Option<bool>,
    pub allowed: Option<bool>,
    pub denied: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Edits {
    pub set: BTreeMap<String, String>,
    pub removed: Vec<String>,
}

/// Reads a test file. `file` is what diagnostics call it; where one of these is an error, the tests are not to be run.
pub fn load_tests(file: &str, text: &str) -> LoadedTests {
    let parsed = yaml::parse(&file.into(), text);
    let mut loaded = LoadedTests {
        file: file.into(),
        text: parsed.text,
        manifests: Vec::new(),
        mesh_config: None,
        cases: Vec::new(),
        invariants: Vec::new(),
        diagnostics: parsed.errors,
    };
    for document in &parsed.documents {
        let root = document.root();
        loaded.diagnostics.extend(document.problems().iter().cloned());
        let (read, found): (File, _) = decode_strictly(root);
        loaded.diagnostics.extend(found);
        loaded.manifests.extend(read.manifests);
        loaded.mesh_config = read.mesh_config.or(loaded.mesh_config);
        for (index, test) in read.tests.into_iter().enumerate() {
            loaded.add(&test, &|path| root.place_of(&format!("tests[{index}]{path}")));
        }
        for (index, never) in read.never.into_iter().enumerate() {
            loaded.invariant(never, root.place_of(&format!("never[{index}]")));
        }
    }
    if loaded.cases.is_empty() && loaded.invariants.is_empty() && !loaded.has_errors() {
        let place = Place { file: loaded.file.clone(), line: 1, column: 1 };
        loaded.wrong(&place, "there is no test in this file", "tests");
    }
    loaded.diagnostics.sort_by(|one, other| one.place.cmp(&other.place));
    loaded
}

impl LoadedTests {
    /// Whether something in it is wrong; warnings do not count.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }

    fn add(&mut self, test: &Test, place_of: &dyn Fn(&str) -> Place) {
        let title = |name: &str, request: &Request| match name {
            "" => request.question(&Expect::default()).map_or_else(|| "a request".to_owned(), |asked| asked.line()),
            name => name.to_owned(),
        };
        if test.cases.is_empty() {
            let name = title(&test.name, &test.request);
            return self.case(name, place_of(""), test.request.clone(), test.expect.clone());
        }
        for (index, case) in test.cases.iter().enumerate() {
            let place = place_of(&format!(".cases[{index}]"));
            if !case.cases.is_empty() {
                self.wrong(&place, "a case has no cases of its own", "name, request and expect");
            }
            let request = test.request.under(&case.request);
            let name = match test.name.as_str() {
                "" => title(&case.name, &request),
                test => format!("{test}: {}", title(&case.name, &request)),
            };
            self.case(name, place, request, test.expect.under(&case.expect));
        }
    }

    fn case(&mut self, name: String, place: Place, request: Request, expect: Expect) {
        if request.url.is_none() {
            self.wrong(&place, "the request has no URL", "request: {url: http://…}");
        } else if expect == Expect::default() {
            self.wrong(&place, "nothing is expected of the request", "expect, with at least one field");
        }
        if request.from.is_some() && request.at.is_some() {
            self.wrong(&place, "the request has both from and at", "one of the two");
        }
        self.cases.push(Case { name, place, request, expect });
    }

    fn invariant(&mut self, never: Never, place: Place) {
        if never.reaches.is_empty() {
            self.wrong(&place, "nothing is said that no request may come to", "reaches: HOST");
        }
        if never.by.as_ref().is_some_and(|by| by != BY_NAME) {
            self.wrong(&place, "requests are told apart by names alone", "by: name");
        }
        let name = if never.name.is_empty() { never.sentence() } else { never.name.clone() };
        self.invariants.push(Invariant { name, place, never });
    }

    fn wrong(&mut self, place: &Place, message: &str, expected: &str) {
        let found = Diagnostic::error(codes::SCHEMA, message).with_place(Some(place.clone())).with_expected(expected);
        self.diagnostics.push(found);
    }
}

impl Request {
    /// With another's fields in place of those that it has.
    fn under(&self, over: &Self) -> Self {
        let or = |over: &Option<String>, own: &Option<String>| over.clone().or_else(|| own.clone());
        // Who sends it is one thing, said in either of two ways.
        let (from, at) = match over.from.is_some() || over.at.is_some() {
            true => (over.from.clone(), over.at.clone()),
            false => (self.from.clone(), self.at.clone()),
        };
        // A path is a part of the URL that it was written with.
        let path = if over.url.is_some() { over.path.clone() } else { or(&over.path, &self.path) };
        Self {
            from,
            at,
            url: or(&over.url, &self.url),
            path,
            method: or(&over.method, &self.method),
            headers: joined(&self.headers, &over.headers),
            host: or(&over.host, &self.host),
            address: or(&over.address, &self.address),
        }
    }

    /// As `explain` is asked; None without a URL. What is expected tells which headers the answer is taken to have.
    pub fn question(&self, expect: &Expect) -> Option<Question> {
        let url = self.url.as_ref()?;
        let url = match &self.path {
            Some(path) => {
                let start = url.find("://").map_or(0, |at| at + 3);
                let end = url[start..].find(['/', '?']).map_or(url.len(), |at| start + at);
                format!("{}{path}", &url[..end])
            }
            None => url.clone(),
        };
        let from = self.from.clone().or_else(|| self.at.is_none().then(|| "internet".to_owned()));
        Some(Question {
            from,
            at: self.at.clone(),
            url,
            address: self.address.clone(),
            method: self.method.clone(),
            headers: (self.headers.iter())
                .map(|(name, value)| (name.to_ascii_lowercase(), OneOrMany::One(value.clone())))
                .collect(),
            authority: self.host.clone(),
            answer: expect.response.removed.iter().map(|name| name.to_ascii_lowercase()).collect(),
            ..Question::default()
        })
    }
}

impl Expect {
    fn under(&self, over: &Self) -> Self {
        let own = self.clone();
        let over = over.clone();
        Self {
            destination: over.destination.or(own.destination),
            subset: over.subset.or(own.subset),
            weights: joined(&own.weights, &over.weights),
            tolerance: over.tolerance.or(own.tolerance),
            status: over.status.or(own.status),
            flag: over.flag.or(own.flag),
            redirect: over.redirect.or(own.redirect),
            path: over.path.or(own.path),
            host: over.host.or(own.host),
            headers: own.headers.under(over.headers),
            response: own.response.under(over.response),
            timeout: over.timeout.or(own.timeout),
            retries: over.retries.or(own.retries),
            mirrors: joined(&own.mirrors, &over.mirrors),
            rule: over.rule.or(own.rule),
            refused: over.refused.or(own.refused),
            passthrough: over.passthrough.or(own.passthrough),
            allowed: over.allowed.or(own.allowed),
            denied: over.denied.or(own.denied),
        }
    }
}

impl Edits {
    fn under(self, over: Self) -> Self {
        let mut removed = self.removed;
        removed.extend(over.removed);
        Self { set: joined(&self.set, &over.set), removed }
    }
}

fn joined<T: Clone>(own: &BTreeMap<String, T>, over: &BTreeMap<String, T>) -> BTreeMap<String, T> {
    own.iter().chain(over).map(|(key, value)| (key.clone(), value.clone())).collect()
}
