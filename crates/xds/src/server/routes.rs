//! Route configurations and their virtual hosts, encoded: both forms share the bytes of each virtual host.

use super::encoded::{Encoded, Refs};
use super::encoder::{Encoder, distinct};
use super::resources::Common;
use crate::{ResourceType, encode, refs};
use amime_model::config::{RouteConfig, VirtualHost};
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use xxhash_rust::xxh64::Xxh64;

/// A virtual host by its name as a resource.
type Host = (Arc<str>, Arc<Encoded>);

/// A virtual host, kept so that its address stays its own, and what it was encoded to, by route configuration.
pub(super) type SeenHost = (Arc<VirtualHost>, Vec<(Arc<str>, Host)>);

/// What a route configuration with all its virtual hosts is put together of.
#[derive(Debug)]
pub(super) struct Whole {
    /// Without virtual hosts.
    pub head: Bytes,
    pub hosts: Vec<Host>,
}

impl Encoder {
    /// The virtual hosts of a route configuration, in its order.
    pub(super) fn hosts(&mut self, route: &Arc<str>, routes: &RouteConfig) -> Vec<Host> {
        routes.virtual_hosts.iter().map(|host| self.host(route, host)).collect()
    }

    fn host(&mut self, route: &Arc<str>, host: &Arc<VirtualHost>) -> Host {
        let kind = ResourceType::VirtualHost;
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
        entry.1.push((route.clone(), (name.clone(), encoded.clone())));
        (name, encoded)
    }

    /// A route configuration whose virtual hosts are asked for by VHDS.
    pub(super) fn head(&mut self, name: &Arc<str>, routes: &RouteConfig) -> Arc<Encoded> {
        let body = encode::route(&RouteConfig { vhds: true, ..without_hosts(routes) });
        let refs = Refs { validates: routes.validate_clusters, ..Refs::default() };
        self.known(ResourceType::Route, name, Encoded::new(ResourceType::Route, name, &body, refs))
    }

    /// A whole route configuration, which shares the bytes of its virtual hosts.
    pub(super) fn whole(&mut self, name: &Arc<str>, whole: &Whole) -> Arc<Encoded> {
        let kind = ResourceType::Route;
        let hosts = || whole.hosts.iter().map(|(_, host)| &**host);
        let mut clusters: Vec<_> = hosts().flat_map(|host| &host.refs.clusters).cloned().collect();
        clusters.sort_unstable();
        clusters.dedup();
        let linger = hosts().map(|host| host.refs.linger).max().unwrap_or_default();
        let refs = Refs { clusters, linger, ..Refs::default() };
        let tail = chunks(hosts().map(Encoded::as_virtual_host));
        self.known(kind, name, Encoded::with_tail(kind, name, &whole.head, tail, refs))
    }

    /// What is common, with these virtual hosts, each by the name of its route configuration, in the place of those of
    /// the same names. None where there are none such.
    pub fn with_hosts(&mut self, common: &Common, changed: &[(Arc<str>, Arc<VirtualHost>)]) -> Option<Common> {
        let mut parts = Vec::new();
        let mut wholes: BTreeMap<Arc<str>, Whole> = BTreeMap::new();
        for (route, host) in changed {
            let (name, encoded) = self.host(route, host);
            if let Some((name, _)) = common.of[ResourceType::VirtualHost].get_key_value(&name) {
                parts.push((name.clone(), encoded));
                continue;
            }
            if !wholes.contains_key(route) {
                let old = common.wholes.get(route)?;
                wholes.insert(route.clone(), Whole { head: old.head.clone(), hosts: old.hosts.clone() });
            }
            let mut of_name = wholes.get_mut(route)?.hosts.iter_mut().filter(|(known, _)| *known == name);
            let found = of_name.next().filter(|_| of_name.next().is_none());
            found?.1 = encoded;
        }
        let routes: Vec<_> = wholes.iter().map(|(name, whole)| (name.clone(), self.whole(name, whole))).collect();
        let mut common = common.with(ResourceType::VirtualHost, parts).with(ResourceType::Route, routes);
        common.wholes.extend(wholes.into_iter().map(|(name, whole)| (name, Arc::new(whole))));
        Some(common)
    }
}

/// Virtual hosts of one name cannot be resources of their own.
pub(super) fn names_are_unique(routes: &RouteConfig) -> bool {
    let names: HashSet<&str> = routes.virtual_hosts.iter().map(|host| &*host.name).collect();
    names.len() == routes.virtual_hosts.len() && !names.iter().any(|name| name.is_empty() || name.contains('/'))
}

pub(super) fn without_hosts(routes: &RouteConfig) -> RouteConfig {
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
