//! The forms in which findings are printed: for people, and for the programs that show them beside the code.

mod github;
mod gitlab;
mod human;
mod json;
mod junit;
mod sarif;

use super::Outcome;
use amime_model::diagnostic::Diagnostic;

/// The forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people: by file, with the lines
    Human,
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// A test suite, a test a file
    Junit,
    /// Annotations of GitHub Actions
    Github,
    /// GitLab's code quality report
    Gitlab,
}

/// The outcome as text in that form. `colour` is for people alone.
pub(crate) fn print(outcome: &Outcome, output: Output, colour: bool) -> String {
    match output {
        Output::Human => human::print(outcome, colour),
        Output::Json => json::print(outcome),
        Output::Sarif => sarif::print(outcome),
        Output::Junit => junit::print(outcome),
        Output::Github => github::print(outcome),
        Output::Gitlab => gitlab::print(outcome),
    }
}

/// The page of a code in the documentation.
fn page(code: &str) -> String {
    format!("docs/codes/{code}.md")
}

/// The file that a finding is about; empty where it is about none.
fn file(found: &Diagnostic) -> &str {
    found.place.as_ref().map_or("", |place| &place.file)
}

/// Line and column, from 1.
fn position(found: &Diagnostic) -> (u32, u32) {
    found.place.as_ref().map_or((1, 1), |place| (place.line.max(1), place.column.max(1)))
}

/// `VirtualService shop/reviews: message (expected …; try …)` on one line.
fn one_line(found: &Diagnostic) -> String {
    let mut text = found.resource.as_ref().map(|id| format!("{id}: ")).unwrap_or_default();
    text.push_str(&found.message);
    if let Some(expected) = &found.expected {
        text.push_str(&format!("; expected {expected}"));
    }
    if let Some(suggestion) = &found.suggestion {
        text.push_str(&format!("; try `{suggestion}`"));
    }
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
