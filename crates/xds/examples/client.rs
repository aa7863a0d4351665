//! What one change costs a proxy's client that has 1,000 clusters with their endpoints and one route configuration
//! of 1,000 virtual hosts; then with twice as many. `cargo run --release -p amime-xds --example client`.
#![allow(clippy::unwrap_used)] // A measurement ends where something is wrong.

use amime_model::config::*;
use amime_xds::client::{Client, ClientOptions};
use amime_xds::refs::host_name;
use amime_xds::{DeltaResponse, Node, Resource, ResourceType, encode};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: u32 = 200;

fn main() {
    println!("{:>9} {:>14} {:>14} {:>14}", "clusters", "endpoints µs", "cluster µs", "rule µs");
    for size in [1_000, 2_000] {
        let mut client = Client::new(Node::default(), Arc::default(), ClientOptions::default());
        client.connected();
        fill(&mut client, size);
        let each = |client: &mut Client, change: &dyn Fn(u32) -> (ResourceType, String, bytes::Bytes)| {
            let mut spent = Duration::ZERO;
            for round in 0..ROUNDS {
                let (kind, name, body) = change(round);
                let response = response(kind, vec![(name, body)]);
                let before = Instant::now();
                take(client, response);
                spent += before.elapsed();
            }
            spent.as_secs_f64() * 1e6 / f64::from(ROUNDS)
        };
        let of_endpoints = each(&mut client, &|n| {
            (ResourceType::Endpoints, "c7".into(), encode::endpoints(&endpoints("c7", n as u16)))
        });
        let of_cluster =
            each(&mut client, &|n| (ResourceType::Cluster, "c7".into(), encode::cluster(&cluster("c7", n))));
        let of_rule = each(&mut client, &|n| {
            (
                ResourceType::VirtualHost,
                host_name("80", "h7"),
                encode::virtual_host(&host("h7", &format!("c{}", n % 1000))),
            )
        });
        println!("{size:>9} {of_endpoints:>14.1} {of_cluster:>14.1} {of_rule:>14.1}");
    }
}

/// One response, to its end.
fn take(client: &mut Client, response: DeltaResponse) {
    let now = Instant::now();
    client.on_response(now, response);
    while let Some(update) = client.poll(now) {
        client.accepted(&update);
    }
    drop(client.requests());
}

fn fill(client: &mut Client, size: usize) {
    let names: Vec<String> = (0..size).map(|n| format!("c{n}")).collect();
    let of = |f: &dyn Fn(&String) -> bytes::Bytes| names.iter().map(|n| (n.clone(), f(n))).collect();
    take(client, response(ResourceType::Cluster, of(&|n| encode::cluster(&cluster(n, 0)))));
    take(client, response(ResourceType::Endpoints, of(&|n| encode::endpoints(&endpoints(n, 1)))));
    take(client, response(ResourceType::Listener, vec![("l".into(), encode::listener(&listener()))]));
    let head = RouteConfig { name: "80".into(), vhds: true, ..RouteConfig::default() };
    take(client, response(ResourceType::Route, vec![("80".into(), encode::route(&head))]));
    let hosts = (0..size).map(|n| {
        let name = format!("h{n}");
        (host_name("80", &name), encode::virtual_host(&host(&name, &format!("c{n}"))))
    });
    take(client, response(ResourceType::VirtualHost, hosts.collect()));
    assert!(client.ready() && client.config().routes["80"].virtual_hosts.len() == size);
}

fn response(kind: ResourceType, resources: Vec<(String, bytes::Bytes)>) -> DeltaResponse {
    let resource = |(name, body)| Resource { name, version: "1".into(), type_url: kind.type_url().into(), body };
    DeltaResponse {
        type_url: kind.type_url().into(),
        nonce: "1".into(),
        resources: resources.into_iter().map(resource).collect(),
        removed: Vec::new(),
    }
}

fn cluster(name: &str, variant: u32) -> Cluster {
    let mut cluster = Cluster::new(name, Discovery::Eds(String::new()));
    cluster.connect_timeout = Some(Duration::from_secs(u64::from(variant) + 1));
    cluster
}

fn endpoints(name: &str, count: u16) -> ClusterEndpoints {
    let at = |port| Endpoint::at(([127, 0, 0, 1], 1000 + port).into());
    let group = LocalityEndpoints { endpoints: (0..=count % 10).map(at).collect(), ..Default::default() };
    ClusterEndpoints { cluster: name.into(), localities: vec![group], ..Default::default() }
}

fn host(name: &str, cluster: &str) -> VirtualHost {
    let clusters = vec![WeightedCluster { name: cluster.into(), weight: 1, ..Default::default() }];
    let forward = Forward { clusters, ..Default::default() };
    let route = Route::new(RouteMatch::default(), RouteAction::Forward(Box::new(forward)));
    VirtualHost { name: name.into(), domains: vec![name.into()], routes: vec![route], ..Default::default() }
}

fn listener() -> Listener {
    let manager = HttpConnectionManager::new(RouteSource::Rds("80".into()));
    let chain = FilterChain::new(vec![NetworkFilter::Http(Box::new(manager))]);
    Listener {
        direction: Direction::Outbound,
        filter_chains: vec![chain],
        ..Listener::new("l", ([127, 0, 0, 1], 15001).into())
    }
}
