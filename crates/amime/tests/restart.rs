//! Control planes that are several, or start again: a proxy that comes back with what it has gets nothing anew.

mod common;

use amime_xds::transport::DeltaStream;
use amime_xds::{DeltaRequest, DeltaResponse, ResourceType};
use common::control::{Control, sidecar};
use common::{PATIENCE, example};
use std::collections::BTreeMap;
use std::sync::Arc;

/// By type and name.
type Versions = BTreeMap<(ResourceType, Arc<str>), Arc<str>>;

/// Clusters, their endpoints and the listeners that a sidecar of ours gets which has these already, and accepts all.
async fn connect(control: &Control, has: &Versions) -> Versions {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", control.address("grpc")));
    let channel = endpoint.expect("a URI").connect_lazy();
    let mut node = sidecar("caller-1", "shop", "10.1.1.9");
    node.metadata["AMIME_VHDS"] = "true".into();
    let first = DeltaRequest { node: Some(node), ..request(ResourceType::Cluster, has) };
    let mut stream = DeltaStream::open(channel, vec![first]).await.expect("opened");
    let mut got = Versions::new();
    accept(&mut stream, ResourceType::Cluster, &mut got).await;
    let clusters = got.keys().chain(has.keys()).filter(|(kind, _)| *kind == ResourceType::Cluster);
    let subscribe = clusters.filter(|(_, name)| name.starts_with("outbound|")).map(|(_, name)| name.clone()).collect();
    assert!(stream.send(DeltaRequest { subscribe, ..request(ResourceType::Endpoints, has) }));
    if has.is_empty() {
        accept(&mut stream, ResourceType::Endpoints, &mut got).await;
    }
    assert!(stream.send(request(ResourceType::Listener, has)));
    accept(&mut stream, ResourceType::Listener, &mut got).await;
    got
}

fn request(kind: ResourceType, has: &Versions) -> DeltaRequest {
    let of_kind = has.iter().filter(|((of, _), _)| *of == kind);
    let initial_versions = of_kind.map(|((_, name), version)| (name.clone(), version.clone())).collect();
    DeltaRequest { type_url: kind.type_url().into(), initial_versions, ..DeltaRequest::default() }
}

/// Takes all that comes, to the next response of that type.
async fn accept(stream: &mut DeltaStream, kind: ResourceType, got: &mut Versions) {
    loop {
        let next = tokio::time::timeout(PATIENCE, stream.next()).await.expect("in time");
        let DeltaResponse { type_url, nonce, resources, .. } = next.expect("no error").expect("a response");
        let of = ResourceType::from_type_url(&type_url).expect("a type that was asked for");
        got.extend(resources.into_iter().map(|resource| ((of, resource.name.into()), resource.version.into())));
        assert!(stream.send(DeltaRequest { type_url, nonce, ..DeltaRequest::default() }));
        if of == kind {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn control_planes_of_one_folder_are_one_to_proxies() {
    let shop = example("shop").display().to_string();
    let (one, two) = (Control::start(["--config", &shop]), Control::start(["--config", &shop]));
    let has = connect(&one, &Versions::new()).await;
    for kind in [ResourceType::Cluster, ResourceType::Endpoints, ResourceType::Listener] {
        assert!(has.keys().any(|(of, _)| *of == kind), "{kind:?} of {has:?}");
    }
    assert_eq!(connect(&two, &Versions::new()).await, has, "equal versions");
    assert_eq!(connect(&two, &has).await, Versions::new(), "a proxy that moves gets nothing anew");
    drop(one);
    let again = Control::start(["--config", &shop]);
    assert_eq!(connect(&again, &has).await, Versions::new(), "nor after a restart");
}
