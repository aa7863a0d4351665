//! SARIF 2.1.0, as code scanning reads it: one run, a rule a code that was found.

use super::{file, one_line, page, position};
use crate::check::Outcome;
use amime_model::diagnostic::{Diagnostic, codes};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) fn print(outcome: &Outcome) -> String {
    let found: BTreeSet<&str> = outcome.diagnostics.iter().map(|found| found.code).collect();
    let known: Vec<&codes::Code> = codes::all().filter(|known| found.contains(known.code)).collect();
    let rules: Vec<Value> = known.iter().map(|known| rule(known)).collect();
    let results: Vec<Value> = outcome.diagnostics.iter().map(|found| result(found, &known)).collect();
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "amime", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{document:#}\n")
}

fn rule(known: &codes::Code) -> Value {
    json!({
        "id": known.code,
        "name": known.name,
        "shortDescription": {"text": known.name},
        "fullDescription": {"text": known.why},
        "help": {"text": format!("{}\n\n{}", known.why, known.mend)},
        "helpUri": page(known.code),
        "defaultConfiguration": {"level": known.severity.word()},
    })
}

fn result(found: &Diagnostic, known: &[&codes::Code]) -> Value {
    let (line, column) = position(found);
    let location = json!({
        "physicalLocation": {
            "artifactLocation": {"uri": file(found)},
            "region": {"startLine": line, "startColumn": column},
        },
        "logicalLocations": [{"fullyQualifiedName": found.resource.as_ref().map(ToString::to_string)}],
    });
    let locations = if file(found).is_empty() { Vec::new() } else { vec![location] };
    json!({
        "ruleId": found.code,
        "ruleIndex": known.iter().position(|known| known.code == found.code),
        "level": found.severity.word(),
        "message": {"text": one_line(found)},
        "locations": locations,
    })
}
