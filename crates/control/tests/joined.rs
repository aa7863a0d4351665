//! Files -> engine -> ADS over an in-memory connection -> a client's configuration.

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

const SHOP: &str = "
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

const SUBSETS: &str = "
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

const PLAIN: &str = "outbound|9080||reviews.default.svc.cluster.local";
const SUBSET: &str = "outbound|9080|v1|reviews.default.svc.cluster.local";

type Engine = watch::Receiver<Generation>;

/// An engine over a folder, with the pods that its workloads would have.
fn engine(paths: Vec<PathBuf>) -> Engine {
    let mut plan = AddressPlan::default();
    let mut options = EngineOptions::new(paths.into_iter().map(Input::Path).collect());
    options.prepare = Box::new(move |resources| (expand(resources, &mut plan).resources, Vec::new()));
    engine::start(options).expect("an engine")
}

/// A distributor, and a channel to it over one duplex.
fn server(engine: &Engine) -> (Distributor, Channel) {
    let options = StreamOptions { grace: Duration::from_millis(10), ..StreamOptions::default() };
    let distributor = Distributor::start(engine.clone(), options).expect("a server");
    let (near, far) = tokio::io::duplex(1 << 20);
    let serving = distributor.clone();
    tokio::spawn(async move { serving.serve(far).await });
    (distributor, channel_over(near))
}

/// The sidecar of a pod whose name begins like this: a client that accepts all, and what it runs.
fn sidecar(
    engine: &Engine,
    channel: Channel,
    pod: &str,
    interner: &Arc<Interner>,
) -> watch::Receiver<Arc<ProxyConfig>> {
    let snapshot = engine.borrow().snapshot.clone();
    let pod = snapshot.pods().find(|p| p.name.starts_with(pod)).expect("the pod").clone();
    let node = Node::of_pod(&pod, NodeKind::Sidecar, Interception::ProxyProtocol, false);
    let (id, metadata) = node.to_id();
    let node = amime_xds::Node { id, metadata, ..Default::default() };
    let client = Client::new(node, interner.clone(), ClientOptions::default());
    let (running, configs) = watch::channel(Arc::default());
    tokio::spawn(run(channel, client, Backoff::default(), move |update| {
        running.send_replace(update.config);
        std::future::ready(Ok(()))
    }));
    configs
}

/// Waits until the configuration is as asked, and returns it. Hangs (and is ended by the test's limit) where it
/// never is.
async fn until(configs: &mut watch::Receiver<Arc<ProxyConfig>>, ok: impl Fn(&ProxyConfig) -> bool) -> Arc<ProxyConfig> {
    let found = tokio::time::timeout(Duration::from_secs(30), configs.wait_for(|config| ok(config))).await;
    found.expect("in time").expect("a client").clone()
}

fn endpoints(config: &ProxyConfig, cluster: &str) -> usize {
    config.endpoints.get(cluster).map_or(0, |e| e.localities.iter().map(|l| l.endpoints.len()).sum())
}

/// As editors save: a new file, renamed into the place of the old one.
fn save(folder: &Path, name: &str, text: &str) {
    let temporary = folder.join(format!(".{name}.tmp"));
    fs::write(&temporary, text).expect("written");
    fs::rename(&temporary, folder.join(name)).expect("renamed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_reaches_a_sidecar_and_leaves_nothing_dangling() {
    let folder = tempfile::tempdir().expect("a folder");
    save(folder.path(), "shop.yaml", SHOP);
    let engine = engine(vec![folder.path().into()]);
    let (distributor, channel) = server(&engine);
    let interner = Arc::new(Interner::default());
    let mut configs = sidecar(&engine, channel, "productpage", &interner);
    let config = until(&mut configs, |c| endpoints(c, PLAIN) == 1 && c.listeners.contains_key("virtualOutbound")).await;
    assert!(config.routes.contains_key("9080"), "routes come before the listeners that name them");
    assert!(config.listeners.contains_key("virtualOutbound") && config.listeners.contains_key("virtualInbound"));
    assert!(config.clusters.contains_key("PassthroughCluster"));

    let saved = std::time::Instant::now();
    save(folder.path(), "routes.yaml", SUBSETS);
    let names_subset = |c: &ProxyConfig| c.routes.get("9080").is_some_and(|r| format!("{r:?}").contains(SUBSET));
    let config = until(&mut configs, names_subset).await;
    println!("a save took {:?} to its sidecar", saved.elapsed());
    assert_eq!(endpoints(&config, SUBSET), 1, "the subset's endpoints came before the route that needs them");

    fs::remove_file(folder.path().join("routes.yaml")).expect("removed");
    until(&mut configs, |c| !c.clusters.contains_key(SUBSET)).await;
    let mut changes = distributor.changes();
    let in_step = || distributor.proxies().iter().all(|p| p.stream.in_step);
    while !in_step() {
        tokio::time::timeout(Duration::from_secs(30), changes.changed()).await.expect("in time").expect("a server");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sidecars_of_one_process_share_what_is_equal() {
    let folder = tempfile::tempdir().expect("a folder");
    save(folder.path(), "shop.yaml", SHOP);
    let engine = engine(vec![folder.path().into()]);
    let (_distributor, channel) = server(&engine);
    let interner = Arc::new(Interner::default());
    let ready = |c: &ProxyConfig| endpoints(c, PLAIN) == 1 && c.routes.contains_key("9080");
    let mut first = sidecar(&engine, channel.clone(), "productpage", &interner);
    let mut second = sidecar(&engine, channel, "reviews", &interner);
    let (first, second) = (until(&mut first, ready).await, until(&mut second, ready).await);
    assert!(Arc::ptr_eq(&first.endpoints[PLAIN], &second.endpoints[PLAIN]));
    assert!(Arc::ptr_eq(&first.routes["9080"], &second.routes["9080"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bookinfo_comes_over_the_wire() {
    let shared = std::env::var("AMIME_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"));
    let samples = shared.join("fixtures/samples/bookinfo");
    if !samples.exists() {
        println!("skipped: {} is not there", samples.display());
        return;
    }
    let paths = [
        "platform/kube/bookinfo.yaml",
        "networking/destination-rule-all.yaml",
        "networking/virtual-service-reviews-test-v2.yaml",
    ];
    let engine = engine(paths.iter().map(|p| samples.join(p)).collect());
    let (_distributor, channel) = server(&engine);
    let mut configs = sidecar(&engine, channel, "productpage", &Arc::default());
    let v2 = "outbound|9080|v2|reviews.default.svc.cluster.local";
    let config = until(&mut configs, |c| endpoints(c, v2) == 1 && c.routes.contains_key("9080")).await;
    let routes = format!("{:?}", config.routes["9080"]);
    assert!(routes.contains("jason") && routes.contains(v2));
}
