//! Which parts of an object are broken, by the fields that its errors name.
//!
//! The parts of `snapshot` ask it; what a broken part means for traffic they decide.

use super::virtual_service::Health;
use crate::diagnostic::Severity;
use crate::resource::Object;

/// The broken fields of one object.
pub(super) struct Broken<'a> {
    fields: Vec<&'a str>,
}

impl<'a> Broken<'a> {
    pub(super) fn of(object: &'a Object) -> Self {
        let errors = object.errors.iter().filter(|d| d.severity == Severity::Error);
        Self { fields: errors.map(|d| d.field.as_str()).collect() }
    }

    /// Is this field, or something in it, broken?
    pub(super) fn at(&self, path: &str) -> bool {
        self.fields.iter().any(|field| is_within(field, path))
    }

    /// Is this field broken as a whole, or something in it that is no element of a list?
    pub(super) fn is(&self, path: &str) -> bool {
        self.fields.iter().any(|field| is_within(field, path) && !field[path.len()..].starts_with('['))
    }

    /// Is something of the spec broken that is in none of these lists (`spec.http`), or the whole of one?
    pub(super) fn outside(&self, lists: &[&str]) -> bool {
        let in_element =
            |field: &str| lists.iter().any(|list| field.strip_prefix(list).is_some_and(|rest| rest.starts_with('[')));
        self.fields.iter().any(|field| is_within(field, "spec") && !in_element(field))
    }

    /// Of the rule at `path`. A rule that is no mapping decodes to one that matches everything, so that it
    /// needs no case of its own.
    pub(super) fn health(&self, path: &str) -> Health {
        if self.at(&format!("{path}.match")) {
            Health::BrokenMatch
        } else if self.at(path) {
            Health::BrokenAction
        } else {
            Health::Sound
        }
    }
}

/// Is `field` the one at `path`, or in it?
fn is_within(field: &str, path: &str) -> bool {
    field.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
