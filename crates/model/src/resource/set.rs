//! ResourceSet: the objects of all files together, each name once.

use super::{Kind, Loaded, Object, ResourceId};
use crate::diagnostic::{Diagnostic, codes};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

/// All objects, ordered by kind, namespace and name. Cloning shares the objects.
#[derive(Debug, Clone, Default)]
pub struct ResourceSet {
    objects: BTreeMap<ResourceId, Arc<Object>>,
}

impl ResourceSet {
    /// The objects of all files, the files in the order of their names. Of two objects of one kind, namespace and
    /// name the earlier stays; the error names both places.
    pub fn of_files<'a>(files: impl IntoIterator<Item = &'a Loaded>) -> (Self, Vec<Diagnostic>) {
        let mut files: Vec<&Loaded> = files.into_iter().collect();
        files.sort_by(|one, other| one.file.cmp(&other.file));
        let mut set = Self::default();
        let mut diagnostics = Vec::new();
        for object in files.iter().flat_map(|file| &file.objects) {
            if let Err(earlier) = set.insert(object.clone()) {
                diagnostics.push(duplicate(object, &earlier));
            }
        }
        (set, diagnostics)
    }

    /// Adds an object; where its name is taken, the earlier one stays and is returned.
    pub fn insert(&mut self, object: Arc<Object>) -> Result<(), Arc<Object>> {
        match self.objects.entry(object.id.clone()) {
            Entry::Occupied(earlier) => Err(earlier.get().clone()),
            Entry::Vacant(free) => {
                free.insert(object);
                Ok(())
            }
        }
    }

    /// Adds an object, or puts it in the place of the one of that name.
    pub fn replace(&mut self, object: Arc<Object>) {
        self.objects.insert(object.id.clone(), object);
    }

    pub fn remove(&mut self, id: &ResourceId) -> Option<Arc<Object>> {
        self.objects.remove(id)
    }

    pub fn get(&self, id: &ResourceId) -> Option<&Arc<Object>> {
        self.objects.get(id)
    }

    /// By kind, namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// The objects of one kind, by namespace and name.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Object>> {
        let first = ResourceId::new(kind, "", "");
        self.objects.range(first..).map(|(_, object)| object).take_while(move |object| object.id.kind == kind)
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

fn duplicate(object: &Object, earlier: &Object) -> Diagnostic {
    let first = earlier.place("").map_or(String::new(), |place| format!(", first at {place}"));
    let message = format!("{} is given twice{first}; the earlier one stays", object.id);
    Diagnostic::error(codes::DUPLICATE_OBJECT, message)
        .with_place(object.place("metadata.name"))
        .with_resource(&object.id)
        .with_field("metadata.name")
}

/// One finding for each kind that is not read, at the first object of it.
pub fn unknown_kinds<'a>(files: impl IntoIterator<Item = &'a Loaded>) -> Vec<Diagnostic> {
    let mut files: Vec<&Loaded> = files.into_iter().collect();
    files.sort_by(|one, other| one.file.cmp(&other.file));
    let mut by_kind: BTreeMap<(&str, &str), Vec<&super::UnknownKind>> = BTreeMap::new();
    for unknown in files.iter().flat_map(|file| &file.unknown) {
        by_kind.entry((&unknown.api_version, &unknown.kind)).or_default().push(unknown);
    }
    let mut diagnostics: Vec<Diagnostic> = by_kind
        .into_values()
        .filter_map(|of_kind| {
            let first = of_kind.first()?;
            let others = match of_kind.len() - 1 {
                0 => String::new(),
                others => format!(" (and {others} more)"),
            };
            let message = format!("{} {} is not read, and left alone{others}", first.api_version, first.kind);
            let mut diagnostic = Diagnostic::info(codes::UNKNOWN_KIND, message).with_place(Some(first.place.clone()));
            if first.suggestion.is_some() {
                diagnostic.severity = crate::diagnostic::Severity::Warning;
                diagnostic.suggestion.clone_from(&first.suggestion);
            }
            Some(diagnostic)
        })
        .collect();
    diagnostics.sort_by(|one, other| one.place.cmp(&other.place));
    diagnostics
}

#[cfg(test)]
#[path = "set_tests.rs"]
mod tests;
