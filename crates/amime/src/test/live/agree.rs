//! Whether what came of real requests is what `explain` says of them.

use super::send::{Answer, Seen};
use amime_model::explain::{Action, Destination, Dialled, State, Verdict};
use amime_model::snapshot::{Registry, Snapshot};
use amime_model::translate::names;
use amime_proxy::{Flags, RequestRecord};
use serde_json::Value;
use std::collections::BTreeMap;

/// How many standard deviations a share may be off: by chance once in a million.
const SIGMA: f64 = 5.0;

/// What differs, each thing once.
pub(super) fn disagreements(verdict: &Verdict, dialled: &Dialled, seen: &Seen, snapshot: &Snapshot) -> Vec<String> {
    let mut found = Vec::new();
    if verdict.action == Action::Refuse {
        if let Some(answer) = seen.answers.first() {
            found.push(format!("answered {}, where the connection is refused", answer.status));
        }
        return found;
    }
    let usual: Vec<&RequestRecord> = seen.usual(verdict).collect();
    if usual.is_empty() {
        let why = if seen.why.is_empty() { "all were aborted by a fault".to_owned() } else { seen.why.clone() };
        return vec![format!("no proxy of {}/{} took it: {why}", dialled.pod.namespace, dialled.pod.name)];
    }
    found.extend(usual.iter().find_map(|record| rule_differs(verdict, record)));
    let injected = seen.records.len() - usual.len();
    match verdict.action {
        Action::Respond => found.extend(usual.iter().find_map(|record| response_differs(verdict, record))),
        Action::Passthrough => found.extend(usual.iter().find_map(|record| {
            let cluster = record.cluster.as_deref().unwrap_or("no cluster");
            (cluster != names::PASSTHROUGH_CLUSTER).then(|| format!("sent to {cluster}, not passed through"))
        })),
        Action::Forward => {
            found.extend(shares_differ(verdict, &usual));
            found.extend(usual.iter().find_map(|record| outcome_differs(verdict, record, snapshot)));
        }
        Action::Refuse => {}
    }
    let wrong: Vec<String> = seen.answers.iter().filter_map(|answer| answer_differs(verdict, answer)).collect();
    if wrong.len() > injected {
        found.extend(wrong.into_iter().next_back());
    }
    found
}

fn rule_differs(verdict: &Verdict, record: &RequestRecord) -> Option<String> {
    let origin = record.origin().filter(|origin| origin.kind == "VirtualService");
    let told = origin.map(|origin| {
        let path = origin.path.strip_prefix("spec.").unwrap_or(&origin.path);
        format!("{}/{} {path}", origin.namespace, origin.name)
    });
    let said = verdict.object.as_ref().map(|object| format!("{}/{} {}", object.namespace, object.name, object.rule));
    (told != said).then(|| {
        let none = "no rule of a VirtualService";
        format!("decided by {}, not {}", told.as_deref().unwrap_or(none), said.as_deref().unwrap_or(none))
    })
}

fn response_differs(verdict: &Verdict, record: &RequestRecord) -> Option<String> {
    let flags = flags(record);
    let flag = verdict.flag.as_deref().unwrap_or_default();
    let same = verdict.status == Some(record.status) && flags.contains(flag);
    (!same).then(|| format!("{} {flags}, not {}", record.status, verdict.summary()))
}

fn flags(record: &RequestRecord) -> String {
    if record.flags.is_empty() { String::new() } else { record.flags.to_string() }
}

/// Whether the destinations are those, about as often as they should be.
fn shares_differ(verdict: &Verdict, records: &[&RequestRecord]) -> Option<String> {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for record in records {
        let cluster = record.cluster.as_deref().unwrap_or_default();
        let at = verdict.destinations.iter().position(|to| is(to, cluster));
        let Some(at) = at else {
            return Some(format!("sent to {}", if cluster.is_empty() { "nobody" } else { cluster }));
        };
        *counts.entry(at).or_default() += 1;
    }
    let all = records.len() as f64;
    let sum: f64 = verdict.destinations.iter().map(|to| f64::from(to.weight)).sum();
    verdict.destinations.iter().enumerate().find_map(|(index, to)| {
        let wanted = if verdict.destinations.len() == 1 { 1.0 } else { f64::from(to.weight) / sum.max(1.0) };
        let count = counts.get(&index).copied().unwrap_or_default();
        let found = count as f64 / all;
        let bound = SIGMA * (wanted * (1.0 - wanted) / all).sqrt() + 1.0 / all;
        ((found - wanted).abs() > bound)
            .then(|| format!("{count} of {all} to {}, not {:.1} %", to.name(), wanted * 100.0))
    })
}

