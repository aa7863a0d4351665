//! Tables on a terminal and in a pipe: columns as wide as their widest cell, wide characters counted as two.

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

const HEAD: Style = Style::new().bold();
const GAP: &str = "  ";

/// A table, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: impl IntoIterator<Item = &'static str>) -> Self {
        Self { head: head.into_iter().collect(), rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().map(printable).collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, the head's in bold. `style` is of a cell, by what is in it.
    pub(crate) fn render(&self, style: impl Fn(&str) -> Option<Style>) -> String {
        let widths: Vec<usize> = (0..self.head.len())
            .map(|i| {
                self.rows
                    .iter()
                    .filter_map(|r| r.get(i))
                    .map(|c| c.width())
                    .chain([self.head[i].len()])
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = format!("{HEAD}{}{HEAD:#}\n", line(self.head.iter().copied(), &widths, |_| None));
        for row in &self.rows {
            text.push_str(&line(row.iter().map(String::as_str), &widths, &style));
            text.push('\n');
        }
        text
    }
}

/// Nothing follows the last cell that is not empty.
fn line<'a>(cells: impl Iterator<Item = &'a str>, widths: &[usize], style: impl Fn(&str) -> Option<Style>) -> String {
    let mut text = String::new();
    let mut owed = 0;
    for (cell, width) in cells.zip(widths) {
        if !cell.is_empty() {
            text.extend(std::iter::repeat_n(' ', owed));
            owed = 0;
            match style(cell) {
                Some(style) => text.push_str(&format!("{style}{cell}{style:#}")),
                None => text.push_str(cell),
            }
        }
        owed += width - cell.width().min(*width) + GAP.len();
    }
    text
}

/// Names come from elsewhere: what would move a terminal's cursor is shown by its escape.
pub(crate) fn printable(cell: String) -> String {
    if cell.chars().any(char::is_control) { cell.chars().flat_map(escape).collect() } else { cell }
}

fn escape(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}
