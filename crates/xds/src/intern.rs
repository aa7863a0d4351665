//! Decoded resources, shared: equal bytes decoded for several proxies of a process give one `Arc`.

use crate::ResourceType;
use crate::decode::{self, DecodeError};
use amime_model::config::{Cluster, ClusterEndpoints, Listener, RouteConfig, Secret};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A decoded resource of any type.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    Secret(Arc<Secret>),
    Cluster(Arc<Cluster>),
    Endpoints(Arc<ClusterEndpoints>),
    Listener(Arc<Listener>),
    Route(Arc<RouteConfig>),
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
        })
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

/// Tables below this size are not swept of what nobody holds any more.
const SWEEP: usize = 1024;

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

#[derive(Debug)]
struct Table<T> {
    known: HashMap<Box<[u8]>, Weak<T>>,
    sweep_at: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { known: HashMap::new(), sweep_at: SWEEP }
    }
}

fn get<T>(
    table: &Mutex<Table<T>>,
    body: &[u8],
    decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
) -> Result<Arc<T>, DecodeError> {
    // Held while decoding: two clients that get the same bytes at once decode them once.
    let mut table = lock(table);
    if let Some(found) = table.known.get(body).and_then(Weak::upgrade) {
        return Ok(found);
    }
    let value = Arc::new(decode(body)?);
    if table.known.len() >= table.sweep_at {
        table.known.retain(|_, value| value.strong_count() > 0);
        table.sweep_at = (table.known.len() * 2).max(SWEEP);
    }
    table.known.insert(body.into(), Arc::downgrade(&value));
    Ok(value)
}

/// A panic while the lock was held leaves a table that is merely incomplete.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
