//! What a decoder passed over: fields of a message that are gone when what was read is encoded again.

use super::{Unreadable, to_json};
use crate::ResourceType;
use serde_json::Value;

/// The fields of `before` that `after` does not have, each by the path of its outermost part. A field that
/// is there with another value was understood and is written otherwise.
pub(super) fn fields(kind: ResourceType, before: &[u8], after: &[u8]) -> Vec<Unreadable> {
    let (Ok(before), Ok(after)) = (to_json(kind.type_url(), before), to_json(kind.type_url(), after)) else {
        return Vec::new();
    };
    let mut gone = Vec::new();
    compare(&mut String::new(), &before, &after, &mut gone);
    gone
}

fn compare(path: &mut String, before: &Value, after: &Value, gone: &mut Vec<Unreadable>) {
    let length = path.len();
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                if length > 0 {
                    path.push('.');
                }
                path.push_str(key);
                match after.get(key) {
                    Some(other) => compare(path, value, other, gone),
                    None if says_nothing(value) || is_default(key, value) => {}
                    None if key == "inline_string" && after.contains_key("inline_bytes") => {}
                    None => gone.push(Unreadable { path: path.clone(), problem: "not looked at".into() }),
                }
                path.truncate(length);
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            for (index, value) in before.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                match after.get(index) {
                    Some(other) => compare(path, value, other, gone),
                    None => gone.push(Unreadable { path: path.clone(), problem: "not looked at".into() }),
                }
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// What is empty, zero or false is as good as absent.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.iter().all(says_nothing),
        Value::Object(fields) => fields.values().all(says_nothing),
        Value::Bool(true) => false,
    }
}

/// What is written out though Envoy has it so by default.
fn is_default(key: &str, value: &Value) -> bool {
    match key {
        "load_balancing_weight" => *value == 1,
        "case_sensitive" => *value == true,
        "overprovisioning_factor" => *value == 140,
        _ => false,
    }
}
