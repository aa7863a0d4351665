//! The encoded configuration of a group of proxies, and what differs between two of them.

use super::Protocol;
use crate::{PerType, ResourceType, encode, refs};
use amime_model::config::{ClusterEndpoints, ProxyConfig, RouteConfig, VirtualHost};
use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;
use xxhash_rust::xxh64::Xxh64;

/// One encoded resource, shared by every stream that carries it.
#[derive(Debug)]
pub struct Encoded {
    /// A hash of the contents: equal contents have equal versions, after a restart too.
    pub version: Arc<str>,
    /// As an element of a delta response; what follows `any_at` is an element of a state-of-the-world one.
    element: Bytes,
    any_at: usize,
    /// Where the body begins, with its key and length: those of a virtual host are an element of a route
    /// configuration too.
    body_at: usize,
    /// What the body goes on with: the virtual hosts of a route configuration, of which there is no other copy.
    tail: Vec<Bytes>,
    pub(super) refs: Refs,
}

/// What a resource names of others.
#[derive(Debug, Default)]
pub(super) struct Refs {
    /// Of a listener, route configuration or virtual host.
    pub clusters: Vec<Arc<str>>,
    /// Of a listener.
    pub routes: Vec<Arc<str>>,
    /// Of a cluster.
    pub endpoints: Option<Arc<str>>,
    /// Of a cluster.
    pub secrets: Vec<Arc<str>>,
    /// How long after its replacement requests may still need the clusters that it names.
    pub linger: Duration,
    /// A hash of a virtual host's domains: while it stays, no other virtual host is concerned by a change.
    pub domains: u64,
    /// A route configuration without its virtual hosts: the client refuses those whose clusters it lacks.
    pub validates: bool,
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
        Self::with_tail(kind, name, body, Vec::new(), refs)
    }

    /// The body is `body` and then all of `tail`.
    fn with_tail(kind: ResourceType, name: &str, body: &[u8], tail: Vec<Bytes>, refs: Refs) -> Self {
        let tail_length: usize = tail.iter().map(Bytes::len).sum();
        let mut hash = Xxh64::new(0);
        hash.update(body);
        tail.iter().for_each(|chunk| hash.update(chunk));
        let version: Arc<str> = format!("{:016x}", hash.digest()).into();
        let url = kind.type_url().as_bytes();
        let whole_body = body.len() + tail_length;
        let any = len(url.len()) + len(whole_body);
        let resource = len(name.len()) + len(version.len()) + len(any);
        let mut element = BytesMut::with_capacity(len(resource) - tail_length);
        element.put_u8(FIELD_2);
        encode_varint(resource as u64, &mut element);
        put(&mut element, FIELD_3, name.as_bytes());
        put(&mut element, FIELD_1, version.as_bytes());
        let any_at = element.len();
        element.put_u8(FIELD_2);
        encode_varint(any as u64, &mut element);
        put(&mut element, FIELD_1, url);
        let body_at = element.len();
        element.put_u8(FIELD_2);
        encode_varint(whole_body as u64, &mut element);
        element.put_slice(body);
        Self { version, element: element.freeze(), any_at, body_at, tail, refs }
    }

    /// The pieces of an element of a response, and how long they are together.
    pub(super) fn piece(&self, protocol: Protocol, index: usize) -> Option<Bytes> {
        match (index, protocol) {
            (0, Protocol::Delta) => Some(self.element.clone()),
            (0, Protocol::Sotw) => Some(self.element.slice(self.any_at..)),
            _ => self.tail.get(index - 1).cloned(),
        }
    }

    pub(super) fn length(&self, protocol: Protocol) -> usize {
        let skipped = if protocol == Protocol::Sotw { self.any_at } else { 0 };
        self.element.len() - skipped + self.tail.iter().map(Bytes::len).sum::<usize>()
    }

    /// As a virtual host within a route configuration: `virtual_hosts` is field 2 there, as the body is in an `Any`.
    fn as_virtual_host(&self) -> Bytes {
        self.element.slice(self.body_at..)
    }

    /// The value of the `Any`.
    pub(super) fn body(&self) -> Vec<u8> {
        let mut body = self.element.slice(self.body_at + 1..);
        // It was written by `with_tail`, so it can be read.
        let _ = decode_varint(&mut body);
        std::iter::once(&body).chain(&self.tail).flatten().copied().collect()
    }

    fn has_bytes_of(&self, other: &Self) -> bool {
        self.element == other.element && self.tail == other.tail
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
    /// Of all resources of a type: a hash of theirs.
    versions: PerType<Arc<str>>,
}

