//! google.protobuf.Struct, with its fields in order, and its way to and from JSON.

use prost::{Message, Oneof};
use serde_json::{Map, Number, Value as Json};
use std::collections::BTreeMap;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    pub fields: BTreeMap<String, Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Value {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Kind {
    /// google.protobuf.NullValue, whose one value is 0.
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    String(String),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(message, tag = "5")]
    Struct(Struct),
    #[prost(message, tag = "6")]
    List(List),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct List {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

/// None where the value is not an object.
pub(crate) fn from_json(value: &Json) -> Option<Struct> {
    let fields = value.as_object()?.iter();
    Some(Struct { fields: fields.map(|(k, v)| (k.clone(), value_of(v))).collect() })
}

fn value_of(value: &Json) -> Value {
    let kind = match value {
        Json::Null => Kind::Null(0),
        Json::Bool(value) => Kind::Bool(*value),
        Json::Number(value) => Kind::Number(value.as_f64().unwrap_or_default()),
        Json::String(value) => Kind::String(value.clone()),
        Json::Array(values) => Kind::List(List { values: values.iter().map(value_of).collect() }),
        Json::Object(_) => Kind::Struct(from_json(value).unwrap_or_default()),
    };
    Value { kind: Some(kind) }
}

pub(crate) fn to_json(value: &Struct) -> Json {
    let fields = value.fields.iter();
    Json::Object(fields.map(|(k, v)| (k.clone(), json_of(v))).collect::<Map<_, _>>())
}

fn json_of(value: &Value) -> Json {
    match &value.kind {
        None | Some(Kind::Null(_)) => Json::Null,
        Some(Kind::Bool(value)) => Json::Bool(*value),
        // A whole number stays one: protobuf knows doubles only.
        Some(Kind::Number(value)) if value.fract() == 0.0 && value.abs() < 9e15 => {
            Json::Number(Number::from(*value as i64))
        }
        Some(Kind::Number(value)) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
        Some(Kind::String(value)) => Json::String(value.clone()),
        Some(Kind::Struct(value)) => to_json(value),
        Some(Kind::List(list)) => Json::Array(list.values.iter().map(json_of).collect()),
    }
}
