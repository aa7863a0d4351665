//! A real Envoy with a bootstrap like Istio's that points at our control plane.

use super::eventually;
use super::output::Output;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// How it asks for its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Delta,
    StateOfTheWorld,
}

/// Who a proxy says that it is.
#[derive(Debug, Clone)]
pub struct Who {
    /// `sidecar` or `router`.
    pub kind: &'static str,
    pub ip: String,
    pub pod: String,
    pub namespace: String,
    pub labels: BTreeMap<String, String>,
    /// Further metadata.
    pub metadata: BTreeMap<&'static str, String>,
}

impl Who {
    /// A gateway that Gateways select by `gateway: NAME`.
    pub fn gateway(name: &str) -> Self {
        Self {
            kind: "router",
            ip: "127.0.0.1".into(),
            pod: format!("{name}-0"),
            namespace: "istio-system".into(),
            labels: BTreeMap::from([("gateway".into(), name.into())]),
            metadata: BTreeMap::new(),
        }
    }

    pub fn id(&self) -> String {
        let Self { kind, ip, pod, namespace, .. } = self;
        format!("{kind}~{ip}~{pod}.{namespace}~{namespace}.svc.cluster.local")
    }

    fn metadata(&self) -> Value {
        let mut metadata = json!({
            "NAME": self.pod,
            "NAMESPACE": self.namespace,
            "LABELS": self.labels,
            "INSTANCE_IPS": self.ip,
            "CLUSTER_ID": "Kubernetes",
            "MESH_ID": "cluster.local",
            "SERVICE_ACCOUNT": "default",
            "ISTIO_VERSION": "1.31.0",
            "PROXY_CONFIG": {"concurrency": 1},
        });
        for (name, value) in &self.metadata {
            metadata[*name] = json!(value);
        }
        metadata
    }
}

/// A running Envoy; it ends with the test.
pub struct Envoy {
    child: Child,
    admin: SocketAddr,
    output: Arc<Output>,
    pub id: String,
    _folder: tempfile::TempDir,
}

impl Envoy {
    /// Starts it; it need not be ready when this returns.
    pub async fn start(binary: &Path, who: &Who, control: SocketAddr, wire: Wire) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bootstrap = folder.path().join("bootstrap.json");
        let text = serde_json::to_string_pretty(&bootstrap_of(who, control, wire)).expect("JSON");
        std::fs::write(&bootstrap, text).expect("written");
        let admin = folder.path().join("admin");
        let mut command = Command::new(binary);
        // Faults of the mesh are told by statistics and the control plane; the log is for what cannot be explained.
        command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning", "--drain-time-s", "5"]);
        // Else its access log comes every ten seconds.
        command.args(["--file-flush-interval-msec", "20"]);
        command.arg("-c").arg(&bootstrap).arg("--admin-address-path").arg(&admin);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("Envoy");
        let output = Output::of(&mut child);
        let admin = eventually("Envoy's admin address", || {
            let read = std::fs::read_to_string(&admin).ok().and_then(|text| text.trim().parse().ok());
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none(), "Envoy ended: {}", output.text());
            std::future::ready(read)
        })
        .await;
        Self { child, admin, output, id: who.id(), _folder: folder }
    }

    pub async fn admin(&self, path: &str) -> Option<String> {
        let mut client = amime_testkit::client::Raw::try_connect(self.admin).await?;
        client.send(format!("GET {path} HTTP/1.1\r\nhost: admin\r\n\r\n")).await;
        let answer = client.answer(false).await?;
        (answer.status == 200).then_some(answer.body)
    }

    /// Waits until it serves its first configuration.
    pub async fn ready(&self) {
        eventually("Envoy is ready", || async { self.admin("/ready").await }).await;
    }

    pub async fn stats(&self) -> BTreeMap<String, u64> {
        let text = self.admin("/stats?type=Counters").await.expect("counters")
            + &self.admin("/stats?type=Gauges").await.expect("gauges");
        let pairs = text.lines().filter_map(|line| line.rsplit_once(": "));
        pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    }

    /// What says that some of its configuration was refused or does not get warm, or that a request met no cluster.
    pub async fn faults(&self) -> Vec<String> {
        const BAD: [&str; 7] = [
            "update_rejected",
            "warming_clusters",
            "total_listeners_warming",
            "init_fetch_timeout",
            "downstream_rq_no_cluster",
            "no_cluster",
            "listener_create_failure",
        ];
        let stats = self.stats().await;
        let bad = |name: &str| BAD.iter().any(|bad| name.rsplit('.').next() == Some(bad));
        let mut faults: Vec<String> =
            stats.iter().filter(|(name, value)| **value > 0 && bad(name)).map(|(n, v)| format!("{n}: {v}")).collect();
        let dump: Value = serde_json::from_str(&self.admin("/config_dump").await.expect("a dump")).expect("JSON");
        errors(&dump, &mut faults);
        faults
    }

    pub fn output(&self) -> &Output {
        &self.output
    }

    pub fn child(&self) -> &Child {
        &self.child
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every `error_state` of a dump, wherever it stands.
fn errors(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(state) = fields.get("error_state") {
                found.push(format!("error_state: {state}"));
            }
            fields.values().for_each(|value| errors(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| errors(value, found)),
        _ => {}
    }
}

/// What Istio's agent writes, where it matters here: ADS for all, the node, the connection to the control plane.
fn bootstrap_of(who: &Who, control: SocketAddr, wire: Wire) -> Value {
    let socket =
        |address: SocketAddr| json!({"socket_address": {"address": address.ip(), "port_value": address.port()}});
    let ads = || json!({"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"});
    json!({
        "node": {
            "id": who.id(),
            "cluster": format!("{}.{}", who.pod, who.namespace),
            "locality": {},
            "metadata": who.metadata(),
        },
        "layered_runtime": {"layers": [
            {"name": "global config", "static_layer": {
                "overload.global_downstream_max_connections": "2147483647",
                "re2.max_program_size.error_level": "32768",
            }},
            {"name": "admin", "admin_layer": {}},
        ]},
        "admin": {"address": socket("127.0.0.1:0".parse().expect("an address"))},
        "dynamic_resources": {
            "lds_config": ads(),
            "cds_config": ads(),
            "ads_config": {
                "api_type": match wire { Wire::Delta => "DELTA_GRPC", Wire::StateOfTheWorld => "GRPC" },
                "set_node_on_first_message_only": true,
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
        },
        "static_resources": {"clusters": [{
            "name": "xds-grpc",
            "type": "STATIC",
            "connect_timeout": "1s",
            "lb_policy": "ROUND_ROBIN",
            "load_assignment": {"cluster_name": "xds-grpc", "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": socket(control)}}]},
            ]},
            "circuit_breakers": {"thresholds": [
                {"priority": "DEFAULT", "max_connections": 100000, "max_pending_requests": 100000, "max_requests": 100000},
            ]},
            "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 300}},
            "max_requests_per_connection": 1,
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }},
        }]},
    })
}
