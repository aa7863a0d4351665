//! The outcome of tests as a JUnit report: a suite a file.

use super::{CaseReport, FileReport, Outcome, Report};
use crate::explain::human;
use crate::junit::{self, Case, Suite};

pub(super) fn print(report: &Report) -> String {
    let suite = |file| -> Suite<'_> {
        let file: &FileReport = file;
        let broken = file.diagnostics.iter().filter(|_| file.is_broken()).map(|found| {
            let place = found.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
            let message = format!("{place}{}", found.message);
            let outcome = junit::Outcome::Failed { kind: found.severity.word(), message, details: String::new() };
            Case { name: "the file itself".to_owned(), outcome }
        });
        Suite { name: &file.file, cases: broken.chain(file.cases.iter().map(case)).collect() }
    };
    junit::write("amime test", &report.files.iter().map(suite).collect::<Vec<_>>())
}

fn case(case: &CaseReport) -> Case {
    let failed = |message, details| junit::Outcome::Failed { kind: "failure", message, details };
    let outcome = match &case.outcome {
        Outcome::Passed { not_evaluated } if not_evaluated.is_empty() => junit::Outcome::Passed,
        Outcome::Passed { not_evaluated } => {
            junit::Outcome::Noted(format!("not evaluated: {}", not_evaluated.join(", ")))
        }
        Outcome::Unanswered(why) => failed(format!("{}: {why}", case.place), String::new()),
        Outcome::Failed { mismatches, trace } => {
            let one = |m: &super::Mismatch| format!("{}: expected {}, found {}", m.field, m.expected, m.found);
            let all: Vec<String> = mismatches.iter().map(one).collect();
            let rendered = trace.iter().map(|trace| human::render(trace)).collect::<String>();
            let plain = anstream::adapter::strip_str(&rendered).to_string();
            failed(format!("{}: {}", case.place, all.join("; ")), plain)
        }
    };
    Case { name: case.name.clone(), outcome }
}
