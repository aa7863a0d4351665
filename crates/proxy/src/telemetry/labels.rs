//! What metrics name: workloads and services. Each worker numbers those that it meets, so that a request is counted
//! by numbers; their text is looked at when metrics are read.

use super::ProxyIdentity;
use amime_model::config::{ClusterService, WorkloadIdentity};
use std::cell::Cell;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// Who is at one end of a request. Parts that are not known are empty, and labels then say `unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Workload {
    pub(crate) workload: String,
    pub(crate) namespace: String,
    pub(crate) canonical_service: String,
    /// Empty: `latest`.
    pub(crate) canonical_revision: String,
    pub(crate) principal: String,
    pub(crate) app: String,
    pub(crate) version: String,
    pub(crate) cluster: String,
}

impl Workload {
    /// The proxy itself.
    pub(crate) fn own(identity: &ProxyIdentity) -> Self {
        Self {
            workload: identity.workload.clone(),
            namespace: identity.namespace.clone(),
            canonical_service: identity.canonical_service().to_owned(),
            canonical_revision: identity.canonical_revision().to_owned(),
            principal: String::new(),
            app: identity.label(&["app"]).to_owned(),
            version: identity.label(&["version"]).to_owned(),
            cluster: identity.cluster().to_owned(),
        }
    }

    /// As an endpoint's metadata tells, which knows neither `app` nor `version`.
    pub(crate) fn of_endpoint(told: &WorkloadIdentity) -> Self {
        Self {
            workload: told.workload.clone(),
            namespace: told.namespace.clone(),
            canonical_service: told.canonical_service.clone(),
            canonical_revision: told.canonical_revision.clone(),
            cluster: told.cluster.clone(),
            ..Self::default()
        }
    }
}

/// The service that a request is for. Empty parts are not known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Service {
    pub(crate) host: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
}

impl Service {
    pub(crate) fn of_cluster(told: &ClusterService) -> Self {
        Self { host: told.host.clone(), name: told.name.clone(), namespace: told.namespace.clone() }
    }
}

/// The number of something that a worker has met, kept where it was met. Numbers are given anew in each age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Number {
    age: u32,
    index: u32,
}

/// What a worker has numbered. Number 0 is what nothing is known of.
#[derive(Debug)]
pub(crate) struct Numbered<T> {
    age: u32,
    all: Vec<Arc<T>>,
    by_value: HashMap<Arc<T>, u32>,
}

/// More of them than any mesh's proxy meets in a while; then they are numbered anew.
pub(crate) const MOST: usize = 8192;

impl<T: Hash + Eq + Default> Numbered<T> {
    /// The number that is kept at `at`; made where it is not, or of an age that is over.
    pub(crate) fn of(&mut self, at: &Cell<Number>, value: impl FnOnce() -> T) -> u32 {
        let kept = at.get();
        if kept.age == self.age + 1 {
            return kept.index;
        }
        let index = self.number(value());
        at.set(Number { age: self.age + 1, index });
        index
    }

    /// 0 where there are too many.
    pub(crate) fn number(&mut self, value: T) -> u32 {
        if let Some(index) = self.by_value.get(&value) {
            return *index;
        }
        if self.all.is_empty() {
            self.push(T::default());
            if value == T::default() {
                return 0;
            }
        }
        if self.is_full() { 0 } else { self.push(value) }
    }

    /// As [`Numbered::of`], but 0 for what has no number yet.
    pub(crate) fn known(&mut self, at: &Cell<Number>, value: impl FnOnce() -> T) -> u32 {
        let kept = at.get();
        if kept.age == self.age + 1 {
            return kept.index;
        }
        let index = self.by_value.get(&value()).copied().unwrap_or_default();
        at.set(Number { age: self.age + 1, index });
        index
    }

    /// How many have a number.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    fn push(&mut self, value: T) -> u32 {
        let (value, index) = (Arc::new(value), self.all.len() as u32);
        self.all.push(Arc::clone(&value));
        self.by_value.insert(value, index);
        index
    }

    pub(crate) fn get(&self, index: u32) -> Arc<T> {
        self.all.get(index as usize).map(Arc::clone).unwrap_or_default()
    }

    /// Which time the numbers are given.
    pub(crate) fn age(&self) -> u32 {
        self.age
    }

    pub(crate) fn is_full(&self) -> bool {
        self.all.len() >= MOST
    }

    /// Forgets all, and every number that is kept somewhere.
    pub(crate) fn begin_anew(&mut self) {
        *self = Self { age: self.age.wrapping_add(1), ..Self::default() };
    }
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { age: 0, all: Vec::new(), by_value: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_kept_until_they_are_given_anew() {
        let mut services = Numbered::<Service>::default();
        let named = |name: &str| Service { name: name.into(), ..Service::default() };
        let at = Cell::default();
        let first = services.of(&at, || named("a"));
        assert_eq!(services.of(&at, || unreachable!("it is kept")), first);
        assert_ne!(services.number(named("b")), first);
        assert_eq!(services.get(first).name, "a");
        assert_eq!(services.number(Service::default()), 0);
        services.begin_anew();
        assert_eq!(services.of(&at, || named("c")), 1);
        assert_eq!(services.get(1).name, "c");
    }

    #[test]
    fn too_many_are_not_told_apart() {
        let mut services = Numbered::<Service>::default();
        for i in 0..MOST + 10 {
            services.number(Service { name: i.to_string(), ..Service::default() });
        }
        assert!(services.is_full());
        assert_eq!(services.number(Service { name: "one more".into(), ..Service::default() }), 0);
    }
}
