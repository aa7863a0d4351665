//! How the answers of `config` and `status` are printed.

use super::table::Table;
use super::yaml;
use anstyle::{AnsiColor, Color, Style};
use serde_json::Value;
use std::io::Write;

/// `-o` of `amime config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A table
    #[value(alias = "table")]
    Short,
    /// The resources themselves, as Envoy's JSON
    Json,
    /// The resources themselves, as YAML
    Yaml,
}

pub(crate) const BAD: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red)));
pub(crate) const DOUBTFUL: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Yellow)));

/// Colour by the word that a cell begins with.
fn style(cell: &str) -> Option<Style> {
    let is = |words: &[&str]| words.iter().any(|word| cell == *word || cell.starts_with(&format!("{word} ")));
    if is(&["REJECTED", "UNHEALTHY", "FAILED", "TIMEOUT", "false"]) {
        Some(BAD)
    } else if is(&["STALE", "DRAINING", "DEGRADED", "WARMING", "NOT SENT"]) {
        Some(DOUBTFUL)
    } else {
        None
    }
}

/// Prints a table, or that there is nothing in it. To a pipe that was closed early is no failure.
pub(crate) fn table(table: &Table, nothing: &str) -> anyhow::Result<()> {
    let text = if table.is_empty() { format!("{nothing}\n") } else { table.render(style) };
    print(&text)
}

pub(crate) fn value(value: &Value, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Yaml => print(&yaml::render(value)),
        Format::Json | Format::Short => print(&format!("{value:#}\n")),
    }
}

/// Colour goes to terminals alone.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match anstream::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