fn is(to: &Destination, cluster: &str) -> bool {
    let (port, subset, host) =
        names::parse_passed(cluster).or_else(|| names::parse_outbound(cluster)).unwrap_or((0, "", cluster));
    to.host == host && to.port == port && to.subset.as_deref().unwrap_or_default() == subset
}

/// A destination outside of the mesh may not be there, or answer as it likes.
fn outcome_differs(verdict: &Verdict, record: &RequestRecord, snapshot: &Snapshot) -> Option<String> {
    let cluster = record.cluster.as_deref().unwrap_or_default();
    let to = verdict.destinations.iter().find(|to| is(to, cluster))?;
    let flags = flags(record);
    let own =
        snapshot.services_of_host(&to.host).is_some_and(|of| of.values().any(|s| s.registry == Registry::Kubernetes));
    match to.state.flag() {
        Some(flag) if !flags.contains(flag) => {
            Some(format!("{} {flags} from {}, not 503 {flag}", record.status, to.name()))
        }
        None if own && !record.flags.is_empty() && record.flags != Flags::DI => {
            Some(format!("{} {flags} from {}", record.status, to.name()))
        }
        _ => None,
    }
}

fn answer_differs(verdict: &Verdict, answer: &Answer) -> Option<String> {
    if let Some(status) = verdict.status.filter(|status| *status != answer.status) {
        return Some(format!("answered {}, not {status}", answer.status));
    }
    let location = answer.headers.get(http::header::LOCATION).and_then(|value| value.to_str().ok());
    if verdict.location.is_some() && verdict.location.as_deref() != location {
        let said = verdict.location.as_deref().unwrap_or_default();
        return Some(format!("redirected to {}, not {said}", location.unwrap_or("nowhere")));
    }
    let sent = verdict.request.as_ref()?;
    // Only stand-ins tell what they saw.
    let ready = verdict.destinations.iter().all(|to| to.state == State::Ready);
    let workload = answer.body.get("workload")?;
    if !ready && workload.is_null() {
        return None;
    }
    let path = answer.body["path"].as_str().unwrap_or_default();
    if path != sent.path {
        return Some(format!("{workload} saw the path {path}, not {}", sent.path));
    }
    // Of several destinations each may have edits of its own.
    if verdict.destinations.len() > 1 {
        return None;
    }
    let headers = &answer.body["headers"];
    if headers["host"] != sent.authority.as_str() {
        return Some(format!("{workload} saw the host {}, not {}", headers["host"], sent.authority));
    }
    let set = sent.edited.set_headers.iter().find(|(name, values)| !has(headers.get(name.as_str()), values));
    let removed = sent.edited.removed_headers.iter().find(|name| headers.get(name.as_str()).is_some());
    match (set, removed) {
        (Some((name, values)), _) => {
            Some(format!("{workload} saw {name}: {}, not {}", headers[name.as_str()], values.join(", ")))
        }
        (None, Some(name)) => Some(format!("{workload} saw {name}, which is removed")),
        (None, None) => response_edits_differ(verdict, answer),
    }
}

fn response_edits_differ(verdict: &Verdict, answer: &Answer) -> Option<String> {
    let edited = verdict.response.as_ref()?;
    let text = |name: &str| -> Vec<String> {
        answer
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect()
    };
    let set = edited
        .set_headers
        .iter()
        .find(|(name, values)| !is_known_later(values) && !values.iter().all(|v| text(name).contains(v)));
    if let Some((name, values)) = set {
        return Some(format!("the answer has {name}: {}, not {}", text(name).join(", "), values.join(", ")));
    }
    let removed = edited.removed_headers.iter().find(|name| answer.headers.contains_key(name.as_str()));
    removed.map(|name| format!("the answer has {name}, which is removed"))
}

/// Of a header that a stand-in saw: one value, or a list.
fn has(seen: Option<&Value>, values: &[String]) -> bool {
    let seen: Vec<&str> = match seen {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        Some(value) => value.as_str().into_iter().collect(),
        None => Vec::new(),
    };
    is_known_later(values) || values.iter().all(|value| seen.contains(&value.as_str()))
}

/// What stands for the address of a client, a time …: known only when the request is sent.
fn is_known_later(values: &[String]) -> bool {
    values.iter().any(|value| value.is_empty() || value.contains('-') && value.len() == 1)
}

#[cfg(test)]
#[path = "agree_tests.rs"]
mod tests;
