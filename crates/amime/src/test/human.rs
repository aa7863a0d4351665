//! The outcome of tests for people: a line a case, and the way of the request where it fails.

use super::{CaseReport, Outcome, Report, Sending};
use crate::explain::human as trace;
use crate::inspect::table::printable;
use amime_model::diagnostic::render;
use anstyle::{AnsiColor, Color, Style};
use std::fmt::Write;

const FILE: Style = Style::new().bold().underline();
const GOOD: Style = Style::new().bold().fg_color(Some(Color::Ansi(AnsiColor::Green)));
const BAD: Style = Style::new().bold().fg_color(Some(Color::Ansi(AnsiColor::Red)));
const DOUBTFUL: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Yellow)));
const PLACE: Style = Style::new().dimmed();

/// `coverage`: name the rules that no test reaches.
pub(super) fn print(report: &Report, coverage: bool) -> String {
    let mut out = String::new();
    for file in &report.files {
        let _ = writeln!(out, "{FILE}{}{FILE:#}", printable(file.file.clone()));
        for found in &file.diagnostics {
            let line = found.place.as_ref().and_then(|place| report.texts.line(place));
            // Colour is taken away where it has no place when all is printed.
            out.push_str(&render(found, line, true));
        }
        file.cases.iter().for_each(|case| write_case(&mut out, case));
        out.push('\n');
    }
    if coverage {
        write_coverage(&mut out, report);
    }
    write_summary(&mut out, report);
    out
}

fn write_case(out: &mut String, case: &CaseReport) {
    let name = printable(case.name.clone());
    match &case.outcome {
        Outcome::Passed { not_evaluated } => {
            let _ = writeln!(out, "  {GOOD}✓{GOOD:#} {name}{}", sending(case));
            for policy in not_evaluated {
                let _ = writeln!(out, "      {DOUBTFUL}not evaluated{DOUBTFUL:#}: {}", printable(policy.clone()));
            }
        }
        Outcome::Unanswered(why) => {
            write_failure(out, &name, case);
            let _ = writeln!(out, "      {}", printable(why.clone()));
        }
        Outcome::Failed { mismatches, trace } => {
            write_failure(out, &name, case);
            for mismatch in mismatches {
                let field = printable(mismatch.field.clone());
                let expected = printable(mismatch.expected.clone());
                let _ = writeln!(out, "      {field}: expected {GOOD}{expected}{GOOD:#}");
                let _ = writeln!(
                    out,
                    "      {:width$}  found {BAD}{}{BAD:#}",
                    "",
                    printable(mismatch.found.clone()),
                    width = field.chars().count() + 3
                );
            }
            out.push('\n');
            for line in trace.iter().map(|trace| trace::render(trace)).collect::<String>().lines() {
                let indent = if line.is_empty() { "" } else { "      " };
                let _ = writeln!(out, "{indent}{line}");
            }
            if trace.is_some() {
                out.push('\n');
            }
        }
    }
}

fn sending(case: &CaseReport) -> String {
    match &case.live {
        None => String::new(),
        Some(Sending::Sent(1)) => format!("  {PLACE}sent{PLACE:#}"),
        Some(Sending::Sent(times)) => format!("  {PLACE}sent {times} times{PLACE:#}"),
        Some(Sending::Not(why)) => format!("  {DOUBTFUL}not sent{DOUBTFUL:#}: {}", printable(why.clone())),
    }
}

fn write_failure(out: &mut String, name: &str, case: &CaseReport) {
    let _ =
        writeln!(out, "  {BAD}✗ {name}{BAD:#}  {PLACE}{}{PLACE:#}{}", printable(case.place.to_string()), sending(case));
}

fn write_coverage(out: &mut String, report: &Report) {
    let mut missed = report.rules.iter().filter(|rule| !rule.reached).peekable();
    if missed.peek().is_none() {
        return;
    }
    out.push_str("Rules that no test reaches:\n");
    for rule in missed {
        let place = rule.place.as_ref().map(|place| format!("{place}  ")).unwrap_or_default();
        let _ = writeln!(out, "  {PLACE}{}{PLACE:#}{}", printable(place), printable(rule.rule.clone()));
    }
    out.push('\n');
}

fn write_summary(out: &mut String, report: &Report) {
    let (passed, failed) = (report.passed(), report.failed());
    let broken = report.files.iter().filter(|file| file.is_broken()).count();
    let mut parts = Vec::new();
    if failed > 0 {
        parts.push(format!("{BAD}{failed} failed{BAD:#}"));
    }
    if broken > 0 {
        parts.push(format!("{BAD}{broken} of {} files cannot be run{BAD:#}", report.files.len()));
    }
    parts.push(format!("{GOOD}{passed} passed{GOOD:#}"));
    let reached = report.rules.iter().filter(|rule| rule.reached).count();
    let rules = report.rules.len();
    let took = report.took.as_millis();
    let _ = writeln!(out, "{} in {took} ms; tests reach {reached} of {rules} rules", parts.join(", "));
}
