//! Sidecar and ProxyConfig (networking.istio.io), field by field as Istio's API has them.

use super::destination_rule::ConnectionPool;
use super::gateway::ServerTls;
use super::meta::MatchLabels;
use super::service_entry::WorkloadSelector;
use super::virtual_service::Destination;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sidecar {
    /// `None`: every workload of the namespace (of the mesh, in the root namespace).
    pub workload_selector: Option<WorkloadSelector>,
    pub ingress: Vec<IngressListener>,
    pub egress: Vec<EgressListener>,
    pub inbound_connection_pool: Option<ConnectionPool>,
    pub outbound_traffic_policy: Option<SidecarOutboundPolicy>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressListener {
    pub port: Option<SidecarPort>,
    pub bind: String,
    pub capture_mode: CaptureMode,
    /// `127.0.0.1:PORT`, `0.0.0.0:PORT` (the pod's address), `[::1]:PORT`, `unix:///path`.
    pub default_endpoint: String,
    pub tls: Option<ServerTls>,
    pub connection_pool: Option<ConnectionPool>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EgressListener {
    pub port: Option<SidecarPort>,
    pub bind: String,
    pub capture_mode: CaptureMode,
    /// `namespace/host` with `*`, `.` or `~` for the namespace, and `*`-wildcards in the host.
    pub hosts: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SidecarPort {
    pub number: u32,
    pub protocol: String,
    pub name: String,
    /// Deprecated, without effect in Istio.
    pub target_port: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CaptureMode {
    #[default]
    Default,
    Iptables,
    None,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SidecarOutboundPolicy {
    /// REGISTRY_ONLY where the policy is given without a mode: the proto's zero value.
    pub mode: SidecarOutboundMode,
    pub egress_proxy: Option<Destination>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SidecarOutboundMode {
    #[default]
    RegistryOnly,
    AllowAny,
}

/// The resource `ProxyConfig` (not the proxy's typed configuration, `crate::config::ProxyConfig`).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfigResource {
    pub selector: Option<MatchLabels>,
    pub concurrency: Option<i32>,
    pub environment_variables: BTreeMap<String, String>,
    pub image: Option<ProxyImage>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyImage {
    pub image_type: String,
}
