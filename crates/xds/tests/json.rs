//! Envoy's JSON form: what is dumped reads back as it was, and whatever is read ends in a value and names.

mod examples;
mod strategies;

use amime_model::config::*;
use amime_xds::json::{DumpOptions, Versions, config_dump, from_config_dump, from_json, to_json, to_redacted_json};
use amime_xds::{Node, ResourceType, encode};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

const DURATION: &str = "type.googleapis.com/google.protobuf.Duration";
const ANY: &str = "google.protobuf.Any";

fn all() -> DumpOptions<'static> {
    DumpOptions { include_eds: true, node: None }
}

fn of<T>(values: Vec<T>, name: impl Fn(&T) -> &str) -> Named<T> {
    values.into_iter().map(|value| (name(&value).into(), Arc::new(value))).collect()
}

fn config() -> impl Strategy<Value = ProxyConfig> {
    let resources = (
        vec(strategies::listener(), 0..3),
        vec(strategies::routes(), 0..3),
        vec(strategies::cluster(), 0..3),
        vec(strategies::endpoints(), 0..3),
        vec(strategies::secret(), 0..3),
    );
    resources.prop_map(|(listeners, routes, clusters, endpoints, secrets)| ProxyConfig {
        listeners: of(listeners, |l| &l.name),
        routes: of(routes, |r| &r.name),
        clusters: of(clusters, |c| &c.name),
        endpoints: of(endpoints, |e| &e.cluster),
        secrets: of(secrets, Secret::name),
    })
}

/// As Envoy shows them.
fn without_keys(mut config: ProxyConfig) -> ProxyConfig {
    for secret in config.secrets.values_mut() {
        if let Secret::Certificate { name, chain, key } = &**secret {
            let key = if key.is_empty() { Vec::new() } else { b"[redacted]".to_vec() };
            *secret = Arc::new(Secret::Certificate { name: name.clone(), chain: chain.clone(), key });
        }
    }
    for cluster in config.clusters.values_mut().map(Arc::make_mut) {
        let matches = cluster.transport_socket_matches.iter_mut().filter_map(|one| one.tls.as_mut());
        for tls in cluster.tls.iter_mut().chain(matches) {
            tls.certificate.iter_mut().for_each(without_key_file);
        }
    }
    for listener in config.listeners.values_mut().map(Arc::make_mut) {
        for chain in listener.filter_chains.iter_mut().chain(listener.default_filter_chain.as_deref_mut()) {
            chain.tls.iter_mut().flat_map(|tls| &mut tls.certificates).for_each(without_key_file);
        }
    }
    config
}

/// A key's file is not shown either.
fn without_key_file(certificate: &mut String) {
    if let Some((chain, _)) = certificate.strip_prefix("file-cert:").and_then(|files| files.split_once('~')) {
        *certificate = format!("file-cert:{chain}~[redacted]");
    }
}

