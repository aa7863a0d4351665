//! From configurations to encoded resources. `control` keeps one [`Encoder`] for all its proxies.

use super::encoded::{Encoded, Refs};
use super::resources::{Common, Named, Own, Resources};
use crate::{PerType, ResourceType, encode, refs};
use amime_model::config::{ClusterEndpoints, ProxyConfig, RouteConfig, VirtualHost};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Weak};
use xxhash_rust::xxh64::Xxh64;

/// By name and version.
type ByName<T> = HashMap<Arc<str>, HashMap<Arc<str>, T>>;

/// A virtual host, kept so that its address stays its own, and the resources that it was encoded to, by name.
type SeenHost = (Arc<VirtualHost>, Vec<(Arc<str>, Arc<Encoded>)>);

/// Encodes configurations, each shared resource once. Keep one for all the proxies of a control plane.
#[derive(Debug, Default)]
pub struct Encoder {
    /// Of the configurations so far, as far as somebody keeps them: by address, each kept alive so that no other takes it.
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
    /// A new snapshot: what nobody else keeps of the configurations before it is forgotten.
    pub fn begin(&mut self) {
        self.seen.retain(|_, (resource, _)| Arc::strong_count(resource) > 1);
        self.hosts_seen.retain(|_, (host, _)| Arc::strong_count(host) > 1);
        for kind in ResourceType::ALL {
            self.known[kind].retain(|_, versions| {
                versions.retain(|_, encoded| encoded.strong_count() > 0);
                !versions.is_empty()
            });
        }
    }

    /// All of a configuration, shared with none.
    pub fn encode(&mut self, config: &ProxyConfig, form: Form) -> Resources {
        Resources::new(Arc::new(self.common(config, form)), Arc::default())
    }

    /// What proxies of one view have in common.
    pub fn common(&mut self, config: &ProxyConfig, form: Form) -> Common {
        let mut of = self.all(config, form);
        let mut shared = PerType::default();
        for kind in ResourceType::ALL {
            shared[kind] = Arc::new(std::mem::take(&mut of[kind]));
        }
        Common::new(shared)
    }

    /// What a proxy has beside what is common, and which common listeners it does not have.
    pub fn own<'a>(
        &mut self,
        config: &ProxyConfig,
        without: impl IntoIterator<Item = &'a Arc<str>>,
        form: Form,
    ) -> Own {
        let mut of = self.all(config, form);
        let mut own = Own::default();
        own.of[ResourceType::Listener].extend(without.into_iter().map(|name| (name.clone(), None)));
        for kind in ResourceType::ALL {
            let resources = std::mem::take(&mut of[kind]).into_iter();
            own.of[kind].extend(resources.map(|(name, encoded)| (name, Some(encoded))));
        }
        own
    }

    /// What is common, with other endpoints of clusters that it has.
    pub fn with_endpoints(&mut self, common: &Common, endpoints: &[Arc<ClusterEndpoints>]) -> Common {
        let kind = ResourceType::Endpoints;
        let named = endpoints.iter().filter_map(|endpoints| {
            let (name, _) = common.of[kind].get_key_value(endpoints.cluster.as_str())?;
            Some((name.clone(), endpoints.clone()))
        });
        let newer = self.each(kind, &named.collect(), |e| (encode::endpoints(e), Refs::default()));
        common.with(kind, newer)
    }

    fn all(&mut self, config: &ProxyConfig, form: Form) -> PerType<Named> {
        use ResourceType as T;
        let mut all: PerType<Named> = PerType::default();
        all[T::Secret] = self.each(T::Secret, &config.secrets, |s| (encode::secret(s), Refs::default()));
        all[T::Cluster] = self.each(T::Cluster, &config.clusters, |c| {
            let refs = Refs {
                endpoints: refs::eds_name(c).map(Arc::from),
                secrets: distinct(refs::cluster_secrets(c)),
                ..Refs::default()
            };
            (encode::cluster(c), refs)
        });
        all[T::Endpoints] = self.each(T::Endpoints, &config.endpoints, |e| (encode::endpoints(e), Refs::default()));
        all[T::Listener] = self.each(T::Listener, &config.listeners, |l| {
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
            all[T::Route].insert(name.clone(), route);
            if of_parts {
                let named = routes.virtual_hosts.iter().zip(hosts);
                all[T::VirtualHost].extend(named.map(|(h, e)| (refs::host_name(name, &h.name).into(), e)));
            }
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
        let tail = chunks(hosts.iter().map(|host| host.as_virtual_host()));
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

/// How a client wants its routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Route configurations whole, as any Envoy does.
    Whole,
    /// Virtual hosts as resources of their own, as ours do.
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

/// In larger pieces: those of a thousand virtual hosts would be put together for each stream. So there is a copy for
/// each view, and none for a stream.
fn chunks(pieces: impl Iterator<Item = Bytes>) -> Vec<Bytes> {
    const ENOUGH: usize = 64 * 1024;
    let mut chunks = Vec::new();
    let mut chunk = Vec::new();
    for piece in pieces {
        chunk.extend_from_slice(&piece);
        if chunk.len() >= ENOUGH {
            chunks.push(std::mem::take(&mut chunk).into());
        }
    }
    chunks.push(chunk.into());
    chunks
}

fn distinct<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Arc<str>> {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(Arc::from).collect()
}
