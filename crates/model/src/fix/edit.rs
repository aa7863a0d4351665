//! The edit that mends a finding: which bytes of the text, and what stands there then.

use crate::diagnostic::{Diagnostic, codes};
use crate::resource::is_slip;
use crate::yaml::{Document, Node, Parsed, Resolved, Style, Twice, View};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// An edit of a text.
#[derive(Debug, Clone)]
pub(super) struct Edit {
    pub(super) range: Range<usize>,
    pub(super) text: String,
    pub(super) means: Means,
    pub(super) finding: Diagnostic,
}

/// What is to be read then.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Means {
    /// Another scalar in the place of a node (document, node).
    Scalar { document: usize, node: u32, text: String, resolved: Resolved },
    /// A list of the node alone in its place.
    List { document: usize, node: u32 },
    /// What is read already: an entry that was left out is gone.
    Same { document: usize },
}

/// Whether findings of that kind are ever mended, and it may be in that file. What is told of a kind is told once of all
/// files.
pub(super) fn is_mended(found: &Diagnostic, file: &str) -> bool {
    let here = found.place.as_ref().is_some_and(|place| *place.file == *file);
    match found.code {
        codes::SCHEMA | codes::SCHEMA_WARNING | codes::UNKNOWN_ANNOTATION => here && found.suggestion.is_some(),
        codes::UNKNOWN_KIND => found.suggestion.is_some(),
        codes::DUPLICATE_KEY => here,
        _ => false,
    }
}

/// Whether a text is JSON, and must stay so.
pub(super) fn is_json(text: &str) -> bool {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>().peekable();
    values.peek().is_some() && values.all(|value| value.is_ok())
}

/// The edits of findings; of a kind that is not known, one for each of its objects.
pub(super) fn edits(parsed: &Parsed, findings: &[&Diagnostic]) -> Vec<Edit> {
    let json = is_json(&parsed.text);
    let wanted: HashSet<_> = findings.iter().filter_map(|found| position(found)).collect();
    let mut nodes = HashMap::new();
    for (index, document) in parsed.documents.iter().enumerate() {
        let wanted = document.nodes().filter(|node| wanted.contains(&node.position()) && node.written().is_some());
        nodes.extend(wanted.map(|node| (node.position(), (index, node))));
    }
    let mut edits = Vec::new();
    for found in findings {
        if found.code == codes::UNKNOWN_KIND {
            let documents = parsed.documents.iter().enumerate();
            edits.extend(documents.flat_map(|(index, document)| kind(document, index, found, json)));
            continue;
        }
        let Some((index, node)) = position(found).and_then(|position| nodes.get(&position)).copied() else { continue };
        edits.extend(match found.code {
            codes::DUPLICATE_KEY => {
                let twice = parsed.documents[index].twice().find(|twice| twice.key.id() == node.id());
                twice.and_then(|twice| without(&parsed.text, index, twice, found))
            }
            _ => instead(&parsed.text, index, node, found, json),
        });
    }
    edits
}

fn position(found: &Diagnostic) -> Option<(u32, u32)> {
    found.place.as_ref().map(|place| (place.line, place.column))
}

/// The scalar of a finding written as it suggests.
fn instead(text: &str, document: usize, node: Node<'_>, found: &Diagnostic, json: bool) -> Option<Edit> {
    let (scalar, range) = (node.scalar()?, node.written()?);
    let suggestion = found.suggestion.as_deref()?;
    let old = &text[range.clone()];
    let make = |text: String, means: Means| Some(Edit { range: range.clone(), text, means, finding: found.clone() });
    if suggestion.starts_with('[') && suggestion.ends_with(']') {
        // A text with a comma may have been meant as several.
        let is_one = !scalar.text.contains([',', ' ']);
        return make(format!("[{old}]"), Means::List { document, node: node.id() }).filter(|_| is_one);
    }
    let wanted = crate::yaml::parse(&"".into(), suggestion);
    let wanted = wanted.documents.first()?.root().scalar()?;
    let means = |resolved| Means::Scalar { document, node: node.id(), text: wanted.text.to_owned(), resolved };
    // Text in quotes, or without: the same text.
    if wanted.text == scalar.text {
        let becomes = wanted.resolve();
        // A key that Kubernetes reads as another word has that name in the cluster.
        let is_value = found.code == codes::SCHEMA || becomes != Resolved::Str;
        return make(suggestion.to_owned(), means(becomes)).filter(|_| is_value);
    }
    // Seconds or milliseconds? A number alone does not say.
    let is_word = scalar.resolve() == Resolved::Str && wanted.resolve() == Resolved::Str;
    let is_certain = match found.code {
        codes::SCHEMA if found.expected.as_deref().is_some_and(|it| it.starts_with("a duration")) => true,
        // Another spelling of the same name.
        codes::SCHEMA_WARNING => true,
        _ => is_slip(scalar.text, wanted.text),
    };
    let written = match (json, scalar.style) {
        (true, _) => serde_json::Value::from(wanted.text).to_string(),
        (false, Style::Quoted) => {
            let quote = &old[..1];
            format!("{quote}{}{quote}", wanted.text)
        }
        (false, _) => suggestion.to_owned(),
    };
    make(written, means(Resolved::Str)).filter(|_| is_word && is_certain)
}

