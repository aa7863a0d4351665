//! Text to documents: the parser's events become trees; bounds on nesting and aliases are kept here.

use super::path::Path;
use super::tree::{Content, Document, NodeData, Style, Tag};
use crate::diagnostic::{Diagnostic, Place, codes};
use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use std::collections::HashMap;
use std::sync::Arc;

/// Collections within collections. Deeper is an error with a place, never a stack overflow.
const NESTING_LIMIT: usize = 100;

/// A document may grow by its aliases to this many times its own nodes, and to `ALIAS_FREE` in any case
/// (the "billion laughs" would be 10^9).
const ALIAS_GROWTH: u64 = 20;
const ALIAS_FREE: u64 = 100_000;

/// What a file holds.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The text, without a byte order mark.
    pub text: Arc<str>,
    /// The documents that could be read, but for empty ones.
    pub documents: Vec<Arc<Document>>,
    /// One for each document that could not be read.
    pub errors: Vec<Diagnostic>,
}

/// Reads all documents of a file. `text` may start with a byte order mark.
pub fn parse(file: &Arc<str>, text: &str) -> Parsed {
    let text: Arc<str> = text.strip_prefix('\u{feff}').unwrap_or(text).into();
    let mut parsed = Parsed { text: text.clone(), ..Parsed::default() };
    if let Some(diagnostic) = refuse_text(file, &text) {
        parsed.errors.push(diagnostic);
        return parsed;
    }
    let options = granit_parser::options! {
        emit_comments: false,
        block_nesting_limit: NESTING_LIMIT,
        flow_nesting_limit: NESTING_LIMIT,
    };
    let mut parser = Parser::new_from_str_with_options(&text, options);
    let mut builder = Builder::new(file.clone(), text.clone());
    loop {
        let error = match parser.next_event() {
            None => break,
            Some(Ok((event, span))) => match builder.take(event, span) {
                Ok(Some(document)) => {
                    parsed.documents.extend(document.has_content().then(|| Arc::new(document)));
                    continue;
                }
                Ok(None) => continue,
                Err(diagnostic) => *diagnostic,
            },
            Some(Err(error)) => builder.syntax_error(&error),
        };
        parsed.errors.push(error);
        builder.reset();
        // `Err`: what is left cannot be scanned for a next document, and was named already.
        if !parser.proceed_next_document().unwrap_or(false) {
            break;
        }
    }
    parsed
}

/// Offsets are kept in 32 bits, and a NUL would end the parser's input silently.
fn refuse_text(file: &Arc<str>, text: &str) -> Option<Diagnostic> {
    let (offset, message) = if u32::try_from(text.len()).is_err() {
        (0, "the file is larger than 4 GiB")
    } else {
        (text.find('\0')?, "a NUL character cannot stand in YAML")
    };
    Some(Diagnostic::error(codes::SYNTAX, message).with_place(Some(place_of_offset(file, text, offset))))
}

/// The place of a byte of a text.
pub(crate) fn place_of_offset(file: &Arc<str>, text: &str, offset: usize) -> Place {
    let before = &text[..offset];
    let line_start = before.rfind(['\n', '\r']).map_or(0, |end| end + 1);
    let breaks = before.bytes().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    place(file, 1 + breaks - before.matches("\r\n").count(), before[line_start..].chars().count())
}

/// The parser's lines are from 1, its columns from 0.
fn place(file: &Arc<str>, line: usize, column: usize) -> Place {
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Place { file: file.clone(), line: narrow(line.max(1)), column: narrow(column.saturating_add(1)) }
}

/// Collects one document at a time.
struct Builder {
    file: Arc<str>,
    text: Arc<str>,
    document: Document,
    /// Open collections, the outermost first.
    open: Vec<Open>,
    /// Children of the open collections, until these close.
    pending: Vec<u32>,
    /// Anchor id to node.
    anchors: HashMap<usize, u32>,
    /// Nodes below each node, itself included, with aliases written out.
    sizes: Vec<u64>,
}

