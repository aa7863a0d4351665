//! The encoded configuration of a group of proxies, and what differs between two of them.

use crate::{PerType, ResourceType, encode, refs};
use amime_model::config::{ClusterEndpoints, ProxyConfig};
use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{encode_varint, encoded_len_varint};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;
use xxhash_rust::xxh64::xxh64;

/// One encoded resource, shared by every stream that carries it.
#[derive(Debug)]
pub struct Encoded {
    /// A hash of the contents: equal contents have equal versions, after a restart too.
    pub version: Arc<str>,
    /// As an element of a delta response; what follows `any_at` is an element of a state-of-the-world one.
    element: Bytes,
    any_at: usize,
    pub(super) refs: Refs,
}

/// What a resource names of others.
#[derive(Debug, Default)]
pub(super) struct Refs {
    /// Of a listener or route configuration.
    pub clusters: Vec<Arc<str>>,
    /// Of a listener.
    pub routes: Vec<Arc<str>>,
    /// Of a cluster.
    pub endpoints: Option<Arc<str>>,
    /// Of a cluster.
    pub secrets: Vec<Arc<str>>,
    /// How long after its replacement requests may still need the clusters that it names.
    pub linger: Duration,
}

/// Field 2 with a length: `resources` of both responses, and `resource` in an element of a delta response. So the
/// tail of a delta element is a state-of-the-world element.
const FIELD_2: u8 = 2 << 3 | 2;
/// `version` of a delta element.
const FIELD_1: u8 = 1 << 3 | 2;
/// `name` of a delta element.
const FIELD_3: u8 = 3 << 3 | 2;

fn put(out: &mut BytesMut, key: u8, contents: &[u8]) {
    out.put_u8(key);
    encode_varint(contents.len() as u64, out);
    out.put_slice(contents);
}

fn len(contents: usize) -> usize {
    1 + encoded_len_varint(contents as u64) + contents
}

impl Encoded {
    fn new(kind: ResourceType, name: &str, body: &[u8], refs: Refs) -> Self {
        let version: Arc<str> = format!("{:016x}", xxh64(body, 0)).into();
        let url = kind.type_url().as_bytes();
        let any = len(url.len()) + len(body.len());
        let resource = len(name.len()) + len(version.len()) + len(any);
        let mut element = BytesMut::with_capacity(len(resource));
        element.put_u8(FIELD_2);
        encode_varint(resource as u64, &mut element);
        put(&mut element, FIELD_3, name.as_bytes());
        put(&mut element, FIELD_1, version.as_bytes());
        let any_at = element.len();
        element.put_u8(FIELD_2);
        encode_varint(any as u64, &mut element);
        put(&mut element, FIELD_1, url);
        put(&mut element, FIELD_2, body);
        Self { version, element: element.freeze(), any_at, refs }
    }

    pub(super) fn delta_element(&self) -> Bytes {
        self.element.clone()
    }

    pub(super) fn sotw_element(&self) -> Bytes {
        self.element.slice(self.any_at..)
    }

    /// An assignment without endpoints: how endpoints are withdrawn.
    pub(super) fn no_endpoints(cluster: &str) -> Self {
        let empty = ClusterEndpoints { cluster: cluster.into(), ..Default::default() };
        Self::new(ResourceType::Endpoints, cluster, &encode::endpoints(&empty), Refs::default())
    }
}

/// What tests look at.
#[cfg(test)]
impl Encoded {
    /// The clusters and routes that it names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.refs.clusters.iter().chain(&self.refs.routes)
    }
}

/// All that a group of proxies is to have, by name.
#[derive(Debug, Default)]
pub struct Resources {
    pub(super) of: PerType<BTreeMap<Arc<str>, Arc<Encoded>>>,
}

impl Resources {
    pub(super) fn get(&self, kind: ResourceType, name: &str) -> Option<&Arc<Encoded>> {
        self.of[kind].get(name)
    }

    /// How many resources of that type there are.
    pub fn len(&self, kind: ResourceType) -> usize {
        self.of[kind].len()
    }
}

/// What tests look at.
#[cfg(test)]
impl Resources {
    pub(crate) fn iter(&self, kind: ResourceType) -> impl Iterator<Item = (&Arc<str>, &Arc<Encoded>)> {
        self.of[kind].iter()
    }
}

/// The names that two [`Resources`] do not have in common.
#[derive(Debug, Default)]
pub struct Diff {
    pub(super) names: PerType<Vec<Arc<str>>>,
}

