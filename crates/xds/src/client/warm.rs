//! Whether what has come can be run: what it refers to is there, or is not to come.

use super::Client;
use super::staged::Staged;
use crate::intern::Decoded;
use crate::{ResourceType, refs};
use amime_model::config::{Cluster, Listener};
use std::time::Instant;

impl Client {
    /// The staged responses of a type can be run now.
    pub(super) fn is_ready(&self, kind: ResourceType, now: Instant) -> bool {
        let Some(staged) = &self.staged[kind] else {
            return false;
        };
        if now >= staged.since + self.options.warm_limit {
            return true;
        }
        staged.changes.values().flatten().all(|(_, resource)| match resource {
            Decoded::Secret(_) | Decoded::Endpoints(_) => true,
            Decoded::Cluster(cluster) => self.cluster_is_warm(cluster),
            Decoded::Listener(listener) => self.listener_is_warm(listener),
            Decoded::Route(routes) if routes.vhds => self.parts.is_complete(&routes.name),
            Decoded::Route(routes) => routes.clusters().all(|c| !self.is_coming(c)),
            Decoded::VirtualHost(host) => host.clusters().all(|c| !self.is_coming(c)),
        })
    }

    fn cluster_is_warm(&self, cluster: &Cluster) -> bool {
        refs::eds_name(cluster).is_none_or(|name| self.has(ResourceType::Endpoints, name))
            && refs::cluster_secrets(cluster).all(|name| self.has_secret(name))
    }

    fn listener_is_warm(&self, listener: &Listener) -> bool {
        refs::listener_routes(listener).all(|name| self.has(ResourceType::Route, name))
            && refs::listener_secrets(listener).all(|name| self.has_secret(name))
            && refs::listener_clusters(listener).into_iter().all(|c| !self.is_coming(c))
    }

    fn has_secret(&self, name: &str) -> bool {
        !refs::is_served(name) || self.has(ResourceType::Secret, name)
    }

    /// That resource is there, or the server has said that it is not.
    fn has(&self, kind: ResourceType, name: &str) -> bool {
        let there = match kind {
            ResourceType::Secret => self.config.secrets.contains_key(name),
            ResourceType::Endpoints => self.config.endpoints.contains_key(name),
            ResourceType::Route => self.config.routes.contains_key(name),
            ResourceType::Cluster => self.config.clusters.contains_key(name),
            ResourceType::Listener => self.config.listeners.contains_key(name),
            ResourceType::VirtualHost => self.versions[kind].contains_key(name),
        };
        there || self.absent[kind].contains(name)
    }

    /// That cluster is not there yet, but it has arrived and is warming; or it is, and looks up its addresses.
    fn is_coming(&self, cluster: &str) -> bool {
        if self.config.clusters.contains_key(cluster) {
            return self.cold.has(cluster);
        }
        let staged = self.staged[ResourceType::Cluster].as_ref();
        staged.is_some_and(|s| s.changes.get(cluster).is_some_and(Option::is_some))
    }

    /// `validate_clusters`: such a route configuration is refused where a cluster is missing, and so is a virtual
    /// host of it.
    pub(super) fn unknown_cluster(&self, staged: &Staged) -> Option<String> {
        let missing = |name: &&str| !self.config.clusters.contains_key(*name);
        staged.changes.iter().find_map(|(name, change)| match &change.as_ref()?.1 {
            Decoded::Route(routes) if routes.validate_clusters => {
                let of_parts = self.parts.hosts_of(name).filter(|_| routes.vhds).flat_map(|h| h.clusters());
                let mut named = routes.clusters().chain(of_parts);
                named.find(missing).map(|cluster| format!("route {}: unknown cluster {cluster}", routes.name))
            }
            Decoded::VirtualHost(host) => {
                let head = self.parts.head(refs::route_of(name)?)?;
                let unknown = host.clusters().find(missing).filter(|_| head.validate_clusters)?;
                Some(format!("virtual host {name}: unknown cluster {unknown}"))
            }
            _ => None,
        })
    }
}
