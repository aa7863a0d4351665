//! Which parts of an object are broken, by the fields that its errors name.
//!
//! The parts of `snapshot` ask it; what a broken part means for traffic they decide.

use super::virtual_service::Health;
use crate::diagnostic::Severity;
use crate::resource::Object;

/// The broken fields of one object.
pub(super) struct Broken<'a> {
    fields: Vec<&'a str>,
    /// Unknown fields that one was meant by: as written, and the name that was meant.
    misspelt: Vec<(&'a str, &'a str)>,
}

impl<'a> Broken<'a> {
    pub(super) fn of(object: &'a Object) -> Self {
        let errors = || object.errors.iter().filter(|d| d.severity == Severity::Error);
        let meant = errors().filter_map(|d| Some((d.field.as_str(), d.suggestion.as_deref()?)));
        Self { fields: errors().map(|d| d.field.as_str()).collect(), misspelt: meant.collect() }
    }

    /// Is this field, or something in it, broken?
    pub(super) fn at(&self, path: &str) -> bool {
        self.fields.iter().any(|field| is_within(field, path))
    }

    /// Is this field, or something in it, broken, or was it meant by a misspelt one, or is all around it unread?
    pub(super) fn at_or_misspelt(&self, parent: &str, name: &str) -> bool {
        self.at(&format!("{parent}.{name}")) || self.whole_or_misspelt(parent, name)
    }

    /// The same, where no more than something in it is broken left aside.
    pub(super) fn whole_or_misspelt(&self, parent: &str, name: &str) -> bool {
        self.whole(&format!("{parent}.{name}"))
            || self.whole(parent)
            || self.misspelt.iter().any(|(field, meant)| *meant == name && child_of(field, parent).is_some())
    }

    /// Is there, in `spec` itself, a field that is none of these and was not meant to be one?
    pub(super) fn has_unknown(&self, known: &[&str]) -> bool {
        let was_meant = |field: &str| self.misspelt.iter().any(|(f, meant)| *f == field && known.contains(meant));
        let unknown = |field: &str| child_of(field, "spec").is_some_and(|name| !known.contains(&name));
        self.fields.iter().any(|field| unknown(field) && !was_meant(field))
    }

    /// Could nothing of this field be read? A misspelt `spec` counts.
    pub(super) fn whole(&self, path: &str) -> bool {
        self.fields.iter().any(|field| {
            *field == path || path == "spec" && field.starts_with(char::is_alphabetic) && !field.contains(['.', '['])
        })
    }

    /// Is this field broken as a whole, or something in it that is no element of a list?
    pub(super) fn is(&self, path: &str) -> bool {
        self.fields.iter().any(|field| is_within(field, path) && !field[path.len()..].starts_with('['))
    }

    /// Why rules of the list at `path` may not be known: the list itself, or what a misspelt name meant by it, gives
    /// its own path; an error elsewhere in the spec, in none of these lists, that of the spec.
    pub(super) fn unread<'p>(&self, path: &'p str, lists: &[&str]) -> Option<&'p str> {
        let meant = |field: &str| {
            let names = self.misspelt.iter().filter(|(written, _)| *written == field).map(|(_, name)| *name);
            let of_spec = child_of(field, "spec").is_some();
            names.filter(|_| of_spec).find_map(|name| lists.iter().find(|l| child_of(l, "spec") == Some(name))).copied()
        };
        let outside = self.fields.iter().filter(|field| {
            let in_element = |list: &&str| field.strip_prefix(*list).is_some_and(|rest| rest.starts_with('['));
            is_within(field, "spec") && !lists.iter().any(in_element)
        });
        let lists_of =
            outside.map(|field| lists.iter().find(|l| is_within(field, l)).copied().or_else(|| meant(field)));
        let mut found = None;
        for list in lists_of {
            match list {
                Some(list) if list == path => return Some(path),
                // Another's rules are not known, no more.
                Some("spec.http" | "spec.tls" | "spec.tcp") => {}
                _ => found = Some("spec"),
            }
        }
        found
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

/// The name of a field that is directly in `parent`.
fn child_of<'f>(field: &'f str, parent: &str) -> Option<&'f str> {
    field.strip_prefix(parent)?.strip_prefix('.').filter(|name| !name.contains(['.', '[']))
}

/// Is `field` the one at `path`, or in it?
fn is_within(field: &str, path: &str) -> bool {
    field.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
#[path = "broken_tests.rs"]
mod tests;
