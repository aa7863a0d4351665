//! The HTTP options of a cluster: protocol, connections, which answers are errors, and where SNI comes from.

use super::common::{duration, field, from_duration, u32_value, unpack};
use super::outlier;
use crate::decode::DecodeError;
use amime_model::config::{Cluster, Http2Keepalive, UpstreamProtocol, UpstreamTls};
use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::upstreams::http::v3 as http;

/// The key of these options in a cluster's map of them.
pub(crate) const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// None where everything is as Envoy has it by default.
pub(crate) fn to_pb(cluster: &Cluster) -> Option<http::HttpProtocolOptions> {
    use http::http_protocol_options as options;
    use options::explicit_http_config::ProtocolConfig;
    let http1 = core::Http1ProtocolOptions::default();
    let http2 = core::Http2ProtocolOptions {
        max_concurrent_streams: u32_value(cluster.max_concurrent_streams),
        connection_keepalive: cluster.http2_keepalive.map(|keepalive| core::KeepaliveSettings {
            interval: duration(Some(keepalive.interval)),
            timeout: duration(Some(keepalive.timeout)),
            ..Default::default()
        }),
        ..Default::default()
    };
    let explicit = |config| {
        options::UpstreamProtocolOptions::ExplicitHttpConfig(options::ExplicitHttpConfig {
            protocol_config: Some(config),
        })
    };
    let protocol = match cluster.protocol {
        UpstreamProtocol::Http1 => explicit(ProtocolConfig::HttpProtocolOptions(http1)),
        UpstreamProtocol::Http2 => explicit(ProtocolConfig::Http2ProtocolOptions(http2)),
        UpstreamProtocol::UseDownstream => {
            options::UpstreamProtocolOptions::UseDownstreamProtocolConfig(options::UseDownstreamHttpConfig {
                http_protocol_options: Some(http1),
                http2_protocol_options: Some(http2),
                ..Default::default()
            })
        }
        UpstreamProtocol::Alpn => options::UpstreamProtocolOptions::AutoConfig(options::AutoHttpConfig {
            http_protocol_options: Some(http1),
            http2_protocol_options: Some(http2),
            ..Default::default()
        }),
    };
    let common = core::HttpProtocolOptions {
        idle_timeout: duration(cluster.idle_timeout),
        max_connection_duration: duration(cluster.max_connection_duration),
        max_requests_per_connection: u32_value(cluster.max_requests_per_connection),
        ..Default::default()
    };
    let contexts = || {
        let matches = cluster.transport_socket_matches.iter().filter_map(|m| m.tls.as_ref());
        cluster.tls.iter().chain(matches)
    };
    let upstream = core::UpstreamHttpProtocolOptions {
        auto_sni: contexts().any(|tls| tls.auto_sni),
        auto_san_validation: contexts().any(|tls| tls.auto_san_validation),
        ..Default::default()
    };
    let common = (common != core::HttpProtocolOptions::default()).then_some(common);
    let upstream = (upstream != core::UpstreamHttpProtocolOptions::default()).then_some(upstream);
    let errors = cluster.outlier.as_ref().and_then(outlier::errors_to_pb);
    let default =
        cluster.protocol == UpstreamProtocol::Http1 && common.is_none() && upstream.is_none() && errors.is_none();
    (!default).then(|| http::HttpProtocolOptions {
        common_http_protocol_options: common,
        upstream_http_protocol_options: upstream,
        outlier_detection: errors.map(|errors| options::OutlierDetection { error_matcher: Some(errors) }),
        upstream_protocol_options: Some(protocol),
        ..Default::default()
    })
}

#[allow(deprecated, reason = "older control planes still write the cluster's own HTTP options")]
pub(crate) fn from_pb(pb: &pb::Cluster, cluster: &mut Cluster) -> Result<(), DecodeError> {
    use http::http_protocol_options::UpstreamProtocolOptions as Protocol;
    use http::http_protocol_options::explicit_http_config::ProtocolConfig;
    use pb::cluster::ClusterProtocolSelection::UseDownstreamProtocol;
    let options = pb.typed_extension_protocol_options.get(OPTIONS);
    let Some(options) = options.and_then(unpack::<http::HttpProtocolOptions>).transpose()? else {
        if pb.protocol_selection == UseDownstreamProtocol as i32 {
            cluster.protocol = UpstreamProtocol::UseDownstream;
        } else if pb.http2_protocol_options.is_some() {
            cluster.protocol = UpstreamProtocol::Http2;
        }
        cluster.max_requests_per_connection = pb.max_requests_per_connection.map(|m| m.value);
        return Ok(());
    };
    let (protocol, http2) = match options.upstream_protocol_options {
        Some(Protocol::ExplicitHttpConfig(explicit)) => match explicit.protocol_config {
            Some(ProtocolConfig::Http2ProtocolOptions(http2)) => (UpstreamProtocol::Http2, Some(http2)),
            Some(ProtocolConfig::Http3ProtocolOptions(_)) => {
                return Err(field(OPTIONS, "HTTP/3 is not understood"));
            }
            _ => (UpstreamProtocol::Http1, None),
        },
        Some(Protocol::UseDownstreamProtocolConfig(config)) => {
            (UpstreamProtocol::UseDownstream, config.http2_protocol_options)
        }
        Some(Protocol::AutoConfig(config)) => (UpstreamProtocol::Alpn, config.http2_protocol_options),
        None => (UpstreamProtocol::Http1, None),
    };
    cluster.protocol = protocol;
    if let Some(http2) = http2 {
        cluster.max_concurrent_streams = http2.max_concurrent_streams.map(|s| s.value);
        // Without an interval Envoy sends PINGs on connections that have been idle, which nobody asks for here.
        cluster.http2_keepalive = http2.connection_keepalive.and_then(|keepalive| {
            let (interval, timeout) = (from_duration(keepalive.interval)?, from_duration(keepalive.timeout)?);
            Some(Http2Keepalive { interval, timeout })
        });
    }
    if let Some(common) = options.common_http_protocol_options {
        cluster.idle_timeout = from_duration(common.idle_timeout);
        cluster.max_connection_duration = from_duration(common.max_connection_duration);
        cluster.max_requests_per_connection = common.max_requests_per_connection.map(|m| m.value);
    }
    if let Some(errors) = options.outlier_detection.and_then(|outlier| outlier.error_matcher)
        && let Some(outlier) = &mut cluster.outlier
    {
        outlier.error_statuses = outlier::errors_from_pb(errors)
            .ok_or_else(|| field(OPTIONS, "outlier_detection.error_matcher looks at more than exact statuses"))?;
    }
    let upstream = options.upstream_http_protocol_options.unwrap_or_default();
    let contexts = cluster.transport_socket_matches.iter_mut().filter_map(|m| m.tls.as_mut());
    for UpstreamTls { auto_sni, auto_san_validation, .. } in cluster.tls.iter_mut().chain(contexts) {
        *auto_sni = upstream.auto_sni;
        *auto_san_validation = upstream.auto_san_validation;
    }
    Ok(())
}
