//! `amime config` and `amime status` as processes, with pages served by the test itself.

mod common;

use amime_model::config::ProxyConfig;
use common::config::{dump, shop};
use common::control::{Control, run_printed};
use common::{eventually, example};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};

/// Serves these pages, by path and query, until the test ends.
fn pages(pages: impl IntoIterator<Item = (&'static str, Value)>) -> SocketAddr {
    let pages: BTreeMap<_, _> = pages.into_iter().collect();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let mut lines = (&mut stream).lines().map(|line| line.expect("a line"));
            let first = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let path = first.split(' ').nth(1).unwrap_or_default();
            let (status, body) = match pages.get(path) {
                Some(page) => ("200 OK", page.to_string()),
                None => ("404 Not Found", format!("no page {path}\n")),
            };
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            let _ = stream.get_mut().write_all(answer.as_bytes());
        }
    });
    address
}

fn amime(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_amime")).args(args).stdin(Stdio::null()).output().expect("amime runs")
}

/// What it prints, where all is well.
fn prints(args: &[&str]) -> String {
    let output = amime(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What it says to standard error, with the exit code.
fn fails(args: &[&str]) -> (Option<i32>, String) {
    let output = amime(args);
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

fn saved(dump: &Value) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), dump.to_string()).expect("written");
    file
}

