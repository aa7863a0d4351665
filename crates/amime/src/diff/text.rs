//! A difference for people.

use super::print::Asked;
use super::words;
use crate::inspect::table::printable;
use amime_model::diff::Difference;
use anstyle::{AnsiColor, Color, Style};
use std::fmt::Write;

const TITLE: Style = Style::new().bold();
const WAS: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red)));
const IS: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green)));
const DIM: Style = Style::new().dimmed();

pub(super) fn render(difference: &Difference, asked: &Asked<'_>) -> String {
    let mut text = String::new();
    if difference.is_empty() {
        text.push_str("No request changes.\n");
    }
    for change in &difference.requests {
        let (before, after) = (clean(&change.before), clean(&change.after));
        let _ = writeln!(
            text,
            "{TITLE}{}{TITLE:#}: {WAS}{before}{WAS:#} → {IS}{after}{IS:#}",
            clean(&words::requests(change))
        );
        let _ = writeln!(text, "    {}", clean(&words::details(change, difference.observed.as_ref()).join("; ")));
        let _ = writeln!(text, "    {DIM}{}{DIM:#}", clean(&words::command(asked, &change.witness)));
    }
    let services = difference.services.iter().map(words::service).collect();
    section(&mut text, "services", services);
    section(&mut text, "how destinations are reached", difference.settings.iter().map(words::setting).collect());
    let objects = difference.not_evaluated.iter().map(|found| format!("{} ({})", found.object, found.what)).collect();
    section(&mut text, "not evaluated: what these do to requests is not known here", objects);
    if let Some(observed) = &difference.observed {
        let _ = writeln!(text, "\n{}", words::seen(observed));
    }
    if let Some(note) = words::not_evaluated(difference) {
        let _ = writeln!(text, "\n{note}");
    }
    text
}

fn section(text: &mut String, title: &str, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "{}{TITLE}{title}{TITLE:#}", if text.is_empty() { "" } else { "\n" });
    lines.iter().for_each(|line| {
        let _ = writeln!(text, "    {}", clean(line));
    });
}

/// Names come from elsewhere: none of them moves the cursor.
fn clean(text: &str) -> String {
    printable(text.to_owned())
}
