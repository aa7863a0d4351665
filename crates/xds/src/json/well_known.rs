//! The messages that have a JSON form of their own: durations, times, wrappers, field masks and JSON itself.

use super::bytes::{Wire, tag};
use super::parse::{Parser, brief, double};
use super::print::double as print_double;
use prost_reflect::{DynamicMessage, MapKey, MessageDescriptor, ReflectMessage, Value as Field};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const PACKAGE: &str = "google.protobuf.";

const NANOS: i128 = 1_000_000_000;

/// What protobuf allows as a duration: some 10,000 years either way.
const LONGEST: i64 = 315_576_000_000;

pub(super) fn is_special(name: &str) -> bool {
    name.strip_prefix(PACKAGE).is_some_and(|name| {
        is_wrapper(name) || matches!(name, "Duration" | "Timestamp" | "FieldMask" | "Struct" | "Value" | "ListValue")
    })
}

fn is_wrapper(name: &str) -> bool {
    matches!(
        name,
        "DoubleValue"
            | "FloatValue"
            | "Int64Value"
            | "UInt64Value"
            | "Int32Value"
            | "UInt32Value"
            | "BoolValue"
            | "StringValue"
            | "BytesValue"
    )
}

/// None for messages that have no form of their own.
pub(super) fn print(message: &DynamicMessage) -> Option<Value> {
    let descriptor = message.descriptor();
    let name = descriptor.full_name().strip_prefix(PACKAGE)?;
    Some(match name {
        "Duration" => print_duration(message),
        "Timestamp" => print_timestamp(message),
        "FieldMask" => message
            .get_field_by_number(tag::ONLY)?
            .as_list()?
            .iter()
            .filter_map(Field::as_str)
            .collect::<Vec<_>>()
            .join(",")
            .into(),
        "Struct" => print_struct(message),
        "Value" => print_value(message),
        "ListValue" => print_list(message),
        name if is_wrapper(name) => print_wrapped(&*message.get_field_by_number(tag::ONLY)?),
        _ => return None,
    })
}

fn print_wrapped(value: &Field) -> Value {
    use base64::Engine;
    match value {
        Field::Bool(value) => (*value).into(),
        Field::I32(value) => (*value).into(),
        Field::U32(value) => (*value).into(),
        Field::I64(value) => value.to_string().into(),
        Field::U64(value) => value.to_string().into(),
        Field::F32(value) => value.to_string().parse().map_or(Value::Null, print_double),
        Field::F64(value) => print_double(*value),
        Field::String(value) => value.as_str().into(),
        Field::Bytes(value) => base64::engine::general_purpose::STANDARD.encode(value).into(),
        _ => Value::Null,
    }
}

