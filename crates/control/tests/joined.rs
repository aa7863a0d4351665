//! Files -> engine -> ADS over an in-memory connection -> a client's configuration.

mod support;

use amime_model::config::ProxyConfig;
use amime_model::translate::{Interception, Node, NodeKind, Scope, translate};
use amime_xds::intern::Interner;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use support::{PLAIN, SHOP, SUBSET, SUBSETS, endpoints, engine, save, server, sidecar, until};

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
async fn after_edits_of_a_rule_a_sidecar_has_what_a_look_at_everything_gives() {
    let folder = tempfile::tempdir().expect("a folder");
    save(folder.path(), "shop.yaml", SHOP);
    save(folder.path(), "routes.yaml", SUBSETS);
    let engine = engine(vec![folder.path().into()]);
    let (_distributor, channel) = server(&engine);
    let mut configs = sidecar(&engine, channel, "productpage", &Arc::default());
    until(&mut configs, |c| c.routes.contains_key("9080")).await;
    let headers = ["first", "second", "third}}}, {headers: {other: {exact: one", "fourth"];
    for (round, header) in headers.into_iter().enumerate() {
        let text = SUBSETS.replace("[{route:", &format!("[{{match: [{{headers: {{x: {{exact: {header}}}}}}}], route:"));
        save(folder.path(), "routes.yaml", &text);
        let marker = ["first", "second", "third", "fourth"][round];
        let has = |c: &ProxyConfig| c.routes.get("9080").is_some_and(|r| format!("{r:?}").contains(marker));
        let config = until(&mut configs, has).await;
        let snapshot = engine.borrow().snapshot.clone();
        let pod = snapshot.pods().find(|pod| pod.name.starts_with("productpage")).expect("the pod");
        let node = Node::of_pod(pod, NodeKind::Sidecar, Interception::ProxyProtocol, false);
        let whole = translate(&snapshot, &Scope::of(&snapshot, &node)).config;
        assert_eq!(config.routes["9080"].virtual_hosts, whole.routes["9080"].virtual_hosts);
        assert_eq!(config.clusters.keys().collect::<Vec<_>>(), whole.clusters.keys().collect::<Vec<_>>());
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
