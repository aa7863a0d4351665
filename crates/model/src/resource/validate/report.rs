//! Collects the findings about one object. All of `validate` writes to it.

use crate::diagnostic::{Diagnostic, Severity, codes};
use crate::resource::Object;
use crate::yaml::Path;

/// Findings, and what is needed to place them.
pub(super) struct Report<'a> {
    /// `None` for a MeshConfig, whose caller places the findings.
    object: Option<&'a Object>,
    found: Vec<Diagnostic>,
}

impl<'a> Report<'a> {
    pub(super) fn new(object: &'a Object) -> Self {
        Self { object: Some(object), found: Vec::new() }
    }

    pub(super) fn without_object() -> Self {
        Self { object: None, found: Vec::new() }
    }

    /// The field breaks a rule: a cluster would refuse the object.
    pub(super) fn error(&mut self, at: &Path<'_>, message: impl Into<String>) {
        self.push(at, Diagnostic::error(codes::SCHEMA, message));
    }

    /// Like `error`, of the key itself rather than of what stands there.
    pub(super) fn key_error(&mut self, at: &Path<'_>, key: &str, message: impl Into<String>) {
        let parent = at.to_string();
        let place = self.object.and_then(|object| object.source.as_ref());
        let place = place.map(|source| source.root().place_of_key(&parent, key));
        let diagnostic = Diagnostic::error(codes::SCHEMA, message).with_place(place);
        self.found.push(diagnostic.with_field(at.key(key).to_string()));
    }

    /// Like `error`, where what is wrong was said by a rule of its own.
    pub(super) fn result(&mut self, at: &Path<'_>, result: Result<(), String>) {
        if let Err(message) = result {
            self.error(at, message);
        }
    }

    /// Allowed, and probably not what was meant.
    pub(super) fn warning(&mut self, at: &Path<'_>, message: impl Into<String>) {
        self.push(at, Diagnostic::warning(codes::SCHEMA_WARNING, message));
    }

    /// Set, and without effect here; what happens instead.
    pub(super) fn no_effect(&mut self, at: &Path<'_>, what: &str, instead: &str) {
        let message = format!("`{what}` has no effect {instead}");
        self.push(at, Diagnostic::warning(codes::NO_EFFECT, message));
    }

    pub(super) fn deprecated(&mut self, at: &Path<'_>, instead: &str) {
        let message = format!("deprecated; use {instead}");
        self.push(at, Diagnostic::warning(codes::DEPRECATED, message));
    }

    /// At most one of these may be set. Reports at the second that is.
    pub(super) fn at_most_one(&mut self, at: &Path<'_>, fields: &[(&str, bool)]) {
        let mut set = fields.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name);
        if let (Some(first), Some(second)) = (set.next(), set.next()) {
            self.error(&at.key(second), format!("only one of `{first}` and `{second}` can be set"));
        }
    }

    fn push(&mut self, at: &Path<'_>, diagnostic: Diagnostic) {
        let field = at.to_string();
        let place = self.object.and_then(|object| object.place(&field));
        self.found.push(diagnostic.with_place(place).with_field(field));
    }

    pub(super) fn into_findings(self) -> Vec<Diagnostic> {
        debug_assert!(self.found.iter().all(|found| found.severity != Severity::Info));
        self.found
    }
}
