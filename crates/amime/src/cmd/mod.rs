//! The subcommands: each file parses its arguments, calls the library and prints. `main` calls them.

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod control;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod proxy;
pub(crate) mod status;
pub(crate) mod test;
pub(crate) mod up;

use anstyle::{AnsiColor, Color, Style};
use clap::builder::Styles;

const HEADER: Style = Style::new().bold().underline();
const LITERAL: Style = Style::new().bold();
const ERROR: Style = Style::new().bold().fg_color(Some(Color::Ansi(AnsiColor::Red)));

/// How `--help` looks on a terminal.
pub(crate) const STYLES: Styles =
    Styles::styled().header(HEADER).usage(HEADER).literal(LITERAL).error(ERROR).placeholder(Style::new());

/// Prints why a command failed, with its causes, to standard error.
pub(crate) fn report(error: &anyhow::Error) {
    anstream::eprintln!("{ERROR}error{ERROR:#}: {error:#}");
}
