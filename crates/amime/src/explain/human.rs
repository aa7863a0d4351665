//! A trace as text: a hop a line, with who decided it and why the others lost.

use super::requests::Answer;
use crate::inspect::table::printable;
use amime_model::explain::{Action, Branch, By, Hop, Question, State, Trace};
use anstyle::{AnsiColor, Color, Style};
use std::fmt::Write;

const TITLE: Style = Style::new().bold();
const PLACE: Style = Style::new().dimmed();
const GOOD: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green))).bold();
const BAD: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red))).bold();
const LOST: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Yellow)));
/// As wide as the longest title.
const TITLES: usize = 15;

pub(crate) fn render(trace: &Trace) -> String {
    let mut text = format!("{TITLE}{}{TITLE:#}, from {}\n", clean(&trace.request), clean(&trace.from));
    text.push('\n');
    trace.hops.iter().for_each(|hop| write_hop(&mut text, hop, ""));
    for branch in &trace.branches {
        write_branch(&mut text, branch);
    }
    let style = if failed(trace) { BAD } else { GOOD };
    let _ = writeln!(text, "\n{style}verdict{style:#}  {}", clean(&trace.summary));
    if let Some(object) = &trace.verdict.object {
        let _ =
            writeln!(text, "         decided by {} {}/{} {}", object.kind, object.namespace, object.name, object.rule);
    }
    if let Some(remedy) = &trace.remedy {
        let _ = writeln!(text, "{LOST}remedy{LOST:#}   {}", clean(remedy));
    }
    text
}

/// The client does not get what it asked for, for some or all of its requests.
pub(crate) fn failed(trace: &Trace) -> bool {
    let verdict = &trace.verdict;
    let error = verdict.status.is_some_and(|status| status >= 400);
    error || verdict.action == Action::Refuse || verdict.destinations.iter().any(|d| d.state != State::Ready)
}

fn write_branch(text: &mut String, branch: &Branch) {
    let mirror = if branch.mirror { "mirrored: " } else { "" };
    let destination = clean(&branch.destination);
    let _ = writeln!(text, "\n  → {mirror}{TITLE}{} %{TITLE:#} {destination}", branch.percent);
    branch.hops.iter().for_each(|hop| write_hop(text, hop, "    "));
}

fn write_hop(text: &mut String, hop: &Hop, indent: &str) {
    let title = hop.stage.title();
    let _ = write!(text, "{indent}{TITLE}{title:TITLES$}{TITLE:#}  {}", clean(&hop.what));
    if let Some(by) = &hop.by {
        let _ = write!(text, "  {}", by_line(by));
    }
    text.push('\n');
    let indent = format!("{indent}{:TITLES$}  ", "");
    for detail in &hop.details {
        let _ = writeln!(text, "{indent}{}", clean(detail));
    }
    for lost in &hop.lost {
        let _ = writeln!(text, "{indent}{LOST}✗{LOST:#} {}: {}", by_line(&lost.by), clean(&lost.why));
    }
}

fn by_line(by: &By) -> String {
    match &by.place {
        Some(place) => format!("{} {PLACE}{}{PLACE:#}", clean(&by.object), clean(place)),
        None => clean(&by.object),
    }
}

/// Names come from elsewhere: none of them moves the cursor.
fn clean(text: &str) -> String {
    printable(text.to_owned())
}

/// One answer of many, on a line.
pub(crate) fn line(answer: &Answer<'_>, question: &Question) -> String {
    let method = question.method.as_deref().unwrap_or("GET");
    let then = match answer.logged {
        Some(logged) => format!("  (was {} {} {})", logged.status, logged.flags, logged.upstream_cluster),
        None => String::new(),
    };
    let id = if answer.id.is_empty() { String::new() } else { format!("{PLACE}{}{PLACE:#}  ", clean(answer.id)) };
    format!("{id}{method} {}  {}{}", clean(&question.url), clean(&answer.verdict.summary()), clean(&then))
}
