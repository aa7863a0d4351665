//! MeshConfig: the settings of the whole mesh, as `--mesh-config FILE` or the ConfigMap `istio` give them.
//!
//! `Default` gives Istio's defaults; a field that the file sets replaces the default whole. Parts that
//! nothing reads yet are kept untyped (`Value`).

mod load;
mod proxy_defaults;

pub(crate) use load::proxy_config_problem;
pub use load::{LoadedMeshConfig, load_mesh_config};
pub use proxy_defaults::{InterceptionMode, ProxyDefaults, TracingServiceName};

use super::destination_rule::{ClientTls, ConnectionPool, LocalityLb, OutlierDetection, TcpKeepalive, ZoneAwareLb};
use super::meta::LabelSelector;
use super::scalar::Duration;
use super::virtual_service::HttpRetry;
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    pub proxy_listen_port: i32,
    pub proxy_inbound_listen_port: i32,
    pub proxy_http_port: i32,
    pub connect_timeout: Duration,
    pub hbone_idle_timeout: Option<Duration>,
    /// 0: no time limit.
    pub protocol_detection_timeout: Duration,
    pub tcp_keepalive: Option<TcpKeepalive>,
    pub ingress_class: String,
    pub ingress_service: String,
    pub ingress_controller_mode: IngressControllerMode,
    pub ingress_selector: String,
    pub enable_tracing: bool,
    /// Empty: no access log.
    pub access_log_file: String,
    pub access_log_format: String,
    pub access_log_encoding: AccessLogEncoding,
    pub enable_envoy_access_log_service: bool,
    pub disable_envoy_listener_log: bool,
    pub default_config: ProxyDefaults,
    pub outbound_traffic_policy: OutboundTrafficPolicy,
    pub inbound_traffic_policy: InboundTrafficPolicy,
    pub config_sources: Vec<Value>,
    pub enable_auto_mtls: Option<bool>,
    pub trust_domain: String,
    pub trust_domain_aliases: Vec<String>,
    pub ca_certificates: Vec<CertificateData>,
    pub default_service_export_to: Vec<String>,
    pub default_virtual_service_export_to: Vec<String>,
    pub default_destination_rule_export_to: Vec<String>,
    pub root_namespace: String,
    pub locality_lb_setting: Option<LocalityLb>,
    pub zone_aware_lb_setting: Option<ZoneAwareLb>,
    pub dns_refresh_rate: Duration,
    pub h2_upgrade_policy: MeshH2UpgradePolicy,
    pub inbound_cluster_stat_name: String,
    pub outbound_cluster_stat_name: String,
    pub certificates: Vec<Value>,
    pub service_settings: Vec<ServiceSettings>,
    pub service_scope_configs: Vec<ServiceScope>,
    pub enable_prometheus_merge: Option<bool>,
    pub verify_certificate_at_client: Option<bool>,
    pub ca: Option<CertificateAuthority>,
    pub extension_providers: Vec<Value>,
    pub default_providers: DefaultProviders,
    pub discovery_selectors: Vec<LabelSelector>,
    pub path_normalization: PathNormalization,
    /// `None`: Istio's default of 2 attempts.
    pub default_http_retry_policy: Option<HttpRetry>,
    /// Of inbound routes in sidecars.
    pub default_inbound_http_retry_policy: Option<HttpRetry>,
    #[serde(rename = "meshMTLS")]
    pub mesh_mtls: Option<TlsDefaults>,
    pub tls_defaults: Option<TlsDefaults>,
    pub default_traffic_policy: Option<DefaultTrafficPolicy>,
    pub service_entry_visibility: Option<ServiceEntryVisibility>,
    /// How much higher than it is written each gateway port is opened. No field of Istio's: who runs the control plane
    /// says it.
    #[serde(skip)]
    pub gateway_port_offset: u16,
}

