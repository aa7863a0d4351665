//! A JUnit report: a suite a file, a test a finding, and one that passes for a file without any.

use super::{file, one_line, position};
use crate::check;
use crate::junit::{Case, Outcome, Suite, write};
use amime_model::diagnostic::{Diagnostic, Severity};
use std::collections::BTreeMap;

pub(super) fn print(outcome: &check::Outcome) -> String {
    let mut by_file: BTreeMap<&str, Vec<&Diagnostic>> =
        outcome.texts.files().map(|(file, _)| (file, Vec::new())).collect();
    for found in &outcome.diagnostics {
        by_file.entry(file(found)).or_default().push(found);
    }
    let suites: Vec<_> = by_file.into_iter().map(|(name, all)| Suite { name, cases: cases(&all) }).collect();
    write("amime check", &suites)
}

fn cases(all: &[&Diagnostic]) -> Vec<Case> {
    if all.is_empty() {
        return vec![Case { name: "check".to_owned(), outcome: Outcome::Passed }];
    }
    let case = |found: &&Diagnostic| {
        let (line, column) = position(found);
        let message = one_line(found);
        let outcome = match found.severity {
            // A note fails nothing.
            Severity::Info => Outcome::Noted(message),
            severity => Outcome::Failed { kind: severity.word(), message, details: String::new() },
        };
        Case { name: format!("{} {}:{line}:{column}", found.code, found.field), outcome }
    };
    all.iter().map(case).collect()
}
