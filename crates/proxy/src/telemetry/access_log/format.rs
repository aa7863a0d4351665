//! A text format, compiled.

use super::entry::Entry;
use super::kept::Source;
use super::operator::Operator;
use amime_model::access_log;
use amime_model::route::template::Segment;

/// What Envoy prints where there is no value.
const NOTHING: &str = "-";

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Format(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Text(String),
    Value { operator: Operator, max_length: Option<usize> },
}

impl Format {
    pub(super) fn compile(format: &str, sources: &mut Vec<Source>) -> Self {
        let part = |segment| match segment {
            Segment::Text(text) => Part::Text(text),
            Segment::Command(command) => {
                Part::Value { operator: Operator::of(&command, sources), max_length: command.max_length }
            }
        };
        Self(access_log::segments(format).into_iter().map(part).collect())
    }

    /// The one value that the format is, where it is nothing else.
    pub(super) fn only(&self) -> Option<(&Operator, Option<usize>)> {
        match self.0.as_slice() {
            [Part::Value { operator, max_length }] => Some((operator, *max_length)),
            _ => None,
        }
    }

    pub(super) fn write(&self, entry: &Entry<'_>, out: &mut String) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value { operator, max_length } => {
                    if value(operator, *max_length, entry, out).is_none() {
                        out.push_str(NOTHING);
                    }
                }
            }
        }
    }
}

/// Appends a value, cut to its length.
pub(super) fn value(operator: &Operator, max_length: Option<usize>, entry: &Entry<'_>, out: &mut String) -> Option<()> {
    let begin = out.len();
    operator.write(entry, out)?;
    if let Some(end) = max_length.map(|length| begin + length).filter(|end| *end < out.len()) {
        let end = (begin..=end).rev().find(|end| out.is_char_boundary(*end)).unwrap_or(begin);
        out.truncate(end);
    }
    Some(())
}
