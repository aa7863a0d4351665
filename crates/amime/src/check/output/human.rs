//! Findings for people: by file, each with its line and a caret below it; why it matters and how to mend it once a code.

use super::{file, page};
use crate::check::Outcome;
use amime_model::diagnostic::{Diagnostic, Severity, codes, render};
use anstyle::{AnsiColor, Color, Style};
use std::collections::BTreeMap;
use std::fmt::Write;

const FILE: Style = Style::new().bold().underline();
const GOOD: Style = Style::new().bold().fg_color(Some(Color::Ansi(AnsiColor::Green)));

pub(super) fn print(outcome: &Outcome, colour: bool) -> String {
    let mut out = String::new();
    let mut of_file: Option<&str> = None;
    for found in &outcome.diagnostics {
        if of_file != Some(file(found)) {
            of_file = Some(file(found));
            let name = if file(found).is_empty() { "all files together" } else { file(found) };
            let _ = writeln!(out, "{}\n", paint(name, FILE, colour));
        }
        let line = found.place.as_ref().and_then(|place| outcome.texts.line(place));
        out.push_str(&render(found, line, colour));
        out.push('\n');
    }
    out.push_str(&reasons(&outcome.diagnostics));
    out.push_str(&summary(outcome, colour));
    out
}

fn paint(text: &str, style: Style, colour: bool) -> String {
    if colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
}

/// Why each of the codes matters, and what mends it.
fn reasons(all: &[Diagnostic]) -> String {
    let mut out = String::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for found in all {
        *counts.entry(found.code).or_default() += 1;
    }
    for (known, count) in codes::all().filter_map(|known| Some((known, counts.get(known.code)?))) {
        let _ = writeln!(out, "{} {} ({count}): {}", known.code, known.name, known.why);
        let _ = writeln!(
            out,
            "    mend: {}\n    more: amime check --explain {}, {}",
            known.mend,
            known.code,
            page(known.code)
        );
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

fn summary(outcome: &Outcome, colour: bool) -> String {
    let counted = |severity: Severity| {
        let count = outcome.count(severity);
        (count > 0).then(|| format!("{count} {}{}", severity.word(), if count == 1 { "" } else { "s" }))
    };
    let counts: Vec<String> =
        [Severity::Error, Severity::Warning, Severity::Info].into_iter().filter_map(counted).collect();
    let found = if counts.is_empty() { paint("nothing found", GOOD, colour) } else { counts.join(", ") };
    let suppressed = match outcome.suppressed {
        0 => String::new(),
        count => format!("; {count} suppressed"),
    };
    format!("{found} in {} objects{suppressed}\n", outcome.objects)
}
