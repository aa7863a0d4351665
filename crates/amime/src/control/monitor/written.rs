//! An object's document as JSON, without what must not be shown. `objects` prints it.

use amime_model::resource::{Kind, Object};
use amime_model::yaml::{Node, Resolved, View};
use serde_json::{Map, Number, Value};

const REDACTED: &str = "[redacted]";

/// kubectl keeps the whole object in it, a Secret's data too.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// As it was written; what nobody wrote has its name and labels alone.
pub(super) fn json(object: &Object) -> Map<String, Value> {
    let mut fields = match object.source.as_ref().map(|source| value(source.root(), 0)) {
        Some(Value::Object(fields)) => fields,
        _ => made_up(object),
    };
    if object.id.kind == Kind::Secret {
        redact(&mut fields);
    }
    fields
}

fn made_up(object: &Object) -> Map<String, Value> {
    let (group, version) = (object.id.kind.group(), object.id.kind.versions().first().copied().unwrap_or("v1"));
    let api = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let metadata = serde_json::json!({
        "name": *object.id.name,
        "namespace": *object.id.namespace,
        "labels": object.meta.labels,
    });
    Map::from_iter([
        ("apiVersion".to_owned(), api.into()),
        ("kind".to_owned(), object.id.kind.as_str().into()),
        ("metadata".to_owned(), metadata),
    ])
}

fn redact(fields: &mut Map<String, Value>) {
    for field in ["data", "stringData"] {
        match fields.get_mut(field) {
            Some(Value::Object(data)) => data.values_mut().for_each(|value| *value = REDACTED.into()),
            Some(other) if !other.is_null() => *other = REDACTED.into(),
            _ => {}
        }
    }
    if let Some(annotation) = fields.get_mut("metadata").and_then(|m| m.get_mut("annotations")?.get_mut(LAST_APPLIED)) {
        *annotation = REDACTED.into();
    }
}

/// What is nested deeper is no object that anybody wrote by hand.
const DEEPEST: usize = 64;

fn value(node: Node<'_>, depth: usize) -> Value {
    if depth > DEEPEST {
        return "[nested too deep]".into();
    }
    let value = |node| value(node, depth + 1);
    match node.view() {
        View::Mapping(entries) => {
            let mut fields = Map::new();
            for (key, entry) in entries {
                // Of a key that is given twice the first counts.
                fields.entry(key.key_text()).or_insert_with(|| value(entry));
            }
            fields.into()
        }
        View::Sequence(items) => items.map(value).collect(),
        View::Scalar(scalar) => match scalar.resolve() {
            Resolved::Null => Value::Null,
            Resolved::Bool(value) => value.into(),
            Resolved::Int(number) => Number::from_i128(number).map_or_else(|| scalar.text.into(), Value::Number),
            Resolved::Float(number) => Number::from_f64(number).map_or_else(|| scalar.text.into(), Value::Number),
            Resolved::Str => scalar.text.into(),
        },
    }
}
