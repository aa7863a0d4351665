//! Field paths, as `spec.http[1].match[0].headers["x-user"].exact`: how diagnostics and origins name a field.
//!
//! A key that is not made of letters, digits, `_` and `-` stands in brackets and quotes, as JSON would quote it.

use std::fmt;

/// A path to a field, as a list that lives on the stack of whoever walks down a tree.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    segment: Segment<'a>,
}

/// One step of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment<'a> {
    Key(&'a str),
    Index(usize),
    /// Nowhere further: the start of a path.
    Start,
}

impl<'a> Path<'a> {
    pub const ROOT: Path<'static> = Path { parent: None, segment: Segment::Start };

    pub fn key(&'a self, key: &'a str) -> Path<'a> {
        Path { parent: Some(self), segment: Segment::Key(key) }
    }

    pub fn index(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), segment: Segment::Index(index) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else { return write_segment(f, self.segment, true) };
        parent.fmt(f)?;
        let first = parent.parent.is_none() && parent.segment == Segment::Start;
        write_segment(f, self.segment, first)
    }
}

fn write_segment(f: &mut fmt::Formatter<'_>, segment: Segment<'_>, first: bool) -> fmt::Result {
    match segment {
        Segment::Start => Ok(()),
        Segment::Index(index) => write!(f, "[{index}]"),
        Segment::Key(key) if is_plain(key) => write!(f, "{}{key}", if first { "" } else { "." }),
        Segment::Key(key) => {
            f.write_str("[\"")?;
            for character in key.chars() {
                if matches!(character, '"' | '\\') {
                    f.write_str("\\")?;
                }
                fmt::Write::write_char(f, character)?;
            }
            f.write_str("\"]")
        }
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// A step of a path that was read from text; a key may own its unescaped form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// Reads a path; what cannot be read ends it.
pub(super) fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let mut key = String::new();
            let mut characters = quoted.char_indices();
            let mut end = None;
            while let Some((at, character)) = characters.next() {
                match character {
                    '"' => {
                        end = Some(at + 1);
                        break;
                    }
                    '\\' => key.extend(characters.next().map(|(_, escaped)| escaped)),
                    other => key.push(other),
                }
            }
            let Some(end) = end else { break };
            steps.push(Step::Key(key));
            rest = quoted[end..].strip_prefix(']').unwrap_or("");
        } else if let Some(bracket) = rest.strip_prefix('[') {
            let Some((index, after)) = bracket.split_once(']') else { break };
            let Ok(index) = index.parse() else { break };
            steps.push(Step::Index(index));
            rest = after;
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end == 0 {
                break;
            }
            steps.push(Step::Key(rest[..end].to_owned()));
            rest = &rest[end..];
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::{Path, Step, steps};

    #[test]
    fn written_and_read_again() {
        let labels = Path::ROOT.key("spec");
        let labels = labels.key("labels");
        let odd = labels.key("a.b/c\"]\\");
        let path = odd.index(3);
        assert_eq!(path.to_string(), r#"spec.labels["a.b/c\"]\\"][3]"#);
        let key = |key: &str| Step::Key(key.to_owned());
        assert_eq!(steps(&path.to_string()), [key("spec"), key("labels"), key("a.b/c\"]\\"), Step::Index(3)]);
        assert_eq!(Path::ROOT.index(0).to_string(), "[0]");
        assert_eq!(Path::ROOT.key("").to_string(), "[\"\"]");
    }

    #[test]
    fn unreadable_paths_end_early() {
        assert_eq!(steps("spec.[x"), [Step::Key("spec".to_owned())]);
        assert_eq!(steps("[\"abc"), []);
        assert_eq!(steps(".."), []);
    }
}
