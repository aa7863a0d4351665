//! Resources of one type by name, for [`super::ProxyConfig`].

use std::collections::{BTreeMap, btree_map};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A map that clones share until one of them is changed, which then copies it: of a configuration that differs in its
/// endpoints alone, the rest is the very same. Reads as the map that it is.
#[derive(Debug)]
pub struct Named<T>(Arc<Inner<T>>);

type Inner<T> = BTreeMap<Arc<str>, Arc<T>>;

impl<T> Named<T> {
    /// Whether both are one and the same map, so that nothing in them can differ.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Clone for Named<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: PartialEq> PartialEq for Named<T> {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self.0 == other.0
    }
}

impl<T> Deref for Named<T> {
    type Target = Inner<T>;

    fn deref(&self) -> &Inner<T> {
        &self.0
    }
}

impl<T> DerefMut for Named<T> {
    fn deref_mut(&mut self) -> &mut Inner<T> {
        Arc::make_mut(&mut self.0)
    }
}

impl<T> From<Inner<T>> for Named<T> {
    fn from(map: Inner<T>) -> Self {
        Self(Arc::new(map))
    }
}

impl<T, const N: usize> From<[(Arc<str>, Arc<T>); N]> for Named<T> {
    fn from(entries: [(Arc<str>, Arc<T>); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<T> FromIterator<(Arc<str>, Arc<T>)> for Named<T> {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Arc<T>)>>(entries: I) -> Self {
        Self(Arc::new(entries.into_iter().collect()))
    }
}

impl<'m, T> IntoIterator for &'m Named<T> {
    type Item = (&'m Arc<str>, &'m Arc<T>);
    type IntoIter = btree_map::Iter<'m, Arc<str>, Arc<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T> IntoIterator for Named<T> {
    type Item = (Arc<str>, Arc<T>);
    type IntoIter = btree_map::IntoIter<Arc<str>, Arc<T>>;

    fn into_iter(self) -> Self::IntoIter {
        Arc::unwrap_or_clone(self.0).into_iter()
    }
}
