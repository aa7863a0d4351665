//! Decoded resources, shared: equal bytes decoded for several proxies of a process give one `Arc`.

use crate::ResourceType;
use crate::decode::{self, DecodeError};
use amime_model::config::{Cluster, ClusterEndpoints, Listener, RouteConfig, Secret, VirtualHost};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// A decoded resource of any type.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    Secret(Arc<Secret>),
    Cluster(Arc<Cluster>),
    Endpoints(Arc<ClusterEndpoints>),
    Listener(Arc<Listener>),
    Route(Arc<RouteConfig>),
    VirtualHost(Arc<VirtualHost>),
}

impl Decoded {
    /// The name that the resource itself carries.
    pub fn name(&self) -> &str {
        match self {
            Self::Secret(secret) => secret.name(),
            Self::Cluster(cluster) => &cluster.name,
            Self::Endpoints(endpoints) => &endpoints.cluster,
            Self::Listener(listener) => &listener.name,
            Self::Route(routes) => &routes.name,
            Self::VirtualHost(host) => &host.name,
        }
    }
}

/// Shared by the clients of one process. Holds resources weakly: what no proxy holds is forgotten.
#[derive(Debug, Default)]
pub struct Interner {
    secrets: Mutex<Table<Secret>>,
    clusters: Mutex<Table<Cluster>>,
    endpoints: Mutex<Table<ClusterEndpoints>>,
    listeners: Mutex<Table<Listener>>,
    routes: Mutex<Table<RouteConfig>>,
    hosts: Mutex<Table<VirtualHost>>,
    wholes: Mutex<Table<RouteConfig>>,
    names: Mutex<Names>,
}

impl Interner {
    /// Decodes the value of an `Any`, or finds what equal bytes were decoded to.
    pub fn decode(&self, kind: ResourceType, body: &[u8]) -> Result<Decoded, DecodeError> {
        Ok(match kind {
            ResourceType::Secret => Decoded::Secret(get(&self.secrets, body, decode::secret)?),
            ResourceType::Cluster => Decoded::Cluster(get(&self.clusters, body, decode::cluster)?),
            ResourceType::Endpoints => Decoded::Endpoints(get(&self.endpoints, body, decode::endpoints)?),
            ResourceType::Listener => Decoded::Listener(get(&self.listeners, body, decode::listener)?),
            ResourceType::Route => Decoded::Route(get(&self.routes, body, decode::route)?),
            ResourceType::VirtualHost => Decoded::VirtualHost(get(&self.hosts, body, decode::virtual_host)?),
        })
    }

    /// `head` with these virtual hosts: one `Arc` for the very same.
    pub(crate) fn whole(&self, head: &RouteConfig, hosts: Vec<Arc<VirtualHost>>) -> Arc<RouteConfig> {
        let mut hasher = Xxh3::new();
        hasher.update(head.name.as_bytes());
        for host in &hosts {
            hasher.update(&Arc::as_ptr(host).addr().to_le_bytes());
        }
        let key = hasher.digest128();
        let mut table = lock(&self.wholes);
        // An address may have been given away since, so what is found is compared.
        let same = |known: &Arc<RouteConfig>| {
            known.virtual_hosts.len() == hosts.len()
                && known.virtual_hosts.iter().zip(&hosts).all(|(one, other)| Arc::ptr_eq(one, other))
                && with_hosts(known, Vec::new()) == with_hosts(head, Vec::new())
        };
        if let Some(known) = table.find(key).filter(same) {
            return known;
        }
        let whole = Arc::new(with_hosts(head, hosts));
        table.insert(key, &whole);
        whole
    }

    /// One `Arc` for equal names and versions.
    pub fn name(&self, name: &str) -> Arc<str> {
        let mut names = lock(&self.names);
        if let Some(known) = names.known.get(name) {
            return known.clone();
        }
        if names.known.len() >= names.sweep_at {
            names.known.retain(|name| Arc::strong_count(name) > 1);
            names.sweep_at = (names.known.len() * 2).max(SWEEP);
        }
        let name: Arc<str> = name.into();
        names.known.insert(name.clone());
        name
    }
}

fn with_hosts(head: &RouteConfig, hosts: Vec<Arc<VirtualHost>>) -> RouteConfig {
    RouteConfig {
        name: head.name.clone(),
        virtual_hosts: hosts,
        vhds: false,
        validate_clusters: head.validate_clusters,
        ignore_port_in_host: head.ignore_port_in_host,
        max_direct_response_body_bytes: head.max_direct_response_body_bytes,
        request_headers: head.request_headers.clone(),
        response_headers: head.response_headers.clone(),
    }
}

/// Tables below this size are not swept of what nobody holds any more.
const SWEEP: usize = 64;

#[derive(Debug)]
struct Names {
    known: HashSet<Arc<str>>,
    sweep_at: usize,
}

impl Default for Names {
    fn default() -> Self {
        Self { known: HashSet::new(), sweep_at: SWEEP }
    }
}

/// By a hash of the encoded form: the bytes themselves are as large as what they are decoded to, and 128 bits of
/// a good hash tell apart more resources than there will ever be.
#[derive(Debug)]
struct Table<T> {
    known: HashMap<u128, Weak<T>>,
    sweep_at: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { known: HashMap::new(), sweep_at: SWEEP }
    }
}

impl<T> Table<T> {
    fn find(&self, key: u128) -> Option<Arc<T>> {
        self.known.get(&key).and_then(Weak::upgrade)
    }

    fn insert(&mut self, key: u128, value: &Arc<T>) {
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, value| value.strong_count() > 0);
            self.known.shrink_to(self.known.len() * 2);
            self.sweep_at = (self.known.len() * 2).max(SWEEP);
        }
        self.known.insert(key, Arc::downgrade(value));
    }
}

fn get<T>(
    table: &Mutex<Table<T>>,
    body: &[u8],
    decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
) -> Result<Arc<T>, DecodeError> {
    let key = xxh3_128(body);
    // Held while decoding: two clients that get the same bytes at once decode them once.
    let mut table = lock(table);
    if let Some(found) = table.find(key) {
        return Ok(found);
    }
    let value = Arc::new(decode(body)?);
    table.insert(key, &value);
    Ok(value)
}

/// A panic while the lock was held leaves a table that is merely incomplete.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "intern_tests.rs"]
mod tests;
