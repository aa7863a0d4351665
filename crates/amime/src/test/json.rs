//! The outcome of tests for programs.

use super::{CaseReport, Outcome, Report, Sending};
use amime_model::diagnostic::{Diagnostic, Place};
use serde_json::{Value, json};

pub(super) fn print(report: &Report) -> String {
    let files = report.files.iter().map(|file| {
        let problem = |found: &Diagnostic| {
            json!({"severity": found.severity.word(), "message": found.message, "location": found.place.as_ref().map(place)})
        };
        json!({
            "file": file.file,
            "diagnostics": file.diagnostics.iter().map(problem).collect::<Vec<_>>(),
            "tests": file.cases.iter().map(case).collect::<Vec<_>>(),
        })
    });
    let rules = report
        .rules
        .iter()
        .map(|rule| json!({"rule": rule.rule, "location": rule.place.as_ref().map(place), "reached": rule.reached}));
    let value = json!({
        "files": files.collect::<Vec<_>>(),
        "rules": rules.collect::<Vec<_>>(),
        "summary": {"passed": report.passed(), "failed": report.failed()},
    });
    format!("{value:#}\n")
}

fn case(case: &CaseReport) -> Value {
    let mut value = json!({"name": case.name, "location": place(&case.place), "passed": case.has_passed()});
    match &case.live {
        Some(Sending::Sent(times)) => value["sent"] = json!(times),
        Some(Sending::Not(why)) => value["not_sent"] = json!(why),
        None => {}
    }
    match &case.outcome {
        Outcome::Passed { not_evaluated } if not_evaluated.is_empty() => {}
        Outcome::Passed { not_evaluated } => value["not_evaluated"] = json!(not_evaluated),
        Outcome::Unanswered(why) => value["error"] = json!(why),
        Outcome::Failed { mismatches, trace } => {
            let mismatch = |m: &super::Mismatch| json!({"field": m.field, "expected": m.expected, "found": m.found});
            value["mismatches"] = mismatches.iter().map(mismatch).collect();
            value["trace"] = json!(trace);
        }
    }
    value
}

fn place(place: &Place) -> Value {
    json!({"file": &*place.file, "line": place.line, "column": place.column})
}
