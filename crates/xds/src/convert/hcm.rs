//! The HTTP connection manager and HTTP filters.

use super::common::{
    ads, any, bool_value, duration, from_duration, is_true, non_empty, opaque, opaque_any, opaque_message, u32_value,
    unpack,
};
use super::filters::discovery_of;
use super::{access_log, dynamic, route};
use crate::decode::DecodeError;
use amime_model::config::{CodecType, EscapedSlashes, HttpConnectionManager, HttpFilter, RouteSource, ServerHeader};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::filters::http as filters;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use envoy_types::pb::google::protobuf::UInt32Value;
use pb::http_connection_manager as inner;
use std::sync::Arc;

const FAULT: &str = "envoy.filters.http.fault";
const CORS: &str = "envoy.filters.http.cors";
const ROUTER: &str = "envoy.filters.http.router";

pub(crate) fn to_pb(manager: &HttpConnectionManager) -> pb::HttpConnectionManager {
    let codec = match manager.codec {
        CodecType::Auto => inner::CodecType::Auto,
        CodecType::Http1 => inner::CodecType::Http1,
        CodecType::Http2 => inner::CodecType::Http2,
    };
    let server_header = match manager.server_header {
        ServerHeader::Overwrite => inner::ServerHeaderTransformation::Overwrite,
        ServerHeader::AppendIfAbsent => inner::ServerHeaderTransformation::AppendIfAbsent,
        ServerHeader::PassThrough => inner::ServerHeaderTransformation::PassThrough,
    };
    let slashes = match manager.escaped_slashes {
        EscapedSlashes::Keep => inner::PathWithEscapedSlashesAction::KeepUnchanged,
        EscapedSlashes::Reject => inner::PathWithEscapedSlashesAction::RejectRequest,
        EscapedSlashes::UnescapeAndRedirect => inner::PathWithEscapedSlashesAction::UnescapeAndRedirect,
        EscapedSlashes::UnescapeAndForward => inner::PathWithEscapedSlashesAction::UnescapeAndForward,
    };
    let routes = match &manager.routes {
        RouteSource::Rds(name) => {
            inner::RouteSpecifier::Rds(pb::Rds { config_source: ads(), route_config_name: name.clone() })
        }
        RouteSource::Inline(routes) => inner::RouteSpecifier::RouteConfig(route::to_pb(routes)),
    };
    pb::HttpConnectionManager {
        stat_prefix: manager.stat_prefix.clone(),
        codec_type: codec as i32,
        route_specifier: Some(routes),
        http_filters: manager.http_filters.iter().map(filter_to_pb).collect(),
        server_name: manager.server_name.clone(),
        server_header_transformation: server_header as i32,
        use_remote_address: bool_value(Some(manager.use_remote_address)),
        xff_num_trusted_hops: manager.xff_num_trusted_hops,
        normalize_path: bool_value(Some(manager.normalize_path)),
        merge_slashes: manager.merge_slashes,
        path_with_escaped_slashes_action: slashes as i32,
        request_timeout: duration(manager.request_timeout),
        request_headers_timeout: duration(manager.request_headers_timeout),
        stream_idle_timeout: duration(manager.stream_idle_timeout),
        common_http_protocol_options: set(core::HttpProtocolOptions {
            idle_timeout: duration(manager.idle_timeout),
            max_headers_count: u32_value(manager.max_headers_count),
            max_requests_per_connection: u32_value(manager.max_requests_per_connection),
            ..Default::default()
        }),
        http_protocol_options: set(core::Http1ProtocolOptions {
            accept_http_10: manager.accept_http_10,
            ..Default::default()
        }),
        http2_protocol_options: set(core::Http2ProtocolOptions {
            max_concurrent_streams: u32_value(manager.max_concurrent_streams),
            // Beside the upgrade itself, HTTP/2 wants to be told.
            allow_connect: manager.upgrades.iter().any(|u| u.eq_ignore_ascii_case("CONNECT")),
            ..Default::default()
        }),
        max_request_headers_kb: u32_value(manager.max_request_headers_kb),
        upgrade_configs: manager
            .upgrades
            .iter()
            .map(|upgrade| inner::UpgradeConfig { upgrade_type: upgrade.clone(), ..Default::default() })
            .collect(),
        generate_request_id: bool_value((!manager.generate_request_id).then_some(false)),
        preserve_external_request_id: manager.preserve_external_request_id,
        strip_port_mode: manager.strip_any_host_port.then_some(inner::StripPortMode::StripAnyHostPort(true)),
        proxy_100_continue: manager.proxy_100_continue,
        access_log: access_log::to_pb(&manager.access_log),
        ..Default::default()
    }
}

/// None for the default.
fn set<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

