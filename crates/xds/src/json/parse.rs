//! JSON as a message's bytes. Total: what is not understood is left out and named.

use super::bytes::{Wire, WireType, tag};
use super::{Unreadable, any, print, well_known};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};
use std::fmt::Write;

#[derive(Debug, Default)]
pub(super) struct Parser {
    pub problems: Vec<Unreadable>,
    /// Of what is being read.
    path: String,
    depth: u32,
}

/// A value that is no message, as it is written.
struct Scalar {
    kind: WireType,
    body: Vec<u8>,
    /// Zero, false or empty: not written where the field cannot tell that from being absent.
    default: bool,
}

impl Parser {
    pub(super) fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(Unreadable { path: self.path.clone(), problem: problem.into() });
    }

    /// Reads something below a name: `.name` is on the path meanwhile.
    pub(super) fn within<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if length > 0 && !name.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(name);
        let value = read(self);
        self.path.truncate(length);
        value
    }

    /// As [`Parser::within`], of the element of a list.
    pub(super) fn element<T>(&mut self, index: usize, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        // Writing to a string does not fail.
        let _ = write!(self.path, "[{index}]");
        let value = read(self);
        self.path.truncate(length);
        value
    }

    /// Reads what is one level further inside; nothing where that is too deep.
    pub(super) fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Vec<u8>) -> Vec<u8> {
        if self.depth > print::MOST_DEEP {
            self.problem("nested too deep");
            return Vec::new();
        }
        self.depth += 1;
        let body = read(self);
        self.depth -= 1;
        body
    }

    pub(super) fn message(&mut self, descriptor: &MessageDescriptor, value: &Value) -> Vec<u8> {
        self.deeper(|p| {
            if descriptor.full_name() == any::NAME {
                any::parse(p, value)
            } else if well_known::is_special(descriptor.full_name()) {
                well_known::parse(p, descriptor, value)
            } else if let Some(object) = value.as_object() {
                p.fields(descriptor, object)
            } else {
                p.problem(format!("not an object ({})", descriptor.name()));
                Vec::new()
            }
        })
    }

    fn fields(&mut self, descriptor: &MessageDescriptor, object: &Map<String, Value>) -> Vec<u8> {
        let mut fields = Vec::new();
        for (name, value) in object {
            let field = descriptor.get_field_by_name(name).or_else(|| descriptor.get_field_by_json_name(name));
            match field {
                Some(field) => {
                    let body = self.within(name, |p| p.field(&field, value));
                    fields.push((field.number(), body));
                }
                None if name == any::TYPE => {}
                None => self.within(name, |p| p.problem(format!("{} has no such field", descriptor.name()))),
            }
        }
        // As generated code writes them: equal messages are equal bytes.
        fields.sort_by_key(|(number, _)| *number);
        fields.into_iter().flat_map(|(_, body)| body).collect()
    }

    fn field(&mut self, field: &FieldDescriptor, value: &Value) -> Vec<u8> {
        let mut wire = Vec::new();
        if value.is_null() && !takes_null(&field.kind()) {
            return wire;
        }
        match value {
            Value::Object(entries) if field.is_map() => self.map(field, entries, &mut wire),
            Value::Array(values) if field.is_list() => self.list(field, values, &mut wire),
            _ if field.is_map() => self.problem("not an object"),
            _ if field.is_list() => self.problem("not a list"),
            _ => {
                let presence = field.supports_presence();
                self.write(field.number(), &field.kind(), value, presence, &mut wire);
            }
        }
        wire
    }

    fn map(&mut self, field: &FieldDescriptor, entries: &Map<String, Value>, wire: &mut Vec<u8>) {
        let Kind::Message(entry) = field.kind() else { return };
        let (key_kind, value_kind) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        for (key, value) in entries {
            self.within(key, |p| {
                let key = match key_kind {
                    Kind::Bool => Value::Bool(key == "true"),
                    _ => Value::String(key.clone()),
                };
                let mut body = Vec::new();
                p.write(tag::KEY, &key_kind, &key, false, &mut body);
                p.write(tag::VALUE, &value_kind, value, false, &mut body);
                wire.field(field.number(), &body);
            });
        }
    }

    fn list(&mut self, field: &FieldDescriptor, values: &[Value], wire: &mut Vec<u8>) {
        let kind = field.kind();
        if !field.is_packed() {
            for (index, value) in values.iter().enumerate() {
                self.element(index, |p| p.write(field.number(), &kind, value, true, wire));
            }
            return;
        }
        let mut packed = Vec::new();
        for (index, value) in values.iter().enumerate() {
            if let Some(scalar) = self.element(index, |p| p.scalar(&kind, value)) {
                packed.extend(scalar.body);
            }
        }
        if !packed.is_empty() {
            wire.field(field.number(), &packed);
        }
    }

    /// `presence`: also what is zero or empty.
    pub(super) fn write(&mut self, number: u32, kind: &Kind, value: &Value, presence: bool, wire: &mut Vec<u8>) {
        if let Kind::Message(descriptor) = kind {
            let body = self.message(descriptor, value);
            wire.field(number, &body);
            return;
        }
        let Some(scalar) = self.scalar(kind, value) else { return };
        if scalar.default && !presence {
            return;
        }
        wire.key(number, scalar.kind);
        if scalar.kind == WireType::Length {
            wire.varint(scalar.body.len() as u64);
        }
        wire.extend(scalar.body);
    }

    fn scalar(&mut self, kind: &Kind, value: &Value) -> Option<Scalar> {
        let scalar = match kind {
            Kind::Double => double(value).map(|v| fixed(WireType::Eight, &v.to_le_bytes())),
            Kind::Float => double(value).map(|v| fixed(WireType::Four, &(v as f32).to_le_bytes())),
            Kind::Int32 => int(value).and_then(|v| i32::try_from(v).ok()).map(|v| varint(i64::from(v) as u64)),
            Kind::Int64 => int(value).and_then(|v| i64::try_from(v).ok()).map(|v| varint(v as u64)),
            Kind::Uint32 => int(value).and_then(|v| u32::try_from(v).ok()).map(|v| varint(v.into())),
            Kind::Uint64 => int(value).and_then(|v| u64::try_from(v).ok()).map(varint),
            Kind::Sint32 => int(value).and_then(|v| i32::try_from(v).ok()).map(|v| varint(zigzag(v.into()))),
            Kind::Sint64 => int(value).and_then(|v| i64::try_from(v).ok()).map(|v| varint(zigzag(v))),
            Kind::Fixed32 => {
                int(value).and_then(|v| u32::try_from(v).ok()).map(|v| fixed(WireType::Four, &v.to_le_bytes()))
            }
            Kind::Fixed64 => {
                int(value).and_then(|v| u64::try_from(v).ok()).map(|v| fixed(WireType::Eight, &v.to_le_bytes()))
            }
            Kind::Sfixed32 => {
                int(value).and_then(|v| i32::try_from(v).ok()).map(|v| fixed(WireType::Four, &v.to_le_bytes()))
            }
            Kind::Sfixed64 => {
                int(value).and_then(|v| i64::try_from(v).ok()).map(|v| fixed(WireType::Eight, &v.to_le_bytes()))
            }
            Kind::Bool => value.as_bool().map(|v| varint(v.into())),
            Kind::String => value.as_str().map(|v| text(v.as_bytes().to_vec())),
            Kind::Bytes => value.as_str().and_then(base64).map(text),
            Kind::Enum(kind) => enum_number(kind, value).map(|v| varint(i64::from(v) as u64)),
            Kind::Message(_) => None,
        };
        if scalar.is_none() {
            self.problem(format!("{} is no {}", brief(value), name_of(kind)));
        }
        scalar
    }
}