struct Open {
    node: u32,
    /// Where its children start in `pending`.
    first: usize,
    is_mapping: bool,
    has_merge: bool,
}

impl Builder {
    fn new(file: Arc<str>, text: Arc<str>) -> Self {
        let document = Document::empty(file.clone(), text.clone());
        Self { file, text, document, open: Vec::new(), pending: Vec::new(), anchors: HashMap::new(), sizes: Vec::new() }
    }

    /// Forgets the document that was begun.
    fn reset(&mut self) {
        self.document = Document::empty(self.file.clone(), self.text.clone());
        self.open.clear();
        self.pending.clear();
        self.anchors.clear();
        self.sizes.clear();
    }

    fn syntax_error(&self, error: &ScanError) -> Diagnostic {
        let marker = error.marker();
        Diagnostic::error(codes::SYNTAX, format!("the document is not YAML: {}", error.info())).with_place(Some(place(
            &self.file,
            marker.line(),
            marker.col(),
        )))
    }

    fn refuse(&self, span: Span, message: &str) -> Box<Diagnostic> {
        let place = place(&self.file, span.start.line(), span.start.col());
        Box::new(Diagnostic::error(codes::SYNTAX, message).with_place(Some(place)))
    }

    /// Takes one event; gives the document that it ends.
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<Option<Document>, Box<Diagnostic>> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                let tag = match tag.as_deref().and_then(|tag| tag.core_suffix()) {
                    _ if tag.is_none() => Tag::None,
                    Some("str") => Tag::Str,
                    Some("int" | "bool" | "float" | "null") => Tag::Core,
                    _ => Tag::Other,
                };
                // The parser says `~` where nothing is written.
                let text = if span.start == span.end && style == Style::Plain { "".into() } else { text };
                let (start, len, in_file) = self.store(&text);
                let node = self.add(Content::Scalar { start, len, in_file, style, tag }, span, anchor);
                self.child(node);
            }
            Event::SequenceStart(_, anchor, _) => self.begin(false, span, anchor),
            Event::MappingStart(_, anchor, _) => self.begin(true, span, anchor),
            Event::SequenceEnd | Event::MappingEnd => self.end(span)?,
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).copied();
                let node = node.filter(|node| !self.open.iter().any(|open| open.node == *node));
                let Some(node) = node else {
                    return Err(self.refuse(span, "an alias within the node that it stands for"));
                };
                self.child(node);
            }
            Event::DocumentEnd => {
                let next = Document::empty(self.file.clone(), self.text.clone());
                let mut document = std::mem::replace(&mut self.document, next);
                self.reset();
                // Objects keep their document for as long as they live.
                document.nodes.shrink_to_fit();
                document.children.shrink_to_fit();
                return Ok(Some(document));
            }
            _ => {}
        }
        Ok(None)
    }

    /// A scalar's text as a range of the file where it stands there, else of the pool.
    fn store(&mut self, text: &str) -> (u32, u32, bool) {
        // Lengths fit: `refuse_text` bounds the file, and a scalar is no longer than what it was written as
        // (an escape of one character is longer than that character).
        let len = text.len() as u32;
        let offset = (text.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        if offset < self.text.len() && offset + text.len() <= self.text.len() {
            return (offset as u32, len, true);
        }
        let start = self.document.unescaped.len() as u32;
        self.document.unescaped.push_str(text);
        (start, len, false)
    }

    fn add(&mut self, content: Content, span: Span, anchor: usize) -> u32 {
        let node = self.document.nodes.len() as u32;
        let start = place(&self.file, span.start.line(), span.start.col());
        self.document.nodes.push(NodeData { line: start.line, column: start.column, content });
        self.sizes.push(1);
        if anchor != 0 {
            self.anchors.insert(anchor, node);
        }
        node
    }

    fn child(&mut self, node: u32) {
        let Some(open) = self.open.last_mut() else {
            self.document.root = node;
            return;
        };
        let is_key = open.is_mapping && (self.pending.len() - open.first).is_multiple_of(2);
        if is_key && self.document.is_merge_key(node) {
            open.has_merge = true;
        }
        self.pending.push(node);
    }

    fn begin(&mut self, is_mapping: bool, span: Span, anchor: usize) {
        let content =
            if is_mapping { Content::Mapping { first: 0, len: 0 } } else { Content::Sequence { first: 0, len: 0 } };
        let node = self.add(content, span, anchor);
        self.child(node);
        self.open.push(Open { node, first: self.pending.len(), is_mapping, has_merge: false });
    }

    fn end(&mut self, span: Span) -> Result<(), Box<Diagnostic>> {
        // The parser closes only what it opened.
        let Some(open) = self.open.pop() else { return Ok(()) };
        let mut children = self.pending.split_off(open.first);
        if let Some(content) = open.is_mapping.then(|| self.colon_at_the_end(open.node, &children)).flatten() {
            self.document.nodes[open.node as usize].content = content;
            return Ok(());
        }
        if open.is_mapping {
            if open.has_merge {
                children = self.merge(&children, span)?;
            }
            children = self.unique_keys(children);
        }
        let size = children.iter().fold(1u64, |sum, child| sum.saturating_add(self.sizes[*child as usize]));
        if size > ALIAS_FREE && size > ALIAS_GROWTH * self.document.nodes.len() as u64 {
            return Err(self.refuse(span, "the aliases of this document stand for too much"));
        }
        self.sizes[open.node as usize] = size;
        let first = self.document.children.len() as u32;
        let len = children.len() as u32;
        self.document.children.extend(children);
        self.document.nodes[open.node as usize].content =
            if open.is_mapping { Content::Mapping { first, len: len / 2 } } else { Content::Sequence { first, len } };
        Ok(())
    }

    /// In `[fd00::, a]` YAML 1.2 reads the first item as a key without a value; Kubernetes, and whoever writes an
    /// address like that, means the text with the colon. Gives that text.
    fn colon_at_the_end(&self, mapping: u32, children: &[u32]) -> Option<Content> {
        let [key, value] = *children else { return None };
        let data = |node: u32| self.document.nodes[node as usize];
        let Content::Scalar { start, len, in_file: true, style: Style::Plain, tag: Tag::None } = data(key).content
        else {
            return None;
        };
        let is_implicit = (data(mapping).line, data(mapping).column) == (data(key).line, data(key).column);
        let nothing = matches!(data(value).content, Content::Scalar { len: 0, style: Style::Plain, .. });
        let after = &self.text.as_bytes()[(start + len) as usize..];
        let closes = matches!(after, [b':', b',' | b']' | b'}', ..]);
        let content = Content::Scalar { start, len: len + 1, in_file: true, style: Style::Plain, tag: Tag::None };
        (is_implicit && nothing && closes).then_some(content)
    }

    /// Replaces `<<: *base` and `<<: [*a, *b]` by the entries of these mappings that are not given otherwise.
    fn merge(&self, children: &[u32], span: Span) -> Result<Vec<u32>, Box<Diagnostic>> {
        let node = |id: u32| self.document.node(id);
        let name = |id: u32| node(id).map(|key| key.key_text()).unwrap_or_default();
        let (merges, mut entries): (Vec<_>, Vec<_>) = children
            .chunks_exact(2)
            .map(|pair| [pair[0], pair[1]])
            .partition(|[key, _]| self.document.is_merge_key(*key));
        for [_, value] in merges {
            let sources: Vec<u32> = match self.document.nodes[value as usize].content {
                Content::Sequence { first, len } => {
                    self.document.children[first as usize..(first + len) as usize].to_vec()
                }
                _ => vec![value],
            };
            for source in sources {
                let Content::Mapping { first, len } = self.document.nodes[source as usize].content else {
                    return Err(self.refuse(span, "a merge key (<<) takes a mapping, or a sequence of mappings"));
                };
                let merged = &self.document.children[first as usize..(first + 2 * len) as usize];
                for pair in merged.chunks_exact(2) {
                    if !entries.iter().any(|[key, _]| name(*key) == name(pair[0])) {
                        entries.push([pair[0], pair[1]]);
                    }
                }
            }
        }
        Ok(entries.into_iter().flatten().collect())
    }

    /// Leaves out, and reports, entries whose key came before or is no scalar.
    fn unique_keys(&mut self, children: Vec<u32>) -> Vec<u32> {
        let mut kept = Vec::with_capacity(children.len());
        let mut problems = Vec::new();
        let mut twice = Vec::new();
        let mut seen: HashMap<String, u32> = HashMap::new();
        // Short mappings, which nearly all are, are compared without a table.
        let long = children.len() > 32;
        for pair in children.chunks_exact(2) {
            let Some(key) = self.document.node(pair[0]) else { continue };
            if key.scalar().is_none_or(|scalar| scalar.is_null()) {
                problems.push((pair[0], "a key must be a word or a number".to_owned()));
                continue;
            }
            let name = key.key_text();
            let earlier = if long {
                seen.get(&*name).copied()
            } else {
                let mut keys = kept.iter().step_by(2).filter_map(|id: &u32| self.document.node(*id));
                keys.find(|earlier| earlier.key_text() == name).map(|earlier| earlier.id())
            };
            if let Some(earlier) = earlier.and_then(|id| self.document.node(id)) {
                let (first, earlier) = (earlier.place(), earlier.id());
                let before = kept.iter().position(|id| *id == earlier).and_then(|at| kept.get(at + 1)).copied();
                twice.extend(before.map(|before| [pair[0], pair[1], before]));
                problems.push((pair[0], format!("`{name}` is given twice, first in line {}", first.line)));
                continue;
            }
            if long {
                seen.insert(name.into_owned(), pair[0]);
            }
            kept.extend_from_slice(pair);
        }
        self.document.twice.extend(twice);
        for (key, message) in problems {
            let diagnostic = self.problem(key, message);
            self.document.problems.push(diagnostic);
        }
        kept
    }

    fn problem(&self, key: u32, message: String) -> Diagnostic {
        let place = self.document.node(key).map(|key| key.place());
        let name = self.document.node(key).map(|key| key.key_text()).unwrap_or_default();
        let field = self.path_of_open(0, &Path::ROOT, &name);
        Diagnostic::error(codes::DUPLICATE_KEY, message).with_place(place).with_field(field)
    }

    /// The path of a key in the mapping that is just being closed: through the last child of each open collection.
    fn path_of_open(&self, depth: usize, path: &Path<'_>, last: &str) -> String {
        let Some(open) = self.open.get(depth) else { return path.key(last).to_string() };
        let end = self.open.get(depth + 1).map_or(self.pending.len(), |inner| inner.first);
        let children = &self.pending[open.first..end];
        if open.is_mapping {
            // The last child is the value being closed; its key stands before it.
            let key = children.len().checked_sub(2).and_then(|key| self.document.node(children[key]));
            let key = key.map(|key| key.key_text()).unwrap_or_default();
            self.path_of_open(depth + 1, &path.key(&key), last)
        } else {
            self.path_of_open(depth + 1, &path.index(children.len().saturating_sub(1)), last)
        }
    }
}

impl Document {
    fn empty(file: Arc<str>, text: Arc<str>) -> Self {
        Self {
            file,
            text,
            unescaped: String::new(),
            nodes: Vec::new(),
            children: Vec::new(),
            root: 0,
            problems: Vec::new(),
            twice: Vec::new(),
        }
    }

    fn has_content(&self) -> bool {
        !self.nodes.is_empty() && !self.root().is_null()
    }

    fn is_merge_key(&self, node: u32) -> bool {
        matches!(self.nodes[node as usize].content, Content::Scalar { style: Style::Plain, .. })
            && self.node(node).is_some_and(|key| key.text() == "<<")
    }
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
