//! GitLab's code quality report: one JSON list.

use super::{file, one_line, position};
use crate::check::Outcome;
use amime_model::diagnostic::{Diagnostic, Severity};
use serde_json::{Value, json};
use std::collections::HashMap;
use xxhash_rust::xxh64::xxh64;

pub(super) fn print(outcome: &Outcome) -> String {
    let mut seen: HashMap<u64, u64> = HashMap::new();
    let entries: Vec<Value> = outcome.diagnostics.iter().map(|found| entry(found, &mut seen)).collect();
    format!("{:#}\n", Value::Array(entries))
}

fn entry(found: &Diagnostic, seen: &mut HashMap<u64, u64>) -> Value {
    let severity = match found.severity {
        Severity::Error => "major",
        Severity::Warning => "minor",
        Severity::Info => "info",
    };
    json!({
        "description": one_line(found),
        "check_name": found.code,
        "fingerprint": fingerprint(found, seen),
        "severity": severity,
        "location": {"path": file(found), "lines": {"begin": position(found).0}},
    })
}

/// The same where lines move, so that GitLab knows a finding again; of equal ones the second is another.
fn fingerprint(found: &Diagnostic, seen: &mut HashMap<u64, u64>) -> String {
    let resource = found.resource.as_ref().map(ToString::to_string).unwrap_or_default();
    let parts = [found.code, file(found), &resource, &found.field, &found.message];
    let hash = xxh64(parts.join("\n").as_bytes(), 0);
    let again = seen.entry(hash).or_default();
    *again += 1;
    format!("{hash:016x}{again:x}")
}
