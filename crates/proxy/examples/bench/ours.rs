//! Our proxy with the configuration of a gateway: one virtual host, a few routes, one endpoint.

use crate::common::{at, forward, hcm, http_chain, listener, to};
use amime_model::config::*;
use amime_proxy::{Placement, Proxy, ProxyIdentity, ProxyOptions, Workers};
use std::sync::Arc;

pub(crate) fn run(address: &str, origin: &str) -> std::io::Result<()> {
    let mut manager = hcm(RouteSource::Rds("http.80".into()));
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
    config.clusters.insert("items".into(), Arc::new(Cluster::new("items", Discovery::Static(endpoints))));

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
        options.records = Some(records);
        let proxy = Proxy::start(options, &workers);
        proxy.apply(config).await.map_err(std::io::Error::other)?;
        while read.recv().await.is_some() {}
        Ok(())
    })
}