/// JSON of any shape, with the words that a dump has.
fn hostile() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("configs"),
        Just("@type"),
        Just("@bytes"),
        Just("value"),
        Just("name"),
        Just("cluster"),
        Just("listener"),
        Just("dynamic_listeners"),
        Just("dynamicActiveClusters"),
        Just("active_state"),
        Just("static_clusters"),
        Just("typed_config"),
        Just("filter_chains"),
        Just("filters"),
        Just("address"),
        Just("socket_address"),
        Just("port_value"),
        Just("connect_timeout"),
        Just("metadata"),
        Just("filter_metadata"),
        Just("lb_policy"),
        Just("virtual_hosts"),
        Just("route_config"),
        Just("load_assignment"),
        Just("type.googleapis.com/envoy.admin.v3.ClustersConfigDump"),
        Just("type.googleapis.com/envoy.admin.v3.ListenersConfigDump"),
        Just("type.googleapis.com/envoy.admin.v3.RoutesConfigDump"),
        Just("type.googleapis.com/envoy.config.cluster.v3.Cluster"),
        Just("type.googleapis.com/google.protobuf.Any"),
        Just("type.googleapis.com/google.protobuf.Struct"),
        Just("-5.5s"),
        Just("STATIC"),
        Just(""),
    ]
    .prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 64, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((word.clone(), inner), 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Replaces one value somewhere in another by a third.
fn spoil(value: &mut Value, mut at: usize, by: &Value) {
    fn walk(value: &mut Value, at: &mut usize, by: &Value) -> bool {
        if *at == 0 {
            *value = by.clone();
            return true;
        }
        *at -= 1;
        match value {
            Value::Array(values) => values.iter_mut().any(|v| walk(v, at, by)),
            Value::Object(fields) => fields.values_mut().any(|v| walk(v, at, by)),
            _ => false,
        }
    }
    walk(value, &mut at, by);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_dumped_reads_back(config in config()) {
        let dump = config_dump(&config, &Versions::default(), all());
        let (again, _) = from_config_dump(&dump);
        prop_assert_eq!(&again, &without_keys(config));
        prop_assert_eq!(config_dump(&again, &Versions::default(), all()), dump);
    }

    #[test]
    fn hostile_json_is_read_or_named(dump in hostile()) {
        let _ = from_config_dump(&dump);
        let _ = from_config_dump(&json!({ "configs": [dump.clone()] }));
        let cluster = json!({ "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "static_clusters": [{ "cluster": dump }] });
        let _ = from_config_dump(&json!({ "configs": [cluster] }));
    }

    #[test]
    fn a_spoilt_dump_is_read_or_named(config in config(), at in 0usize..400, by in hostile()) {
        let mut dump = config_dump(&config, &Versions::default(), all());
        spoil(&mut dump, at, &by);
        let _ = from_config_dump(&dump);
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error(bytes in vec(any::<u8>(), 0..64)) {
        for kind in ResourceType::ALL {
            let _ = to_json(kind.type_url(), &bytes);
        }
        let _ = to_json(ANY, &bytes);
    }
}

#[test]
fn the_examples_read_back_and_nothing_of_them_is_unknown() {
    let proxies = examples::proxies();
    assert!(!proxies.is_empty());
    for (name, config) in proxies {
        let (again, unknown) = from_config_dump(&config_dump(&config, &Versions::default(), all()));
        assert_eq!(again, config, "{name}");
        assert_eq!(unknown, [], "{name}");
    }
}

#[test]
fn the_shape_is_envoys() {
    let mut config = ProxyConfig::default();
    let cluster = Cluster::new("outbound|80||a", Discovery::Eds(String::new()));
    config.clusters.insert("outbound|80||a".into(), Arc::new(cluster));
    config.endpoints.insert(
        "outbound|80||a".into(),
        Arc::new(ClusterEndpoints { cluster: "outbound|80||a".into(), ..Default::default() }),
    );
    let mut versions = Versions::default();
    versions[ResourceType::Cluster].insert("outbound|80||a".into(), "7".into());
    let node = Node { id: "sidecar~10.1.1.1~p.default~d".into(), ..Node::default() };
    let dump = config_dump(&config, &versions, DumpOptions { include_eds: true, node: Some(&node) });
    let part = |name: &str| {
        let url = format!("type.googleapis.com/envoy.admin.v3.{name}");
        dump["configs"].as_array().and_then(|c| c.iter().find(|c| c["@type"] == url.as_str())).cloned().expect(name)
    };
    assert_eq!(part("BootstrapConfigDump")["bootstrap"]["node"]["id"], "sidecar~10.1.1.1~p.default~d");
    let cluster = &part("ClustersConfigDump")["dynamic_active_clusters"][0];
    assert_eq!(cluster["version_info"], "7");
    assert_eq!(cluster["cluster"]["@type"], ResourceType::Cluster.type_url());
    assert_eq!(cluster["cluster"]["type"], "EDS");
    assert_eq!(
        cluster["cluster"]["eds_cluster_config"]["eds_config"],
        json!({ "ads": {}, "resource_api_version": "V3" })
    );
    let endpoints = &part("EndpointsConfigDump")["dynamic_endpoint_configs"][0]["endpoint_config"];
    assert_eq!(endpoints["cluster_name"], "outbound|80||a");
    assert!(part("ListenersConfigDump").get("dynamic_listeners").is_none(), "what is empty is left out");
    let without = config_dump(&config, &versions, DumpOptions::default());
    assert!(!without.to_string().contains("EndpointsConfigDump"));
}

#[test]
fn keys_are_redacted_as_envoy_does() {
    let secret = Secret::Certificate { name: "s".into(), chain: b"CHAIN".to_vec(), key: b"KEY".to_vec() };
    let shown = to_redacted_json(ResourceType::Secret.type_url(), &encode::secret(&secret)).expect("a secret");
    assert_eq!(shown["tls_certificate"]["private_key"]["inline_bytes"], "W3JlZGFjdGVkXQ==");
    assert_eq!(shown["tls_certificate"]["certificate_chain"]["inline_bytes"], "Q0hBSU4=");
}

#[test]
fn the_forms_of_values_are_protobufs() {
    let duration = |text: &str| {
        from_json(DURATION, &json!(text)).map(|(bytes, problems)| (to_json(DURATION, &bytes), problems.len()))
    };
    assert_eq!(duration("5s"), Ok((Ok(json!("5s")), 0)));
    assert_eq!(duration("0.5s"), Ok((Ok(json!("0.500s")), 0)));
    assert_eq!(duration("-1.000000001s"), Ok((Ok(json!("-1.000000001s")), 0)));
    for bad in ["5", "s", "1.s5", "99999999999999s", "1.0000000001s", "+5s"] {
        assert_eq!(duration(bad), Ok((Ok(json!("0s")), 1)), "{bad}");
    }
    let any = json!({ "@type": DURATION, "value": "5s" });
    let (bytes, problems) = from_json(ANY, &any).expect("an any");
    assert_eq!((to_json(ANY, &bytes), problems), (Ok(any), vec![]));
    let cluster = json!({
        "name": "c", "connectTimeout": "1s", "lbPolicy": 2, "perConnectionBufferLimitBytes": "32768",
        "metadata": { "filterMetadata": { "a": { "n": 1, "f": 1.5, "x": null, "l": [true, "s"] } } },
        "ring_hash_lb_config": { "minimum_ring_size": 18_446_744_073_709_551_615u64 },
    });
    let (bytes, problems) = from_json(ResourceType::Cluster.type_url(), &cluster).expect("a cluster");
    assert_eq!(problems, vec![]);
    assert_eq!(
        to_json(ResourceType::Cluster.type_url(), &bytes).expect("a cluster"),
        json!({
            "name": "c", "connect_timeout": "1s", "lb_policy": "RING_HASH", "per_connection_buffer_limit_bytes": 32768,
            "metadata": { "filter_metadata": { "a": { "n": 1, "f": 1.5, "x": null, "l": [true, "s"] } } },
            "ring_hash_lb_config": { "minimum_ring_size": "18446744073709551615" },
        })
    );
}

/// A listener with one filter of a type that is not Envoy's, as a dump of Istio's Envoy has it.
fn with_filter(config: Value) -> Value {
    json!({ "configs": [{
        "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
        "dynamic_listeners": [{ "name": "l", "active_state": { "version_info": "1", "listener": {
            "@type": ResourceType::Listener.type_url(),
            "name": "l",
            "address": { "socket_address": { "address": "0.0.0.0", "port_value": 80 } },
            "filter_chains": [{ "filters": [{ "name": "f", "typed_config": config }] }],
        } } }],
    }] })
}

fn only_filter(config: &ProxyConfig) -> &NetworkFilter {
    &config.listeners["l"].filter_chains[0].filters[0]
}

#[test]
fn types_that_are_not_known_are_kept_and_named() {
    let stats = json!({ "@type": "type.googleapis.com/stats.PluginConfig", "tcp_reporting_duration": "15s" });
    let (config, unknown) = from_config_dump(&with_filter(stats.clone()));
    assert!(
        matches!(only_filter(&config), NetworkFilter::Opaque(o) if o.type_url == "type.googleapis.com/stats.PluginConfig")
    );
    assert_eq!(
        unknown.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "LDS l filter_chains[0].filters[0].typed_config: type.googleapis.com/stats.PluginConfig is not known here, and kept as it is"
        ]
    );
    let again = config_dump(&config, &Versions::default(), all());
    let shown = again.pointer("/configs/2/dynamic_listeners/0").or(again.pointer("/configs/3/dynamic_listeners/0"));
    assert_eq!(
        shown.and_then(|l| l.pointer("/active_state/listener/filter_chains/0/filters/0/typed_config")),
        Some(&stats)
    );
}

#[test]
fn typed_structs_are_shown_whole() {
    for name in ["udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct"] {
        let typed = json!({ "@type": format!("type.googleapis.com/{name}"), "type_url": "type.googleapis.com/x.Y", "value": { "a": [1] } });
        let (config, unknown) = from_config_dump(&with_filter(typed.clone()));
        assert!(matches!(only_filter(&config), NetworkFilter::Opaque(_)), "{unknown:?}");
        assert!(config_dump(&config, &Versions::default(), all()).to_string().contains(&typed.to_string()));
    }
}

#[test]
fn fields_that_are_passed_over_are_named() {
    let cluster = json!({
        "@type": ResourceType::Cluster.type_url(), "name": "c", "type": "STATIC",
        "of_tomorrow": 1,
        "alt_stat_name": "x",
        "connect_timeout": "soon",
    });
    let dump = json!({ "configs": [{
        "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "static_clusters": [{ "cluster": cluster }],
    }] });
    let (config, unknown) = from_config_dump(&dump);
    assert!(config.clusters.contains_key("c"));
    let mut unknown: Vec<_> = unknown.iter().map(ToString::to_string).collect();
    unknown.sort();
    assert_eq!(
        unknown,
        [
            "CDS c alt_stat_name: not looked at",
            "CDS c connect_timeout: \"soon\" is no duration",
            "CDS c of_tomorrow: Cluster has no such field",
        ]
    );
}

#[test]
fn depth_has_an_end() {
    let mut deep = json!({ "@type": "type.googleapis.com/stats.PluginConfig" });
    for _ in 0..2_000 {
        deep = json!({ "@type": format!("type.googleapis.com/{ANY}"), "value": deep });
    }
    let (_, unknown) = from_config_dump(&with_filter(deep));
    assert!(unknown.iter().any(|u| u.problem.contains("too deep")), "{unknown:?}");

    let mut bytes = Vec::new();
    for _ in 0..5_000 {
        bytes = encode_any(&format!("type.googleapis.com/{ANY}"), &bytes);
    }
    assert!(to_json(ANY, &bytes).expect("an any").to_string().contains("nested too deep"));
}

fn encode_any(url: &str, value: &[u8]) -> Vec<u8> {
    let any = envoy_types::pb::google::protobuf::Any { type_url: url.into(), value: value.to_vec() };
    prost::Message::encode_to_vec(&any)
}

#[test]
fn what_is_no_dump_says_so() {
    for other in [json!(null), json!([]), json!({ "configs": 1 })] {
        let (config, unknown) = from_config_dump(&other);
        assert_eq!(config, ProxyConfig::default());
        assert!(unknown[0].to_string().contains("no list of configs"), "{unknown:?}");
    }
}
