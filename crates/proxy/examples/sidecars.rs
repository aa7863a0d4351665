//! What many sidecars in one process cost: files, memory, time to start and to take an update.
//!
//! `cargo run --release -p amime-proxy --example sidecars [COUNT]` (1,000 where not said). Each sidecar has a pod
//! address with 8 sockets (15001, 15006 and six ports) and is told of 200 services, which all of them share.

#[path = "../tests/common/mod.rs"]
mod common;

use amime_model::config::*;
use amime_proxy::{Proxy, ProxyIdentity, ProxyOptions, Workers};
use common::*;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

const SERVICES: usize = 200;

/// As the binary has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::io::Result<()> {
    let count: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1000);
    let workers = Workers::start(2)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shared = shared();
    runtime.block_on(async {
        print("before", 0.0)?;
        let begun = Instant::now();
        let mut proxies = Vec::with_capacity(count);
        for index in 0..count {
            let identity = ProxyIdentity { node_id: format!("sidecar~{index}"), ..Default::default() };
            let proxy = Proxy::start(ProxyOptions::new(identity, tokio::runtime::Handle::current()), &workers);
            proxy.apply(of_pod(&shared, index)).await.map_err(std::io::Error::other)?;
            proxies.push(proxy);
        }
        print(&format!("{count} sidecars, {} sockets", count * 8), begun.elapsed().as_secs_f64())?;
        // One service's endpoints change, for everybody.
        let mut changed = shared.clone();
        let name: Arc<str> = "outbound|80||service-0.default.svc.cluster.local".into();
        changed.endpoints.insert(name.clone(), Arc::new(endpoints(&name, &[SocketAddr::from(([10, 9, 9, 9], 80))])));
        let configs: Vec<_> = (0..count).map(|index| Arc::new(of_pod(&changed, index))).collect();
        let begun = Instant::now();
        for (proxy, config) in proxies.iter().zip(configs) {
            proxy.apply(config).await.map_err(std::io::Error::other)?;
        }
        print("an endpoint changed everywhere", begun.elapsed().as_secs_f64())?;
        Ok(())
    })
}

/// What all sidecars are told alike.
fn shared() -> ProxyConfig {
    let mut config = ProxyConfig::default();
    let mut hosts = Vec::new();
    for index in 0..SERVICES {
        let name = format!("outbound|80||service-{index}.default.svc.cluster.local");
        let addresses: Vec<SocketAddr> =
            (1..=5).map(|pod| SocketAddr::from(([10, (index / 250) as u8, (index % 250) as u8, pod], 80))).collect();
        config.clusters.insert(name.as_str().into(), Arc::new(Cluster::new(&name, Discovery::Eds(String::new()))));
        config.endpoints.insert(name.as_str().into(), Arc::new(endpoints(&name, &addresses)));
        hosts.push(Arc::new(VirtualHost {
            name: format!("service-{index}.default.svc.cluster.local:80"),
            domains: vec![format!("service-{index}"), format!("service-{index}.default.svc.cluster.local")],
            routes: vec![forward(to(&name))],
            ..Default::default()
        }));
    }
    config
        .routes
        .insert("80".into(), Arc::new(RouteConfig { name: "80".into(), virtual_hosts: hosts, ..Default::default() }));
    let mut web = listener("0.0.0.0_80", "0.0.0.0:80", vec![http_chain(hcm(RouteSource::Rds("80".into())))]);
    web.bind_to_port = false;
    config.listeners.insert("0.0.0.0_80".into(), Arc::new(web));
    config
}

/// With the listeners of one pod.
fn of_pod(shared: &ProxyConfig, index: usize) -> ProxyConfig {
    let ip = Ipv4Addr::new(127, 77, (index / 250) as u8, (index % 250) as u8 + 1);
    let mut config = shared.clone();
    let mut add = |name: &str, ports: &[u16]| {
        let mut all = ports.iter().map(|port| SocketAddr::from((ip, *port)));
        let mut listener = listener(name, ANY, vec![tcp_chain(&[("none", 1)])]);
        listener.address = all.next().unwrap_or(listener.address);
        listener.additional_addresses = all.collect();
        config.listeners.insert(name.into(), Arc::new(listener));
    };
    add("virtualOutbound", &[15001]);
    add("virtualInbound", &[15006, 18080, 18081, 18082, 18083, 18084, 18085]);
    config
}

fn print(what: &str, seconds: f64) -> std::io::Result<()> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("?").trim();
    let files = std::fs::read_dir("/proc/self/fd")?.count();
    println!("{what:<40} {files:>6} files  {resident:>12} resident  {seconds:>8.3} s");
    Ok(())
}
