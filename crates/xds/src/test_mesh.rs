//! Small configurations for the tests of both state machines.

use crate::ResourceType;
use crate::server::{Encoder, Form, Resources};
use amime_model::config::{
    Cluster, ClusterEndpoints, Direction, Discovery, Endpoint, Fault, FilterChain, Forward, HttpConnectionManager,
    Listener, LocalityEndpoints, NetworkFilter, PerMillion, ProxyConfig, Route, RouteAction, RouteConfig, RouteMatch,
    RouteSource, TcpCluster, TcpProxy, VirtualHost, WeightedCluster,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A mesh of few words: clusters with a variant and an endpoint count, routes by the clusters they name, listeners
/// by the route they name.
#[derive(Clone, Default)]
pub(crate) struct Mesh {
    pub config: ProxyConfig,
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let resources = self.resources();
        for kind in [ResourceType::Cluster, ResourceType::Endpoints, ResourceType::Listener, ResourceType::Route] {
            for (name, encoded) in resources.iter(kind) {
                write!(f, "{name}@{}", &encoded.version[..4])?;
                encoded.names().try_for_each(|named| write!(f, ">{named}"))?;
                f.write_str(" ")?;
            }
        }
        Ok(())
    }
}

impl Mesh {
    pub(crate) fn cluster(mut self, name: &str, variant: u64, endpoints: u16) -> Self {
        let mut cluster = Cluster::new(name, Discovery::Eds(String::new()));
        cluster.connect_timeout = Some(Duration::from_secs(variant));
        self.config.clusters.insert(name.into(), Arc::new(cluster));
        let at = |port| Endpoint::at(SocketAddr::from(([127, 0, 0, 1], port)));
        let group = LocalityEndpoints { endpoints: (1..=endpoints).map(at).collect(), ..Default::default() };
        let endpoints = ClusterEndpoints { cluster: name.into(), localities: vec![group], ..Default::default() };
        self.config.endpoints.insert(name.into(), Arc::new(endpoints));
        self
    }

    pub(crate) fn route(self, name: &str, clusters: &[&str]) -> Self {
        self.delayed_route(name, clusters, Duration::ZERO)
    }

    pub(crate) fn delayed_route(mut self, name: &str, clusters: &[&str], delay: Duration) -> Self {
        let host = VirtualHost { routes: vec![forward(clusters, delay)], ..Default::default() };
        let routes = RouteConfig { name: name.into(), virtual_hosts: vec![Arc::new(host)], ..Default::default() };
        self.config.routes.insert(name.into(), Arc::new(routes));
        self
    }

    /// A route configuration of virtual hosts: name, domains, cluster.
    pub(crate) fn hosts(mut self, name: &str, hosts: &[(&str, &[&str], &str)]) -> Self {
        let host = |(name, domains, cluster): &(&str, &[&str], &str)| VirtualHost {
            name: (*name).into(),
            domains: domains.iter().map(ToString::to_string).collect(),
            routes: vec![forward(&[*cluster], Duration::ZERO)],
            ..Default::default()
        };
        let mut virtual_hosts: Vec<_> = hosts.iter().map(|h| Arc::new(host(h))).collect();
        virtual_hosts.sort_by(|a, b| a.name.cmp(&b.name));
        // As a translation would: what all is there is checked.
        let mut named = hosts.iter().map(|(_, _, cluster)| *cluster);
        let validate_clusters = named.all(|cluster| self.config.clusters.contains_key(cluster));
        let routes = RouteConfig { name: name.into(), virtual_hosts, validate_clusters, ..Default::default() };
        self.config.routes.insert(name.into(), Arc::new(routes));
        self
    }

    pub(crate) fn listener(self, name: &str, route: &str) -> Self {
        let manager = HttpConnectionManager::new(RouteSource::Rds(route.into()));
        self.any_listener(name, NetworkFilter::Http(Box::new(manager)))
    }