fn filter_to_pb(filter: &HttpFilter) -> pb::HttpFilter {
    let (name, config, disabled) = match filter {
        HttpFilter::Fault => (FAULT, any(&filters::fault::v3::HttpFault::default()), false),
        HttpFilter::Cors => (CORS, any(&filters::cors::v3::Cors {}), false),
        HttpFilter::DynamicForwardProxy(cache) => (dynamic::HTTP, dynamic::http_to_pb(cache), false),
        HttpFilter::Router => (ROUTER, any(&filters::router::v3::Router::default()), false),
        HttpFilter::Opaque { filter, disabled } => {
            if let Some(discovery) = discovery_of(filter) {
                return pb::HttpFilter {
                    name: filter.name.clone(),
                    disabled: *disabled,
                    config_type: Some(pb::http_filter::ConfigType::ConfigDiscovery(discovery)),
                    ..Default::default()
                };
            }
            (filter.name.as_str(), opaque_any(filter), *disabled)
        }
    };
    pb::HttpFilter {
        name: name.into(),
        disabled,
        config_type: Some(pb::http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

fn filter_from_pb(filter: pb::HttpFilter) -> HttpFilter {
    let disabled = filter.disabled;
    let config = match filter.config_type {
        Some(pb::http_filter::ConfigType::TypedConfig(config)) => config,
        Some(pb::http_filter::ConfigType::ConfigDiscovery(discovery)) => {
            let filter = opaque_message(filter.name, &discovery);
            return HttpFilter::Opaque { filter, disabled };
        }
        None => Default::default(),
    };
    // A fault filter that has a policy of its own acts on every route: that is not ours.
    let plain_fault =
        unpack::<filters::fault::v3::HttpFault>(&config).is_some_and(|fault| fault == Ok(Default::default()));
    if !disabled && plain_fault {
        HttpFilter::Fault
    } else if !disabled && unpack::<filters::cors::v3::Cors>(&config).is_some() {
        HttpFilter::Cors
    } else if !disabled && let Some(cache) = dynamic::http_from_pb(&config) {
        HttpFilter::DynamicForwardProxy(cache)
    } else if unpack::<filters::router::v3::Router>(&config).is_some() {
        HttpFilter::Router
    } else {
        HttpFilter::Opaque { filter: opaque(filter.name, config), disabled }
    }
}

/// None where requests would be handled in a way that is not understood.
pub(crate) fn from_pb(manager: pb::HttpConnectionManager) -> Result<Option<HttpConnectionManager>, DecodeError> {
    let codec = match manager.codec_type() {
        inner::CodecType::Auto => CodecType::Auto,
        inner::CodecType::Http1 => CodecType::Http1,
        inner::CodecType::Http2 => CodecType::Http2,
        inner::CodecType::Http3 => return Ok(None),
    };
    let server_header = match manager.server_header_transformation() {
        inner::ServerHeaderTransformation::Overwrite => ServerHeader::Overwrite,
        inner::ServerHeaderTransformation::AppendIfAbsent => ServerHeader::AppendIfAbsent,
        inner::ServerHeaderTransformation::PassThrough => ServerHeader::PassThrough,
    };
    let escaped_slashes = match manager.path_with_escaped_slashes_action() {
        inner::PathWithEscapedSlashesAction::ImplementationSpecificDefault
        | inner::PathWithEscapedSlashesAction::KeepUnchanged => EscapedSlashes::Keep,
        inner::PathWithEscapedSlashesAction::RejectRequest => EscapedSlashes::Reject,
        inner::PathWithEscapedSlashesAction::UnescapeAndRedirect => EscapedSlashes::UnescapeAndRedirect,
        inner::PathWithEscapedSlashesAction::UnescapeAndForward => EscapedSlashes::UnescapeAndForward,
    };
    let routes = match manager.route_specifier {
        Some(inner::RouteSpecifier::Rds(rds)) => RouteSource::Rds(rds.route_config_name),
        Some(inner::RouteSpecifier::RouteConfig(routes)) => RouteSource::Inline(Arc::new(route::from_pb(routes)?)),
        Some(inner::RouteSpecifier::ScopedRoutes(_)) | None => return Ok(None),
    };
    let common = manager.common_http_protocol_options.unwrap_or_default();
    let value = |value: Option<UInt32Value>| value.map(|v| v.value);
    let upgrades = manager.upgrade_configs.into_iter();
    let strip_any = matches!(manager.strip_port_mode, Some(inner::StripPortMode::StripAnyHostPort(true)));
    Ok(Some(HttpConnectionManager {
        stat_prefix: manager.stat_prefix,
        codec,
        routes,
        http_filters: manager.http_filters.into_iter().map(filter_from_pb).collect(),
        server_name: manager.server_name,
        server_header,
        use_remote_address: is_true(manager.use_remote_address),
        xff_num_trusted_hops: manager.xff_num_trusted_hops,
        normalize_path: is_true(manager.normalize_path),
        merge_slashes: manager.merge_slashes,
        escaped_slashes,
        request_timeout: from_duration(manager.request_timeout),
        request_headers_timeout: from_duration(manager.request_headers_timeout),
        stream_idle_timeout: from_duration(manager.stream_idle_timeout),
        idle_timeout: from_duration(common.idle_timeout),
        max_request_headers_kb: value(manager.max_request_headers_kb),
        max_headers_count: value(common.max_headers_count),
        max_requests_per_connection: value(common.max_requests_per_connection),
        max_concurrent_streams: value(manager.http2_protocol_options.and_then(|h| h.max_concurrent_streams)),
        upgrades: upgrades
            .filter(|u| u.enabled.is_none_or(|e| e.value))
            .filter_map(|u| non_empty(u.upgrade_type))
            .collect(),
        generate_request_id: manager.generate_request_id.is_none_or(|g| g.value),
        preserve_external_request_id: manager.preserve_external_request_id,
        strip_any_host_port: strip_any,
        accept_http_10: manager.http_protocol_options.is_some_and(|h| h.accept_http_10),
        proxy_100_continue: manager.proxy_100_continue,
        access_log: access_log::from_pb(manager.access_log)?,
    }))
}
