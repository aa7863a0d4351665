//! `defaultConfig` of MeshConfig, field by field as Istio's API has it.

use crate::resource::meta::Map;
use crate::resource::scalar::Duration;
use serde::Deserialize;
use serde_json::Value;

/// `defaultConfig`, Istio's `mesh.v1alpha1.ProxyConfig`: what each proxy starts with.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyDefaults {
    pub config_path: String,
    pub binary_path: String,
    pub service_cluster: Option<String>,
    pub tracing_service_name: Option<TracingServiceName>,
    pub drain_duration: Duration,
    pub discovery_address: String,
    pub discovery_refresh_delay: Option<Duration>,
    pub zipkin_address: String,
    pub statsd_udp_address: String,
    pub envoy_metrics_service_address: String,
    pub proxy_admin_port: i32,
    pub availability_zone: String,
    pub control_plane_auth_policy: Value,
    pub custom_config_file: String,
    pub stat_name_length: i32,
    /// `None`: as many workers as the machine has cores (Istio: 2 in a sidecar); 0 likewise.
    pub concurrency: Option<i32>,
    pub proxy_bootstrap_template_path: String,
    pub interception_mode: InterceptionMode,
    pub tracing: Option<Value>,
    pub sds: Option<Value>,
    pub envoy_access_log_service: Option<Value>,
    pub envoy_metrics_service: Option<Value>,
    pub proxy_metadata: Map,
    pub runtime_values: Map,
    pub status_port: i32,
    pub extra_stat_tags: Vec<String>,
    pub gateway_topology: Option<Value>,
    pub termination_drain_duration: Duration,
    pub mesh_id: String,
    pub readiness_probe: Option<Value>,
    pub proxy_stats_matcher: Option<Value>,
    pub hold_application_until_proxy_starts: Option<bool>,
    pub ca_certificates_pem: Vec<String>,
    pub image: Option<Value>,
    pub private_key_provider: Option<Value>,
    pub proxy_headers: Option<Value>,
    pub file_flush_interval: Option<Duration>,
    pub file_flush_min_size_kb: u32,
    pub stats_compression: Option<bool>,
    pub connection_settings: Option<Value>,
}

impl Default for ProxyDefaults {
    /// Istio's defaults.
    fn default() -> Self {
        let seconds = |seconds| Duration(std::time::Duration::from_secs(seconds));
        Self {
            config_path: "./etc/istio/proxy".to_owned(),
            binary_path: "/usr/local/bin/envoy".to_owned(),
            service_cluster: Some("istio-proxy".to_owned()),
            tracing_service_name: None,
            drain_duration: seconds(45),
            discovery_address: "istiod.istio-system.svc:15012".to_owned(),
            discovery_refresh_delay: None,
            zipkin_address: String::new(),
            statsd_udp_address: String::new(),
            envoy_metrics_service_address: String::new(),
            proxy_admin_port: 15000,
            availability_zone: String::new(),
            control_plane_auth_policy: Value::Null,
            custom_config_file: String::new(),
            stat_name_length: 189,
            concurrency: None,
            proxy_bootstrap_template_path: String::new(),
            interception_mode: InterceptionMode::default(),
            tracing: None,
            sds: None,
            envoy_access_log_service: None,
            envoy_metrics_service: None,
            proxy_metadata: Map::new(),
            runtime_values: Map::new(),
            status_port: 15020,
            extra_stat_tags: Vec::new(),
            gateway_topology: None,
            termination_drain_duration: seconds(5),
            mesh_id: String::new(),
            readiness_probe: None,
            proxy_stats_matcher: None,
            hold_application_until_proxy_starts: None,
            ca_certificates_pem: Vec::new(),
            image: None,
            private_key_provider: None,
            proxy_headers: None,
            file_flush_interval: None,
            file_flush_min_size_kb: 0,
            stats_compression: None,
            connection_settings: None,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TracingServiceName {
    #[default]
    AppLabelAndNamespace,
    CanonicalNameOnly,
    CanonicalNameAndNamespace,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InterceptionMode {
    #[default]
    Redirect,
    Tproxy,
    None,
}
