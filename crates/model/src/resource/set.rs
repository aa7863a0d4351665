//! ResourceSet: the objects of all files together, each name once.

use super::{Kind, Object, ResourceId};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

/// All objects, ordered by kind, namespace and name. Cloning shares the objects.
#[derive(Debug, Clone, Default)]
pub struct ResourceSet {
    objects: BTreeMap<ResourceId, Arc<Object>>,
}

impl ResourceSet {
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
