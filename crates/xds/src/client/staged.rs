//! Responses of one type that were read and are not run yet.

use crate::ResourceType;
use crate::intern::Decoded;
use amime_model::config::ProxyConfig;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// By name: the version and the resource, or nothing where it was removed.
pub(super) type Changes = BTreeMap<Arc<str>, Option<(Arc<str>, Decoded)>>;

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

    /// A further response of the type before the one before it was run.
    pub(super) fn merge(&mut self, nonce: String, changes: Changes) {
        self.nonces.push(nonce);
        self.changes.extend(changes);
    }

    /// Writes the changes into `config`; the names that changed and those that are gone.
    pub(super) fn apply(&self, kind: ResourceType, config: &mut ProxyConfig) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let (mut changed, mut removed) = (Vec::new(), Vec::new());
        for (name, change) in &self.changes {
            match change {
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
fn put(config: &mut ProxyConfig, name: &Arc<str>, resource: &Decoded) -> bool {
    fn insert<T: PartialEq>(map: &mut BTreeMap<Arc<str>, Arc<T>>, name: &Arc<str>, value: &Arc<T>) -> bool {
        let old = map.insert(name.clone(), value.clone());
        old.is_none_or(|old| !Arc::ptr_eq(&old, value) && old != *value)
    }
    match resource {
        Decoded::Secret(value) => insert(&mut config.secrets, name, value),
        Decoded::Cluster(value) => insert(&mut config.clusters, name, value),
        Decoded::Endpoints(value) => insert(&mut config.endpoints, name, value),
        Decoded::Listener(value) => insert(&mut config.listeners, name, value),
        Decoded::Route(value) => insert(&mut config.routes, name, value),
    }
}

/// A removal. Endpoints and routes stay until nothing names them any more, as Envoy does: the server
/// withdraws endpoints by an empty assignment.
fn take(config: &mut ProxyConfig, kind: ResourceType, name: &Arc<str>) -> bool {
    match kind {
        ResourceType::Secret => config.secrets.remove(name).is_some(),
        ResourceType::Cluster => config.clusters.remove(name).is_some(),
        ResourceType::Listener => config.listeners.remove(name).is_some(),
        ResourceType::Endpoints | ResourceType::Route => false,
    }
}