/// apiVersion or kind of an object of Istio's that nothing reads, as the finding suggests: of all objects that are written
/// so.
fn kind(document: &Document, index: usize, found: &Diagnostic, json: bool) -> Vec<Edit> {
    let Some((field, wanted)) = found.suggestion.as_deref().and_then(|it| it.split_once(": ")) else {
        return Vec::new();
    };
    let told = |object: Node<'_>| object.get("kind").is_some() && object.get("apiVersion").is_some();
    let mut objects = vec![document.root()];
    if let Some(View::Sequence(items)) = document.root().get("items").map(Node::view) {
        objects.extend(items);
    }
    // The finding names what it does not know.
    let is_it = |object: &Node<'_>| {
        let text = |key: &str| object.get(key).map_or("", Node::text);
        told(*object) && found.message.starts_with(&format!("{} {} ", text("apiVersion"), text("kind")))
    };
    let edit = |object: Node<'_>| {
        let node = object.get(field)?;
        let (scalar, range) = (node.scalar()?, node.written()?);
        let group = |text: &str| text.rsplit_once('/').map_or(String::new(), |(group, _)| group.to_owned());
        let is_certain = match field {
            "apiVersion" => {
                let (old, new) = (group(scalar.text), group(wanted));
                new.ends_with("istio.io") && is_slip(&old, &new)
            }
            _ => is_slip(scalar.text, wanted),
        };
        let text = match (json, scalar.style) {
            (true, _) | (_, Style::Quoted) => format!("\"{wanted}\""),
            _ => wanted.to_owned(),
        };
        let (id, resolved) = (node.id(), Resolved::Str);
        let means = Means::Scalar { document: index, node: id, text: wanted.to_owned(), resolved };
        is_certain.then(|| Edit { range, text, means, finding: found.clone() })
    };
    objects.into_iter().filter(is_it).filter_map(edit).collect()
}

/// The text without an entry that says what one before it says too: whole lines, without a comment among them.
fn without(text: &str, document: usize, twice: Twice<'_>, found: &Diagnostic) -> Option<Edit> {
    if twice.value.to_flow() != twice.first.to_flow() {
        return None;
    }
    let key = twice.key.written()?;
    let start = text[..key.start].rfind('\n').map_or(0, |end| end + 1);
    let column = key.start - start;
    let is_first = text[start..key.start].bytes().all(|byte| byte == b' ');
    // Its own line, then those that are within it: deeper, or items of a list under the key.
    let mut end = line_end(text, key.end);
    loop {
        let next = line_end(text, end);
        let line = &text[end..next];
        let indent = line.len() - line.trim_start_matches(' ').len();
        let is_item = indent == column && line[indent..].starts_with("- ");
        if next == end || line.trim().is_empty() || (indent <= column && !is_item) {
            break;
        }
        end = next;
    }
    let is_plain = !text[start..end].contains(['#', '&']);
    let edit = Edit { range: start..end, text: String::new(), means: Means::Same { document }, finding: found.clone() };
    (is_first && is_plain).then_some(edit)
}

/// Behind the line's end, or at the text's.
fn line_end(text: &str, from: usize) -> usize {
    text[from..].find('\n').map_or(text.len(), |end| from + end + 1)
}
