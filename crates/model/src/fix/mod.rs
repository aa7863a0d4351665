//! Findings that have one remedy, mended in the text itself: comments, layout and line ends stay as they are. Pure;
//! `amime check --fix` calls it.
//!
//! What is mended is certain: the object cannot be taken as it is written and there is one thing that was meant (a slip of
//! spelling, a number where text belongs), or the change means nothing to anybody (an entry that stands twice). `edit` makes
//! an edit of a finding, and refuses where the text does not say for sure; `verify` reads the new text and holds it against
//! the old one: what is not wished has not changed.

mod edit;
mod verify;

use crate::diagnostic::Diagnostic;
use crate::yaml;
use edit::Edit;
use std::sync::Arc;

/// A text with less wrong in it.
#[derive(Debug)]
pub struct Fixed {
    pub text: String,
    /// What is mended, of the findings that were given.
    pub findings: Vec<Diagnostic>,
}

/// Mends what can be mended of a file's findings (others are left out); none where nothing can.
pub fn fix<'d>(file: &Arc<str>, text: &str, findings: impl IntoIterator<Item = &'d Diagnostic>) -> Option<Fixed> {
    let findings: Vec<&Diagnostic> = findings.into_iter().filter(|found| edit::is_mended(found, file)).collect();
    if findings.is_empty() {
        return None;
    }
    let parsed = yaml::parse(file, text);
    // Where a document cannot be read, nobody knows what its neighbours are.
    if !parsed.errors.is_empty() {
        return None;
    }
    let mut edits = edit::edits(&parsed, &findings);
    edits.sort_by_key(|edit| edit.range.start);
    edits.dedup_by(|later, earlier| later.range.start < earlier.range.end);
    let before = verify::Before::of(&parsed);
    if let Some(text) = before.verified(&edits) {
        return finish(text, edits);
    }
    // One that is not good must not keep the others from being made.
    let mut good: Vec<Edit> = Vec::new();
    let mut text = None;
    for edit in edits {
        good.push(edit);
        match before.verified(&good) {
            Some(verified) => text = Some(verified),
            None => drop(good.pop()),
        }
    }
    finish(text?, good)
}

fn finish(text: String, edits: Vec<Edit>) -> Option<Fixed> {
    (!edits.is_empty()).then(|| Fixed { text, findings: edits.into_iter().map(|edit| edit.finding).collect() })
}

#[cfg(test)]
#[path = "fix_tests.rs"]
mod tests;
