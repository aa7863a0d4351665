//! The names that a client has asked for, mostly all that there are: a thousand streams that each want the same
//! thousand share one list of them, and have their differences alone.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Fewer are kept as they are.
const FEW: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Names {
    /// In order; shared with others.
    list: Arc<[Arc<str>]>,
    /// Of the list, those that are not asked for.
    without: BTreeSet<Arc<str>>,
    /// Those that are not on the list.
    more: BTreeSet<Arc<str>>,
}

impl Names {
    pub(super) fn contains(&self, name: &str) -> bool {
        self.more.contains(name) || (self.is_listed(name) && !self.without.contains(name))
    }

    pub(super) fn insert(&mut self, name: Arc<str>) {
        if !self.without.remove(&name) && !self.is_listed(&name) {
            self.more.insert(name);
        }
    }

    pub(super) fn remove(&mut self, name: &Arc<str>) {
        if !self.more.remove(name) && self.is_listed(name) {
            self.without.insert(name.clone());
        }
    }

    /// In no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        let listed = self.list.iter().filter(|name| self.without.is_empty() || !self.without.contains(*name));
        listed.chain(&self.more)
    }

    /// Takes up a list of what there is, where most of these names are on it.
    pub(super) fn share(&mut self, list: &Arc<[Arc<str>]>) {
        let differences = self.without.len() + self.more.len();
        if differences < FEW || Arc::ptr_eq(list, &self.list) {
            return;
        }
        let on = |name: &&Arc<str>| list.binary_search(name).is_ok();
        let more: BTreeSet<_> = self.iter().filter(|name| !on(name)).cloned().collect();
        let without: BTreeSet<_> = list.iter().filter(|name| !self.contains(name)).cloned().collect();
        if more.len() + without.len() < differences {
            *self = Self { list: list.clone(), without, more };
        }
    }

    fn is_listed(&self, name: &str) -> bool {
        self.list.binary_search_by(|listed| (**listed).cmp(name)).is_ok()
    }
}

impl FromIterator<Arc<str>> for Names {
    fn from_iter<I: IntoIterator<Item = Arc<str>>>(names: I) -> Self {
        Self { more: names.into_iter().collect(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_are_those_of_a_set(
            steps in prop::collection::vec((0..3usize, 0..40usize), 0..120),
            lists in prop::collection::vec(prop::collection::btree_set(0..40usize, 0..40), 1..4),
        ) {
            let name = |n: usize| -> Arc<str> { n.to_string().into() };
            let (mut names, mut set) = (Names::default(), BTreeSet::new());
            for (step, n) in steps {
                match step {
                    0 | 1 if n < 30 => {
                        names.insert(name(n));
                        set.insert(name(n));
                    }
                    2 => {
                        names.remove(&name(n));
                        set.remove(&name(n));
                    }
                    _ => {
                        let list: BTreeSet<_> = lists[n % lists.len()].iter().map(|n| name(*n)).collect();
                        names.share(&list.into_iter().collect());
                    }
                }
                prop_assert_eq!(names.iter().cloned().collect::<BTreeSet<_>>(), set.clone());
                prop_assert_eq!(names.iter().count(), set.len());
                prop_assert!((0..40).all(|n| names.contains(&n.to_string()) == set.contains(&name(n))));
            }
        }
    }

    #[test]
    fn who_asks_for_what_there_is_keeps_no_names() {
        let list: Arc<[Arc<str>]> = (100..200).map(|n| n.to_string().into()).collect();
        let mut names: Names = list.iter().cloned().collect();
        names.insert("other".into());
        names.share(&list);
        assert_eq!((names.without.len(), names.more.len()), (0, 1));
    }
}
