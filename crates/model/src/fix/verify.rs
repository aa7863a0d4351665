//! A text that was edited, read again: whether what is read is what was read before, but for what the edits mean.

use super::edit::{Edit, Means, is_json};
use crate::diagnostic::{Diagnostic, Severity};
use crate::resource::{Loaded, ResourceId, load};
use crate::yaml::{Document, Node, Parsed, Scalar, View, parse};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A text as it was read before the edits.
pub(super) struct Before<'p> {
    file: Arc<str>,
    text: &'p str,
    documents: &'p [Arc<Document>],
    json: bool,
    loaded: Loaded,
}

/// What a finding is about: it is the same one where these are.
type About = (&'static str, Option<ResourceId>, String);

impl<'p> Before<'p> {
    pub(super) fn of(parsed: &'p Parsed) -> Self {
        let file = parsed.documents.first().map_or_else(|| "".into(), |document| document.file().clone());
        let loaded = load(&file, &parsed.text);
        Self { file, text: &parsed.text, documents: &parsed.documents, json: is_json(&parsed.text), loaded }
    }

    /// The text with these edits (in its order), if it reads as it should.
    pub(super) fn verified(&self, edits: &[Edit]) -> Option<String> {
        let text = self.edited(edits);
        let after = parse(&self.file, &text);
        let reads = after.errors.is_empty() && after.documents.len() == self.documents.len();
        if !reads || (self.json && !is_json(&text)) {
            return None;
        }
        let same = self.documents.iter().zip(&after.documents).enumerate().all(|(index, (old, new))| {
            let mut walk = Walk { means: HashMap::new(), met: HashSet::new(), once: true };
            let mut gone = 0;
            for edit in edits {
                match &edit.means {
                    Means::Scalar { document, node, .. } | Means::List { document, node } if *document == index => {
                        walk.means.insert(*node, &edit.means);
                    }
                    Means::Same { document } if *document == index => gone += 1,
                    _ => {}
                }
            }
            let all = walk.means.len();
            walk.same(old.root(), new.root())
                && walk.once
                && walk.met.len() == all
                && old.twice().len() == new.twice().len() + gone
        });
        (same && self.is_better(edits, &load(&self.file, &text))).then_some(text)
    }

    fn edited(&self, edits: &[Edit]) -> String {
        let mut text = String::with_capacity(self.text.len());
        let mut from = 0;
        for edit in edits {
            text.push_str(&self.text[from..edit.range.start]);
            text.push_str(&edit.text);
            from = edit.range.end;
        }
        text.push_str(&self.text[from..]);
        text
    }

    /// Whether the findings are gone, and no error came in their place that is not mended by the next edit.
    fn is_better(&self, edits: &[Edit], after: &Loaded) -> bool {
        let count = |findings: Vec<Diagnostic>| {
            let mut counts: HashMap<About, usize> = HashMap::new();
            for found in findings {
                *counts.entry(about(&found)).or_default() += 1;
            }
            counts
        };
        let (before, now) = (count(self.loaded.all_diagnostics()), count(after.all_diagnostics()));
        let of = |counts: &HashMap<About, usize>, about: &About| counts.get(about).copied().unwrap_or(0);
        let mended = count(edits.iter().map(|edit| edit.finding.clone()).collect());
        let gone = mended.iter().all(|(about, count)| of(&now, about) <= of(&before, about).saturating_sub(*count));
        let known: HashSet<&ResourceId> = self.loaded.objects.iter().map(|object| &object.id).collect();
        gone && after.all_diagnostics().iter().filter(|found| found.severity == Severity::Error).all(|found| {
            let about = about(found);
            let is_new = of(&now, &about) > of(&before, &about);
            // What was no object before may well have errors of its own.
            !is_new || found.suggestion.is_some() || found.resource.as_ref().is_some_and(|id| !known.contains(id))
        })
    }
}

fn about(found: &Diagnostic) -> About {
    (found.code, found.resource.clone(), found.field.clone())
}

/// Two trees side by side.
struct Walk<'e> {
    means: HashMap<u32, &'e Means>,
    met: HashSet<u32>,
    /// No node that is edited was met twice: an alias would change more than its place.
    once: bool,
}

impl Walk<'_> {
    fn same(&mut self, old: Node<'_>, new: Node<'_>) -> bool {
        if let Some(means) = self.means.get(&old.id()) {
            self.once &= self.met.insert(old.id());
            return match (means, new.view()) {
                (Means::Scalar { text, resolved, .. }, View::Scalar(scalar)) => {
                    scalar.text == text && scalar.resolve() == *resolved
                }
                (Means::List { .. }, View::Sequence(mut items)) => {
                    let (one, more) = (items.next().and_then(Node::scalar), items.next());
                    more.is_none() && one.zip(old.scalar()).is_some_and(|(new, old)| is_same(old, new))
                }
                _ => false,
            };
        }
        match (old.view(), new.view()) {
            (View::Scalar(old), View::Scalar(new)) => is_same(old, new),
            (View::Sequence(old), View::Sequence(new)) => {
                old.len() == new.len() && old.zip(new).all(|(old, new)| self.same(old, new))
            }
            (View::Mapping(old), View::Mapping(new)) => {
                old.len() == new.len()
                    && old.zip(new).all(|(old, new)| self.same(old.0, new.0) && self.same(old.1, new.1))
            }
            _ => false,
        }
    }
}

fn is_same(old: Scalar<'_>, new: Scalar<'_>) -> bool {
    old.text == new.text && old.resolve() == new.resolve() && old.tag == new.tag
}
