//! A YAML document as a tree in one arena: small, shared, and every node knows its place.
//!
//! `build` makes it, `resource` reads it and keeps it as the side table of places.

use super::path::{Step, steps};
use super::scalar::{Resolved, resolve};
use crate::diagnostic::{Diagnostic, Place};
use std::sync::Arc;

/// One document of a file.
#[derive(Debug)]
pub struct Document {
    pub(super) file: Arc<str>,
    /// The whole file (without a byte order mark): scalars point into it.
    pub(super) text: Arc<str>,
    /// Scalars that do not stand in the file as they read: escapes, folded lines.
    pub(super) unescaped: String,
    pub(super) nodes: Vec<NodeData>,
    /// The items of all sequences, and the keys and values (in turn) of all mappings.
    pub(super) children: Vec<u32>,
    pub(super) root: u32,
    /// What is wrong without making the document unreadable: keys given twice.
    pub(super) problems: Vec<Diagnostic>,
    /// What was left out for that: key and value, and the value that stays.
    pub(super) twice: Vec<[u32; 3]>,
}

/// An entry whose key stands before it in the same mapping.
#[derive(Debug, Clone, Copy)]
pub struct Twice<'a> {
    pub key: Node<'a>,
    pub value: Node<'a>,
    /// Of the key that stands before it.
    pub first: Node<'a>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct NodeData {
    pub(super) line: u32,
    /// From 1.
    pub(super) column: u32,
    pub(super) content: Content,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Content {
    Scalar {
        start: u32,
        len: u32,
        in_file: bool,
        style: Style,
        tag: Tag,
    },
    Sequence {
        first: u32,
        len: u32,
    },
    /// `len` counts entries, of two children each.
    Mapping {
        first: u32,
        len: u32,
    },
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Quoted,
    /// `|` and `>`.
    Block,
}

/// An explicit type, as `!!str`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    None,
    Str,
    /// `!!int`, `!!bool`, `!!float`, `!!null`: as the plain text says.
    Core,
    /// Anything else: without meaning here.
    Other,
}

/// A node of a document.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    document: &'a Document,
    id: u32,
}

/// A node by its shape.
pub enum View<'a> {
    Scalar(Scalar<'a>),
    Sequence(Items<'a>),
    Mapping(Entries<'a>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scalar<'a> {
    pub text: &'a str,
    pub style: Style,
    pub tag: Tag,
}

impl Scalar<'_> {
    pub fn resolve(self) -> Resolved {
        match (self.tag, self.style) {
            (Tag::Core, _) | (Tag::None | Tag::Other, Style::Plain) => resolve(self.text),
            _ => Resolved::Str,
        }
    }

    pub fn is_null(self) -> bool {
        self.resolve() == Resolved::Null
    }
}

impl Document {
    pub fn root(&self) -> Node<'_> {
        Node { document: self, id: self.root }
    }

    /// The node that `Node::id` told.
    pub fn node(&self, id: u32) -> Option<Node<'_>> {
        ((id as usize) < self.nodes.len()).then_some(Node { document: self, id })
    }

    /// As the user named it.
    pub fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// The text of the whole file.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Entries that are left out, for their key stands before.
    pub fn twice(&self) -> impl ExactSizeIterator<Item = Twice<'_>> {
        let node = |id: u32| Node { document: self, id };
        self.twice.iter().map(move |[key, value, first]| Twice {
            key: node(*key),
            value: node(*value),
            first: node(*first),
        })
    }

    /// All nodes, also those that no collection has.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        (0..self.nodes.len() as u32).map(|id| Node { document: self, id })
    }

    /// What is wrong in it, by field paths from its root.
    pub fn problems(&self) -> &[Diagnostic] {
        &self.problems
    }
}

impl<'a> Node<'a> {
    /// Names the node within its document.
    pub fn id(self) -> u32 {
        self.id
    }

    fn data(self) -> NodeData {
        self.document.nodes[self.id as usize]
    }

    /// The bytes of the file that a scalar was written as, with its quotes; none where that is more than its text
    /// (escapes, blocks, several lines) or nothing.
    pub fn written(self) -> Option<std::ops::Range<usize>> {
        let Content::Scalar { start, len, in_file: true, style, .. } = self.data().content else { return None };
        let text = self.document.text.as_bytes();
        let (start, end) = (start as usize, (start + len) as usize);
        let quote = |at: usize| text.get(at).filter(|byte| matches!(byte, b'"' | b'\''));
        match style {
            Style::Plain => (len > 0).then_some(start..end),
            Style::Quoted => {
                let opens = start.checked_sub(1).and_then(quote)?;
                (quote(end) == Some(opens)).then_some(start - 1..end + 1)
            }
            Style::Block => None,
        }
    }