impl Resources {
    pub(super) fn get(&self, kind: ResourceType, name: &str) -> Option<&Arc<Encoded>> {
        self.of[kind].get(name)
    }

    /// The virtual hosts of a route configuration.
    pub(super) fn hosts_of(&self, route: &str) -> impl Iterator<Item = (&Arc<str>, &Arc<Encoded>)> {
        in_route(&self.of[ResourceType::VirtualHost], route)
    }

    /// The version of all resources of a type together; equal contents have equal versions.
    pub fn version(&self, kind: ResourceType) -> &Arc<str> {
        &self.versions[kind]
    }

    /// The version of each resource, by type and name.
    pub fn versions(&self) -> PerType<BTreeMap<Arc<str>, Arc<str>>> {
        let mut versions = PerType::default();
        for (kind, resources) in self.of.iter() {
            versions[kind] = resources.iter().map(|(name, one)| (name.clone(), one.version.clone())).collect();
        }
        versions
    }

    /// How many resources of that type there are.
    pub fn len(&self, kind: ResourceType) -> usize {
        self.of[kind].len()
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

/// A virtual host, kept so that its address stays its own, and the resources that it was encoded to, by name.
type SeenHost = (Arc<VirtualHost>, Vec<(Arc<str>, Arc<Encoded>)>);

/// Encodes configurations, each shared resource once. Keep one for all the proxies of a control plane.
#[derive(Debug, Default)]
pub struct Encoder {
    /// Of the configurations since [`Encoder::begin`]: by address, each kept alive so that no other takes it.
    seen: HashMap<(ResourceType, usize), (KeepAlive, Arc<Encoded>)>,
    /// What some stream still has, by type, name and version: equal contents keep their bytes. A thousand sidecars
    /// have a thousand listeners of one name, so a look at each would cost a million.
    known: PerType<ByName<Weak<Encoded>>>,
    /// As `seen`, of virtual hosts, which several route configurations may share: by route configuration.
    hosts_seen: HashMap<usize, SeenHost>,
}

/// Any `Arc`, for its address.
type KeepAlive = Arc<dyn std::any::Any + Send + Sync>;

impl Encoder {
    /// A new snapshot: what the configurations before it shared is forgotten.
    pub fn begin(&mut self) {
        self.seen.clear();
        self.hosts_seen.clear();
        for kind in ResourceType::ALL {
            self.known[kind].retain(|_, versions| {
                versions.retain(|_, encoded| encoded.strong_count() > 0);
                !versions.is_empty()
            });
        }
    }

    /// For clients that take route configurations whole.
    pub fn encode(&mut self, config: &ProxyConfig) -> Resources {
        self.all(config, Form::Whole)
    }

    /// For clients that ask for virtual hosts as resources of their own.
    pub fn encode_vhds(&mut self, config: &ProxyConfig) -> Resources {
        self.all(config, Form::Parts)
    }

    fn all(&mut self, config: &ProxyConfig, form: Form) -> Resources {
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
        for (name, routes) in &config.routes {
            let hosts = self.hosts(name, routes);
            let of_parts = form == Form::Parts && names_are_unique(routes);
            let route = if of_parts { self.head(name, routes) } else { self.whole(name, routes, &hosts) };
            all.of[T::Route].insert(name.clone(), route);
            if of_parts {
                let named = routes.virtual_hosts.iter().zip(hosts);
                all.of[T::VirtualHost].extend(named.map(|(h, e)| (refs::host_name(name, &h.name).into(), e)));
            }
        }
        for kind in T::ALL {
            let mut hash = Xxh64::new(0);
            for (name, encoded) in &all.of[kind] {
                hash.update(name.as_bytes());
                hash.update(encoded.version.as_bytes());
            }
            all.versions[kind] = format!("{:016x}", hash.digest()).into();
        }
        all
    }

    /// The virtual hosts of a route configuration, in its order.
    fn hosts(&mut self, route: &Arc<str>, routes: &RouteConfig) -> Vec<Arc<Encoded>> {
        let kind = ResourceType::VirtualHost;
        let one = |host: &Arc<VirtualHost>| {
            let at = Arc::as_ptr(host).addr();
            let seen = self.hosts_seen.get(&at).and_then(|(_, of)| of.iter().find(|(of, _)| of == route));
            if let Some((_, encoded)) = seen {
                return encoded.clone();
            }
            let mut domains = Xxh64::new(0);
            for domain in &host.domains {
                domains.update(domain.as_bytes());
                domains.update(&[0]);
            }
            let refs = Refs {
                clusters: distinct(host.clusters()),
                linger: refs::host_linger(host),
                domains: domains.digest(),
                ..Refs::default()
            };
            let name: Arc<str> = refs::host_name(route, &host.name).into();
            let encoded = self.known(kind, &name, Encoded::new(kind, &name, &encode::virtual_host(host), refs));
            let entry = self.hosts_seen.entry(at).or_insert_with(|| (host.clone(), Vec::new()));
            entry.1.push((route.clone(), encoded.clone()));
            encoded
        };
        routes.virtual_hosts.iter().map(one).collect()
    }

    /// A route configuration whose virtual hosts are asked for by VHDS.
    fn head(&mut self, name: &Arc<str>, routes: &RouteConfig) -> Arc<Encoded> {
        let body = encode::route(&RouteConfig { vhds: true, ..without_hosts(routes) });
        let refs = Refs { validates: routes.validate_clusters, ..Refs::default() };
        self.known(ResourceType::Route, name, Encoded::new(ResourceType::Route, name, &body, refs))
    }

    /// A whole route configuration, which shares the bytes of its virtual hosts.
    fn whole(&mut self, name: &Arc<str>, routes: &RouteConfig, hosts: &[Arc<Encoded>]) -> Arc<Encoded> {
        let kind = ResourceType::Route;
        let refs = Refs {
            clusters: distinct(hosts.iter().flat_map(|h| &h.refs.clusters).map(|c| &**c)),
            linger: hosts.iter().map(|h| h.refs.linger).max().unwrap_or_default(),
            ..Refs::default()
        };
        let body = encode::route(&without_hosts(routes));
        let tail = hosts.iter().map(|host| host.as_virtual_host()).collect();
        self.known(kind, name, Encoded::with_tail(kind, name, &body, tail, refs))
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
        let equal = versions.get(&encoded.version).and_then(Weak::upgrade).filter(|k| k.has_bytes_of(&encoded));
        equal.unwrap_or_else(|| {
            let encoded = Arc::new(encoded);
            versions.insert(encoded.version.clone(), Arc::downgrade(&encoded));
            encoded
        })
    }
}

/// How route configurations are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Whole,
    Parts,
}

/// Virtual hosts of one name cannot be resources of their own.
fn names_are_unique(routes: &RouteConfig) -> bool {
    let names: HashSet<&str> = routes.virtual_hosts.iter().map(|host| &*host.name).collect();
    names.len() == routes.virtual_hosts.len() && !names.iter().any(|name| name.is_empty() || name.contains('/'))
}

fn without_hosts(routes: &RouteConfig) -> RouteConfig {
    RouteConfig {
        name: routes.name.clone(),
        virtual_hosts: Vec::new(),
        vhds: routes.vhds,
        validate_clusters: routes.validate_clusters,
        ignore_port_in_host: routes.ignore_port_in_host,
        max_direct_response_body_bytes: routes.max_direct_response_body_bytes,
        request_headers: routes.request_headers.clone(),
        response_headers: routes.response_headers.clone(),
    }
}

fn distinct<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Arc<str>> {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(Arc::from).collect()
}
