//! Diagnostics as text, in the way of a compiler: what, where, the line itself, what was expected, what to try.
//!
//! The binary prints it; pure, so that it is tested as text.

use super::{Diagnostic, Place, Severity};
use crate::yaml::{line_of, line_starts};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, OnceLock};

/// The texts that places point into.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    by_file: BTreeMap<Arc<str>, Text>,
}

#[derive(Debug, Clone)]
struct Text {
    text: Arc<str>,
    /// Where each line begins, from the first time that one is asked for: there may be as many findings as lines.
    lines: OnceLock<Box<[usize]>>,
}

impl Texts {
    /// Adds a file, or its new text.
    pub fn insert(&mut self, file: Arc<str>, text: Arc<str>) {
        self.by_file.insert(file, Text { text, lines: OnceLock::new() });
    }

    /// All files, by name, with their texts.
    pub fn files(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.by_file.iter().map(|(file, text)| (&**file, &*text.text))
    }

    /// The line of that place.
    pub fn line(&self, place: &Place) -> Option<&str> {
        let Text { text, lines } = self.by_file.get(&place.file)?;
        let starts = lines.get_or_init(|| line_starts(text));
        let start = *starts.get(usize::try_from(place.line).ok()?.checked_sub(1)?)?;
        line_of(&text[start..], 1)
    }
}

/// Lines longer than this (JSON without line ends) are shown in part.
const WIDTH: usize = 120;

/// ANSI styles, or nothing.
struct Styles {
    colour: bool,
}

impl Styles {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn severity(&self, severity: Severity, text: &str) -> String {
        let code = match severity {
            Severity::Error => "1;31",
            Severity::Warning => "1;33",
            Severity::Info => "1;36",
        };
        self.paint(code, text)
    }

    fn gutter(&self, text: &str) -> String {
        self.paint("1;34", text)
    }
}

/// The diagnostic as lines of text, the last one ended. `line` is the line that its place points at, without its end.
pub fn render(diagnostic: &Diagnostic, line: Option<&str>, colour: bool) -> String {
    let styles = Styles { colour };
    let word = diagnostic.severity.word();
    let head = styles.severity(diagnostic.severity, &format!("{word}[{}]", diagnostic.code));
    let mut out = format!("{head}: {}\n", printable(&diagnostic.message));
    let number = diagnostic.place.as_ref().map_or(String::new(), |place| place.line.to_string());
    let margin = " ".repeat(number.len().max(1));
    let bar = styles.gutter("|");
    if let Some(place) = &diagnostic.place {
        let _ = writeln!(out, "{margin}{} {place}", styles.gutter("-->"));
        if let Some(line) = line {
            let (shown, before, width) = excerpt(line, place.column as usize);
            let carets = styles.severity(diagnostic.severity, &"^".repeat(width));
            let _ = writeln!(out, "{margin} {bar}");
            let _ = writeln!(out, "{} {bar} {shown}", styles.gutter(&format!("{number:>1}")));
            let _ = writeln!(out, "{margin} {bar} {}{carets}", " ".repeat(before));
        }
    }
    let mut note = |label: &str, text: &str| {
        let _ = writeln!(out, "{margin} {} {label}{}", styles.gutter("="), printable(text));
    };
    match (&diagnostic.resource, diagnostic.field.as_str()) {
        (Some(resource), "") => note("in ", &resource.to_string()),
        (Some(resource), field) => note("in ", &format!("{resource}: {field}")),
        (None, "") => {}
        (None, field) => note("in ", field),
    }
    if let Some(expected) = diagnostic.expected.as_ref().filter(|expected| !diagnostic.message.contains(*expected)) {
        note("expected ", expected);
    }
    if let Some(suggestion) = &diagnostic.suggestion {
        note("try ", &format!("`{suggestion}`"));
    }
    out
}

/// The part of a line to show, how many columns stand before the marked word in it, and how many the word takes.
fn excerpt(line: &str, column: usize) -> (String, usize, usize) {
    let characters: Vec<char> = line.chars().collect();
    let at = column.saturating_sub(1).min(characters.len());
    let quote = characters.get(at).copied().filter(|first| matches!(first, '"' | '\''));
    let rest = &characters[at..];
    let word = match quote {
        Some(quote) => rest.iter().skip(1).position(|next| *next == quote).map_or(rest.len(), |end| end + 2),
        None => plain_width(rest),
    };
    let (from, to) = if characters.len() <= WIDTH {
        (0, characters.len())
    } else {
        let from = at.saturating_sub(WIDTH / 2);
        (from, (from + WIDTH).min(characters.len()))
    };
    let mut shown = String::new();
    if from > 0 {
        shown.push('…');
    }
    let before: usize = characters[from..at].iter().map(|character| columns(*character)).sum();
    let marked: usize = characters[at..(at + word).min(to)].iter().map(|character| columns(*character)).sum();
    shown.extend(characters[from..to].iter().map(|character| match character {
        '\t' => ' ',
        other if other.is_control() => '\u{fffd}',
        other => *other,
    }));
    if to < characters.len() {
        shown.push('…');
    }
    (shown, before + usize::from(from > 0), marked.max(1))
}

/// How far a word without quotes goes: to a comma, a closing bracket, the colon after a key, or a comment.
fn plain_width(rest: &[char]) -> usize {
    let is_space = |at: usize| rest.get(at).is_none_or(|next| next.is_whitespace());
    let ends = |at: usize| match rest[at] {
        ',' | ']' | '}' => true,
        ':' => is_space(at + 1),
        '#' => is_space(at.wrapping_sub(1)),
        _ => false,
    };
    let mut width = (1..rest.len()).find(|at| ends(*at)).unwrap_or(rest.len());
    while width > 1 && rest[width - 1].is_whitespace() {
        width -= 1;
    }
    width
}

/// Columns that a character takes in a terminal: two for those of East Asia and most emoji, none for combining ones.
fn columns(character: char) -> usize {
    match u32::from(character) {
        0x0300..=0x036f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff => 2,
        0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// Without control characters: what a file says must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