    pub(crate) fn tcp_listener(self, name: &str, cluster: &str) -> Self {
        let proxy = TcpProxy {
            stat_prefix: String::new(),
            clusters: vec![TcpCluster { name: cluster.into(), weight: 1 }],
            idle_timeout: None,
            max_duration: None,
            max_connect_attempts: 1,
            hash_source_ip: false,
            tunnel: None,
            access_log: Vec::new(),
            origin: None,
        };
        self.any_listener(name, NetworkFilter::Tcp(proxy))
    }

    fn any_listener(mut self, name: &str, filter: NetworkFilter) -> Self {
        let chain = FilterChain::new(vec![filter]);
        let listener = Listener {
            direction: Direction::Outbound,
            filter_chains: vec![chain],
            ..Listener::new(name, SocketAddr::from(([127, 0, 0, 1], 15001)))
        };
        self.config.listeners.insert(name.into(), Arc::new(listener));
        self
    }

    pub(crate) fn resources(&self) -> Arc<Resources> {
        self.resources_for(false)
    }

    /// With virtual hosts as resources of their own, or without.
    pub(crate) fn resources_for(&self, vhds: bool) -> Arc<Resources> {
        let form = if vhds { Form::Parts } else { Form::Whole };
        Arc::new(Encoder::default().encode(&self.config, form))
    }
}

fn forward(clusters: &[&str], delay: Duration) -> Route {
    let clusters = clusters.iter().map(|c| WeightedCluster { name: (*c).into(), weight: 1, ..Default::default() });
    let forward = Forward { clusters: clusters.collect(), ..Default::default() };
    Route {
        fault: (!delay.is_zero()).then_some(Fault { delay: Some((PerMillion::ALL, delay)), abort: None }),
        ..Route::new(RouteMatch::default(), RouteAction::Forward(Box::new(forward)))
    }
}

/// Clusters with their variants and endpoints; routes and listeners over them alone, so that each mesh is whole. A
/// route configuration has virtual hosts by name, and some domains, each of which is one's.
pub(crate) fn mesh() -> impl Strategy<Value = Mesh> {
    let clusters = prop::collection::btree_map(0usize..5, (1u64..3, 0u16..3), 1..5);
    let hosts = prop::collection::btree_map(0usize..4, any::<prop::sample::Index>(), 0..4);
    let owners = prop::collection::vec(any::<prop::sample::Index>(), 3);
    let routes = prop::collection::btree_map(0usize..3, (hosts, owners), 0..3);
    let tcp = prop::collection::btree_map(0usize..2, any::<prop::sample::Index>(), 0..2);
    (clusters, routes, tcp).prop_map(|(clusters, routes, tcp)| {
        let mut mesh = Mesh::default();
        let names: Vec<_> = clusters.keys().map(|n| format!("c{n}")).collect();
        for (n, (variant, endpoints)) in clusters {
            mesh = mesh.cluster(&format!("c{n}"), variant, endpoints);
        }
        for (n, (hosts, owners)) in routes {
            let mut domains: BTreeMap<usize, Vec<String>> = hosts.keys().map(|h| (*h, vec![format!("h{h}")])).collect();
            let keys: Vec<_> = hosts.keys().copied().collect();
            for (domain, owner) in owners.iter().enumerate().filter(|_| !keys.is_empty()) {
                domains.entry(*owner.get(&keys)).or_default().push(format!("d{domain}"));
            }
            let hosts: Vec<_> = hosts
                .iter()
                .map(|(h, cluster)| {
                    let domains: Vec<&str> = domains[h].iter().map(String::as_str).collect();
                    (format!("v{h}"), domains, cluster.get(&names).as_str())
                })
                .collect();
            let hosts: Vec<_> =
                hosts.iter().map(|(name, domains, c)| (name.as_str(), domains.as_slice(), *c)).collect();
            mesh = mesh.hosts(&format!("r{n}"), &hosts).listener(&format!("l{n}"), &format!("r{n}"));
        }
        for (n, cluster) in tcp {
            mesh = mesh.tcp_listener(&format!("t{n}"), cluster.get(&names).as_str());
        }
        mesh
    })
}