    pub fn view(self) -> View<'a> {
        let document = self.document;
        match self.data().content {
            Content::Scalar { start, len, in_file, style, tag } => {
                let text: &str = if in_file { &document.text } else { &document.unescaped };
                let text = &text[start as usize..(start + len) as usize];
                View::Scalar(Scalar { text, style, tag })
            }
            Content::Sequence { first, len } => {
                View::Sequence(Items { document, ids: &document.children[first as usize..(first + len) as usize] })
            }
            Content::Mapping { first, len } => {
                View::Mapping(Entries { document, ids: &document.children[first as usize..(first + 2 * len) as usize] })
            }
        }
    }

    pub fn scalar(self) -> Option<Scalar<'a>> {
        match self.view() {
            View::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// The text of a scalar; empty for anything else.
    pub fn text(self) -> &'a str {
        self.scalar().map_or("", |scalar| scalar.text)
    }

    /// Absent, `~`, `null`, or nothing after the colon.
    pub fn is_null(self) -> bool {
        self.scalar().is_some_and(Scalar::is_null)
    }

    /// The value of that key, in a mapping.
    pub fn get(self, key: &str) -> Option<Node<'a>> {
        match self.view() {
            View::Mapping(mut entries) => entries.find(|(name, _)| name.key_text() == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The name of a mapping's key as Kubernetes reads it: `on` is `true`, `010` is `8`.
    pub fn key_text(self) -> std::borrow::Cow<'a, str> {
        let Some(scalar) = self.scalar() else { return "".into() };
        match scalar.resolve() {
            Resolved::Bool(true) => "true".into(),
            Resolved::Bool(false) => "false".into(),
            Resolved::Int(number) => number.to_string().into(),
            Resolved::Float(number) if number.is_finite() => number.to_string().into(),
            _ => scalar.text.into(),
        }
    }

    pub fn place(self) -> Place {
        let NodeData { line, column, .. } = self.data();
        Place { file: self.document.file.clone(), line, column }
    }

    /// Line and column, as in `place`.
    pub fn position(self) -> (u32, u32) {
        let NodeData { line, column, .. } = self.data();
        (line, column)
    }

    /// The place of a field: a scalar's or an item's own, the key's for a mapping or sequence under a key.
    /// Where the field was not written: that of its nearest parent that was.
    pub fn place_of(self, path: &str) -> Place {
        let mut node = self;
        let mut place = self.place();
        for step in steps(path) {
            let next = match (&step, node.view()) {
                (Step::Key(wanted), View::Mapping(mut entries)) => {
                    entries.find(|(key, _)| key.key_text() == wanted.as_str())
                }
                (Step::Index(index), View::Sequence(mut items)) => items.nth(*index).map(|item| (item, item)),
                _ => None,
            };
            let Some((name, value)) = next else { break };
            let written = |scalar: Scalar<'_>| scalar.style != Style::Plain || !scalar.text.is_empty();
            let on_its_own = value.scalar().is_some_and(written);
            place = if on_its_own { value.place() } else { name.place() };
            node = value;
        }
        place
    }

    /// The place of the last key of a path, where `place_of` may give that of its value.
    pub fn place_of_key(self, parent: &str, key: &str) -> Place {
        let mut node = Some(self);
        for step in steps(parent) {
            node = node.and_then(|node| match (&step, node.view()) {
                (Step::Key(wanted), View::Mapping(_)) => node.get(wanted),
                (Step::Index(index), View::Sequence(mut items)) => items.nth(*index),
                _ => None,
            });
        }
        let key = node.and_then(|node| match node.view() {
            View::Mapping(mut entries) => entries.find(|(name, _)| name.key_text() == key).map(|(name, _)| name),
            _ => None,
        });
        key.map_or_else(|| self.place_of(parent), Node::place)
    }
}

/// The items of a sequence.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    document: &'a Document,
    ids: &'a [u32],
}

impl<'a> Iterator for Items<'a> {
    type Item = Node<'a>;
    fn next(&mut self) -> Option<Node<'a>> {
        let (&id, rest) = self.ids.split_first()?;
        self.ids = rest;
        Some(Node { document: self.document, id })
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.ids.len(), Some(self.ids.len()))
    }
}

impl ExactSizeIterator for Items<'_> {}

/// The keys and values of a mapping, in the order of the file.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    document: &'a Document,
    ids: &'a [u32],
}

impl<'a> Iterator for Entries<'a> {
    type Item = (Node<'a>, Node<'a>);
    fn next(&mut self) -> Option<Self::Item> {
        let [key, value, rest @ ..] = self.ids else { return None };
        self.ids = rest;
        let node = |id: &u32| Node { document: self.document, id: *id };
        Some((node(key), node(value)))
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.ids.len() / 2, Some(self.ids.len() / 2))
    }
}

impl ExactSizeIterator for Entries<'_> {}

/// That line of a text (from 1), without its end. Lines end as YAML says: LF, CR LF or CR.
pub(crate) fn line_of(text: &str, line: u32) -> Option<&str> {
    let mut rest = text;
    for _ in 1..line {
        let end = rest.find(['\n', '\r'])?;
        let width = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[end + width..];
    }
    let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
    Some(&rest[..end])
}

/// Where each line of a text begins, in bytes. Lines end as for [`line_of`].
pub(crate) fn line_starts(text: &str) -> Box<[usize]> {
    let ends = text.match_indices(['\n', '\r']).map(|(end, _)| end);
    let starts = ends.filter(|end| !text[*end..].starts_with("\r\n")).map(|end| end + 1);
    std::iter::once(0).chain(starts).collect()
}
