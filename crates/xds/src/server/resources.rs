//! The encoded configuration of a group of proxies, and what differs between two of them.

use super::encoded::{Encoded, Refs};
use crate::{PerType, ResourceType, encode, refs};
use amime_model::config::{ProxyConfig, RouteConfig, VirtualHost};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Weak};
use xxhash_rust::xxh64::Xxh64;

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
