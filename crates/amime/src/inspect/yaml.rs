//! JSON values as YAML, in block style, for `-o yaml`.

use serde_json::Value;

pub(super) fn render(value: &Value) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

/// A value on lines of its own, each indented.
fn block(value: &Value, indent: usize, text: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Array(values) if !values.is_empty() => {
            for value in values {
                text.push_str(&pad);
                text.push('-');
                if is_flat(value) {
                    text.push(' ');
                    flat(value, text);
                } else {
                    // The first line stands beside the dash.
                    let mut inner = String::new();
                    block(value, indent + 2, &mut inner);
                    text.push(' ');
                    text.push_str(&inner[indent + 2..]);
                }
            }
        }
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                text.push_str(&pad);
                text.push_str(&scalar(key));
                text.push(':');
                if is_flat(value) {
                    text.push(' ');
                    flat(value, text);
                } else {
                    text.push('\n');
                    let inner = if value.is_array() { indent } else { indent + 2 };
                    block(value, inner, text);
                }
            }
        }
        value => {
            text.push_str(&pad);
            flat(value, text);
        }
    }
}

fn is_flat(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => true,
    }
}

/// With the end of the line.
fn flat(value: &Value, text: &mut String) {
    match value {
        Value::String(value) => text.push_str(&scalar(value)),
        value => text.push_str(&value.to_string()),
    }
    text.push('\n');
}

/// Plain where every reader takes that for the same text, else quoted as in JSON, which is YAML too.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let plain = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./|+".contains(c))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { Value::from(text).to_string() }
}
