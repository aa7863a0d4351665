//! What the client asks for: the names that its clusters, listeners and route configurations refer to, and no
//! others. Counted as resources come and go, so that a change costs what it changes.

use super::Client;
use crate::intern::{Decoded, Interner};
use crate::{DeltaRequest, PerType, ResourceType, refs};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How often each name is referred to by what runs, is being run or is staged.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    counts: PerType<BTreeMap<Arc<str>, u32>>,
    /// Since the server was told.
    gained: PerType<BTreeSet<Arc<str>>>,
    lost: PerType<BTreeSet<Arc<str>>>,
}

impl Wanted {
    pub(super) fn add(&mut self, interner: &Interner, resource: &Decoded) {
        each_name(resource, |kind, name| {
            let name = interner.name(name);
            let count = self.counts[kind].entry(name.clone()).or_default();
            *count += 1;
            if *count == 1 && !self.lost[kind].remove(&name) {
                self.gained[kind].insert(name);
            }
        });
    }

    pub(super) fn remove(&mut self, interner: &Interner, resource: &Decoded) {
        each_name(resource, |kind, name| {
            let Some(count) = self.counts[kind].get_mut(name) else { return };
            *count -= 1;
            if *count == 0 {
                self.counts[kind].remove(name);
                let name = interner.name(name);
                if !self.gained[kind].remove(&name) {
                    self.lost[kind].insert(name);
                }
            }
        });
    }

    pub(super) fn names(&self, kind: ResourceType) -> impl Iterator<Item = &Arc<str>> {
        self.counts[kind].keys()
    }

    pub(super) fn contains(&self, kind: ResourceType, name: &str) -> bool {
        self.counts[kind].contains_key(name)
    }
}

/// The names that a resource refers to.
fn each_name(resource: &Decoded, mut each: impl FnMut(ResourceType, &str)) {
    match resource {
        Decoded::Cluster(cluster) => {
            refs::eds_name(cluster).into_iter().for_each(|name| each(ResourceType::Endpoints, name));
            refs::cluster_secrets(cluster)
                .filter(|name| refs::is_served(name))
                .for_each(|name| each(ResourceType::Secret, name));
        }
        Decoded::Listener(listener) => {
            refs::listener_routes(listener).for_each(|name| each(ResourceType::Route, name));
            refs::listener_secrets(listener)
                .filter(|name| refs::is_served(name))
                .for_each(|name| each(ResourceType::Secret, name));
        }
        Decoded::Route(routes) if routes.vhds => each(ResourceType::VirtualHost, &refs::hosts_of(&routes.name)),
        Decoded::Route(_) | Decoded::Secret(_) | Decoded::Endpoints(_) | Decoded::VirtualHost(_) => {}
    }
}

/// What is asked for by name, in the order in which one names the other.
const NAMED: [ResourceType; 4] =
    [ResourceType::Endpoints, ResourceType::Secret, ResourceType::Route, ResourceType::VirtualHost];

impl Client {
    /// Asks for what is newly named, and no longer for what nothing names.
    pub(super) fn subscribe(&mut self) {
        for kind in NAMED {
            let subscribe = std::mem::take(&mut self.wanted.gained[kind]);
            let unsubscribe = std::mem::take(&mut self.wanted.lost[kind]);
            if subscribe.is_empty() && unsubscribe.is_empty() {
                continue;
            }
            if self.connected {
                self.out.push(DeltaRequest {
                    type_url: kind.type_url().into(),
                    subscribe: subscribe.into_iter().collect(),
                    unsubscribe: unsubscribe.iter().cloned().collect(),
                    ..DeltaRequest::default()
                });
            }
            self.unused[kind].extend(unsubscribe);
            self.prune(kind);
        }
    }

    /// Drops what nothing names any more, once no update is under way that may still hold it. The proxy sees it go
    /// with its next update.
    fn prune(&mut self, kind: ResourceType) {
        if self.applying.is_some() || self.unused[kind].is_empty() {
            return;
        }
        for name in std::mem::take(&mut self.unused[kind]) {
            if !self.wanted.contains(kind, &name) {
                self.drop_unused(kind, &name);
            }
        }
    }

    pub(super) fn prune_all(&mut self) {
        NAMED.into_iter().for_each(|kind| self.prune(kind));
    }

    fn drop_unused(&mut self, kind: ResourceType, name: &Arc<str>) {
        self.absent[kind].remove(name);
        if kind == ResourceType::VirtualHost {
            return self.drop_hosts(name);
        }
        self.versions[kind].remove(name);
        let staged = self.staged[kind].as_mut().and_then(|staged| staged.changes.remove(name)).flatten();
        if let Some((_, resource)) = staged {
            self.wanted.remove(&self.interner, &resource);
        }
        match kind {
            ResourceType::Endpoints if self.config.endpoints.contains_key(name) => {
                Arc::make_mut(&mut self.config).endpoints.remove(name);
            }
            ResourceType::Secret if self.config.secrets.contains_key(name) => {
                Arc::make_mut(&mut self.config).secrets.remove(name);
            }
            ResourceType::Route => {
                if let Some(head) = self.parts.head(name) {
                    self.wanted.remove(&self.interner, &Decoded::Route(head.clone()));
                }
                if self.config.routes.contains_key(name) {
                    Arc::make_mut(&mut self.config).routes.remove(name);
                }
                self.parts.forget_head(name);
            }
            _ => {}
        }
    }

    /// `hosts` is a subscription to all virtual hosts of a route configuration that is not used any more.
    fn drop_hosts(&mut self, hosts: &str) {
        let kind = ResourceType::VirtualHost;
        let Some(route) = refs::route_of(hosts) else { return };
        self.parts.forget_hosts(route);
        self.versions[kind].retain(|name, _| refs::route_of(name) != Some(route));
        if let Some(staged) = &mut self.staged[kind] {
            staged.changes.retain(|name, _| refs::route_of(name) != Some(route));
        }
    }
}
