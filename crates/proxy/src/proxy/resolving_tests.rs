//! What a configuration with new names waits for.

use super::*;
use crate::proxy::{Proxy, ProxyOptions};
use crate::telemetry::ProxyIdentity;
use crate::workers::Workers;
use amime_model::config::{ClusterEndpoints, Endpoint, EndpointAddress, LocalityEndpoints, ProxyConfig};

/// A cluster of each of these names.
fn named(hosts: &[&str]) -> Arc<ProxyConfig> {
    let cluster = |host: &&str| {
        let address = EndpointAddress::Name { host: (*host).into(), port: 80 };
        let endpoint = Endpoint { address, ..Endpoint::at(([127, 0, 0, 1], 80).into()) };
        let group = LocalityEndpoints { endpoints: vec![endpoint], ..Default::default() };
        let endpoints = ClusterEndpoints { cluster: (*host).into(), localities: vec![group], ..Default::default() };
        (Arc::from(*host), Arc::new(Cluster::new(*host, Discovery::StrictDns(endpoints))))
    };
    Arc::new(ProxyConfig { clusters: hosts.iter().map(cluster).collect(), ..Default::default() })
}

#[tokio::test]
async fn of_a_later_configuration_one_is_told_when_its_new_names_have_an_answer() {
    let workers = Workers::start(1).unwrap();
    let proxy = Proxy::start(ProxyOptions::new(ProxyIdentity::default(), tokio::runtime::Handle::current()), &workers);
    assert!(proxy.swap(named(&["localhost"])).await.unwrap().is_none(), "the first has waited");
    let resolved = |name: &str| proxy.0.shared.known_cluster(name).and_then(|cluster| cluster.resolved());
    assert!(resolved("localhost").is_some());
    let later = named(&["localhost", "127.0.0.1", "-no-name-"]);
    let warming = proxy.swap(Arc::clone(&later)).await.unwrap().expect("new names");
    warming.await;
    assert!(resolved("127.0.0.1").is_some());
    let hosts = |name: &str| resolved(name).map(|endpoints| endpoints.localities[0].endpoints.len());
    assert_eq!(hosts("-no-name-"), None, "that there is no such name is an answer too");
    assert!(proxy.swap(later).await.unwrap().is_none());
    assert!(proxy.swap(named(&["localhost"])).await.unwrap().is_none(), "no new name");
}
