//! A JSON format, compiled. A string that is one command alone has that command's type: numbers are numbers, and
//! what has no value is null.

use super::entry::Entry;
use super::format::{Format, value};
use super::kept::Source;
use serde_json::{Map, Value};
use std::fmt::Write;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Format(Format),
    /// Written as it is.
    Fixed(String),
    List(Vec<Node>),
    /// With their names as JSON writes them.
    Fields(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn compile(fields: &Map<String, Value>, sources: &mut Vec<Source>) -> Self {
        // Envoy prints them in the order of their names.
        let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
        fields.sort_unstable_by_key(|(name, _)| *name);
        let field = |(name, value): (&String, &Value)| (Value::from(name.as_str()).to_string(), of(value, sources));
        Self::Fields(fields.into_iter().map(field).collect())
    }

    pub(super) fn write(&self, entry: &Entry<'_>, out: &mut String) {
        match self {
            Self::Fixed(text) => out.push_str(text),
            Self::Format(format) => string(format, entry, out),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(entry, out);
                }
                out.push(']');
            }
            Self::Fields(fields) => {
                out.push('{');
                for (index, (name, value)) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    out.push_str(name);
                    out.push(':');
                    value.write(entry, out);
                }
                out.push('}');
            }
        }
    }
}

fn of(value: &Value, sources: &mut Vec<Source>) -> Node {
    match value {
        Value::String(format) => Node::Format(Format::compile(format, sources)),
        Value::Array(items) => Node::List(items.iter().map(|item| of(item, sources)).collect()),
        Value::Object(fields) => Node::compile(fields, sources),
        Value::Null | Value::Bool(_) | Value::Number(_) => Node::Fixed(value.to_string()),
    }
}

fn string(format: &Format, entry: &Entry<'_>, out: &mut String) {
    let mut text = String::new();
    match format.only() {
        Some((operator, max_length)) => {
            if value(operator, max_length, entry, &mut text).is_none() {
                return out.push_str("null");
            }
            if operator.is_number() {
                return out.push_str(&text);
            }
        }
        None => format.write(entry, &mut text),
    }
    quote(&text, out);
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Writing to a string does not fail.
            c if c.is_control() => drop(write!(out, "\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}
