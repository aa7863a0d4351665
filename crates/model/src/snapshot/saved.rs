//! Last good versions as text, so that they outlive the process: `control` writes them into its state folder, and reads
//! them before its first snapshot. An object is kept as the document that it was read from, once, and named by number.

use super::held::{Held, Whole};
use super::references::Reference;
use crate::resource::{Kind, Object, ResourceId, load};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Objects, each once, in the order in which they were added.
#[derive(Debug, Default)]
pub struct Archive {
    objects: Vec<Arc<Object>>,
    numbers: HashMap<*const Object, usize>,
}

/// One object as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedObject {
    /// That the user wrote it in.
    file: String,
    text: String,
}

/// `Held` by the numbers of its objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedHeld {
    sound: Vec<usize>,
    whole: Vec<SavedWhole>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SavedWhole {
    object: usize,
    refers: Vec<(SavedReference, Vec<usize>)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedReference {
    Host(String),
    Subset { host: String, name: String },
    Delegate { namespace: String, name: String },
    Secret(String),
}

impl Archive {
    /// Its number; none for what nobody wrote.
    pub fn add(&mut self, object: &Arc<Object>) -> Option<usize> {
        object.source.as_ref()?;
        let number = self.numbers.entry(Arc::as_ptr(object)).or_insert_with(|| {
            self.objects.push(object.clone());
            self.objects.len() - 1
        });
        Some(*number)
    }

    /// All objects, by number.
    pub fn texts(&self) -> Vec<SavedObject> {
        let text = |object: &Arc<Object>| {
            let source = object.source.as_ref()?;
            Some(SavedObject { file: source.file().to_string(), text: source.root().to_flow() })
        };
        // Only what has a source is added.
        self.objects.iter().filter_map(text).collect()
    }
}

impl SavedObject {
    /// None where the text is no object any more.
    pub fn read(&self) -> Option<Arc<Object>> {
        let mut loaded = load(&self.file, &self.text);
        let object = loaded.objects.pop()?;
        loaded.objects.is_empty().then_some(object)
    }
}

impl Held {
    /// What of it can be written down.
    pub fn save(&self, archive: &mut Archive) -> SavedHeld {
        let mut saved = SavedHeld::default();
        saved.sound.extend(self.sound.values().filter_map(|object| archive.add(object)));
        for whole in self.whole.values() {
            let Some(object) = archive.add(&whole.object) else { continue };
            let refers = whole.refers.iter().map(|(reference, objects)| {
                let objects = objects.iter().filter_map(|object| archive.add(object)).collect();
                (SavedReference::of(reference), objects)
            });
            saved.whole.push(SavedWhole { object, refers: refers.collect() });
        }
        saved
    }

    /// From what was written down. What is missing among the objects is left out, with what would need it.
    pub fn restore(saved: &SavedHeld, objects: &[Option<Arc<Object>>]) -> Self {
        let object = |number: &usize| objects.get(*number).cloned().flatten();
        let mut held = Self::default();
        held.sound.extend(saved.sound.iter().filter_map(object).map(|object| (object.id.clone(), object)));
        for whole in &saved.whole {
            let Some(owner) = object(&whole.object) else { continue };
            let refers = whole.refers.iter().map(|(reference, numbers)| {
                let found: Option<Vec<_>> = numbers.iter().map(object).collect();
                Some((reference.read(), found?))
            });
            if let Some(refers) = refers.collect::<Option<Vec<_>>>() {
                held.whole.insert(owner.id.clone(), Whole { object: owner, refers });
            }
        }
        held
    }
}

impl SavedReference {
    fn of(reference: &Reference) -> Self {
        match reference {
            Reference::Host(host) => Self::Host(host.clone()),
            Reference::Subset { host, name } => Self::Subset { host: host.clone(), name: name.clone() },
            Reference::Delegate(id) => {
                Self::Delegate { namespace: id.namespace.to_string(), name: id.name.to_string() }
            }
            Reference::Secret(name) => Self::Secret(name.clone()),
        }
    }

    fn read(&self) -> Reference {
        match self {
            Self::Host(host) => Reference::Host(host.clone()),
            Self::Subset { host, name } => Reference::Subset { host: host.clone(), name: name.clone() },
            // VirtualServices alone delegate, to their own kind.
            Self::Delegate { namespace, name } => {
                Reference::Delegate(ResourceId::new(Kind::VirtualService, namespace.as_str(), name.as_str()))
            }
            Self::Secret(name) => Reference::Secret(name.clone()),
        }
    }
}

#[cfg(test)]
#[path = "saved_tests.rs"]
mod tests;