#[test]
fn tables_have_istioctls_columns() {
    let file = saved(&dump(&shop()));
    let path = file.path().to_str().expect("a path");
    let show = |args: &[&str]| prints(&[&["config"], args, &["--dump", path]].concat());

    assert_eq!(
        show(&["clusters", "--fqdn", "reviews"]),
        "\
SERVICE FQDN                    PORT  SUBSET  DIRECTION  TYPE  DESTINATION RULE
reviews.shop.svc.cluster.local  9080  -       outbound   EDS   reviews.shop
reviews.shop.svc.cluster.local  9080  v1      outbound   EDS   reviews.shop
reviews.shop.svc.cluster.local  9080  v2      outbound   EDS   reviews.shop
reviews.shop.svc.cluster.local  9080  v3      outbound   EDS   reviews.shop
"
    );
    assert_eq!(
        show(&["routes", "--name", "9080"]),
        "\
NAME  VHOST NAME                           DOMAINS                            MATCH  VIRTUAL SERVICE
9080  ratings.shop.svc.cluster.local:9080  ratings, ratings.shop + 1 more...  /*     ratings.shop
9080  ratings.shop.svc.cluster.local:9080  ratings, ratings.shop + 1 more...  /*     ratings.shop
9080  ratings.shop.svc.cluster.local:9080  ratings, ratings.shop + 1 more...  /*     ratings.shop
9080  ratings.shop.svc.cluster.local:9080  ratings, ratings.shop + 1 more...  /*     ratings.shop
9080  reviews.shop.svc.cluster.local:9080  reviews, reviews.shop + 1 more...  /*     reviews.shop
9080  reviews.shop.svc.cluster.local:9080  reviews, reviews.shop + 1 more...  /*     reviews.shop
"
    );
    assert_eq!(
        show(&["r", "--name", "9080", "-v"]),
        "\
NAME  VHOST NAME                           DOMAINS                            MATCH              VIRTUAL SERVICE  DESTINATION                                                                                               ORIGIN
9080  ratings.shop.svc.cluster.local:9080  ratings, ratings.shop + 1 more...  /* x-try=outage    ratings.shop     outbound|9080||ratings.shop.svc.cluster.local                                                             VirtualService shop/ratings http[0]
9080  ratings.shop.svc.cluster.local:9080  ratings, ratings.shop + 1 more...  /* x-try=delay     ratings.shop     outbound|9080||ratings.shop.svc.cluster.local                                                             VirtualService shop/ratings http[1]
9080  ratings.shop.svc.cluster.local:9080  ratings, ratings.shop + 1 more...  /* x-try=patience  ratings.shop     outbound|9080||ratings.shop.svc.cluster.local                                                             VirtualService shop/ratings http[2]
9080  ratings.shop.svc.cluster.local:9080  ratings, ratings.shop + 1 more...  /*                 ratings.shop     outbound|9080||ratings.shop.svc.cluster.local                                                             VirtualService shop/ratings http[3]
9080  reviews.shop.svc.cluster.local:9080  reviews, reviews.shop + 1 more...  /* end-user=jason  reviews.shop     outbound|9080|v2|reviews.shop.svc.cluster.local                                                           VirtualService shop/reviews http[0]
9080  reviews.shop.svc.cluster.local:9080  reviews, reviews.shop + 1 more...  /*                 reviews.shop     outbound|9080|v1|reviews.shop.svc.cluster.local 90%, outbound|9080|v3|reviews.shop.svc.cluster.local 10%  VirtualService shop/reviews http[1]
9080  allow_any                            *                                  /*                                  PassthroughCluster
"
    );
    assert_eq!(
        show(&["listeners", "--port", "15006"]),
        "\
ADDRESSES  PORT   MATCH                                 DESTINATION
0.0.0.0    15006  Addr: *:15006                         BlackHoleCluster
0.0.0.0    15006  Trans: raw_buffer; Addr: *:8080       Cluster: inbound|8080||
0.0.0.0    15006  Trans: raw_buffer; App: http/1.1,h2c  InboundPassthroughCluster
0.0.0.0    15006  ALL                                   InboundPassthroughCluster
"
    );
    assert_eq!(
        show(&["ep", "--cluster", "outbound|9080|v1|reviews.shop.svc.cluster.local"]),
        "\
ENDPOINT           STATUS   OUTLIER CHECK  CLUSTER
127.64.96.43:9080  HEALTHY  -              outbound|9080|v1|reviews.shop.svc.cluster.local
"
    );
    assert_eq!(
        show(&["secrets"]),
        "\
RESOURCE NAME  TYPE        STATUS  VALID CERT  SERIAL NUMBER  NOT AFTER  NOT BEFORE
default        Cert Chain  ACTIVE  false
"
    );
    assert_eq!(show(&["endpoints", "--status", "UNHEALTHY"]), "no endpoints that are asked for\n");
    assert_eq!(show(&["clusters", "--subset", "v9"]), "no clusters that are asked for\n");
}

#[test]
fn resources_are_printed_as_json_and_yaml() {
    let dump = dump(&shop());
    let file = saved(&dump);
    let path = file.path().to_str().expect("a path");
    let text = prints(&["config", "clusters", "--subset", "v1", "-o", "json", "--dump", path]);
    let clusters: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let names: Vec<_> = clusters.iter().map(|c| c["name"].as_str().expect("a name")).collect();
    assert!(!names.is_empty() && names.iter().all(|name| name.contains("|v1|")), "{names:?}");
    let all: Value = serde_json::from_str(&prints(&["config", "all", "-o", "json", "--dump", path])).expect("JSON");
    assert_eq!(all, dump);
    assert!(!all.to_string().contains("S0VZ"), "the key is not shown");
    let yaml = prints(&["config", "endpoints", "-o", "yaml", "--dump", path]);
    assert!(
        yaml.starts_with("- \"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\n"),
        "{yaml}"
    );
}

#[test]
fn the_control_plane_is_asked_for_the_proxy_that_is_meant() {
    let control = pages([
        ("/debug/syncz", json!([{ "proxy": "web-1.shop" }, { "proxy": "reviews-v1-x.shop" }])),
        ("/debug/config_dump?proxyID=web-1.shop&include_eds", dump(&shop())),
    ])
    .to_string();
    assert!(prints(&["config", "clusters", "web", "--control", &control]).contains("reviews.shop.svc.cluster.local"));
    let (code, said) = fails(&["config", "clusters", "ratings", "--control", &control]);
    assert_eq!(
        (code, said.as_str()),
        (Some(1), "error: no proxy is called ratings; connected are: reviews-v1-x.shop, web-1.shop\n")
    );
}

#[test]
fn a_proxy_tells_the_health_of_its_endpoints() {
    let host = |port: u16, health: Value| json!({ "address": { "socket_address": { "address": "10.0.0.1", "port_value": port } }, "health_status": health, "weight": 2, "priority": 1, "locality": { "region": "r", "zone": "z" } });
    let hosts = [
        host(1, json!({ "eds_health_status": "HEALTHY" })),
        host(2, json!({ "failed_outlier_check": true })),
        host(3, json!({ "eds_health_status": "DRAINING" })),
        host(4, json!({ "failed_active_health_check": true })),
    ];
    let clusters = json!({ "cluster_statuses": [{ "name": "a", "host_statuses": hosts }] });
    let admin =
        pages([("/config_dump?include_eds", dump(&ProxyConfig::default())), ("/clusters?format=json", clusters)])
            .to_string();
    assert_eq!(
        prints(&["config", "endpoints", "--proxy-admin", &admin, "-v"]),
        "\
ENDPOINT    STATUS     OUTLIER CHECK  CLUSTER  WEIGHT  LOCALITY  PRIORITY  WORKLOAD
10.0.0.1:1  HEALTHY    OK             a        2       r/z       1
10.0.0.1:2  HEALTHY    FAILED         a        2       r/z       1
10.0.0.1:3  DRAINING   OK             a        2       r/z       1
10.0.0.1:4  UNHEALTHY  OK             a        2       r/z       1
"
    );
}

#[test]
fn errors_say_what_to_do() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").to_string();
    let (code, said) = fails(&["config", "routes", "web", "--control", &closed]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains(&format!("the control plane at {closed} does not answer; is `amime control` running there?")),
        "{said}"
    );
    let (code, said) = fails(&["config", "routes", "--proxy-admin", &closed]);
    assert_eq!(code, Some(1));
    assert!(said.contains("--proxy-admin HOST:PORT"), "{said}");
    let (code, said) = fails(&["config", "routes"]);
    assert_eq!(code, Some(2), "{said}");
    let other = saved(&json!([1]));
    let (code, said) = fails(&["config", "all", "--dump", other.path().to_str().expect("a path")]);
    assert!(code == Some(1) && said.contains("is no config dump"), "{said}");
    let elsewhere = pages([]).to_string();
    let (code, said) = fails(&["status", "--control", &elsewhere]);
    assert!(code == Some(1) && said.contains("/debug/syncz answered 404: no page"), "{said}");
}

/// Three proxies: one well, one that waits, one that refused.
fn synced() -> Value {
    let synced = json!({ "state": "SYNCED", "sent_version": "1", "acked_version": "1", "age_seconds": 75.5 });
    let types = |rds: Value| json!({ "CDS": synced, "LDS": synced, "EDS": synced, "RDS": rds });
    let proxy = |name: &str, kind: &str, rds: Value, pending: &[&str]| {
        json!({
            "proxy": name, "id": format!("{kind}~10.1.1.1~{name}~shop.svc.cluster.local"), "revision": "default",
            "version": "0.1.0", "control_plane": "cp-0", "connected_since": "2026-11-23T15:00:00Z",
            "types": types(rds), "pending": pending,
        })
    };
    let waits = "VirtualService shop/reviews: waits for subset v3 of reviews.shop.svc.cluster.local";
    let refused = json!({
        "state": "REJECTED", "age_seconds": 3.0, "error": "route 9080: unknown cluster",
        "object": "VirtualService shop/reviews http[0]", "resource": "9080",
    });
    json!([
        proxy("web-1.shop", "sidecar", refused, &[waits]),
        proxy("gateway-1.shop", "router", json!({ "state": "STALE", "age_seconds": 7200.0 }), &[]),
        proxy("ratings-1.shop", "sidecar", synced.clone(), &[waits]),
    ])
}

#[test]
fn status_tells_how_far_each_proxy_is_and_why() {
    let control = pages([("/debug/syncz", synced())]).to_string();
    let text = "\
NAME            TYPE     CDS          LDS          EDS          RDS            CONTROL PLANE  REVISION  VERSION
gateway-1.shop  gateway  SYNCED (1m)  SYNCED (1m)  SYNCED (1m)  STALE (2h)     cp-0           default   0.1.0
ratings-1.shop  sidecar  SYNCED (1m)  SYNCED (1m)  SYNCED (1m)  SYNCED (1m)    cp-0           default   0.1.0
web-1.shop      sidecar  SYNCED (1m)  SYNCED (1m)  SYNCED (1m)  REJECTED (3s)  cp-0           default   0.1.0

Rejected:
  web-1.shop RDS 9080 3s ago: VirtualService shop/reviews http[0]: route 9080: unknown cluster

Pending:
  VirtualService shop/reviews: waits for subset v3 of reviews.shop.svc.cluster.local (2 proxies)
";
    assert_eq!(prints(&["status", "--control", &control]), text);
    let code = |args: &[&str]| amime(&[&["status", "--control", &control], args].concat()).status.code();
    assert_eq!(code(&[]), Some(0));
    assert_eq!(code(&["--exit-code"]), Some(1));
    assert_eq!(code(&["ratings", "--exit-code"]), Some(0));
    let json: Value =
        serde_json::from_str(&prints(&["status", "--control", &control, "-o", "json", "web"])).expect("JSON");
    assert_eq!(json[0]["types"]["RDS"]["state"], "REJECTED");
    let nobody = pages([("/debug/syncz", json!([]))]).to_string();
    assert_eq!(prints(&["status", "--control", &nobody]), "no proxies are connected\n");
    // One of two control planes is away: the other's proxies are shown all the same.
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").to_string();
    let both = amime(&["status", "--control", &closed, "--control", &control]);
    assert_eq!((both.status.code(), String::from_utf8_lossy(&both.stdout).as_ref()), (Some(1), text));
}

#[test]
fn status_of_one_proxy_compares_it_with_what_it_has() {
    let config = shop();
    let mut other = config.clone();
    other.routes.remove("9080");
    let control =
        pages([("/debug/syncz", synced()), ("/debug/config_dump?proxyID=web-1.shop&include_eds", dump(&config))])
            .to_string();
    let compare = |config: &ProxyConfig| {
        let admin = pages([("/config_dump?include_eds", dump(config))]).to_string();
        prints(&["status", "web-1.shop", "--control", &control, "--proxy-admin", &admin])
    };
    assert!(compare(&config).contains(&format!("Routes match ({})\n", config.routes.len())));
    assert!(compare(&other).contains("Routes differ\n  only at the control plane: 9080\n"));
}

#[test]
fn a_real_control_plane_and_proxy_are_told_of() {
    let shop = example("shop").display().to_string();
    let control = Control::start(["--config", &shop, "--stand-ins", "--sidecar", "shop/reviews-v1"]);
    let line = control.wait_output(0, "sidecar shop/reviews-v1-");
    let proxy = run_printed(&line);
    proxy.wait_line("ready");
    let monitoring = control.address("monitoring").to_string();
    let admin = proxy.wait_output(0, "admin 127.0.0.1:");
    let admin = admin.split(' ').nth(1).expect("an address");

    // It is in step at some moment: what it was told of its start takes effect at once.
    let status = |args: &[&str]| prints(&[&["status", "reviews", "--control", &monitoring], args].concat());
    let text = eventually("in step", || {
        let text = status(&["--proxy-admin", admin]);
        (!["STALE", "REJECTED", "differ"].iter().any(|word| text.contains(word))).then_some(text)
    });
    assert!(
        text.contains("SYNCED (") && text.contains("Routes match (") && text.contains("Endpoints match ("),
        "{text}"
    );

    for what in ["listeners", "routes", "clusters", "endpoints"] {
        let told = prints(&["config", what, "reviews-v1", "--control", &monitoring]);
        let has = prints(&["config", what, "--proxy-admin", admin]);
        // Of endpoints the proxy also knows how they are.
        if what != "endpoints" {
            assert_eq!(told, has, "{what}");
        }
        assert!(has.lines().count() > 1 && !has.contains("not understood"), "{has}");
    }
    let told = prints(&["config", "endpoints", "--proxy-admin", admin]);
    assert!(told.contains("OK             outbound|9080|v1|reviews.shop.svc.cluster.local"), "{told}");
}
