//! Our proxy with the configuration of a gateway: one virtual host, a few routes, one endpoint.

use crate::common::{at, forward, hcm, http_chain, listener, to};
use amime_model::config::*;
use amime_proxy::{Placement, Proxy, ProxyIdentity, ProxyOptions, Workers};
use std::sync::Arc;

/// What is told of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telemetry {
    Nothing,
    /// Istio's metrics, and the records that `up` reads: the usual case.
    Metrics,
    /// And Istio's access log.
    Log,
}

impl Telemetry {
    pub(crate) const ALL: [Self; 3] = [Self::Metrics, Self::Nothing, Self::Log];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "amime without telemetry",
            Self::Metrics => "amime",
            Self::Log => "amime with access log",
        }
    }
}

pub(crate) fn run(address: &str, origin: &str, telemetry: &str) -> std::io::Result<()> {
    let telemetry = Telemetry::ALL.into_iter().find(|one| one.name() == telemetry).unwrap_or(Telemetry::Metrics);
    let mut manager = hcm(RouteSource::Rds("http.80".into()));
    if telemetry == Telemetry::Log {
        let format = LogFormat::Text(amime_model::access_log::istio::TEXT.into());
        manager.access_log = vec![AccessLog::File { path: "/dev/null".into(), format, flags: Vec::new() }];
    }
    manager.use_remote_address = true;
    let host = VirtualHost {
        name: "shop.example.com:80".into(),
        domains: vec!["shop.example.com".into(), "shop.example.com:*".into()],
        routes: vec![
            at("/admin", forward(to("admin"))),
            at("/items", forward(to("items"))),
            at("/", forward(to("web"))),
        ],
        ..VirtualHost::default()
    };
    let table = RouteConfig { name: "http.80".into(), virtual_hosts: vec![host.into()], ..RouteConfig::default() };
    let endpoint = Endpoint::at(origin.parse().map_err(std::io::Error::other)?);
    let endpoints = ClusterEndpoints {
        cluster: "items".into(),
        localities: vec![LocalityEndpoints { endpoints: vec![endpoint], ..LocalityEndpoints::default() }],
        overprovisioning_factor: None,
    };
    let mut config = ProxyConfig::default();
    config.listeners.insert("gateway".into(), Arc::new(listener("gateway", address, vec![http_chain(manager)])));
    config.routes.insert("http.80".into(), Arc::new(table));
    let mut cluster = Cluster::new("items", Discovery::Static(endpoints));
    let name = || "items".to_owned();
    cluster.service = Some(ClusterService { host: name(), name: name(), namespace: "shop".into(), external: true });
    config.clusters.insert("items".into(), Arc::new(cluster));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let workers = Workers::start(1)?;
    runtime.block_on(async {
        let identity = ProxyIdentity {
            node_id: "router~bench".into(),
            workload: "bench".into(),
            namespace: "bench".into(),
            ..Default::default()
        };
        // Records are made and read, as `up` does.
        let (records, mut read) = tokio::sync::mpsc::channel(1024);
        let mut options = ProxyOptions::new(identity, tokio::runtime::Handle::current());
        options.placement = Placement::All;
        options.records = Some(records).filter(|_| telemetry != Telemetry::Nothing);
        options.metrics = telemetry != Telemetry::Nothing;
        let proxy = Proxy::start(options, &workers);
        proxy.apply(config).await.map_err(std::io::Error::other)?;
        while read.recv().await.is_some() {}
        // Nobody sends records, and the proxy goes on.
        std::future::pending().await
    })
}
