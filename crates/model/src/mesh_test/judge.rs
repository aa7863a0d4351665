//! Compares what is expected of a request with the verdict of `explain`.

use super::file::{Edits, Expect, Request};
use super::names::{is_host, is_share, named};
use crate::explain::{Action, Destination, Edited, State, Verdict};
use std::collections::BTreeMap;
use std::time::Duration;

/// Something expected that is not so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The field of `expect`.
    pub field: String,
    pub expected: String,
    pub found: String,
}

/// Why a test on a decision of security policies fails.
const NOT_EVALUATED: &str = "not evaluated: security policies are not decided yet, so nobody can say";

/// What does not hold; nothing where all does.
pub fn judge(request: &Request, expect: &Expect, verdict: &Verdict) -> Vec<Mismatch> {
    let mut judge = Judge { request, verdict, found: Vec::new() };
    judge.policies(expect);
    judge.destinations(expect);
    judge.answer(expect);
    judge.sent(expect);
    judge.edits("headers", &expect.headers, Side::Request);
    judge.edits("response", &expect.response, Side::Response);
    if let Some(rule) = &expect.rule {
        judge.rule(rule);
    }
    judge.found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

struct Judge<'a> {
    request: &'a Request,
    verdict: &'a Verdict,
    found: Vec<Mismatch>,
}

