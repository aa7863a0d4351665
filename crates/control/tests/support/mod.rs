//! A control plane over files, and sidecars that follow it, for the tests here.
#![allow(dead_code, reason = "each test file uses some of it")]

use amime_control::distribute::Distributor;
use amime_control::engine::{self, EngineOptions, Generation};
use amime_control::source::Input;
use amime_model::config::ProxyConfig;
use amime_model::translate::{Interception, Node, NodeKind};
use amime_model::workload::{AddressPlan, expand};
use amime_xds::client::{Client, ClientOptions};
use amime_xds::intern::Interner;
use amime_xds::server::StreamOptions;
use amime_xds::transport::{Backoff, channel_over, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tonic::transport::Channel;

pub(crate) const SHOP: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec:
  selector: {app: reviews}
  ports: [{name: http, port: 9080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews-v1}
spec:
  selector: {matchLabels: {app: reviews, version: v1}}
  template:
    metadata: {labels: {app: reviews, version: v1}}
    spec: {containers: [{name: app, image: x, ports: [{containerPort: 9080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: productpage-v1}
spec:
  selector: {matchLabels: {app: productpage}}
  template:
    metadata: {labels: {app: productpage}}
    spec: {containers: [{name: app, image: x, ports: [{containerPort: 9080}]}]}
";

pub(crate) const SUBSETS: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets: [{name: v1, labels: {version: v1}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http: [{route: [{destination: {host: reviews, subset: v1}}]}]
";

pub(crate) const PLAIN: &str = "outbound|9080||reviews.default.svc.cluster.local";
pub(crate) const SUBSET: &str = "outbound|9080|v1|reviews.default.svc.cluster.local";

pub(crate) type Engine = watch::Receiver<Generation>;

/// An engine over a folder, with the pods that its workloads would have.
pub(crate) fn engine(paths: Vec<PathBuf>) -> Engine {
    let mut plan = AddressPlan::default();
    let mut options = EngineOptions::new(paths.into_iter().map(Input::Path).collect());
    options.prepare = Box::new(move |resources| (expand(resources, &mut plan).resources, Vec::new()));
    engine::start(options).expect("an engine")
}

/// A distributor, and a channel to it over one duplex.
pub(crate) fn server(engine: &Engine) -> (Distributor, Channel) {
    let options = StreamOptions { grace: Duration::from_millis(10), ..StreamOptions::default() };
    let distributor = Distributor::start(engine.clone(), options).expect("a server");
    let (near, far) = tokio::io::duplex(1 << 20);
    let serving = distributor.clone();
    tokio::spawn(async move { serving.serve_in_process(far).await });
    (distributor, channel_over(near))
}

/// The sidecar of a pod whose name begins like this: a client that accepts all, and what it runs.
pub(crate) fn sidecar(
    engine: &Engine,
    channel: Channel,
    pod: &str,
    interner: &Arc<Interner>,
) -> watch::Receiver<Arc<ProxyConfig>> {
    let client = Client::new(node(engine, pod), interner.clone(), ClientOptions::default());
    let (running, configs) = watch::channel(Arc::default());
    tokio::spawn(run(channel, client, Backoff::default(), move |update| {
        running.send_replace(update.config);
        std::future::ready(Ok(()))
    }));
    configs
}

/// Who that sidecar is.
pub(crate) fn node(engine: &Engine, pod: &str) -> amime_xds::Node {
    let snapshot = engine.borrow().snapshot.clone();
    let pod = snapshot.pods().find(|p| p.name.starts_with(pod)).expect("the pod").clone();
    let node = Node::of_pod(&pod, NodeKind::Sidecar, Interception::ProxyProtocol, false);
    let (id, metadata) = node.to_id();
    amime_xds::Node { id, metadata, ..Default::default() }
}

/// Waits until the configuration is as asked, and returns it. Hangs (and is ended by the test's limit) where it
/// never is.
pub(crate) async fn until(
    configs: &mut watch::Receiver<Arc<ProxyConfig>>,
    ok: impl Fn(&ProxyConfig) -> bool,
) -> Arc<ProxyConfig> {
    let found = tokio::time::timeout(Duration::from_secs(30), configs.wait_for(|config| ok(config))).await;
    found.expect("in time").expect("a client").clone()
}

pub(crate) fn endpoints(config: &ProxyConfig, cluster: &str) -> usize {
    config.endpoints.get(cluster).map_or(0, |e| e.localities.iter().map(|l| l.endpoints.len()).sum())
}

/// As editors save: a new file, renamed into the place of the old one.
pub(crate) fn save(folder: &Path, name: &str, text: &str) {
    let temporary = folder.join(format!(".{name}.tmp"));
    fs::write(&temporary, text).expect("written");
    fs::rename(&temporary, folder.join(name)).expect("renamed");
}
