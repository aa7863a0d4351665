//! From configurations to encoded resources. `control` keeps one [`Encoder`] for all its proxies.

use super::encoded::{Encoded, Refs};
use super::resources::{Common, Named, Own, Resources};
use super::routes::{SeenHost, Whole, names_are_unique, without_hosts};
use crate::{PerType, ResourceType, encode, refs};
use amime_model::config::{Cluster, ClusterEndpoints, ProxyConfig};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

/// By name and version.
type ByName<T> = HashMap<Arc<str>, HashMap<Arc<str>, T>>;

/// Encodes configurations, each shared resource once. Keep one for all the proxies of a control plane.
#[derive(Debug, Default)]
pub struct Encoder {
    /// Of the configurations so far, as far as somebody keeps them: by address, each kept alive so that no other takes it.
    seen: HashMap<(ResourceType, usize), (KeepAlive, Arc<Encoded>)>,
    /// What some stream still has, by type, name and version: equal contents keep their bytes. A thousand sidecars
    /// have a thousand listeners of one name, so a look at each would cost a million.
    known: PerType<ByName<Weak<Encoded>>>,
    /// As `seen`, of virtual hosts, which several route configurations may share.
    pub(super) hosts_seen: HashMap<usize, SeenHost>,
}

/// Any `Arc`, for its address.
type KeepAlive = Arc<dyn std::any::Any + Send + Sync>;

fn encoded_cluster(cluster: &Cluster) -> (Bytes, Refs) {
    let refs = Refs {
        endpoints: refs::eds_name(cluster).map(Arc::from),
        secrets: distinct(refs::cluster_secrets(cluster)),
        ..Refs::default()
    };
    (encode::cluster(cluster), refs)
}

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
        let (mut of, wholes) = self.all(config, form);
        let mut shared = PerType::default();
        for kind in ResourceType::ALL {
            shared[kind] = Arc::new(std::mem::take(&mut of[kind]));
        }
        Common::new(shared, wholes)
    }

    /// What a proxy has beside what is common, and which common listeners it does not have.
    pub fn own<'a>(
        &mut self,
        config: &ProxyConfig,
        without: impl IntoIterator<Item = &'a Arc<str>>,
        form: Form,
    ) -> Own {
        let (mut of, _) = self.all(config, form);
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

    /// What is common, with other clusters and endpoints, all of them there already.
    pub fn with_placed(
        &mut self,
        common: &Common,
        clusters: &[Arc<Cluster>],
        endpoints: &[Arc<ClusterEndpoints>],
    ) -> Common {
        let common = self.with_endpoints(common, endpoints);
        let named = clusters.iter().map(|cluster| (cluster.name.as_str().into(), cluster.clone()));
        let newer = self.each(ResourceType::Cluster, &named.collect(), encoded_cluster);
        common.with(ResourceType::Cluster, newer)
    }

    /// All resources; with them what the route configurations that are whole are put together of.
    fn all(&mut self, config: &ProxyConfig, form: Form) -> (PerType<Named>, BTreeMap<Arc<str>, Arc<Whole>>) {
        use ResourceType as T;
        let mut all: PerType<Named> = PerType::default();
        all[T::Secret] = self.each(T::Secret, &config.secrets, |s| (encode::secret(s), Refs::default()));
        all[T::Cluster] = self.each(T::Cluster, &config.clusters, encoded_cluster);
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
        let mut wholes = BTreeMap::new();
        for (name, routes) in &config.routes {
            let hosts = self.hosts(name, routes);
            if form == Form::Parts && names_are_unique(routes) {
                all[T::Route].insert(name.clone(), self.head(name, routes));
                all[T::VirtualHost].extend(hosts);
            } else {
                let whole = Whole { head: encode::route(&without_hosts(routes)), hosts };
                all[T::Route].insert(name.clone(), self.whole(name, &whole));
                wholes.insert(name.clone(), Arc::new(whole));
            }
        }
        (all, wholes)
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
    pub(super) fn known(&mut self, kind: ResourceType, name: &Arc<str>, encoded: Encoded) -> Arc<Encoded> {
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

pub(super) fn distinct<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Arc<str>> {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(Arc::from).collect()
}
