//! A difference as a comment on a merge request.

use super::print::Asked;
use super::words;
use amime_model::diff::Difference;
use std::fmt::Write;

pub(super) fn render(difference: &Difference, asked: &Asked<'_>) -> String {
    let mut text = "### What changes for requests\n\n".to_owned();
    if difference.is_empty() {
        text.push_str("No request changes.\n\n");
    }
    if !difference.requests.is_empty() {
        text.push_str("| requests | before | after | of which | ask |\n|---|---|---|---|---|\n");
        for change in &difference.requests {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                cell(&words::requests(change)),
                cell(&change.before),
                cell(&change.after),
                cell(&words::details(change, difference.observed.as_ref()).join("; ")),
                code(&words::command(asked, &change.witness)),
            );
        }
        text.push('\n');
    }
    section(&mut text, "Services", difference.services.iter().map(words::service).collect());
    section(&mut text, "How destinations are reached", difference.settings.iter().map(words::setting).collect());
    let objects = difference.not_evaluated.iter().map(|found| format!("{} ({})", found.object, found.what)).collect();
    section(&mut text, "Not evaluated: what these do to requests is not known here", objects);
    if let Some(observed) = &difference.observed {
        let _ = writeln!(text, "{}\n", cell(&words::seen(observed)));
    }
    if let Some(note) = words::not_evaluated(difference) {
        let _ = writeln!(text, "{note}\n");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn section(text: &mut String, title: &str, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "**{title}**\n");
    lines.iter().for_each(|line| {
        let _ = writeln!(text, "- {}", cell(line));
    });
    text.push('\n');
}

/// Text of others makes neither columns nor marks.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '_' | '`' | '<' | '>' | '[' | ']' | '\\' | '~' | '#' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// In as many backticks as the text leaves free; a column's end is written otherwise within.
fn code(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let ticks = "`".repeat(longest + 1);
    let space = if longest > 0 { " " } else { "" };
    format!("{ticks}{space}{}{space}{ticks}", text.replace('|', r"\|"))
}
