//! From manifests to what the sidecar of a pod runs on, by way of the wire, and connections that it captures.

use amime_model::config::{ListenerFilter, ProxyConfig};
use amime_model::resource::{MeshConfig, ResourceSet, load};
use amime_model::snapshot::{Held, Snapshot};
use amime_model::translate::{Interception, Node, NodeKind, Scope, translate};
use amime_testkit::client::Raw;
use amime_xds::{decode, encode};
use ppp::v2;
use std::net::SocketAddr;
use std::sync::Arc;

/// A sidecar of namespace `shop` with label `app: web`. What applications dial comes to `virtualOutbound`, on any
/// port, with a PROXY header in the place of the kernel's redirection.
///
/// Panics where something is wrong with the manifests, or a field in them is said to have no effect.
pub fn sidecar(manifests: &str) -> ProxyConfig {
    let loaded = load("test.yaml", manifests);
    let (resources, duplicates) = ResourceSet::of_files([&loaded]);
    let built = Snapshot::build(&resources, &MeshConfig::default(), &Held::default());
    let said = loaded.all_diagnostics().into_iter().chain(duplicates).chain(built.diagnostics.iter().cloned());
    let said: Vec<_> = said.map(|diagnostic| diagnostic.message).collect();
    assert!(said.is_empty(), "{said:#?}\n{manifests}");
    let node = Node {
        kind: NodeKind::Sidecar,
        namespace: "shop".into(),
        name: "web-1".into(),
        labels: [("app".to_owned(), "web".to_owned())].into(),
        addresses: vec!["127.0.0.1".parse().unwrap()],
        interception: Interception::Redirect,
        dns_capture: false,
        locality: Default::default(),
        host: String::new(),
        binds_upstream: false,
    };
    let mut config = translate(&built.snapshot, &Scope::of(&built.snapshot, &node)).config;
    for cluster in config.clusters.values_mut() {
        *cluster = Arc::new(decode::cluster(&encode::cluster(cluster)).unwrap());
        // No kernel leaves these connections alone.
        Arc::make_mut(cluster).bind_source = None;
    }
    for listener in config.listeners.values_mut() {
        let sent = decode::listener(&encode::listener(listener)).unwrap();
        assert_eq!(sent, **listener);
        *listener = Arc::new(sent);
        let listener = Arc::make_mut(listener);
        if listener.name == "virtualOutbound" {
            listener.listener_filters = vec![ListenerFilter::ProxyProtocol];
            listener.address = super::ANY.parse().unwrap();
            listener.additional_addresses.clear();
        }
    }
    config
}

/// A running sidecar, and where it captures.
pub struct Sidecar {
    pub running: super::Running,
    captured: SocketAddr,
}

impl Sidecar {
    pub async fn start(manifests: &str) -> Self {
        let mut config = sidecar(manifests);
        // Of the two virtual listeners the outbound one alone is on any port, so that it can be told by it.
        config.listeners.remove("virtualInbound");
        let running = super::Running::start(config).await;
        let captured = running.proxy.bound(super::ANY.parse().unwrap()).await.unwrap();
        Self { running, captured }
    }

    /// A connection of the application to this address.
    pub async fn dial(&self, destination: &str) -> Raw {
        let addresses: (SocketAddr, SocketAddr) = ("127.9.9.9:1234".parse().unwrap(), destination.parse().unwrap());
        let command = v2::Version::Two | v2::Command::Proxy;
        let header = v2::Builder::with_addresses(command, v2::Protocol::Stream, addresses).build().unwrap();
        let mut client = Raw::connect(self.captured).await;
        client.send(header).await;
        client
    }
}
