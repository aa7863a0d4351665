//! A sidecar that is told by PROXY headers where connections go listens at its pod's addresses: who has none here is
//! refused, and is not given what it could do nothing with.

mod support;

use amime_xds::transport::DeltaStream;
use amime_xds::{DeltaRequest, ResourceType};
use support::{SHOP, engine, node, save, server};
use tonic::Code;

fn first_request(node: amime_xds::Node) -> DeltaRequest {
    let type_url = ResourceType::Cluster.type_url().into();
    DeltaRequest { node: Some(node), type_url, ..DeltaRequest::default() }
}

#[tokio::test]
async fn a_pod_without_a_place_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    save(folder.path(), "shop.yaml", SHOP);
    let engine = engine(vec![folder.path().to_owned()]);
    let (_distributor, channel) = server(&engine);
    let known = node(&engine, "reviews-v1");
    let mut unknown = known.clone();
    unknown.id = "sidecar~127.0.0.9~somebody.default~default.svc.cluster.local".into();

    let mut stream = DeltaStream::open(channel.clone(), vec![first_request(unknown.clone())]).await.expect("opened");
    let refused = stream.next().await.expect_err("refused");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("PROXY_PROTOCOL"), "{refused}");

    // One that the kernel tells listens anywhere.
    unknown.metadata["INTERCEPTION_MODE"] = "REDIRECT".into();
    for node in [known, unknown] {
        let mut stream = DeltaStream::open(channel.clone(), vec![first_request(node)]).await.expect("opened");
        assert!(!stream.next().await.expect("answered").expect("a response").resources.is_empty());
    }
}