fn seconds_and_nanos(message: &DynamicMessage) -> (i64, i32) {
    let seconds = message.get_field_by_number(tag::SECONDS).and_then(|v| v.as_i64());
    let nanos = message.get_field_by_number(tag::NANOS).and_then(|v| v.as_i32());
    (seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

/// `5s`, `0.500s`: no digits after the point, or three, six or nine.
fn print_duration(message: &DynamicMessage) -> Value {
    let (seconds, nanos) = seconds_and_nanos(message);
    let minus = if seconds < 0 || nanos < 0 { "-" } else { "" };
    let (seconds, nanos) = (seconds.unsigned_abs(), nanos.unsigned_abs());
    let text = if nanos == 0 {
        format!("{minus}{seconds}s")
    } else if nanos % 1_000_000 == 0 {
        format!("{minus}{seconds}.{:03}s", nanos / 1_000_000)
    } else if nanos % 1_000 == 0 {
        format!("{minus}{seconds}.{:06}s", nanos / 1_000)
    } else {
        format!("{minus}{seconds}.{nanos:09}s")
    };
    text.into()
}

fn print_timestamp(message: &DynamicMessage) -> Value {
    let (seconds, nanos) = seconds_and_nanos(message);
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(seconds) * NANOS + i128::from(nanos));
    time.ok().and_then(|t| t.format(&Rfc3339).ok()).map_or(Value::Null, Value::String)
}

fn print_struct(message: &DynamicMessage) -> Value {
    let fields = message.get_field_by_number(tag::ONLY);
    let Some(fields) = fields.as_deref().and_then(Field::as_map) else { return Value::Object(Map::new()) };
    let entries = fields.iter().filter_map(|(key, value)| match key {
        MapKey::String(key) => Some((key.clone(), value.as_message().map_or(Value::Null, print_value))),
        _ => None,
    });
    Value::Object(entries.collect())
}

fn print_list(message: &DynamicMessage) -> Value {
    let values = message.get_field_by_number(tag::ONLY);
    let values = values.as_deref().and_then(Field::as_list).unwrap_or_default();
    values.iter().map(|v| v.as_message().map_or(Value::Null, print_value)).collect()
}

fn print_value(message: &DynamicMessage) -> Value {
    let Some((_, value)) = message.fields().next() else { return Value::Null };
    match value {
        Field::F64(value) => print_double(*value),
        Field::String(value) => value.as_str().into(),
        Field::Bool(value) => (*value).into(),
        Field::Message(message) if message.descriptor().name() == "Struct" => print_struct(message),
        Field::Message(message) => print_list(message),
        _ => Value::Null,
    }
}

/// The bytes of a message that [`is_special`].
pub(super) fn parse(parser: &mut Parser, descriptor: &MessageDescriptor, value: &Value) -> Vec<u8> {
    let mut wire = Vec::new();
    match descriptor.name() {
        "Duration" | "Timestamp" => {
            let read = if descriptor.name() == "Duration" { parse_duration } else { parse_timestamp };
            match value.as_str().and_then(read) {
                Some((seconds, nanos)) => {
                    if seconds != 0 {
                        wire.number(tag::SECONDS, seconds as u64);
                    }
                    if nanos != 0 {
                        wire.number(tag::NANOS, i64::from(nanos) as u64);
                    }
                }
                None => parser.problem(format!("{} is no {}", brief(value), descriptor.name().to_lowercase())),
            }
        }
        "FieldMask" => match value.as_str() {
            Some(paths) => paths.split(',').filter(|p| !p.is_empty()).for_each(|p| wire.field(tag::ONLY, p.as_bytes())),
            None => parser.problem(format!("{} is no list of fields", brief(value))),
        },
        "Struct" => match value.as_object() {
            Some(object) => wire = parse_struct(parser, object),
            None => parser.problem(format!("{} is no object", brief(value))),
        },
        "Value" => wire = parse_value(parser, value),
        "ListValue" => match value.as_array() {
            Some(values) => wire = parse_list(parser, values),
            None => parser.problem(format!("{} is no list", brief(value))),
        },
        _ => {
            if let Some(field) = descriptor.get_field(tag::ONLY) {
                parser.write(tag::ONLY, &field.kind(), value, false, &mut wire);
            }
        }
    }
    wire
}

/// Fields of google.protobuf.Value.
mod kind {
    pub(super) const NULL: u32 = 1;
    pub(super) const NUMBER: u32 = 2;
    pub(super) const STRING: u32 = 3;
    pub(super) const BOOL: u32 = 4;
    pub(super) const STRUCT: u32 = 5;
    pub(super) const LIST: u32 = 6;
}

fn parse_struct(parser: &mut Parser, object: &Map<String, Value>) -> Vec<u8> {
    let mut wire = Vec::new();
    for (key, value) in object {
        let mut entry = Vec::new();
        entry.field(tag::KEY, key.as_bytes());
        entry.field(tag::VALUE, &parse_value(parser, value));
        wire.field(tag::ONLY, &entry);
    }
    wire
}

fn parse_list(parser: &mut Parser, values: &[Value]) -> Vec<u8> {
    let mut wire = Vec::new();
    for value in values {
        wire.field(tag::ONLY, &parse_value(parser, value));
    }
    wire
}

fn parse_value(parser: &mut Parser, value: &Value) -> Vec<u8> {
    use super::bytes::WireType;
    let mut wire = Vec::new();
    match value {
        Value::Null => wire.number(kind::NULL, 0),
        Value::Bool(value) => wire.number(kind::BOOL, (*value).into()),
        Value::Number(_) => {
            wire.key(kind::NUMBER, WireType::Eight);
            wire.extend(double(value).unwrap_or_default().to_le_bytes());
        }
        Value::String(text) => wire.field(kind::STRING, text.as_bytes()),
        Value::Object(object) => wire.field(kind::STRUCT, &parser.deeper(|p| parse_struct(p, object))),
        Value::Array(values) => wire.field(kind::LIST, &parser.deeper(|p| parse_list(p, values))),
    }
    wire
}

fn parse_duration(text: &str) -> Option<(i64, i32)> {
    let text = text.strip_suffix('s')?;
    let (minus, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let seconds = whole.parse().ok().filter(|s: &i64| *s <= LONGEST)?;
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    Some(if minus { (-seconds, -nanos) } else { (seconds, nanos) })
}

fn parse_timestamp(text: &str) -> Option<(i64, i32)> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some((time.unix_timestamp(), time.nanosecond() as i32))
}
