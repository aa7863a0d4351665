//! Who a proxy says it is, by its flags and its environment.

use super::*;
use amime_model::translate::{Node, NodeKind};

fn none() -> IdentityOptions {
    IdentityOptions {
        pod_name: None,
        namespace: None,
        addresses: Vec::new(),
        service_account: None,
        domain: None,
        labels: Vec::new(),
        metadata: Vec::new(),
        pod_info: PathBuf::new(),
        interception: None,
    }
}

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn identity(options: &IdentityOptions, environment: &Environment, pod: &PodInfo) -> anyhow::Result<Identity> {
    let config = proxy_config(environment, pod)?;
    let lifecycle = Lifecycle::of(environment, &config)?;
    Identity::of(Kind::Sidecar, options, environment, pod, &config, &lifecycle)
}

/// What Istio's injector sets.
const INJECTED: [(&str, &str); 8] = [
    ("POD_NAME", "productpage-v1-abc"),
    ("POD_NAMESPACE", "default"),
    ("INSTANCE_IP", "10.1.1.1"),
    ("SERVICE_ACCOUNT", "bookinfo"),
    ("ISTIO_META_CLUSTER_ID", "east"),
    ("ISTIO_META_WORKLOAD_NAME", "productpage-v1"),
    ("ISTIO_METAJSON_LABELS", r#"{"app":"productpage","istio-locality":"eu.a.1"}"#),
    ("PROXY_CONFIG", r#"{"proxyMetadata":{"ISTIO_META_DNS_CAPTURE":"true","OTHER":"x"}}"#),
];

#[test]
fn as_istio_s_injector_sets_the_environment() {
    let found = identity(&none(), &environment(&INJECTED), &PodInfo::default()).unwrap();
    assert_eq!(found.node.id, "sidecar~10.1.1.1~productpage-v1-abc.default~default.svc.cluster.local");
    assert_eq!(found.node.cluster, "productpage.default");
    assert_eq!(found.proxy.workload, "productpage-v1");
    assert_eq!(found.node.locality.zone, "a");
    let metadata = &found.node.metadata;
    for (key, value) in [
        ("NAME", "productpage-v1-abc"),
        ("SERVICE_ACCOUNT", "bookinfo"),
        ("CLUSTER_ID", "east"),
        ("DNS_CAPTURE", "true"),
        ("INTERCEPTION_MODE", "REDIRECT"),
        ("INSTANCE_IPS", "10.1.1.1"),
        ("ISTIO_VERSION", concat!("amime-", env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(metadata[key], value, "{key}");
    }
    assert_eq!(metadata["LABELS"]["istio-locality"], "eu/a/1");
    assert!(metadata.get("OTHER").is_none() && metadata.get("BINDS_UPSTREAM").is_none());

    let node = Node::parse(&found.node.id, metadata).unwrap();
    assert_eq!((node.kind, node.name.as_str()), (NodeKind::Sidecar, "productpage-v1-abc"));
    assert_eq!(node.interception, Interception::Redirect);
}

#[test]
fn flags_win_over_the_environment_and_files_over_its_labels() {
    let mut options = none();
    options.addresses = vec!["127.64.0.7".parse().unwrap()];
    options.labels = vec![("version".into(), "v9".into())];
    options.metadata = vec![("CLUSTER_ID".into(), "west".into())];
    options.domain = Some("shop.svc.example".into());
    options.interception = Some(Interception::ProxyProtocol);
    let folder = tempfile::tempdir().unwrap();
    let labels = "app=\"files\"\nversion=\"v1\"\npod-template-hash=\"123\"\n";
    std::fs::write(folder.path().join("labels"), labels).unwrap();
    let config = "proxy.istio.io/config=\"terminationDrainDuration: 7s\\nproxyMetadata:\\n  ISTIO_META_A: b\"\n";
    std::fs::write(folder.path().join("annotations"), config).unwrap();
    let pod = PodInfo::read(folder.path()).unwrap();
    let found = identity(&options, &environment(&INJECTED), &pod).unwrap();
    assert_eq!(found.node.id, "sidecar~127.64.0.7~productpage-v1-abc.default~shop.svc.example");
    let metadata = &found.node.metadata;
    assert_eq!((&metadata["CLUSTER_ID"], &metadata["A"]), (&"west".into(), &"b".into()));
    assert_eq!(metadata["PROXY_CONFIG"]["terminationDrainDuration"], "7s");
    assert_eq!(metadata["LABELS"]["app"], "files");
    assert_eq!(metadata["LABELS"]["version"], "v9");
    assert!(metadata["LABELS"].get("pod-template-hash").is_none());
    assert_eq!(found.loopback_source(), Some("127.64.0.7".parse().unwrap()));
    assert!(Node::parse(&found.node.id, metadata).unwrap().binds_upstream);
}

#[test]
fn what_is_missing_or_wrong_is_named_with_its_remedy() {
    for (without, expected) in [
        ("POD_NAME", "pass --pod-name NAME or set POD_NAME"),
        ("POD_NAMESPACE", "pass --namespace NAMESPACE or set POD_NAMESPACE"),
        ("INSTANCE_IP", "pass --ip ADDRESS or set INSTANCE_IP"),
    ] {
        let rest: Vec<_> = INJECTED.into_iter().filter(|(name, _)| *name != without).collect();
        let error = identity(&none(), &environment(&rest), &PodInfo::default()).unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
    }
    for (name, value, expected) in [
        ("INSTANCE_IP", "ten", "INSTANCE_IP=ten: ten is no IP address"),
        ("ISTIO_METAJSON_LABELS", "[]", "ISTIO_METAJSON_LABELS: write a JSON object"),
        ("ISTIO_METAJSON_X", "1", "ISTIO_METAJSON_X: write a JSON object"),
        ("ISTIO_META_INTERCEPTION_MODE", "TPROXY", "ISTIO_META_INTERCEPTION_MODE=TPROXY is not supported"),
        ("POD_NAME", "a b", "--pod-name \"a b\""),
    ] {
        let pairs: Vec<_> = INJECTED.into_iter().filter(|(n, _)| *n != name).chain([(name, value)]).collect();
        let error = identity(&none(), &environment(&pairs), &PodInfo::default()).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}
