//! Workflow commands that GitHub Actions shows as annotations of the changed lines.

use super::{file, one_line, position};
use crate::check::Outcome;
use amime_model::diagnostic::Severity;
use std::fmt::Write;

pub(super) fn print(outcome: &Outcome) -> String {
    let mut out = String::new();
    for found in &outcome.diagnostics {
        let command = match found.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "notice",
        };
        let (line, column) = position(found);
        let place = match file(found) {
            "" => String::new(),
            file => format!("file={},line={line},col={column},", property(file)),
        };
        let _ = writeln!(out, "::{command} {place}title={}::{}", property(found.code), data(&one_line(found)));
    }
    out
}

/// As the commands escape what they say.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
