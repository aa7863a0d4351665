//! What is different over the network: who may have private keys, and how long a connection lives.

mod support;

use amime_control::Distributor;
use amime_control::distribute::Peer;
use amime_control::listen::Port;
use amime_model::config::ProxyConfig;
use amime_model::translate::{Interception, Node, NodeKind};
use amime_xds::client::{Client, ClientOptions};
use amime_xds::server::StreamOptions;
use amime_xds::transport::{Backoff, ConnectionState, ControlPlane, Dialer, channel_over, run};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use support::{Engine, PLAIN, SHOP, SUBSET, SUBSETS, endpoints, engine, node, save, until};
use tokio::sync::watch;

const TLS: &str = "
apiVersion: v1
kind: Secret
metadata: {name: shop-cert, namespace: istio-ingress}
type: kubernetes.io/tls
data: {tls.crt: eA==, tls.key: eA==}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: [shop.example.com], tls: {mode: SIMPLE, credentialName: shop-cert}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec: {hosts: [shop.example.com], gateways: [edge], http: [{route: [{destination: {host: reviews}}]}]}
";

/// Who the gateway is.
fn gateway(engine: &Engine) -> amime_xds::Node {
    let snapshot = engine.borrow().snapshot.clone();
    let pod = snapshot.pods().find(|pod| pod.namespace == "istio-ingress").expect("a gateway").clone();
    let (id, metadata) = Node::of_pod(&pod, NodeKind::Gateway, Interception::Redirect, false).to_id();
    amime_xds::Node { id, metadata, ..Default::default() }
}

/// A client that accepts all, and what it runs.
fn client(control: impl Into<ControlPlane>, node: amime_xds::Node) -> watch::Receiver<Arc<ProxyConfig>> {
    let client = Client::new(node, Arc::default(), ClientOptions::default());
    let (running, configs) = watch::channel(Arc::default());
    let control: ControlPlane = control.into();
    tokio::spawn(run(control, client, Backoff::default(), move |update| {
        running.send_replace(update.config);
        std::future::ready(Ok(()))
    }));
    configs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_keys_do_not_leave_the_machine_in_plaintext() {
    let folder = tempfile::tempdir().expect("a folder");
    save(folder.path(), "shop.yaml", SHOP);
    save(folder.path(), "tls.yaml", TLS);
    let engine = engine(vec![folder.path().into()]);
    let distributor = Distributor::start(engine.clone(), StreamOptions::default()).expect("a server");
    for (address, encrypted, secrets) in [
        ("127.0.0.1:9", false, 1),
        ("[::ffff:127.0.0.1]:9", false, 1),
        ("10.0.0.7:9", true, 1),
        ("10.0.0.7:9", false, 0),
        ("[2001:db8::7]:9", false, 0),
    ] {
        let (near, far) = tokio::io::duplex(1 << 20);
        let (serving, peer) = (distributor.clone(), Peer { address: address.parse().expect("an address"), encrypted });
        tokio::spawn(async move { serving.serve(far, peer).await });
        let mut configs = client(channel_over(near), gateway(&engine));
        // Its listener comes either way, and has come after its secrets or the word that there are none.
        let config = until(&mut configs, |config| !config.listeners.is_empty()).await;
        assert_eq!(config.secrets.len(), secrets, "{address} {encrypted}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_connection_makes_way_and_nothing_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    save(folder.path(), "shop.yaml", SHOP);
    let engine = engine(vec![folder.path().into()]);
    let mut addresses = Vec::new();
    let mut planes = Vec::new();
    for _ in 0..2 {
        let age = Duration::from_millis(200);
        let distributor = Distributor::with_max_age(engine.clone(), StreamOptions::default(), age).expect("a server");
        let port = Port::open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("a port");
        addresses.push(port.address().expect("open").to_string());
        planes.push(port.serve(distributor, None));
    }
    let dialer = Dialer::new(addresses, None).expect("addresses");
    let mut state = dialer.state();
    let mut configs = client(dialer, node(&engine, "productpage"));
    let whole =
        |config: &ProxyConfig| endpoints(config, PLAIN) == 1 && config.listeners.contains_key("virtualOutbound");
    until(&mut configs, whole).await;
    let losses = {
        let mut configs = configs.clone();
        tokio::spawn(async move {
            while configs.changed().await.is_ok() {
                assert!(whole(&configs.borrow_and_update()), "something was taken away");
            }
        })
    };

    // It has been at both, and comes back.
    let mut seen = Vec::new();
    while seen.len() < 4 || seen.iter().collect::<BTreeSet<_>>().len() < 2 {
        let now = tokio::time::timeout(Duration::from_secs(30), state.changed());
        now.await.expect("in time").expect("a client");
        if let ConnectionState::Connected { address, .. } = &*state.borrow_and_update() {
            seen.push(address.clone());
        }
    }
    // What changes meanwhile arrives all the same.
    save(folder.path(), "routes.yaml", SUBSETS);
    until(&mut configs, |config| endpoints(config, SUBSET) == 1).await;
    assert!(!losses.is_finished());
}
