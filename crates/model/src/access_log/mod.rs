//! Formats of access logs: Envoy's text with commands in it, alone or as the strings of a JSON object.
//!
//! `translate` makes them of MeshConfig, its validation names what is wrong in one, and the proxy writes by them.

pub mod istio;

use crate::route::template::{Segment, Template};
use serde_json::{Map, Value};

/// A format without the commands that Envoy does not know: it would refuse the whole listener for one. They print
/// `-`, as those do that have no value.
pub fn without_unknown(format: &str) -> String {
    Template::parse_known(format).0.to_string()
}

/// The same for every string of a JSON format.
pub fn fields_without_unknown(mut fields: Map<String, Value>) -> Map<String, Value> {
    fields.values_mut().for_each(clean);
    fields
}

fn clean(value: &mut Value) {
    match value {
        Value::String(format) => *format = without_unknown(format),
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::Object(fields) => fields.values_mut().for_each(clean),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What is wrong in a text format.
pub fn problems(format: &str) -> Vec<String> {
    Template::parse_known(format).1
}

/// What is wrong in a JSON format; an error where it is none.
pub fn json_problems(format: &str) -> Result<Vec<String>, String> {
    let fields: Map<String, Value> = serde_json::from_str(format).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    fields.values().for_each(|value| collect(value, &mut found));
    Ok(found)
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(format) => found.extend(problems(format)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => fields.values().for_each(|value| collect(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The parts of a format, for who writes by it.
pub fn segments(format: &str) -> Vec<Segment> {
    Template::parse_known(format).0.into_segments()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_commands_print_nothing() {
        assert_eq!(without_unknown("a %PROTOCOL% %NO_SUCH(x)% 5%%"), "a %PROTOCOL% - 5%%");
        assert_eq!(
            problems("%NO_SUCH% 50% off"),
            ["%NO_SUCH% is no command that Envoy knows", "a percent sign of its own is written %%"]
        );
        assert_eq!(without_unknown("50% off"), "50%% off");
        assert!(problems(istio::TEXT).is_empty());
        assert_eq!(without_unknown(istio::TEXT), istio::TEXT);
    }

    #[test]
    fn in_json_too() {
        let fields = serde_json::json!({ "a": "%NO_SUCH%", "b": { "c": ["%PROTOCOL%", 5] } });
        let Value::Object(fields) = fields else { unreachable!() };
        assert_eq!(
            Value::Object(fields_without_unknown(fields.clone())),
            serde_json::json!({ "a": "-", "b": { "c": ["%PROTOCOL%", 5] } })
        );
        let text = Value::Object(fields).to_string();
        assert_eq!(json_problems(&text).unwrap(), ["%NO_SUCH% is no command that Envoy knows"]);
        assert!(json_problems("[]").is_err());
        assert!(json_problems(&Value::Object(istio::json()).to_string()).unwrap().is_empty());
    }
}
