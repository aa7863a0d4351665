//! A JUnit report: a suite a file, a test a finding, and one that passes for a file without any.

use super::{file, one_line, position};
use crate::check::Outcome;
use amime_model::diagnostic::{Diagnostic, Severity};
use std::collections::BTreeMap;
use std::fmt::Write;

pub(super) fn print(outcome: &Outcome) -> String {
    let mut by_file: BTreeMap<&str, Vec<&Diagnostic>> =
        outcome.texts.files().map(|(file, _)| (file, Vec::new())).collect();
    for found in &outcome.diagnostics {
        by_file.entry(file(found)).or_default().push(found);
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"amime check\">\n");
    for (file, all) in by_file {
        suite(&mut out, file, &all);
    }
    out.push_str("</testsuites>\n");
    out
}

fn suite(out: &mut String, file: &str, all: &[&Diagnostic]) {
    // A note fails nothing.
    let failures = all.iter().filter(|found| found.severity > Severity::Info).count();
    let file = escape(file);
    let _ = writeln!(out, "  <testsuite name=\"{file}\" tests=\"{}\" failures=\"{failures}\">", all.len().max(1));
    if all.is_empty() {
        let _ = writeln!(out, "    <testcase name=\"check\" classname=\"{file}\"/>");
    }
    for found in all {
        let (line, column) = position(found);
        let name = format!("{} {}:{line}:{column}", found.code, found.field);
        let message = escape(&one_line(found));
        let _ = writeln!(out, "    <testcase name=\"{}\" classname=\"{file}\">", escape(&name));
        let _ = match found.severity {
            Severity::Info => writeln!(out, "      <system-out>{message}</system-out>"),
            _ => writeln!(out, "      <failure type=\"{}\" message=\"{message}\"/>", found.severity.word()),
        };
        out.push_str("    </testcase>\n");
    }
    out.push_str("  </testsuite>\n");
}

/// Text in an attribute or element; what XML cannot hold is left out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            control if control.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}
