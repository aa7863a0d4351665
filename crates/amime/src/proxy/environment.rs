//! The environment as a value, so that what is read from it can be tested. `identity` and `settings` read it.

use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

/// Variables by name; empty ones count as absent, as Istio's agent takes them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Of this process; what is not UTF-8 is left out.
    pub(crate) fn of_process() -> Self {
        let pairs = std::env::vars_os();
        pairs.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Variables whose names start so, without that start.
    pub(super) fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let all = self.0.iter();
        all.filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
            .filter(|(name, _)| !name.is_empty())
    }

    /// A variable read as something; an error names it and what would be right.
    pub(super) fn parsed<T: FromStr>(&self, name: &str, expected: &str) -> anyhow::Result<Option<T>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.trim().parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => bail!("{name}={text}: {expected}"),
        }
    }

    /// `true` or `false`, as Go's ParseBool reads them.
    pub(super) fn flag(&self, name: &str) -> anyhow::Result<Option<bool>> {
        Ok(match self.get(name) {
            None => None,
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Some(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Some(false),
            Some(other) => bail!("{name}={other}: write true or false"),
        })
    }

    /// A duration as Go writes it.
    pub(super) fn duration(&self, name: &str) -> anyhow::Result<Option<Duration>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let duration = go_duration(text).with_context(|| format!("{name}={text}: write a duration, as 5s or 1m30s"))?;
        Ok(Some(duration))
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> Self {
        Self(pairs.into_iter().collect())
    }
}

/// `1m30s`, `1.5h`, `300ms`; None where it is none, or negative.
fn go_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] =
        [("ms", 1e-3), ("us", 1e-6), ("µs", 1e-6), ("ns", 1e-9), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let (unit, factor) = UNITS.into_iter().find(|(unit, _)| rest[digits..].starts_with(unit))?;
        seconds += number * factor;
        rest = &rest[digits + unit.len()..];
    }
    (!text.trim().is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_go_s() {
        for (text, milliseconds) in [("5s", 5000), ("1m30s", 90_000), ("1.5h", 5_400_000), ("300ms", 300), ("0", 0)] {
            assert_eq!(go_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "-1s", "s", "5 s", "five"] {
            assert_eq!(go_duration(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let environment: Environment =
            [("A".to_owned(), "x".to_owned()), ("B".to_owned(), String::new())].into_iter().collect();
        assert_eq!(environment.flag("A").unwrap_err().to_string(), "A=x: write true or false");
        assert!(environment.duration("A").unwrap_err().to_string().starts_with("A=x: "));
        assert_eq!(environment.parsed::<u16>("B", "write a port").unwrap(), None);
    }
}