impl Judge<'_> {
    fn differs(&mut self, field: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) {
        self.found.push(Mismatch { field: field.into(), expected: expected.into(), found: found.into() });
    }

    fn compare(&mut self, holds: bool, field: &str, expected: &str, found: impl FnOnce() -> String) {
        if !holds {
            self.differs(field, expected, found());
        }
    }

    fn policies(&mut self, expect: &Expect) {
        for (field, value) in [("allowed", expect.allowed), ("denied", expect.denied)] {
            if let Some(value) = value {
                self.differs(field, value.to_string(), NOT_EVALUATED);
            }
        }
    }

    fn destinations(&mut self, expect: &Expect) {
        let verdict = self.verdict;
        let all = |holds: &dyn Fn(&Destination) -> bool| {
            verdict.action == Action::Forward
                && !verdict.destinations.is_empty()
                && verdict.destinations.iter().all(|to| to.state == State::Ready && holds(to))
        };
        if let Some(wanted) = &expect.destination {
            let holds = all(&|to| is_host(wanted, &to.host, to.port));
            self.compare(holds, "destination", wanted, || verdict.summary());
        }
        if let Some(wanted) = &expect.subset {
            let holds = all(&|to| to.subset.as_ref() == Some(wanted));
            self.compare(holds, "subset", wanted, || verdict.summary());
        }
        let tolerance = expect.tolerance.unwrap_or(0.0);
        if !expect.weights.is_empty() {
            let sum: u64 = verdict.destinations.iter().map(|to| u64::from(to.weight)).sum();
            let share = |to: &Destination| f64::from(to.weight) * 100.0 / sum.max(1) as f64;
            let shares: Vec<Share<'_>> = (verdict.destinations.iter())
                .map(|to| (named(to), &*to.host, to.port, to.subset.as_deref(), share(to), to.state))
                .collect();
            self.shares("weights", &expect.weights, tolerance, &shares);
        }
        if !expect.mirrors.is_empty() {
            let shares: Vec<Share<'_>> = (verdict.mirrors.iter())
                .map(|to| {
                    let subset = to.subset.as_ref().map(|subset| format!(" {subset}")).unwrap_or_default();
                    let name = format!("{}:{}{subset}", to.host, to.port);
                    (name, &*to.host, to.port, to.subset.as_deref(), to.percent, to.state)
                })
                .collect();
            self.shares("mirrors", &expect.mirrors, tolerance, &shares);
        }
    }

    fn shares(&mut self, field: &str, wanted: &BTreeMap<String, f64>, tolerance: f64, shares: &[Share<'_>]) {
        /// Of percentages: what is within the last digit that people write is the same.
        const EQUAL: f64 = 0.005;
        let near = |one: f64, other: f64| (one - other).abs() <= tolerance + EQUAL;
        let all: Vec<String> =
            shares.iter().map(|(name, .., percent, _)| format!("{} % {name}", round(*percent))).collect();
        let all = if all.is_empty() { self.verdict.summary() } else { all.join(", ") };
        for (key, percent) in wanted {
            let named = || shares.iter().filter(|(_, host, port, subset, ..)| is_share(key, host, *port, *subset));
            let sum: f64 = named().map(|(.., percent, _)| percent).sum();
            let within = if tolerance > 0.0 { format!(" ± {tolerance}") } else { String::new() };
            let failing = named().any(|(.., state)| *state != State::Ready);
            if !near(sum, *percent) || failing || (named().next().is_none() && *percent > 0.0) {
                self.differs(format!("{field}.{key}"), format!("{percent} %{within}"), all.clone());
            }
        }
        for (name, host, port, subset, percent, _) in shares {
            if *percent > tolerance + EQUAL && !wanted.keys().any(|key| is_share(key, host, *port, *subset)) {
                self.differs(field, format!("nothing to {name}"), format!("{} %", round(*percent)));
            }
        }
    }

    fn answer(&mut self, expect: &Expect) {
        let verdict = self.verdict;
        if let Some(status) = expect.status {
            self.compare(verdict.status == Some(status), "status", &status.to_string(), || verdict.summary());
        }
        if let Some(flag) = &expect.flag {
            self.compare(verdict.flag.as_ref() == Some(flag), "flag", flag, || verdict.summary());
        }
        if let Some(location) = &expect.redirect {
            self.compare(verdict.location.as_ref() == Some(location), "redirect", location, || verdict.summary());
        }
        let actions =
            [("refused", expect.refused, Action::Refuse), ("passthrough", expect.passthrough, Action::Passthrough)];
        for (field, wanted, action) in actions {
            if let Some(wanted) = wanted {
                let holds = wanted == (verdict.action == action);
                self.compare(holds, field, &wanted.to_string(), || verdict.summary());
            }
        }
    }

    fn sent(&mut self, expect: &Expect) {
        let verdict = self.verdict;
        let sent = verdict.request.as_ref();
        let mut same = |field: &str, wanted: Option<&String>, found: Option<&String>| {
            if let Some(wanted) = wanted {
                let found_text = || found.cloned().unwrap_or_else(|| verdict.summary());
                self.compare(found == Some(wanted), field, wanted, found_text);
            }
        };
        same("path", expect.path.as_ref(), sent.map(|sent| &sent.path));
        same("host", expect.host.as_ref(), sent.map(|sent| &sent.authority));
        if let Some(wanted) = expect.timeout {
            let wanted = u64::try_from(wanted.as_millis()).unwrap_or(u64::MAX);
            let found = || verdict.timeout_ms.map_or_else(|| verdict.summary(), timeout);
            self.compare(verdict.timeout_ms == Some(wanted), "timeout", &timeout(wanted), found);
        }
        if let Some(wanted) = expect.retries {
            let attempts = verdict.retries.as_ref().map(|retries| retries.attempts);
            let found = || attempts.map_or_else(|| verdict.summary(), |attempts| attempts.to_string());
            self.compare(attempts == Some(wanted), "retries", &wanted.to_string(), found);
        }
    }

    /// Where several destinations have edits of their own, all must hold.
    fn edits(&mut self, field: &str, wanted: &Edits, side: Side) {
        if wanted.set.is_empty() && wanted.removed.is_empty() {
            return;
        }
        let verdict = self.verdict;
        let whole = match side {
            Side::Request => verdict.request.as_ref().map(|sent| &sent.edited),
            Side::Response => verdict.response.as_ref(),
        };
        let nothing = Edited::default();
        let mut edits: Vec<&Edited> = (verdict.destinations.iter())
            .filter_map(|to| if side == Side::Request { to.request.as_ref() } else { to.response.as_ref() })
            .collect();
        if edits.len() < verdict.destinations.len() || edits.is_empty() {
            edits.push(whole.unwrap_or(&nothing));
        }
        for (name, value) in &wanted.set {
            let lower = name.to_ascii_lowercase();
            let came = (side == Side::Request).then(|| self.came_with(&lower)).flatten();
            let found: Vec<Option<String>> = (edits.iter())
                .map(|edited| match edited.set_headers.get(&lower) {
                    Some(values) => Some(values.join(", ")),
                    None if edited.removed_headers.contains(&lower) => None,
                    None => came.clone(),
                })
                .collect();
            if let Some(other) = found.iter().find(|found| found.as_ref() != Some(value)) {
                let other = other.clone().unwrap_or_else(|| "no such header".to_owned());
                self.differs(format!("{field}.set.{name}"), value, other);
            }
        }
        for name in &wanted.removed {
            let lower = name.to_ascii_lowercase();
            if side == Side::Request && self.came_with(&lower).is_none() {
                let found = format!("the request has no {name}; give it one (request.headers)");
                self.differs(format!("{field}.removed"), name, found);
            } else if !edits.iter().all(|edited| edited.removed_headers.contains(&lower)) {
                self.differs(format!("{field}.removed"), name, "it stays");
            }
        }
    }

    fn came_with(&self, name: &str) -> Option<String> {
        let mut headers = self.request.headers.iter();
        headers.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    }

    fn rule(&mut self, wanted: &str) {
        let object = self.verdict.object.as_ref();
        let holds = object.is_some_and(|object| {
            let of = format!("{}/{} ", object.namespace, object.name);
            let wanted = wanted.strip_prefix("VirtualService ").unwrap_or(wanted);
            wanted.strip_prefix(&of).is_some_and(|rule| rule == object.rule || rule == object.rule_name)
        });
        let found = || match object {
            Some(object) => {
                let name = &object.rule_name;
                let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
                format!("{}/{} {}{name}", object.namespace, object.name, object.rule)
            }
            None => "no rule".to_owned(),
        };
        self.compare(holds, "rule", wanted, found);
    }
}

/// Name, host, port, subset, percent and state.
type Share<'a> = (String, &'a str, u32, Option<&'a str>, f64, State);

fn round(percent: f64) -> f64 {
    (percent * 100.0).round() / 100.0
}

fn timeout(milliseconds: u64) -> String {
    if milliseconds == 0 { "none".to_owned() } else { format!("{:?}", Duration::from_millis(milliseconds)) }
}