/// Whether null is a value here and not the absence of one.
fn takes_null(kind: &Kind) -> bool {
    match kind {
        Kind::Message(message) => message.full_name() == "google.protobuf.Value",
        _ => false,
    }
}

fn varint(value: u64) -> Scalar {
    let mut body = Vec::new();
    body.varint(value);
    Scalar { kind: WireType::Varint, default: value == 0, body }
}

fn fixed(kind: WireType, body: &[u8]) -> Scalar {
    Scalar { kind, default: body.iter().all(|b| *b == 0), body: body.to_vec() }
}

fn text(body: Vec<u8>) -> Scalar {
    Scalar { kind: WireType::Length, default: body.is_empty(), body }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// A whole number, written as one, as text, or as a decimal number without a fraction.
fn int(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from))
            .or_else(|| number.as_f64().filter(|v| v.fract() == 0.0 && v.abs() < 1e19).map(|v| v as i128)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

pub(super) fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok().filter(|v: &f64| v.is_finite()),
        },
        _ => None,
    }
}

fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

fn enum_number(kind: &EnumDescriptor, value: &Value) -> Option<i32> {
    match value {
        Value::String(name) => kind.get_value_by_name(name).map(|v| v.number()),
        Value::Null => Some(0),
        number => int(number).and_then(|v| i32::try_from(v).ok()),
    }
}

fn name_of(kind: &Kind) -> String {
    match kind {
        Kind::Enum(kind) => kind.name().to_owned(),
        Kind::Bytes => "base64".to_owned(),
        kind => format!("{kind:?}").to_lowercase(),
    }
}

/// A value, for a message: short, and its beginning where it is long.
pub(super) fn brief(value: &Value) -> String {
    const MOST: usize = 40;
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        value => {
            let text = value.to_string();
            match text.char_indices().nth(MOST) {
                Some((at, _)) => format!("{}…", &text[..at]),
                None => text,
            }
        }
    }
}
