//! Responses of one type that were read and are not run yet.

use super::parts::Parts;
use crate::ResourceType;
use crate::intern::{Decoded, Interner};
use amime_model::config::{ProxyConfig, RouteConfig, VirtualHost};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

/// The version and the resource, or nothing where it was removed.
pub(super) type Change = Option<(Arc<str>, Decoded)>;

/// By name.
pub(super) type Changes = BTreeMap<Arc<str>, Change>;

#[derive(Debug)]
pub(super) struct Staged {
    /// When the first of the responses came: a server that goes on sending must not be waited for without end.
    pub since: Instant,
    /// Of the responses, to be answered together.
    pub nonces: Vec<String>,
    pub changes: Changes,
}

impl Staged {
    pub(super) fn new(since: Instant) -> Self {
        Self { since, nonces: Vec::new(), changes: Changes::new() }
    }

    /// A further response of the type before the one before it was run. What it replaces.
    pub(super) fn merge(&mut self, nonce: String, changes: Changes) -> Changes {
        self.nonces.push(nonce);
        let mut replaced = Changes::new();
        for (name, change) in changes {
            if let Some(old) = self.changes.insert(name.clone(), change) {
                replaced.insert(name, old);
            }
        }
        replaced
    }

    /// The route configurations whose virtual hosts are resources of their own.
    pub(super) fn heads(&self) -> impl Iterator<Item = &Arc<str>> {
        let is_head = |change: &Change| matches!(change, Some((_, Decoded::Route(routes))) if routes.vhds);
        self.changes.iter().filter(move |(_, change)| is_head(change)).map(|(name, _)| name)
    }

    /// Writes the changes into `config`, which stays the same `Arc` where nothing is to be written; the names that
    /// changed and those that are gone.
    pub(super) fn apply(
        &self,
        kind: ResourceType,
        config: &mut Arc<ProxyConfig>,
        parts: &Parts,
        interner: &Interner,
    ) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let (mut changed, mut removed) = (Vec::new(), Vec::new());
        if kind == ResourceType::VirtualHost {
            for (route, whole) in parts.changed(interner, &self.changes) {
                put(config, &route, &Decoded::Route(whole));
            }
            for (name, change) in &self.changes {
                if change.is_some() { &mut changed } else { &mut removed }.push(name.clone());
            }
            return (changed, removed);
        }
        for (name, change) in &self.changes {
            match change {
                Some((_, Decoded::Route(head))) if head.vhds => {
                    if put(config, name, &Decoded::Route(parts.whole(interner, head))) {
                        changed.push(name.clone());
                    }
                }
                Some((_, Decoded::Route(routes))) => {
                    let routes = match config.routes.get(name) {
                        Some(old) => with_hosts_of(interner, old, routes),
                        None => routes.clone(),
                    };
                    if put(config, name, &Decoded::Route(routes)) {
                        changed.push(name.clone());
                    }
                }
                Some((_, resource)) => {
                    if put(config, name, resource) {
                        changed.push(name.clone());
                    }
                }
                None => {
                    if take(config, kind, name) {
                        removed.push(name.clone());
                    }
                }
            }
        }
        (changed, removed)
    }
}

/// True where the configuration is another one now.
fn put(config: &mut Arc<ProxyConfig>, name: &Arc<str>, resource: &Decoded) -> bool {
    /// The very same is not put again, so that nothing has to be copied for it.
    fn is_there<T>(map: &BTreeMap<Arc<str>, Arc<T>>, name: &str, value: &Arc<T>) -> bool {
        map.get(name).is_some_and(|old| Arc::ptr_eq(old, value))
    }
    fn insert<T: PartialEq>(map: &mut BTreeMap<Arc<str>, Arc<T>>, name: &Arc<str>, value: &Arc<T>) -> bool {
        let old = map.insert(name.clone(), value.clone());
        old.is_none_or(|old| old != *value)
    }
    let same = match resource {
        Decoded::Secret(value) => is_there(&config.secrets, name, value),
        Decoded::Cluster(value) => is_there(&config.clusters, name, value),
        Decoded::Endpoints(value) => is_there(&config.endpoints, name, value),
        Decoded::Listener(value) => is_there(&config.listeners, name, value),
        Decoded::Route(value) => is_there(&config.routes, name, value),
        Decoded::VirtualHost(_) => true,
    };
    if same {
        return false;
    }
    let config = Arc::make_mut(config);
    match resource {
        Decoded::Secret(value) => insert(&mut config.secrets, name, value),
        Decoded::Cluster(value) => insert(&mut config.clusters, name, value),
        Decoded::Endpoints(value) => insert(&mut config.endpoints, name, value),
        Decoded::Listener(value) => insert(&mut config.listeners, name, value),
        Decoded::Route(value) => insert(&mut config.routes, name, value),
        Decoded::VirtualHost(_) => false,
    }
}

/// A route configuration that came whole, with the virtual hosts of the one before where they are equal: what is
/// compiled of them then goes on.
fn with_hosts_of(interner: &Interner, old: &RouteConfig, new: &Arc<RouteConfig>) -> Arc<RouteConfig> {
    let known: HashMap<&str, &Arc<VirtualHost>> = old.virtual_hosts.iter().map(|host| (&*host.name, host)).collect();
    let mut any = false;
    let hosts = new.virtual_hosts.iter().map(|host| match known.get(&*host.name) {
        Some(old) if *old == host => {
            any = true;
            Arc::clone(old)
        }
        _ => Arc::clone(host),
    });
    let hosts = hosts.collect();
    if any { interner.whole(new, hosts) } else { new.clone() }
}

/// A removal. Endpoints and routes stay until nothing names them any more, as Envoy does: the server
/// withdraws endpoints by an empty assignment.
fn take(config: &mut Arc<ProxyConfig>, kind: ResourceType, name: &Arc<str>) -> bool {
    match kind {
        ResourceType::Secret if config.secrets.contains_key(name) => {
            Arc::make_mut(config).secrets.remove(name).is_some()
        }
        ResourceType::Cluster if config.clusters.contains_key(name) => {
            Arc::make_mut(config).clusters.remove(name).is_some()
        }
        ResourceType::Listener if config.listeners.contains_key(name) => {
            Arc::make_mut(config).listeners.remove(name).is_some()
        }
        _ => false,
    }
}
