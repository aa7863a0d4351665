//! A node back to text: flow style on one line, which `parse` reads to an equal tree. Saved objects are kept so.

use super::{Node, Resolved, Scalar, View};
use std::fmt::Write;

impl Node<'_> {
    /// The node as one line of YAML; without comments, anchors and the way it was written.
    pub fn to_flow(self) -> String {
        let mut out = String::new();
        write(self, &mut out);
        out
    }
}

fn write(node: Node<'_>, out: &mut String) {
    match node.view() {
        View::Scalar(scalar) => write_scalar(scalar, out),
        View::Sequence(items) => {
            out.push('[');
            for (index, item) in items.enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write(item, out);
            }
            out.push(']');
        }
        View::Mapping(entries) => {
            out.push('{');
            for (index, (key, value)) in entries.enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write(key, out);
                out.push_str(": ");
                write(value, out);
            }
            out.push('}');
        }
    }
}

fn write_scalar(scalar: Scalar<'_>, out: &mut String) {
    match scalar.resolve() {
        Resolved::Null => out.push_str("null"),
        // A number keeps its spelling, for some fields are read as text.
        Resolved::Bool(_) | Resolved::Int(_) | Resolved::Float(_) => out.push_str(scalar.text),
        Resolved::Str => quote(scalar.text, out),
    }
}

/// In double quotes, with YAML's escapes.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            // Line ends and what is not printed; writing into a String cannot fail.
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            _ => out.push(char),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use crate::yaml::parse;

    fn flow(text: &str) -> String {
        let parsed = parse(&"a.yaml".into(), text);
        parsed.documents[0].root().to_flow()
    }

    #[test]
    fn what_is_written_is_read_to_the_same() {
        for (text, expected) in [
            ("a: 1\nb: '1'\nc: [yes, \"no\", ~]\n", "{\"a\": 1, \"b\": \"1\", \"c\": [yes, \"no\", null]}"),
            ("a: |\n  x: \"y\"\n  z\n", "{\"a\": \"x: \\\"y\\\"\\nz\\n\"}"),
            ("base: &b {x: 0x1F}\nc: *b\n", "{\"base\": {\"x\": 0x1F}, \"c\": {\"x\": 0x1F}}"),
            ("{}", "{}"),
            ("a: \"\\u0000\\u2028é\\\\\"", "{\"a\": \"\\u0000\\u2028é\\\\\"}"),
        ] {
            assert_eq!(flow(text), expected);
            assert_eq!(flow(expected), expected, "again");
        }
    }
}
