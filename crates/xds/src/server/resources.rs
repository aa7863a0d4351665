//! What a proxy is to have, encoded: what it shares with others and what is its own; and what differs between two.

use super::encoded::Encoded;
use super::routes::Whole;
use crate::{PerType, ResourceType, refs};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use xxhash_rust::xxh64::Xxh64;

/// Resources of one type by name.
pub(super) type Named = BTreeMap<Arc<str>, Arc<Encoded>>;
/// Names of each type.
type Names = PerType<Vec<Arc<str>>>;

/// What the proxies of one view have in common. Types that an update does not concern are the same ones after it.
#[derive(Debug, Default)]
pub struct Common {
    pub(super) of: PerType<Arc<Named>>,
    /// The names, in order; the same list while they are the same.
    names: PerType<Arc<[Arc<str>]>>,
    pub(super) versions: PerType<Arc<str>>,
    /// What those of the route configurations that are whole are put together of.
    pub(super) wholes: BTreeMap<Arc<str>, Arc<Whole>>,
    /// What the last one asked for differs in from this: those who follow all take the same step.
    step: Mutex<Option<(Weak<Self>, Arc<Names>)>>,
}

/// What one proxy has in the place of what is common, or beside it; None: it does not have what is common.
#[derive(Debug, Default)]
pub struct Own {
    pub(super) of: PerType<BTreeMap<Arc<str>, Option<Arc<Encoded>>>>,
}

/// All that a proxy is to have, by name.
#[derive(Debug, Default)]
pub struct Resources {
    common: Arc<Common>,
    own: Arc<Own>,
    /// Of all resources of a type: a hash of theirs.
    versions: PerType<Arc<str>>,
}

/// A hash of names and versions.
pub(super) fn version_of<'a>(resources: impl Iterator<Item = (&'a Arc<str>, Option<&'a Arc<Encoded>>)>) -> Arc<str> {
    let mut hash = Xxh64::new(0);
    for (name, encoded) in resources {
        hash.update(name.as_bytes());
        hash.update(encoded.map_or(&[], |encoded| encoded.version.as_bytes()));
    }
    format!("{:016x}", hash.digest()).into()
}

impl Common {
    pub(super) fn new(of: PerType<Arc<Named>>, wholes: BTreeMap<Arc<str>, Arc<Whole>>) -> Self {
        let mut common = Self { of, wholes, ..Self::default() };
        for kind in ResourceType::ALL {
            common.names[kind] = common.of[kind].keys().cloned().collect();
            common.versions[kind] = version_of(common.of[kind].iter().map(|(name, encoded)| (name, Some(encoded))));
        }
        common
    }

    /// The same but for resources of one type, all of them there already, in newer versions.
    pub(super) fn with(&self, kind: ResourceType, newer: impl IntoIterator<Item = (Arc<str>, Arc<Encoded>)>) -> Self {
        let mut common = Self {
            of: self.of.clone(),
            names: self.names.clone(),
            versions: self.versions.clone(),
            wholes: self.wholes.clone(),
            step: Mutex::default(),
        };
        let mut newer = newer.into_iter().peekable();
        if newer.peek().is_none() {
            return common;
        }
        Arc::make_mut(&mut common.of[kind]).extend(newer);
        common.versions[kind] = version_of(common.of[kind].iter().map(|(name, encoded)| (name, Some(encoded))));
        common
    }

    /// The names under which this one has something else than an older one.
    fn since(&self, old: &Arc<Self>) -> Arc<Names> {
        // A panic while it was held leaves it as it was.
        let mut step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((from, names)) = &*step
            && from.as_ptr() == Arc::as_ptr(old)
        {
            return names.clone();
        }
        let mut names = Names::default();
        for kind in ResourceType::ALL {
            if !Arc::ptr_eq(&old.of[kind], &self.of[kind]) {
                names[kind] = differing(&old.of[kind], &self.of[kind]);
            }
        }
        let names = Arc::new(names);
        *step = Some((Arc::downgrade(old), names.clone()));
        names
    }
}

impl Resources {
    pub fn new(common: Arc<Common>, own: Arc<Own>) -> Self {
        let mut versions = common.versions.clone();
        for (kind, of) in own.of.iter().filter(|(_, of)| !of.is_empty()) {
            let own = version_of(of.iter().map(|(name, encoded)| (name, encoded.as_ref())));
            versions[kind] = format!("{}-{own}", versions[kind]).into();
        }
        Self { common, own, versions }
    }

    /// The same proxy's, where what is common has changed.
    pub fn after(&self, common: Arc<Common>) -> Self {
        Self::new(common, self.own.clone())
    }

    /// The same, but for all resources of that type.
    pub fn without(&self, kind: ResourceType) -> Self {
        let mut of = self.own.of.clone();
        of[kind] = self.iter(kind).map(|(name, _)| (name.clone(), None)).collect();
        Self::new(self.common.clone(), Arc::new(Own { of }))
    }

    pub(super) fn get(&self, kind: ResourceType, name: &str) -> Option<&Arc<Encoded>> {
        match self.own.of[kind].get(name) {
            Some(own) => own.as_ref(),
            None => self.common.of[kind].get(name),
        }
    }

