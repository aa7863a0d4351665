//! The live line of a request: time, from, host and path, the rule that decided, destination workload, status,
//! response flag, milliseconds. `log` makes these from the proxies' records and prints them.

use anstyle::{AnsiColor, Color, Style};
use std::fmt;
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

impl fmt::Display for Line {
    /// With colours: whoever prints takes them off where there is no terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hour, minute, second, milli) = self.time.to_hms_milli();
        let (from, what) = (or_dash(&self.from), or_dash(&self.what));
        let (rule, to, flag) = (or_dash(&self.rule), or_dash(&self.to), or_dash(&self.flag));
        let status = self.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        let style = match self.status {
            Some(500..) => SERVER_ERROR,
            Some(400..500) => CLIENT_ERROR,
            Some(300..400) => MOVED,
            Some(_) => GOOD,
            None if self.flag.is_empty() => GOOD,
            None => SERVER_ERROR,
        };
        write!(
            f,
            "{DIM}{hour:02}:{minute:02}:{second:02}.{milli:03}{DIM:#}  {from:<18}  {what:<36}  {rule:<40}  {to:<18}  \
             {style}{status:>3} {flag:<4}{style:#} {} ms",
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
        let shown = anstream::adapter::strip_str(&line.to_string()).to_string();
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
        let shown = anstream::adapter::strip_str(&line.to_string()).to_string();
        assert!(shown.ends_with("  -                     - UF   3 ms"), "{shown}");
    }
}
