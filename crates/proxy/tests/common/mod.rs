//! Configurations and a running proxy for the tests of this crate.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // Each test file uses a part of it; failing is its job.

pub mod line;
pub mod manifests;
pub mod sidecar;
pub mod tls;

use amime_model::config::*;
use amime_proxy::{Placement, Proxy, ProxyIdentity, ProxyOptions, RequestRecord, Workers};
use amime_testkit::client::PATIENCE;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A proxy with one listener on a port of its own, and the records of its requests.
pub struct Running {
    pub proxy: Proxy,
    pub address: SocketAddr,
    pub workers: Workers,
    records: mpsc::Receiver<Vec<RequestRecord>>,
    seen: std::collections::VecDeque<RequestRecord>,
}

pub const ANY: &str = "127.0.0.1:0";

/// Waits until something that nothing tells of has come to be.
pub async fn until(mut what: impl FnMut() -> bool) {
    let waiting = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it to happen in time");
}

impl Running {
    /// With this configuration, whose first listener's address is the one to connect to.
    pub async fn start(config: ProxyConfig) -> Self {
        Self::start_with(config, |_| {}).await
    }

    pub async fn start_with(config: ProxyConfig, change: impl FnOnce(&mut ProxyOptions)) -> Self {
        let workers = Workers::start(1).unwrap();
        let (sender, records) = mpsc::channel(1024);
        let identity = ProxyIdentity {
            node_id: "sidecar~test".into(),
            workload: "test".into(),
            namespace: "default".into(),
            ..Default::default()
        };
        let mut options = ProxyOptions::new(identity, tokio::runtime::Handle::current());
        options.records = Some(sender);
        change(&mut options);
        let workers = if options.placement == Placement::All { Workers::start(2).unwrap() } else { workers };
        let proxy = Proxy::start(options, &workers);
        let first = config.listeners.values().find(|listener| listener.bind_to_port).unwrap().address;
        proxy.apply(config).await.unwrap();
        let address = proxy.bound(first).await.unwrap();
        Self { proxy, address, workers, records, seen: Default::default() }
    }

    /// The next record.
    pub async fn record(&mut self) -> RequestRecord {
        while self.seen.is_empty() {
            let batch = tokio::time::timeout(PATIENCE, self.records.recv()).await.expect("a record in time");
            self.seen.extend(batch.expect("the proxy runs"));
        }
        self.seen.pop_front().unwrap()
    }
}

pub fn hcm(routes: RouteSource) -> HttpConnectionManager {
    HttpConnectionManager {
        stat_prefix: String::new(),
        codec: CodecType::Auto,
        routes,
        http_filters: vec![HttpFilter::Fault, HttpFilter::Cors, HttpFilter::Router],
        server_name: "istio-envoy".into(),
        server_header: ServerHeader::Overwrite,
        use_remote_address: false,
        xff_num_trusted_hops: 0,
        normalize_path: true,
        merge_slashes: false,
        escaped_slashes: EscapedSlashes::Keep,
        request_timeout: None,
        request_headers_timeout: None,
        stream_idle_timeout: None,
        idle_timeout: None,
        max_request_headers_kb: None,
        max_headers_count: None,
        max_requests_per_connection: None,
        max_concurrent_streams: None,
        upgrades: vec!["websocket".into()],
        generate_request_id: true,
        preserve_external_request_id: false,
        strip_any_host_port: false,
        accept_http_10: false,
        proxy_100_continue: false,
        access_log: Vec::new(),
    }
}

pub fn chain(filter: NetworkFilter) -> FilterChain {
    FilterChain::new(vec![filter])
}

pub fn listener(name: &str, address: &str, chains: Vec<FilterChain>) -> Listener {
    Listener { direction: Direction::Outbound, filter_chains: chains, ..Listener::new(name, address.parse().unwrap()) }
}

pub fn http_chain(hcm: HttpConnectionManager) -> FilterChain {
    chain(NetworkFilter::Http(Box::new(hcm)))
}

pub fn tcp_chain(clusters: &[(&str, u32)]) -> FilterChain {
    chain(NetworkFilter::Tcp(TcpProxy {
        stat_prefix: String::new(),
        clusters: clusters.iter().map(|(name, weight)| TcpCluster { name: (*name).into(), weight: *weight }).collect(),
        idle_timeout: None,
        max_duration: None,
        max_connect_attempts: 1,
        hash_source_ip: false,
        tunnel: None,
        access_log: Vec::new(),
        origin: None,
    }))
}

pub fn to(cluster: &str) -> Forward {
    Forward {
        clusters: vec![WeightedCluster { name: cluster.into(), weight: 100, ..Default::default() }],
        timeout: Some(std::time::Duration::ZERO),
        ..Default::default()
    }
}

pub fn route(action: RouteAction) -> Route {
    Route {
        origin: Some(Origin {
            kind: "VirtualService".into(),
            namespace: "default".into(),
            name: "test".into(),
            path: "spec.http[0]".into(),
        }),
        ..Route::new(RouteMatch::default(), action)
    }
}

pub fn forward(forward: Forward) -> Route {
    route(RouteAction::Forward(Box::new(forward)))
}

pub fn at(path: &str, route: Route) -> Route {
    Route { matches: RouteMatch { path: PathMatch::Prefix(path.into()), ..Default::default() }, ..route }
}

pub fn routes(name: &str, routes: Vec<Route>) -> RouteConfig {
    RouteConfig {
        name: name.into(),
        virtual_hosts: vec![Arc::new(VirtualHost {
            name: "all".into(),
            domains: vec!["*".into()],
            routes,
            ..Default::default()
        })],
        ..Default::default()
    }
}

pub fn endpoints(name: &str, addresses: &[SocketAddr]) -> ClusterEndpoints {
    ClusterEndpoints {
        cluster: name.into(),
        localities: vec![LocalityEndpoints {
            endpoints: addresses.iter().map(|address| Endpoint::at(*address)).collect(),
            ..Default::default()
        }],
        overprovisioning_factor: None,
    }
}

pub fn cluster(name: &str, addresses: &[SocketAddr]) -> Cluster {
    Cluster::new(name, Discovery::Static(endpoints(name, addresses)))
}

pub fn with_clusters(mut config: ProxyConfig, clusters: impl IntoIterator<Item = Cluster>) -> ProxyConfig {
    for cluster in clusters {
        config.clusters.insert(cluster.name.as_str().into(), Arc::new(cluster));
    }
    config
}

/// One HTTP listener with these routes, by RDS.
pub fn http_config(table: Vec<Route>, clusters: impl IntoIterator<Item = Cluster>) -> ProxyConfig {
    http_config_with(table, clusters, |_| {})
}

pub fn http_config_with(
    table: Vec<Route>,
    clusters: impl IntoIterator<Item = Cluster>,
    change: impl FnOnce(&mut HttpConnectionManager),
) -> ProxyConfig {
    let mut manager = hcm(RouteSource::Rds("80".into()));
    change(&mut manager);
    let mut config = ProxyConfig::default();
    config.listeners.insert("test".into(), Arc::new(listener("test", ANY, vec![http_chain(manager)])));
    config.routes.insert("80".into(), Arc::new(routes("80", table)));
    with_clusters(config, clusters)
}