impl Default for MeshConfig {
    /// Istio's defaults.
    fn default() -> Self {
        let seconds = |seconds| Duration(std::time::Duration::from_secs(seconds));
        let everywhere = || vec!["*".to_owned()];
        Self {
            proxy_listen_port: 15001,
            proxy_inbound_listen_port: 15006,
            proxy_http_port: 0,
            connect_timeout: seconds(10),
            hbone_idle_timeout: None,
            protocol_detection_timeout: seconds(0),
            tcp_keepalive: None,
            ingress_class: "istio".to_owned(),
            ingress_service: "istio-ingressgateway".to_owned(),
            ingress_controller_mode: IngressControllerMode::Strict,
            ingress_selector: String::new(),
            enable_tracing: true,
            access_log_file: String::new(),
            access_log_format: String::new(),
            access_log_encoding: AccessLogEncoding::Text,
            enable_envoy_access_log_service: false,
            disable_envoy_listener_log: false,
            default_config: ProxyDefaults::default(),
            outbound_traffic_policy: OutboundTrafficPolicy { mode: OutboundMode::AllowAny, tls: None },
            inbound_traffic_policy: InboundTrafficPolicy::default(),
            config_sources: Vec::new(),
            enable_auto_mtls: Some(true),
            trust_domain: "cluster.local".to_owned(),
            trust_domain_aliases: Vec::new(),
            ca_certificates: Vec::new(),
            default_service_export_to: everywhere(),
            default_virtual_service_export_to: everywhere(),
            default_destination_rule_export_to: everywhere(),
            root_namespace: "istio-system".to_owned(),
            locality_lb_setting: Some(LocalityLb { enabled: Some(true), ..LocalityLb::default() }),
            zone_aware_lb_setting: None,
            dns_refresh_rate: seconds(60),
            h2_upgrade_policy: MeshH2UpgradePolicy::default(),
            inbound_cluster_stat_name: String::new(),
            outbound_cluster_stat_name: String::new(),
            certificates: Vec::new(),
            service_settings: Vec::new(),
            service_scope_configs: Vec::new(),
            enable_prometheus_merge: Some(true),
            verify_certificate_at_client: None,
            ca: None,
            extension_providers: Vec::new(),
            default_providers: DefaultProviders::default(),
            discovery_selectors: Vec::new(),
            path_normalization: PathNormalization::default(),
            default_http_retry_policy: None,
            default_inbound_http_retry_policy: None,
            mesh_mtls: None,
            tls_defaults: None,
            default_traffic_policy: None,
            service_entry_visibility: None,
            gateway_port_offset: 0,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IngressControllerMode {
    #[default]
    Unspecified,
    Off,
    Default,
    Strict,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AccessLogEncoding {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutboundTrafficPolicy {
    /// REGISTRY_ONLY where the policy is given without a mode: the proto's zero value.
    pub mode: OutboundMode,
    pub tls: Option<ClientTls>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundMode {
    #[default]
    RegistryOnly,
    AllowAny,
    AllowAnyDynamicDns,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InboundTrafficPolicy {
    pub mode: InboundMode,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InboundMode {
    #[default]
    Passthrough,
    Localhost,
}

/// `pem` and `spiffe_bundle_url` are a oneof.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateData {
    pub pem: Option<String>,
    pub spiffe_bundle_url: Option<String>,
    pub cert_signers: Vec<String>,
    pub trust_domains: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MeshH2UpgradePolicy {
    #[default]
    DoNotUpgrade,
    Upgrade,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSettings {
    pub settings: ServiceSettingsValue,
    pub hosts: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSettingsValue {
    pub cluster_local: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceScope {
    pub namespace_selector: Option<LabelSelector>,
    pub services_selector: Option<LabelSelector>,
    pub scope: Scope,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Scope {
    #[default]
    Local,
    Global,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateAuthority {
    pub address: String,
    pub tls_settings: Option<ClientTls>,
    pub request_timeout: Option<Duration>,
    pub istiod_side: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DefaultProviders {
    pub tracing: Vec<String>,
    pub metrics: Vec<String>,
    pub access_logging: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathNormalization {
    pub normalization: Normalization,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Normalization {
    #[default]
    Default,
    None,
    Base,
    MergeSlashes,
    DecodeAndMergeSlashes,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsDefaults {
    pub min_protocol_version: MeshTlsProtocol,
    pub ecdh_curves: Vec<String>,
    pub cipher_suites: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum MeshTlsProtocol {
    #[default]
    #[serde(rename = "TLS_AUTO")]
    Auto,
    #[serde(rename = "TLSV1_2")]
    V1_2,
    #[serde(rename = "TLSV1_3")]
    V1_3,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DefaultTrafficPolicy {
    pub connection_pool: Option<ConnectionPool>,
    pub outlier_detection: Option<OutlierDetection>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntryVisibility {
    pub default_visibility: Visibility,
    pub apply_to_sidecars: bool,
    pub policies: Vec<VisibilityPolicy>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Visibility {
    #[default]
    VisibilityUnspecified,
    None,
    Namespace,
    Public,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VisibilityPolicy {
    pub visibility: Visibility,
    pub matching_rules: Vec<VisibilityMatch>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VisibilityMatch {
    pub namespace_selector: Option<LabelSelector>,
}
