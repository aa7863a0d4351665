//! Connection managers: what Istio sets on every HTTP listener, by where it stands.

use super::log;
use crate::config::{CodecType, EscapedSlashes, HttpConnectionManager, HttpFilter, RouteSource, ServerHeader};
use crate::resource::MeshConfig;
use crate::resource::mesh_config::Normalization;
use std::time::Duration;

/// Where a connection manager stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Outbound,
    Inbound,
    Gateway,
}

pub(super) fn connection_manager(
    side: Side,
    stat_prefix: String,
    routes: RouteSource,
    mesh: &MeshConfig,
) -> HttpConnectionManager {
    let normalization = mesh.path_normalization.normalization;
    let merge = matches!(normalization, Normalization::MergeSlashes | Normalization::DecodeAndMergeSlashes);
    HttpConnectionManager {
        stat_prefix,
        codec: CodecType::Auto,
        routes,
        http_filters: vec![HttpFilter::Fault, HttpFilter::Cors, HttpFilter::Router],
        // Istio's outbound listeners keep Envoy's own name.
        server_name: if side == Side::Outbound { "envoy" } else { "istio-envoy" }.to_string(),
        server_header: ServerHeader::Overwrite,
        use_remote_address: side == Side::Gateway,
        xff_num_trusted_hops: if side == Side::Gateway { trusted_proxies(mesh) } else { 0 },
        normalize_path: normalization != Normalization::None,
        merge_slashes: merge,
        escaped_slashes: match normalization {
            Normalization::DecodeAndMergeSlashes => EscapedSlashes::UnescapeAndForward,
            _ => EscapedSlashes::Keep,
        },
        request_timeout: None,
        request_headers_timeout: None,
        stream_idle_timeout: Some(Duration::ZERO),
        idle_timeout: None,
        max_request_headers_kb: None,
        max_headers_count: None,
        max_requests_per_connection: None,
        max_concurrent_streams: None,
        upgrades: vec!["websocket".to_string()],
        generate_request_id: true,
        preserve_external_request_id: false,
        strip_any_host_port: false,
        // Old clients and health checks speak it. Istio refuses it unless its control plane is told otherwise.
        accept_http_10: true,
        proxy_100_continue: true,
        access_log: log::of_traffic(mesh),
    }
}

/// `defaultConfig.gatewayTopology.numTrustedProxies`.
fn trusted_proxies(mesh: &MeshConfig) -> u32 {
    let topology = mesh.default_config.gateway_topology.as_ref();
    let number = topology.and_then(|t| t.get("numTrustedProxies")).and_then(serde_json::Value::as_u64);
    number.and_then(|n| u32::try_from(n).ok()).unwrap_or_default()
}
