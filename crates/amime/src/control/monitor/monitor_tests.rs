//! Pages as text and JSON, of a small mesh and of proxies in different states.

use super::*;
use crate::serve::Methods;
use amime_control::ProxyStatus;
use amime_control::distribute::{Connection, Counts};
use amime_model::diagnostic::Texts;
use amime_model::resource::{Loaded, MeshConfig, ResourceSet, load};
use amime_model::snapshot::{Held, Snapshot};
use amime_model::translate::Node;
use amime_xds::ResourceType;
use amime_xds::server::{Protocol, Rejection, Status, TypeStatus};
use digest::Digests;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use syncz::{State, state};

const MESH: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, clusterIP: 10.0.0.10, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web, version: v1}}
spec: {containers: [{name: app, image: x}]}
status: {phase: Running, podIP: 10.1.1.1, conditions: [{type: Ready, status: \"True\"}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec: {host: web, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec: {hosts: [web], exportTo: ['.'], http: [{route: [{destination: {host: web, subset: v2}}]}]}
---
apiVersion: v1
kind: Secret
metadata:
  name: cert
  namespace: shop
  annotations: {kubectl.kubernetes.io/last-applied-configuration: '{\"data\":{\"tls.key\":\"aHVzaA==\"}}'}
data: {tls.key: aHVzaA==}
stringData: {more: hush}
";

/// The second of two generations, in which the subset that a route names is gone.
fn view() -> View {
    let mesh = MeshConfig::default();
    let resources = |text: &str| {
        let loaded: Loaded = load("mesh.yaml", text);
        (ResourceSet::of_files([&loaded]).0, loaded.text.clone())
    };
    let first = Snapshot::build(&resources(MESH).0, &mesh, &Held::default());
    let (now, text) = resources(&MESH.replace(", {name: v2, labels: {version: v2}}", ""));
    let built = Snapshot::build(&now, &mesh, &first.held);
    let mut texts = Texts::default();
    texts.insert("mesh.yaml".into(), text);
    let now = Instant::now();
    View {
        name: "control-1".to_owned(),
        started: SystemTime::UNIX_EPOCH,
        generation: Generation {
            number: 2,
            snapshot: built.snapshot,
            diagnostics: Arc::new(built.diagnostics),
            texts: Arc::new(texts),
            changed: now - Duration::from_secs(5),
            edited: true,
        },
        proxies: vec![
            proxy(1, "sidecar~10.1.1.1~web-1.shop~shop.svc.cluster.local", in_step(now)),
            proxy(2, "sidecar~10.1.1.2~client.other~other.svc.cluster.local", refusing(now)),
        ],
        counts: Counts::default(),
        now,
    }
}

fn proxy(number: u64, id: &str, stream: Status) -> ProxyStatus {
    let node = Node::parse(id, &Value::Null).unwrap();
    let connection = Connection {
        number,
        peer: Some("127.0.0.1:4000".parse().unwrap()),
        protocol: Protocol::Delta,
        since: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
        version: "1.30.0".to_owned(),
        revision: "default".to_owned(),
        cluster_id: "Kubernetes".to_owned(),
    };
    ProxyStatus { id: id.into(), node: Arc::new(node), connection: Arc::new(connection), generation: 2, stream }
}

fn in_step(now: Instant) -> Status {
    let mut status = Status { in_step: true, ..Status::default() };
    for kind in [ResourceType::Cluster, ResourceType::Listener, ResourceType::Endpoints, ResourceType::Route] {
        let of_type = &mut status.types[kind];
        (of_type.subscribed, of_type.in_step, of_type.sent, of_type.acked, of_type.pushes) = (true, true, 4, 4, 1);
        (of_type.sent_version, of_type.acked_version) = (Some("a1".into()), Some("a1".into()));
        of_type.last_ack = Some(now - Duration::from_secs(3));
    }
    status
}

fn refusing(now: Instant) -> Status {
    let mut status = in_step(now);
    status.in_step = false;
    let routes = &mut status.types[ResourceType::Route];
    (routes.in_step, routes.sent_version, routes.nacks) = (false, Some("b2".into()), 1);
    routes.rejected = vec![Rejection {
        name: "80".into(),
        version: "b2".into(),
        message: "no \"such\" cluster".to_owned(),
        at: now - Duration::from_millis(1250),
        objects: vec!["VirtualService shop/web".to_owned()],
    }];
    let clusters = &mut status.types[ResourceType::Cluster];
    (clusters.in_step, clusters.behind, clusters.unanswered_since) = (false, 1, Some(now - Duration::from_secs(2)));
    clusters.held_up_by = vec!["outbound|80||web.shop.svc.cluster.local".into()];
    status.types[ResourceType::Listener].behind = 1;
    status.types[ResourceType::Endpoints] = amime_xds::server::TypeStatus::default();
    status
}

fn body(answer: Answer) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bytes = runtime.block_on(answer.into_body().collect()).unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json_of(answer: Answer) -> Value {
    serde_json::from_str(&body(answer)).unwrap()
}

fn asked(query: &[(&str, &str)]) -> Asked {
    let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = Request::builder().uri(format!("/?{}", query.join("&"))).body(()).unwrap();
    Asked::new("/", &request)
}

#[test]
fn a_proxy_that_came_back_with_all_that_it_is_to_have_is_synced() {
    let never = TypeStatus { subscribed: true, in_step: true, ..TypeStatus::default() };
    assert_eq!(state(&never, true), State::NotSent);
    assert_eq!(state(&TypeStatus { brought: true, ..never }, true), State::Synced);
}

#[test]
fn syncz_has_one_entry_for_each_proxy() {
    let view = view();
    let digests = Digests { inputs: "1".to_owned(), in_force: "2".to_owned() };
    let synced = |age: f64| {
        json!({"state": "SYNCED", "sent_version": "a1", "acked_version": "a1", "age_seconds": age, "error": null,
            "resource": null, "object": null})
    };
    let entry = |proxy: &str, id: &str, types: Value, pending: Value| {
        json!({
            "proxy": proxy, "id": id, "kind": "sidecar", "cluster_id": "Kubernetes", "revision": "default",
            "version": "1.30.0", "control_plane": "control-1", "connected_since": "1970-01-01T00:00:01Z",
            "protocol": "delta", "generation": 2, "newest_generation": 2, "inputs": "1", "in_force": "2",
            "types": types, "pending": pending,
        })
    };
    let pending = "VirtualService shop/web: waits for subset v2 of host web.shop.svc.cluster.local; its last good \
                   version goes on";
    let well = json!({"CDS": synced(3.0), "EDS": synced(3.0), "LDS": synced(3.0), "RDS": synced(3.0)});
    let mut ill = well.clone();
    ill["CDS"]["state"] = "STALE".into();
    ill["CDS"]["age_seconds"] = 2.0.into();
    ill["EDS"] = json!({"state": "NOT SENT", "sent_version": null, "acked_version": null, "age_seconds": null,
        "error": null, "resource": null, "object": null});
    ill["RDS"] = json!({"state": "REJECTED", "sent_version": "b2", "acked_version": "a1", "age_seconds": 1.3,
        "error": "no \"such\" cluster", "resource": "80", "object": "VirtualService shop/web"});
    let waits = "LDS: waits until the proxy acknowledges outbound|80||web.shop.svc.cluster.local";
    let wanted = json!([
        entry("web-1.shop", "sidecar~10.1.1.1~web-1.shop~shop.svc.cluster.local", well, json!([pending])),
        // The VirtualService is not for its namespace.
        entry("client.other", "sidecar~10.1.1.2~client.other~other.svc.cluster.local", ill, json!([waits])),
    ]);
    assert_eq!(json_of(syncz::page(&view, &digests)), wanted);
}

#[test]
fn metrics_have_istios_names() {
    let mut view = view();
    view.counts.pushes[ResourceType::Route] = 7;
    view.counts.rejects[ResourceType::Route] = 2;
    view.counts.converged[1] = 3;
    view.counts.converging = Duration::from_millis(30);
    view.started = SystemTime::now();
    let text = metrics::for_tests(&view);
    let wanted = "\
# HELP pilot_info Pilot version and build information.
# TYPE pilot_info gauge
pilot_info{version=\"VERSION\"} 1
# HELP istiod_uptime_seconds Current istiod server uptime in seconds.
# TYPE istiod_uptime_seconds gauge
istiod_uptime_seconds 0
# HELP pilot_xds Number of endpoints connected to this pilot using XDS.
# TYPE pilot_xds gauge
pilot_xds{version=\"1.30.0\"} 2
# HELP amime_proxies Connected proxies, by whether they run all that they are to have.
# TYPE amime_proxies gauge
amime_proxies{in_step=\"true\"} 1
amime_proxies{in_step=\"false\"} 1
";
    assert!(text.starts_with(&wanted.replace("VERSION", env!("CARGO_PKG_VERSION"))), "{text}");
    for line in [
        "pilot_xds_pushes{type=\"rds\"} 7",
        "pilot_total_xds_rejects{type=\"rds\"} 2",
        "pilot_proxy_convergence_time_bucket{le=\"0.005\"} 0",
        "pilot_proxy_convergence_time_bucket{le=\"0.01\"} 3",
        "pilot_proxy_convergence_time_bucket{le=\"30\"} 3",
        "pilot_proxy_convergence_time_bucket{le=\"+Inf\"} 3",
        "pilot_proxy_convergence_time_sum 0.03",
        "pilot_proxy_convergence_time_count 3",
        "pilot_xds_rds_reject{node=\"client.other\",err=\"Internal\"} 1",
        "pilot_services 1",
        "pilot_virt_services 1",
        "pilot_eds_no_instances 0",
        "amime_config_pending 1",
        "amime_config_findings{severity=\"warning\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    }
    let all = body(metrics::page(&view));
    for name in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds"] {
        assert!(all.contains(&format!("\nprocess_{name} ")), "no process_{name} in\n{all}");
    }
}

#[test]
fn secrets_have_their_names_alone() {
    let view = view();
    let found = json_of(objects::page(&view, &asked(&[("kind", "Secret")])));
    assert_eq!(found[0]["data"], json!({"tls.key": "[redacted]"}));
    assert_eq!(found[0]["stringData"], json!({"more": "[redacted]"}));
    let all = body(objects::page(&view, &Asked::default()));
    assert!(all.contains("\"cert\"") && !all.contains("aHVzaA==") && !all.contains("\"hush\""), "{all}");
}

#[test]
fn what_is_in_force_and_not_written_so_is_told() {
    let view = view();
    let of = |kind| json_of(objects::page(&view, &asked(&[("kind", kind)])))[0].clone();
    let rule = of("DestinationRule");
    assert_eq!(rule["spec"]["subsets"].as_array().map(Vec::len), Some(1));
    assert_eq!(rule["amime"], json!({"place": "mesh.yaml:13:1", "last_good_version": true, "subsets_kept": ["v2"]}));
    let service = of("Service");
    assert_eq!(service["spec"]["ports"][0], json!({"name": "http", "port": 80, "targetPort": 8080}));
    assert_eq!(service["amime"], json!({"place": "mesh.yaml:2:1"}));
    let nothing = json_of(objects::page(&view, &asked(&[("kind", "Service"), ("namespace", "other")])));
    assert_eq!(nothing, json!([]));
}

#[test]
fn digests_tell_inputs_from_what_is_held() {
    let view = view();
    let held = Digests::of(&view.generation);
    let resources =
        ResourceSet::of_files([&load("b.yaml", &MESH.replace(", {name: v2, labels: {version: v2}}", ""))]).0;
    let fresh = Snapshot::build(&resources, &MeshConfig::default(), &Held::default());
    let fresh = Digests::of(&Generation { snapshot: fresh.snapshot, ..view.generation.clone() });
    assert_eq!(held.inputs, fresh.inputs);
    assert_ne!(held.in_force, fresh.in_force);
    assert_eq!(held, Digests::of(&view.generation));
}

#[test]
fn services_endpoints_scopes_and_clients() {
    let view = view();
    let all = Asked::default();
    let services = json_of(registry::services(&view, &all));
    assert_eq!(services[0]["host"], "web.shop.svc.cluster.local");
    assert_eq!(services[0]["object"], "Service shop/web");
    assert_eq!(services[0]["ports"][0]["ready"], 1);
    let endpoints = json_of(registry::endpoints(&view, &all));
    assert_eq!(endpoints[0]["endpoints"][0]["address"], "10.1.1.1:8080");
    let scopes = json_of(scopes::page(&view, &all));
    assert_eq!((scopes[0]["namespace"].as_str(), scopes[0]["proxies"].as_u64()), (Some("other"), Some(1)));
    let instances = json_of(scopes::instances(&view, &asked(&[("proxyID", "web-1.shop")])));
    assert_eq!(
        instances[0]["services"],
        json!([{"service": "web.shop.svc.cluster.local", "port": 80, "targetPort": 8080}])
    );
    let clients = json_of(clients::connections(&view));
    assert_eq!(
        (clients["totalClients"].as_u64(), clients["clients"][0]["address"].as_str()),
        (Some(2), Some("127.0.0.1:4000"))
    );
    let watches = json_of(clients::ads(&view, &all));
    assert_eq!(watches["clients"][1]["watches"]["RDS"]["rejects"], 1);
    assert_eq!(clients::ads(&view, &asked(&[("push", "true")])).status(), StatusCode::BAD_REQUEST);
    assert_eq!(json_of(mesh::page(&view))["outboundTrafficPolicy"]["mode"], "ALLOW_ANY");
    let status = json_of(push_status::page(&view, &Digests::of(&view.generation)));
    assert_eq!(status["rejected"][0]["object"], "VirtualService shop/web");
    assert_eq!(status["proxies"], json!({"connected": 2, "in_step": 1}));
}

#[test]
fn a_proxy_is_named_by_its_pod_or_its_whole_id() {
    let view = view();
    let ask = |id: &str| proxy::config_dump(&view, &asked(&[("proxyID", id)])).status().as_u16();
    for id in ["web-1.shop", "web-1", "sidecar~10.1.1.1~web-1.shop~shop.svc.cluster.local"] {
        assert_eq!(ask(id), 200, "{id}");
    }
    assert_eq!(ask("web-2.shop"), 404);
    assert_eq!(ask(""), 400);
    assert_eq!(proxy::endpoints(&view, &Asked::default()).status().as_u16(), 400);
    let endpoints = body(proxy::endpoints(&view, &asked(&[("proxyID", "web-1.shop")])));
    assert!(endpoints.contains("outbound|80|v2|web.shop.svc.cluster.local"), "{endpoints}");
}

#[test]
fn debug_is_for_this_machine_alone() {
    let ask = |path: &str, peer: &str, host: Option<&str>, anywhere| {
        let mut request = Request::builder().uri(path);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(Peer(peer.parse().unwrap()));
        refusal(&request, anywhere).map(|answer| answer.status().as_u16())
    };
    for host in ["localhost", "LOCALHOST:15014", "127.0.0.1:15014", "127.0.0.9", "[::1]:15014", "[::1]"] {
        assert_eq!(ask("/debug/syncz", "127.0.0.1:4000", Some(host), false), None, "{host}");
    }
    assert_eq!(ask("/debug", "[::ffff:127.0.0.1]:4000", None, false), None);
    for (peer, host) in [
        ("10.0.0.1:4000", "localhost"),
        ("127.0.0.1:4000", "attacker.example"),
        ("127.0.0.1:4000", "127.0.0.1.attacker.example"),
        ("127.0.0.1:4000", ""),
    ] {
        assert_eq!(ask("/debug/syncz", peer, Some(host), false), Some(403), "{peer} {host}");
        assert_eq!(ask("/debug/syncz", peer, Some(host), true), None);
        assert_eq!(ask("/metrics", peer, Some(host), false), None);
        assert_eq!(ask("/version", peer, Some(host), false), None);
    }
}

#[test]
fn what_is_not_here_says_why() {
    for path in ["/debug/ambientz", "/debug/pprof/profile", "/debug/inject", "/debug/force_disconnect"] {
        assert!(absent::why(path).is_some_and(|why| why.starts_with(&path[..12])), "{path}");
        assert!(PAGES.iter().all(|page| page.path != path));
    }
    assert!(PAGES.iter().all(|page| absent::why(page.path).is_none() && page.methods == Methods::Read));
}

#[test]
fn the_index_is_text_or_a_page_of_links() {
    let text = body(index::index(&Asked::default(), PAGES));
    assert!(text.lines().any(|line| line.starts_with("/debug/syncz ")), "{text}");
    let mut browser = Asked::default();
    browser.html = true;
    let page = body(index::index(&browser, PAGES));
    assert!(page.contains("<a href=\"/debug/syncz\">") && page.contains("?kind= &amp;namespace="), "{page}");
    let version = json_of(index::version(&asked(&[("format", "json")]), "control-1"));
    assert_eq!(version, json!({"version": env!("CARGO_PKG_VERSION"), "control_plane": "control-1"}));
}
