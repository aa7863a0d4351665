//! Many proxies on one connection, slow ones, and such as are no proxies.

mod support;

use amime_model::config::ProxyConfig;
use amime_xds::intern::Interner;
use amime_xds::transport::DeltaStream;
use amime_xds::{DeltaRequest, ResourceType};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{PLAIN, SHOP, SUBSET, SUBSETS, endpoints, engine, node, save, server, sidecar, until};

fn clusters(node: Option<amime_xds::Node>) -> DeltaRequest {
    DeltaRequest { node, type_url: ResourceType::Cluster.type_url().into(), ..Default::default() }
}

/// All sidecars of an `up` share one connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sidecars_share_one_connection() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "shop.yaml", SHOP);
    let engine = engine(vec![folder.path().into()]);
    let (distributor, channel) = server(&engine);
    let interner = Arc::new(Interner::default());
    let began = Instant::now();
    let ready = |c: &ProxyConfig| endpoints(c, PLAIN) == 1 && c.listeners.contains_key("virtualOutbound");
    let mut all: Vec<_> = (0..1000).map(|_| sidecar(&engine, channel.clone(), "productpage", &interner)).collect();
    for configs in &mut all {
        until(configs, ready).await;
    }
    println!("1,000 sidecars began in {:?}", began.elapsed());
    assert_eq!(distributor.proxies().len(), 1000);
    let saved = Instant::now();
    save(folder.path(), "routes.yaml", SUBSETS);
    for configs in &mut all {
        until(configs, |c| c.routes.get("9080").is_some_and(|r| format!("{r:?}").contains(SUBSET))).await;
    }
    println!("a save took {:?} to all of them", saved.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_neither_reads_nor_answers_delays_nobody() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "shop.yaml", SHOP);
    let engine = engine(vec![folder.path().into()]);
    let (distributor, channel) = server(&engine);
    let stuck = DeltaStream::open(channel.clone(), vec![clusters(Some(node(&engine, "reviews")))]).await.unwrap();
    let mut configs = sidecar(&engine, channel, "productpage", &Arc::default());
    until(&mut configs, |c| c.listeners.contains_key("virtualOutbound")).await;
    save(folder.path(), "routes.yaml", SUBSETS);
    until(&mut configs, |c| endpoints(c, SUBSET) == 1).await;
    let waits = distributor.proxies().into_iter().find(|p| p.id.contains("reviews")).unwrap();
    assert!(!waits.stream.in_step && waits.stream.types[ResourceType::Cluster].unanswered_since.is_some());
    drop(stuck);
    let mut changes = distributor.changes();
    while distributor.proxies().len() > 1 {
        tokio::time::timeout(Duration::from_secs(20), changes.changed()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_a_proxy_refuses_is_in_its_status_with_its_words() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "shop.yaml", SHOP);
    let engine = engine(vec![folder.path().into()]);
    let (distributor, channel) = server(&engine);
    let mut stream = DeltaStream::open(channel, vec![clusters(Some(node(&engine, "reviews")))]).await.unwrap();
    // Refuses every response that has that cluster in it.
    let mut changes = distributor.changes();
    let rejected = || {
        let proxies = distributor.proxies();
        proxies.first().and_then(|p| p.stream.types[ResourceType::Cluster].rejected.first().cloned())
    };
    let found = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            tokio::select! {
                response = stream.next() => {
                    let response = response.unwrap().unwrap();
                    let bad = response.resources.iter().any(|r| r.name == "BlackHoleCluster");
                    let error = bad.then(|| "no black holes".to_owned());
                    stream.send(DeltaRequest { nonce: response.nonce, error, ..clusters(None) });
                }
                _ = changes.changed() => if let Some(rejection) = rejected() {
                    return rejection;
                }
            }
        }
    });
    let rejection = found.await.unwrap();
    assert_eq!((&*rejection.name, &*rejection.message), ("BlackHoleCluster", "no black holes"));
}

#[tokio::test]
async fn who_does_not_say_who_it_is_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "shop.yaml", SHOP);
    let engine = engine(vec![folder.path().into()]);
    let (_distributor, channel) = server(&engine);
    let nameless = amime_xds::Node { id: "somebody".into(), ..Default::default() };
    for (node, said) in [(None, "names no node"), (Some(nameless), "no node id")] {
        let mut stream = DeltaStream::open(channel.clone(), vec![clusters(node)]).await.unwrap();
        let error = stream.next().await.unwrap_err();
        assert_eq!(error.code(), tonic::Code::InvalidArgument);
        assert!(error.message().contains(said), "{error}");
    }
}
