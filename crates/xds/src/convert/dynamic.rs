//! Dynamic forward proxy: the cluster, and the HTTP and SNI filters that look names up for it.

use super::cluster::{dns_family, dns_family_to_pb};
use super::common::{any, duration, from_duration, u32_value, unpack};
use amime_model::config::{DnsCache, UpstreamTls};
use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::extensions::clusters::dynamic_forward_proxy::v3 as cluster;
use envoy_types::pb::envoy::extensions::common::dynamic_forward_proxy::v3::DnsCacheConfig;
use envoy_types::pb::envoy::extensions::filters::http::dynamic_forward_proxy::v3 as http;
use envoy_types::pb::envoy::extensions::filters::network::sni_dynamic_forward_proxy::v3 as sni;
use envoy_types::pb::google::protobuf::Any;

const CLUSTER: &str = "envoy.clusters.dynamic_forward_proxy";
pub(super) const HTTP: &str = "envoy.filters.http.dynamic_forward_proxy";
pub(super) const SNI: &str = "envoy.filters.network.sni_dynamic_forward_proxy";

fn cache_to_pb(cache: &DnsCache) -> DnsCacheConfig {
    DnsCacheConfig {
        name: cache.name.clone(),
        dns_lookup_family: dns_family_to_pb(cache.family) as i32,
        dns_refresh_rate: duration(cache.refresh),
        max_hosts: u32_value(cache.max_hosts),
        ..Default::default()
    }
}

fn cache_from_pb(cache: DnsCacheConfig) -> DnsCache {
    DnsCache {
        family: dns_family(cache.dns_lookup_family()),
        name: cache.name,
        refresh: from_duration(cache.dns_refresh_rate),
        max_hosts: cache.max_hosts.map(|most| most.value),
    }
}

pub(super) fn cluster_to_pb(cache: &DnsCache, tls: Option<&UpstreamTls>) -> pb::cluster::CustomClusterType {
    use cluster::cluster_config::ClusterImplementationSpecifier::DnsCacheConfig;
    // Envoy refuses one that takes any certificate, unless it is told that this is meant; plaintext is no better.
    let secure = tls.is_some_and(|tls| tls.auto_sni && tls.auto_san_validation);
    let config = cluster::ClusterConfig {
        cluster_implementation_specifier: Some(DnsCacheConfig(cache_to_pb(cache))),
        allow_insecure_cluster_options: !secure,
        ..Default::default()
    };
    pb::cluster::CustomClusterType { name: CLUSTER.into(), typed_config: Some(any(&config)) }
}

/// None where it is another cluster, or one that does otherwise.
pub(super) fn cluster_from_pb(custom: &pb::cluster::CustomClusterType) -> Option<DnsCache> {
    use cluster::cluster_config::ClusterImplementationSpecifier::DnsCacheConfig;
    let config = unpack::<cluster::ClusterConfig>(custom.typed_config.as_ref()?)?.ok()?;
    match config.cluster_implementation_specifier? {
        DnsCacheConfig(cache) => Some(cache_from_pb(cache)),
        _ => None,
    }
}

pub(super) fn http_to_pb(cache: &DnsCache) -> Any {
    use http::filter_config::ImplementationSpecifier::DnsCacheConfig;
    let specifier = Some(DnsCacheConfig(cache_to_pb(cache)));
    any(&http::FilterConfig { implementation_specifier: specifier, ..Default::default() })
}

pub(super) fn http_from_pb(config: &Any) -> Option<DnsCache> {
    use http::filter_config::ImplementationSpecifier::DnsCacheConfig;
    match unpack::<http::FilterConfig>(config)?.ok()?.implementation_specifier? {
        DnsCacheConfig(cache) => Some(cache_from_pb(cache)),
        _ => None,
    }
}

pub(super) fn sni_to_pb(cache: &DnsCache, port: u16) -> Any {
    any(&sni::FilterConfig {
        dns_cache_config: Some(cache_to_pb(cache)),
        port_specifier: Some(sni::filter_config::PortSpecifier::PortValue(u32::from(port))),
        ..Default::default()
    })
}

pub(super) fn sni_from_pb(config: &Any) -> Option<(DnsCache, u16)> {
    let config = unpack::<sni::FilterConfig>(config)?.ok()?;
    let sni::filter_config::PortSpecifier::PortValue(port) = config.port_specifier?;
    Some((cache_from_pb(config.dns_cache_config?), u16::try_from(port).ok()?))
}