    /// That name as it is kept here, for who would keep another copy of it.
    pub(super) fn name(&self, kind: ResourceType, name: &str) -> Option<&Arc<str>> {
        self.common.of[kind].get_key_value(name).map(|(name, _)| name)
    }

    /// The names of what is common, in order.
    pub(super) fn names(&self, kind: ResourceType) -> &Arc<[Arc<str>]> {
        &self.common.names[kind]
    }

    /// Those of a type, in no order.
    pub(crate) fn iter(&self, kind: ResourceType) -> impl Iterator<Item = (&Arc<str>, &Arc<Encoded>)> {
        let own = &self.own.of[kind];
        let common = self.common.of[kind].iter().filter(|(name, _)| own.is_empty() || !own.contains_key(*name));
        own.iter().filter_map(|(name, encoded)| Some((name, encoded.as_ref()?))).chain(common)
    }

    /// The virtual hosts of a route configuration.
    pub(super) fn hosts_of(&self, route: &str) -> impl Iterator<Item = (&Arc<str>, &Arc<Encoded>)> {
        let own = &self.own.of[ResourceType::VirtualHost];
        let common = in_route(&self.common.of[ResourceType::VirtualHost], route);
        let common = common.filter(|(name, _)| own.is_empty() || !own.contains_key(*name));
        in_route(own, route).filter_map(|(name, encoded)| Some((name, encoded.as_ref()?))).chain(common)
    }

    /// The version of all resources of a type together; equal contents have equal versions.
    pub fn version(&self, kind: ResourceType) -> &Arc<str> {
        &self.versions[kind]
    }

    /// The version of each resource, by type and name.
    pub fn versions(&self) -> PerType<BTreeMap<Arc<str>, Arc<str>>> {
        let mut versions = PerType::default();
        for kind in ResourceType::ALL {
            versions[kind] = self.iter(kind).map(|(name, one)| (name.clone(), one.version.clone())).collect();
        }
        versions
    }

    pub fn is_empty(&self, kind: ResourceType) -> bool {
        self.iter(kind).next().is_none()
    }

    /// How many resources of that type there are.
    pub fn len(&self, kind: ResourceType) -> usize {
        self.iter(kind).count()
    }
}

/// What a map by names of virtual hosts has of one route configuration.
pub(super) fn in_route<'m, T>(
    hosts: &'m BTreeMap<Arc<str>, T>,
    route: &str,
) -> impl Iterator<Item = (&'m Arc<str>, &'m T)> {
    let prefix = refs::host_name(route, "");
    let from: Arc<str> = prefix.as_str().into();
    let of_route = hosts.range(from..).take_while(move |(name, _)| name.starts_with(&*prefix));
    // A longer name of a route configuration may begin the same.
    let length = route.len();
    of_route.filter(move |(name, _)| refs::route_of(name).is_some_and(|route| route.len() == length))
}

/// The names that two [`Resources`] do not have in common.
#[derive(Debug, Default)]
pub struct Diff {
    common: Arc<Names>,
    own: Names,
}

impl Diff {
    pub fn between(old: &Resources, new: &Resources) -> Self {
        let mut diff = Self::default();
        if !Arc::ptr_eq(&old.common, &new.common) {
            diff.common = new.common.since(&old.common);
        }
        if !Arc::ptr_eq(&old.own, &new.own) {
            for kind in ResourceType::ALL {
                let names = old.own.of[kind].keys().chain(new.own.of[kind].keys());
                let version = |of: &Resources, name: &str| of.get(kind, name).map(|encoded| encoded.version.clone());
                let differs = |name: &&Arc<str>| version(old, name) != version(new, name);
                diff.own[kind] = names.filter(differs).cloned().collect();
            }
        }
        diff
    }

    /// The names of a type; some may be there twice, or have changed for other proxies alone.
    pub(super) fn names(&self, kind: ResourceType) -> impl Iterator<Item = &Arc<str>> {
        self.common[kind].iter().chain(&self.own[kind])
    }

    pub fn is_empty(&self) -> bool {
        ResourceType::ALL.into_iter().all(|kind| self.names(kind).next().is_none())
    }
}

/// The names under which there is not the same in both.
fn differing(old: &Named, new: &Named) -> Vec<Arc<str>> {
    let (mut olds, mut news) = (old.iter().peekable(), new.iter().peekable());
    let mut names = Vec::new();
    loop {
        match (olds.peek(), news.peek()) {
            (None, None) => return names,
            (Some((a, x)), Some((b, y))) if a == b => {
                if !Arc::ptr_eq(x, y) && x.version != y.version {
                    names.push((*a).clone());
                }
                olds.next();
                news.next();
            }
            (Some((a, _)), b) if b.is_none_or(|(b, _)| a < b) => {
                names.push((*a).clone());
                olds.next();
            }
            (_, Some((b, _))) => {
                names.push((*b).clone());
                news.next();
            }
            (Some(_), None) => {}
        }
    }
}
