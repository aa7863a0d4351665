//! How single scalars are read: durations, base64, times, numbers. `decode` calls it.
//!
//! `Err` holds what to write instead, where that can be guessed.

use crate::yaml::{Node, Resolved, View};

type Read<T> = Result<T, Option<String>>;

/// What a node is, for messages.
pub(super) fn describe(node: Node<'_>) -> String {
    match node.view() {
        View::Mapping(_) => "a mapping".to_owned(),
        View::Sequence(_) => "a sequence".to_owned(),
        View::Scalar(scalar) => match scalar.resolve() {
            Resolved::Null => "nothing".to_owned(),
            Resolved::Bool(_) => format!("the boolean {}", scalar.text),
            Resolved::Int(_) | Resolved::Float(_) => format!("the number {}", shorten(scalar.text)),
            Resolved::Str => format!("the text \"{}\"", shorten(scalar.text)),
        },
    }
}

/// At most a line, and not a long one.
fn shorten(text: &str) -> String {
    let line = text.lines().next().unwrap_or("");
    match line.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.len() < text.trim_end().len() => format!("{line}…"),
        None => line.to_owned(),
    }
}

/// A whole number; `1.0` and `1e3` are whole.
pub(super) fn whole(resolved: Resolved) -> Option<i128> {
    match resolved {
        Resolved::Int(number) => Some(number),
        // Beyond 2^53 a float does not say which number is meant.
        Resolved::Float(number) if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 => {
            Some(number as i128)
        }
        _ => None,
    }
}

/// A number as JSON writes it, found within quotes.
pub(super) fn json_number(text: &str) -> Option<Resolved> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.starts_with(|first: char| first.is_ascii_digit()) || (digits.len() > 1 && digits.starts_with('0')) {
        return digits.starts_with("0.").then(|| text.parse().map(Resolved::Float).ok()).flatten();
    }
    let whole = text.parse::<i64>().map(i128::from).or_else(|_| text.parse::<u64>().map(i128::from));
    whole
        .map(Resolved::Int)
        .or_else(|_| text.parse().map(Resolved::Float))
        .ok()
        .filter(|number| !matches!(number, Resolved::Float(number) if !number.is_finite()))
}

/// A duration as Go's `time.ParseDuration` reads it, in nanoseconds; none below zero, none beyond 292 years.
pub(super) fn duration(node: Node<'_>) -> Read<u128> {
    let scalar = node.scalar().ok_or(None)?;
    match scalar.resolve() {
        // Only text is a duration to Istio, but for which unit was meant there is a likely guess.
        Resolved::Int(_) | Resolved::Float(_) => Err(Some(format!("{}s", scalar.text))),
        Resolved::Str => parse_duration(scalar.text).ok_or_else(|| spaceless(scalar.text)),
        _ => Err(None),
    }
}

fn spaceless(text: &str) -> Option<String> {
    let guess: String = text.to_lowercase().split_whitespace().collect();
    let guess = guess.trim_end_matches("econds").trim_end_matches("ec").to_owned();
    (guess != text && parse_duration(&guess).is_some()).then_some(guess)
}

fn parse_duration(text: &str) -> Option<u128> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" || rest == "-0" {
        return Some(0);
    }
    let mut total = 0u128;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = |text: &str| text.find(|next: char| !next.is_ascii_digit()).unwrap_or(text.len());
        let whole_end = digits(rest);
        let (whole, after) = rest.split_at(whole_end);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(digits(after)),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit_end = after.find(|next: char| next.is_ascii_digit() || next == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let nanos: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(nanos)?)?;
        // More digits than these are below a nanosecond of an hour.
        let fraction = &fraction[..fraction.len().min(18)];
        if !fraction.is_empty() {
            total = total.checked_add(fraction.parse::<u128>().ok()? * nanos / 10u128.pow(fraction.len() as u32))?;
        }
        rest = after;
    }
    (total <= i64::MAX as u128).then_some(total)
}

/// Standard base64 with padding; line ends within it do not count, as in Go.
pub(super) fn base64(node: Node<'_>) -> Read<Vec<u8>> {
    let scalar = node.scalar().ok_or(None)?;
    if scalar.resolve() != Resolved::Str {
        return Err(Some(format!("\"{}\"", scalar.text)));
    }
    decode_base64(scalar.text).ok_or(None)
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let symbols: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    if !symbols.len().is_multiple_of(4) {
        return None;
    }
    let mut bytes = Vec::with_capacity(symbols.len() / 4 * 3);
    let last = symbols.len() / 4;
    for (at, group) in symbols.chunks_exact(4).enumerate() {
        let padding = group.iter().rev().take_while(|symbol| **symbol == b'=').count();
        if padding > 2 || (padding > 0 && at + 1 != last) {
            return None;
        }
        let mut bits = 0u32;
        for symbol in &group[..4 - padding] {
            bits = bits << 6
                | u32::from(match symbol {
                    b'A'..=b'Z' => symbol - b'A',
                    b'a'..=b'z' => symbol - b'a' + 26,
                    b'0'..=b'9' => symbol - b'0' + 52,
                    b'+' | b'-' => 62,
                    b'/' | b'_' => 63,
                    _ => return None,
                });
        }
        bits <<= 6 * padding;
        let group = bits.to_be_bytes();
        bytes.extend_from_slice(&group[1..4 - padding]);
    }
    Some(bytes)
}

/// RFC 3339, in nanoseconds since 1970.
pub(super) fn timestamp(node: Node<'_>) -> Read<i128> {
    let scalar = node.scalar().ok_or(None)?;
    parse_timestamp(scalar.text).ok_or(None)
}

fn parse_timestamp(text: &str) -> Option<i128> {
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok()).flatten()
    };
    let bytes = text.as_bytes();
    let separators = [(4, b"--"), (7, b"--"), (10, b"Tt"), (13, b"::"), (16, b"::")];
    if !separators.iter().all(|(at, either)| bytes.get(*at).is_some_and(|byte| either.contains(byte))) {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut nanos = 0i128;
    if let Some(fraction) = rest.strip_prefix('.') {
        let end = fraction.find(|next: char| !next.is_ascii_digit()).unwrap_or(fraction.len());
        let digits = fraction[..end].get(..end.min(9))?;
        nanos = digits.parse::<i128>().ok()? * 10i128.pow(9 - digits.len() as u32);
        rest = &fraction[end..];
    }
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let sign = if rest.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) = rest.strip_prefix(['+', '-'])?.split_once(':')?;
            let two = |digits: &str| (digits.len() == 2).then(|| digits.parse::<i64>().ok()).flatten();
            let (hours, minutes) = (two(hours)?, two(minutes)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            sign * (hours * 3600 + minutes * 60)
        }
    };
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    Some(i128::from(seconds) * 1_000_000_000 + nanos)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar, for years from 0 on.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years start in March here, so that the leap day is the last.
    let years = if month <= 2 { year - 1 } else { year };
    let months = (month + 9) % 12;
    let leap_days = years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400);
    years * 365 + leap_days + (months * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
#[path = "leaf_tests.rs"]
mod tests;
