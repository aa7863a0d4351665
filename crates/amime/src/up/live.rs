//! The live line of a request: time, from, host and path, the rule that decided, destination workload, status,
//! response flag, milliseconds. `log` makes these from the proxies' records and prints them.

use anstyle::{AnsiColor, Color, Style};
use std::time::Duration;
use time::OffsetDateTime;

const DIM: Style = Style::new().dimmed();
const GOOD: Style = colour(AnsiColor::Green);
const MOVED: Style = colour(AnsiColor::Cyan);
const CLIENT_ERROR: Style = colour(AnsiColor::Yellow);
const SERVER_ERROR: Style = colour(AnsiColor::Red);

const fn colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(colour)))
}

/// One request or TCP connection, ready to be shown. What is unknown is empty and shown as `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) time: OffsetDateTime,
    pub(super) from: String,
    /// `GET shop.example.com/cart`, `TCP 10.96.0.1:3306`.
    pub(super) what: String,
    /// `VirtualService default/reviews http[1]`.
    pub(super) rule: String,
    pub(super) to: String,
    /// None where no HTTP answer was sent.
    pub(super) status: Option<u16>,
    pub(super) flag: String,
    pub(super) took: Duration,
}

/// How wide the columns are: as wide as anything in them so far, within bounds, so that lines stay in line without
/// being padded for what may never come.
#[derive(Debug, Clone)]
pub(super) struct Widths {
    from: usize,
    what: usize,
    rule: usize,
    to: usize,
}

/// A cell that is longer than this pushes the rest of its line aside, and no other line.
const WIDEST: usize = 48;

impl Default for Widths {
    fn default() -> Self {
        Self { from: 12, what: 24, rule: 30, to: 12 }
    }
}

impl Widths {
    fn fit(&mut self, line: &Line) {
        let grow = |width: &mut usize, text: &str| *width = (*width).max(text.chars().count().min(WIDEST));
        grow(&mut self.from, &line.from);
        grow(&mut self.what, &line.what);
        grow(&mut self.rule, &line.rule);
        grow(&mut self.to, &line.to);
    }
}

impl Line {
    /// The line with colours: whoever prints takes them off where there is no terminal.
    pub(super) fn render(&self, widths: &mut Widths) -> String {
        widths.fit(self);
        let Widths { from, what, rule, to } = *widths;
        let (hour, minute, second, milli) = self.time.to_hms_milli();
        let flag = or_dash(&self.flag);
        let status = self.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        let style = match self.status {
            Some(500..) => SERVER_ERROR,
            Some(400..500) => CLIENT_ERROR,
            Some(300..400) => MOVED,
            Some(_) => GOOD,
            None if self.flag.is_empty() => GOOD,
            None => SERVER_ERROR,
        };
        format!(
            "{DIM}{hour:02}:{minute:02}:{second:02}.{milli:03}{DIM:#}  {:<from$}  {:<what$}  {:<rule$}  {:<to$}  \
             {style}{status:>3} {flag:<4}{style:#} {} ms",
            or_dash(&self.from),
            or_dash(&self.what),
            or_dash(&self.rule),
            or_dash(&self.to),
            self.took.as_millis()
        )
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_there_and_what_is_unknown_is_a_dash() {
        let mut line = Line {
            time: time::macros::datetime!(2026-01-02 03:04:05.006 UTC),
            from: "shop/web-v1".into(),
            what: "GET reviews:9080/reviews/1".into(),
            rule: "VirtualService shop/reviews http[1]".into(),
            to: "shop/reviews-v2".into(),
            status: Some(200),
            flag: String::new(),
            took: Duration::from_micros(3900),
        };
        let mut widths = Widths::default();
        let shown = anstream::adapter::strip_str(&line.render(&mut widths)).to_string();
        let parts: Vec<_> = shown.split("  ").map(str::trim).filter(|part| !part.is_empty()).collect();
        assert_eq!(
            parts,
            [
                "03:04:05.006",
                "shop/web-v1",
                "GET reviews:9080/reviews/1",
                "VirtualService shop/reviews http[1]",
                "shop/reviews-v2",
                "200 -",
                "3 ms"
            ]
        );
        line.status = None;
        line.to.clear();
        line.flag = "UF".into();
        let shown = anstream::adapter::strip_str(&line.render(&mut widths)).to_string();
        assert!(shown.ends_with("  -                  - UF   3 ms"), "{shown}");
    }
}
