//! Diagnostics: what is wrong (or worth saying) about what a user wrote, where, and what to do about it.
//!
//! `resource` and `snapshot` make them; the binary prints them.

pub mod codes;
mod render;

pub use render::{Texts, render};

use crate::resource::ResourceId;
use std::sync::Arc;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Diagnostic {
    /// See `codes`.
    pub code: &'static str,
    pub severity: Severity,
    pub message: String,
    /// `None` where the finding is about no text (a missing file, a made-up object).
    pub place: Option<Place>,
    pub resource: Option<ResourceId>,
    /// `spec.http[1].timeout`; empty for the object as a whole.
    pub field: String,
    /// What would have been right, as `a duration such as 1.5s`.
    pub expected: Option<String>,
    /// What to write instead, as it would stand in the file.
    pub suggestion: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    Info,
    Warning,
    /// The object (or the part of it that `field` names) does not take effect.
    Error,
}

impl Severity {
    /// As messages call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "note",
        }
    }
}

/// A place in a file that a user wrote.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// As the user named it, or `-` for standard input.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl Diagnostic {
    /// An error without a place, to be completed by the `with_*` functions.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, message)
    }

    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, message)
    }

    pub fn info(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Info, message)
    }

    fn new(code: &'static str, severity: Severity, message: impl Into<String>) -> Self {
        Self {
            code,
            severity,
            message: message.into(),
            place: None,
            resource: None,
            field: String::new(),
            expected: None,
            suggestion: None,
        }
    }

    /// Of the severity that the table of codes gives.
    pub fn of(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, codes::find(code).map_or(Severity::Warning, |known| known.severity), message)
    }

    /// Whether a field is the one that this is about, or below it.
    pub fn contains(&self, field: &str) -> bool {
        field.strip_prefix(self.field.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    pub fn with_place(mut self, place: Option<Place>) -> Self {
        self.place = place;
        self
    }

    pub fn with_resource(mut self, resource: &ResourceId) -> Self {
        self.resource = Some(resource.clone());
        self
    }

    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    pub fn with_expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub fn with_suggestion(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }
}