impl Diff {
    pub fn between(old: &Resources, new: &Resources) -> Self {
        let mut diff = Self::default();
        for kind in ResourceType::ALL {
            let (mut olds, mut news) = (old.of[kind].iter().peekable(), new.of[kind].iter().peekable());
            let names = &mut diff.names[kind];
            loop {
                match (olds.peek(), news.peek()) {
                    (None, None) => break,
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
        diff
    }

    pub fn is_empty(&self) -> bool {
        self.names.iter().all(|(_, names)| names.is_empty())
    }
}

/// By name and version.
type ByName<T> = HashMap<Arc<str>, HashMap<Arc<str>, T>>;

/// Encodes configurations, each shared resource once. Keep one for all the proxies of a control plane.
#[derive(Debug, Default)]
pub struct Encoder {
    /// Of the configurations since [`Encoder::begin`]: by address, each kept alive so that no other takes it.
    seen: HashMap<(ResourceType, usize), (KeepAlive, Arc<Encoded>)>,
    /// What some stream still has, by type, name and version: equal contents keep their bytes. A thousand sidecars
    /// have a thousand listeners of one name, so a look at each would cost a million.
    known: PerType<ByName<Weak<Encoded>>>,
}

/// Any `Arc`, for its address.
type KeepAlive = Arc<dyn std::any::Any + Send + Sync>;

impl Encoder {
    /// A new snapshot: what the configurations before it shared is forgotten.
    pub fn begin(&mut self) {
        self.seen.clear();
        for kind in ResourceType::ALL {
            self.known[kind].retain(|_, versions| {
                versions.retain(|_, encoded| encoded.strong_count() > 0);
                !versions.is_empty()
            });
        }
    }

    pub fn encode(&mut self, config: &ProxyConfig) -> Resources {
        use ResourceType as T;
        let mut all = Resources::default();
        all.of[T::Secret] = self.each(T::Secret, &config.secrets, |s| (encode::secret(s), Refs::default()));
        all.of[T::Cluster] = self.each(T::Cluster, &config.clusters, |c| {
            let refs = Refs {
                endpoints: refs::eds_name(c).map(Arc::from),
                secrets: distinct(refs::cluster_secrets(c)),
                ..Refs::default()
            };
            (encode::cluster(c), refs)
        });
        all.of[T::Endpoints] = self.each(T::Endpoints, &config.endpoints, |e| (encode::endpoints(e), Refs::default()));
        all.of[T::Listener] = self.each(T::Listener, &config.listeners, |l| {
            let refs = Refs {
                clusters: distinct(refs::listener_clusters(l)),
                routes: distinct(refs::listener_routes(l)),
                linger: refs::listener_linger(l),
                ..Refs::default()
            };
            (encode::listener(l), refs)
        });
        all.of[T::Route] = self.each(T::Route, &config.routes, |r| {
            let refs =
                Refs { clusters: distinct(refs::route_clusters(r)), linger: refs::route_linger(r), ..Refs::default() };
            (encode::route(r), refs)
        });
        all
    }

    fn each<T: Send + Sync + 'static>(
        &mut self,
        kind: ResourceType,
        resources: &BTreeMap<Arc<str>, Arc<T>>,
        encode: impl Fn(&T) -> (Bytes, Refs),
    ) -> BTreeMap<Arc<str>, Arc<Encoded>> {
        let one = |(name, resource): (&Arc<str>, &Arc<T>)| {
            let at = (kind, Arc::as_ptr(resource) as usize);
            if let Some((_, encoded)) = self.seen.get(&at) {
                return (name.clone(), encoded.clone());
            }
            let (body, refs) = encode(resource);
            let encoded = self.known(kind, name, Encoded::new(kind, name, &body, refs));
            // What only this configuration has is not met again, and need not outlive it.
            if Arc::strong_count(resource) > 1 {
                self.seen.insert(at, (resource.clone(), encoded.clone()));
            }
            (name.clone(), encoded)
        };
        resources.iter().map(one).collect()
    }

    /// The bytes of equal contents that some stream has already, else these.
    fn known(&mut self, kind: ResourceType, name: &Arc<str>, encoded: Encoded) -> Arc<Encoded> {
        let versions = self.known[kind].entry(name.clone()).or_default();
        // Versions are hashes, so equal ones do not prove equal contents.
        let equal = versions.get(&encoded.version).and_then(Weak::upgrade).filter(|k| k.element == encoded.element);
        equal.unwrap_or_else(|| {
            let encoded = Arc::new(encoded);
            versions.insert(encoded.version.clone(), Arc::downgrade(&encoded));
            encoded
        })
    }
}

fn distinct<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Arc<str>> {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(Arc::from).collect()
}
