//! What the client asks for: the names that its clusters and listeners refer to, and no others.

use super::Client;
use crate::intern::Decoded;
use crate::{DeltaRequest, ResourceType, refs};
use amime_model::config::{Cluster, Listener};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Client {
    /// Asks for what is newly named, and no longer for what nothing names.
    pub(super) fn subscribe(&mut self) {
        for kind in [ResourceType::Endpoints, ResourceType::Route, ResourceType::Secret] {
            let wanted = self.wanted(kind);
            if wanted == self.subscribed[kind] {
                self.prune(kind);
                continue;
            }
            let known = &self.subscribed[kind];
            let subscribe: Vec<_> = wanted.difference(known).cloned().collect();
            let unsubscribe: Vec<_> = known.difference(&wanted).cloned().collect();
            self.subscribed[kind] = wanted;
            self.prune(kind);
            if self.connected {
                self.out.push(DeltaRequest {
                    type_url: kind.type_url().into(),
                    subscribe,
                    unsubscribe,
                    ..DeltaRequest::default()
                });
            }
        }
    }

    /// Drops what nothing names any more. The proxy sees it go with its next update.
    fn prune(&mut self, kind: ResourceType) {
        let wanted = &self.subscribed[kind];
        self.versions[kind].retain(|name, _| wanted.contains(name));
        self.absent[kind].retain(|name| wanted.contains(name));
        if let Some(staged) = &mut self.staged[kind] {
            staged.changes.retain(|name, _| wanted.contains(name));
        }
        fn keep<T>(map: &BTreeMap<Arc<str>, T>, wanted: &BTreeSet<Arc<str>>) -> bool {
            map.keys().all(|name| wanted.contains(name))
        }
        let old = &self.config;
        match kind {
            ResourceType::Endpoints if !keep(&old.endpoints, wanted) => {
                let config = Arc::make_mut(&mut self.config);
                config.endpoints.retain(|name, _| wanted.contains(name));
            }
            ResourceType::Route if !keep(&old.routes, wanted) => {
                let config = Arc::make_mut(&mut self.config);
                config.routes.retain(|name, _| wanted.contains(name));
            }
            ResourceType::Secret if !keep(&old.secrets, wanted) => {
                let config = Arc::make_mut(&mut self.config);
                config.secrets.retain(|name, _| wanted.contains(name));
            }
            _ => {}
        }
    }

    /// The names of that type that the configuration, what is being run or what is staged refers to.
    pub(super) fn wanted(&self, kind: ResourceType) -> BTreeSet<Arc<str>> {
        let mut names = BTreeSet::new();
        let mut add = |name: &str| {
            names.insert(self.interner.name(name));
        };
        let of_cluster = |c: &Cluster, add: &mut dyn FnMut(&str)| match kind {
            ResourceType::Endpoints => refs::eds_name(c).into_iter().for_each(add),
            ResourceType::Secret => refs::cluster_secrets(c).for_each(add),
            _ => {}
        };
        let of_listener = |l: &Listener, add: &mut dyn FnMut(&str)| match kind {
            ResourceType::Route => refs::listener_routes(l).for_each(add),
            ResourceType::Secret => refs::listener_secrets(l).for_each(add),
            _ => {}
        };
        self.config.clusters.values().for_each(|c| of_cluster(c, &mut add));
        self.config.listeners.values().for_each(|l| of_listener(l, &mut add));
        let staged = self.staged.iter().filter_map(|(_, staged)| staged.as_ref());
        let applying = self.applying.iter().map(|a| &a.staged);
        for (_, resource) in staged.chain(applying).flat_map(|s| s.changes.values().flatten()) {
            match resource {
                Decoded::Cluster(cluster) => of_cluster(cluster, &mut add),
                Decoded::Listener(listener) => of_listener(listener, &mut add),
                _ => {}
            }
        }
        names
    }
}
