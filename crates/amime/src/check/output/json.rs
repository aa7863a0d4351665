//! Findings as one JSON object, for programs.

use crate::check::Outcome;
use amime_model::diagnostic::{Diagnostic, Severity, codes};
use serde_json::{Value, json};

pub(super) fn print(outcome: &Outcome) -> String {
    let diagnostics: Vec<Value> = outcome.diagnostics.iter().map(diagnostic).collect();
    let document = json!({
        "diagnostics": diagnostics,
        "summary": {
            "errors": outcome.count(Severity::Error),
            "warnings": outcome.count(Severity::Warning),
            "notes": outcome.count(Severity::Info),
            "suppressed": outcome.suppressed,
            "objects": outcome.objects,
        },
    });
    format!("{document:#}\n")
}

fn diagnostic(found: &Diagnostic) -> Value {
    let resource = found
        .resource
        .as_ref()
        .map(|id| json!({"kind": id.kind.as_str(), "namespace": &*id.namespace, "name": &*id.name}));
    let location =
        found.place.as_ref().map(|place| json!({"file": &*place.file, "line": place.line, "column": place.column}));
    let known = codes::find(found.code);
    json!({
        "code": found.code,
        "name": known.map(|known| known.name),
        "severity": found.severity.word(),
        "message": found.message,
        "resource": resource,
        "field": found.field,
        "location": location,
        "expected": found.expected,
        "fix": found.suggestion,
        "why": known.map(|known| known.why),
        "mend": known.map(|known| known.mend),
        "page": super::page(found.code),
    })
}
