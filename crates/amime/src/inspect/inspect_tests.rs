//! The small parts: addresses, names, tables, YAML, and what differs.

use super::{difference, fetch, source, status, table::Table, yaml};
use amime_model::config::{Cluster, ClusterEndpoints, Discovery, Endpoint, Health, LocalityEndpoints, ProxyConfig};
use amime_xds::json::{DumpOptions, Versions, config_dump};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn addresses_are_taken_as_people_write_them() {
    for (written, meant) in [
        ("127.0.0.1:15014", "127.0.0.1:15014"),
        ("http://istiod.istio-system:15014/", "istiod.istio-system:15014"),
        ("istiod", "istiod:7"),
        ("8080", "127.0.0.1:8080"),
        ("::1", "[::1]:7"),
        ("[::1]", "[::1]:7"),
        ("[::1]:80", "[::1]:80"),
    ] {
        assert_eq!(fetch::authority(written, 7), meant, "{written}");
    }
}

#[test]
fn a_proxy_is_named_by_as_much_as_tells_it_apart() {
    let proxies = ["web-1.shop", "web-12.shop", "web-1.test", "reviews-v1-a.shop"].map(str::to_owned);
    let find = |wanted| source::find(&proxies, wanted).map_err(|e| e.to_string());
    assert_eq!(find("web-1.shop"), Ok("web-1.shop".into()));
    assert_eq!(find("shop/web-1"), Ok("web-1.shop".into()));
    assert_eq!(find("web-12"), Ok("web-12.shop".into()));
    assert_eq!(find("rev"), Ok("reviews-v1-a.shop".into()));
    assert_eq!(find("web-1"), Err("web-1 may be any of: web-1.shop, web-1.test".into()));
    assert!(
        find("ratings").is_err_and(|e| e.starts_with("no proxy is called ratings; connected are: reviews-v1-a.shop"))
    );
    assert!(source::find(&[], "x").is_err_and(|e| e.to_string().contains("no proxy is connected")));
}

#[test]
fn columns_line_up_under_wide_characters_and_nothing_trails() {
    let mut table = Table::new(["NAME", "WHERE", "WHY"]);
    table.push(["網目".into(), "a".into(), String::new()]);
    table.push(["abcdef".into(), String::new(), "x\n\u{1b}[2J".into()]);
    let plain = anstream::adapter::strip_str(&table.render(|_| None)).to_string();
    assert_eq!(plain, "NAME    WHERE  WHY\n網目    a\nabcdef         x\\n\\u{1b}[2J\n");
}

#[test]
fn yaml_is_read_as_what_it_was() {
    let value = json!({
        "a": [{ "b": "1", "c": [], "d": {} }, [1, ["x"]], "yes", "- no", "a: b", "#", ""],
        "n": null, "on": true, "f": 1.5, "deep": { "list": [{ "x": { "y": "z z" } }] },
        "@type": "type.googleapis.com/a.B", "pipe|name": "outbound|80||a.b",
    });
    let text = yaml::render(&value);
    let expected = concat!(
        "\"@type\": type.googleapis.com/a.B\n",
        "a:\n- b: \"1\"\n  c: []\n  d: {}\n- - 1\n  - - x\n- \"yes\"\n- \"- no\"\n- \"a: b\"\n- \"#\"\n- \"\"\n",
        "deep:\n  list:\n  - x:\n      \"y\": \"z z\"\n",
        "f: 1.5\n\"n\": null\n\"on\": true\npipe|name: outbound|80||a.b\n",
    );
    assert_eq!(text, expected);
}

fn mesh(timeout: u64, health: Health, names: &[&str]) -> Value {
    let mut config = ProxyConfig::default();
    for name in names {
        let cluster = Cluster {
            connect_timeout: Some(Duration::from_secs(timeout)),
            ..Cluster::new(*name, Discovery::Eds(String::new()))
        };
        config.clusters.insert((*name).into(), Arc::new(cluster));
        let endpoint = Endpoint { health, ..Endpoint::at(([10, 0, 0, 1], 80).into()) };
        let place = LocalityEndpoints { endpoints: vec![endpoint], ..Default::default() };
        let endpoints = ClusterEndpoints { cluster: (*name).into(), localities: vec![place], ..Default::default() };
        config.endpoints.insert((*name).into(), Arc::new(endpoints));
    }
    config_dump(&config, &Versions::default(), DumpOptions { include_eds: true, node: None })
}

#[test]
fn differences_name_the_resource_and_the_field() {
    let control = mesh(1, Health::Unknown, &["a", "b"]);
    let same = difference::render(&difference::between(&control, &mesh(1, Health::Healthy, &["a", "b"])));
    assert!(same.contains("Clusters match (2)\n") && same.contains("Endpoints match (2)\n"), "{same}");
    let other = difference::between(&control, &mesh(2, Health::Unhealthy, &["b", "c"]));
    assert!(other.iter().any(|(_, d)| !d.is_none()));
    let text = difference::render(&other);
    for line in [
        "Clusters differ\n  only at the control plane: a\n  only at the proxy: c\n",
        "  b: connect_timeout: \"1s\" at the control plane, \"2s\" at the proxy\n",
        "  b: endpoints\n",
        "Listeners match (0)\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn a_proxy_that_moved_is_where_it_is_now() {
    let at = |control: &str, since: &str| {
        let proxy = json!([{ "proxy": "a.b", "control_plane": control, "connected_since": since }]);
        serde_json::from_value(proxy).expect("a list")
    };
    let merged = status::merge(vec![at("new", "2026-01-02T00:00:00Z"), at("old", "2026-01-01T00:00:00Z")]);
    assert_eq!(merged.iter().map(|p| p.control_plane.as_str()).collect::<Vec<_>>(), ["new"]);
}
