//! `google.protobuf.Any`: its message as JSON beside its `@type`.
//!
//! A message that cannot be shown (of a type that the descriptors do not have, or not valid) is shown as its
//! bytes under `@bytes`, a name that no field has. The other way round, JSON of a type without a descriptor
//! (Istio's own filters in a real Envoy's dump) is kept as the text of that JSON in the place of the bytes:
//! no message begins with `{`, for that byte opens a group, which proto3 does not have.

use super::bytes::{Wire, tag};
use super::parse::Parser;
use super::print::{Printer, Sight};
use super::{pool, well_known};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{DynamicMessage, ReflectMessage, Value as Field};
use serde_json::{Map, Value};

pub(super) const NAME: &str = "google.protobuf.Any";

pub(super) const TYPE: &str = "@type";
const BYTES: &str = "@bytes";
/// Where a message that has a JSON form of its own stands in an `Any`.
const VALUE: &str = "value";

pub(super) fn print(printer: &Printer, any: &DynamicMessage, sight: Sight) -> Value {
    let type_url = any.get_field_by_number(1);
    let bytes = any.get_field_by_number(2);
    let type_url = type_url.as_deref().and_then(Field::as_str).unwrap_or_default();
    let bytes = bytes.as_deref().and_then(Field::as_bytes).map(|b| b.as_ref()).unwrap_or_default();
    let message = pool::message(type_url).and_then(|d| DynamicMessage::decode(d, bytes).ok());
    let mut object = match message {
        Some(message) => match printer.message(&message, sight.deeper()) {
            Value::Object(fields) if !well_known::is_special(message.descriptor().full_name()) => fields,
            special => Map::from_iter([(VALUE.to_owned(), special)]),
        },
        None if bytes.is_empty() => Map::new(),
        None => match kept_text(bytes) {
            Some(fields) => fields,
            None => Map::from_iter([(BYTES.to_owned(), STANDARD.encode(bytes).into())]),
        },
    };
    if !type_url.is_empty() {
        object.insert(TYPE.to_owned(), type_url.into());
    }
    Value::Object(object)
}

/// What [`parse`] kept of a type that it did not know.
fn kept_text(bytes: &[u8]) -> Option<Map<String, Value>> {
    if bytes.first() != Some(&b'{') {
        return None;
    }
    let fields: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    let own = fields.contains_key(TYPE) || fields.contains_key(BYTES);
    let same = serde_json::to_vec(&fields).is_ok_and(|text| text == bytes);
    (same && !own).then_some(fields)
}

/// The bytes of the `Any` itself.
pub(super) fn parse(parser: &mut Parser, value: &Value) -> Vec<u8> {
    let mut wire = Vec::new();
    let Some(object) = value.as_object() else {
        parser.problem("not an object");
        return wire;
    };
    let type_url = match object.get(TYPE) {
        Some(Value::String(url)) => url.as_str(),
        None if object.is_empty() => return wire,
        _ => {
            parser.problem("has no @type");
            return wire;
        }
    };
    let bytes = if let Some(Value::String(text)) = object.get(BYTES) {
        STANDARD.decode(text).unwrap_or_else(|_| {
            parser.problem("@bytes is not base64");
            Vec::new()
        })
    } else {
        match pool::message(type_url) {
            Some(d) if well_known::is_special(d.full_name()) => {
                parser.within(VALUE, |p| p.message(&d, object.get(VALUE).unwrap_or(&Value::Null)))
            }
            Some(descriptor) => parser.message(&descriptor, value),
            None => {
                parser.problem(format!("{type_url} is not known here, and kept as it is"));
                text_to_keep(object)
            }
        }
    };
    wire.field(tag::ANY_TYPE_URL, type_url.as_bytes());
    if !bytes.is_empty() {
        wire.field(tag::ANY_VALUE, &bytes);
    }
    wire
}

fn text_to_keep(object: &Map<String, Value>) -> Vec<u8> {
    let mut fields = object.clone();
    fields.remove(TYPE);
    if fields.is_empty() {
        return Vec::new();
    }
    serde_json::to_vec(&fields).unwrap_or_default()
}
