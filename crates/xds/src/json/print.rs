//! A message as JSON, by protobuf's rules with the fields' own names.

use super::{any, pool, well_known};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, ReflectMessage, Value as Field};
use serde_json::{Map, Number, Value};

/// Deeper messages are cut off: each `Any` begins a message of its own, so that bytes could nest without end.
pub(super) const MOST_DEEP: u32 = 100;

pub(super) const REDACTED: &str = "[redacted]";

pub(super) struct Printer {
    /// What is sensitive is not shown.
    pub redact: bool,
}

/// Where in the whole a message stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    pub depth: u32,
    /// It is inside of a sensitive field.
    hidden: bool,
}

impl Sight {
    pub(super) fn open() -> Self {
        Self { depth: 0, hidden: false }
    }

    pub(super) fn deeper(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

impl Printer {
    pub(super) fn message(&self, message: &DynamicMessage, sight: Sight) -> Value {
        if sight.depth > MOST_DEEP {
            return Value::String("nested too deep to be shown".into());
        }
        let descriptor = message.descriptor();
        if descriptor.full_name() == any::NAME {
            return any::print(self, message, sight);
        }
        if !sight.hidden
            && let Some(value) = well_known::print(message)
        {
            return value;
        }
        let fields = message
            .fields()
            .filter_map(|(field, value)| Some((field.name().to_owned(), self.field(&field, value, sight)?)));
        Value::Object(fields.collect())
    }

    /// None for what is sensitive and has no form that says so.
    fn field(&self, field: &FieldDescriptor, value: &Field, sight: Sight) -> Option<Value> {
        let hidden = sight.hidden || (self.redact && pool::is_sensitive(field));
        self.value(&field.kind(), value, Sight { hidden, ..sight.deeper() })
    }

    fn value(&self, kind: &Kind, value: &Field, sight: Sight) -> Option<Value> {
        Some(match value {
            Field::Message(message) => self.message(message, sight),
            Field::List(values) => values.iter().map(|v| self.value(kind, v, sight)).collect::<Option<_>>()?,
            Field::Map(entries) => {
                let kind = kind.as_message()?.map_entry_value_field().kind();
                let entry = |(key, value)| Some((map_key(key), self.value(&kind, value, sight)?));
                Value::Object(entries.iter().map(entry).collect::<Option<Map<_, _>>>()?)
            }
            Field::String(_) if sight.hidden => REDACTED.into(),
            Field::Bytes(_) if sight.hidden => STANDARD.encode(REDACTED).into(),
            _ if sight.hidden => return None,
            Field::Bool(value) => (*value).into(),
            Field::I32(value) => (*value).into(),
            Field::U32(value) => (*value).into(),
            // A reader of JSON may know numbers as doubles only.
            Field::I64(value) => value.to_string().into(),
            Field::U64(value) => value.to_string().into(),
            // The shortest decimal number that is read as this one, not that of its double.
            Field::F32(value) => value.to_string().parse().map_or(Value::Null, double),
            Field::F64(value) => double(*value),
            Field::String(value) => value.as_str().into(),
            Field::Bytes(value) => STANDARD.encode(value).into(),
            Field::EnumNumber(number) => kind.as_enum().map_or(Value::Null, |e| enum_value(e, *number)),
        })
    }
}

fn enum_value(kind: &EnumDescriptor, number: i32) -> Value {
    if kind.full_name() == "google.protobuf.NullValue" {
        return Value::Null;
    }
    kind.get_value(number).map_or_else(|| number.into(), |value| value.name().into())
}

pub(super) fn double(value: f64) -> Value {
    // A whole number is written as one.
    if value.fract() == 0.0 && value.abs() < 9e15 {
        return Value::Number(Number::from(value as i64));
    }
    if value.is_nan() {
        return "NaN".into();
    }
    let infinity = if value > 0.0 { "Infinity" } else { "-Infinity" };
    Number::from_f64(value).map_or_else(|| infinity.into(), Value::Number)
}

fn map_key(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}
