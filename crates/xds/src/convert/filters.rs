//! Listener filters, network filters and the TCP proxy.

use super::common::{any, duration, field, from_duration, opaque, opaque_any, opaque_message, u32_value, unpack};
use super::origin::{from_origin, of_origin};
use super::{access_log, dynamic, hcm};
use crate::decode::DecodeError;
use amime_model::config::{ListenerFilter, NetworkFilter, Opaque, TcpCluster, TcpProxy, Tunnel};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::listener::v3 as pb;
use envoy_types::pb::envoy::extensions::filters::listener;
use envoy_types::pb::envoy::extensions::filters::network;
use envoy_types::pb::envoy::r#type::v3 as kind;
use network::http_connection_manager::v3::HttpConnectionManager;
use network::tcp_proxy::v3 as tcp;
use pb::listener_filter_chain_match_predicate as predicate;
use prost::{Message, Name};

const HCM: &str = "envoy.filters.network.http_connection_manager";
const TCP_PROXY: &str = "envoy.filters.network.tcp_proxy";
const SNI_CLUSTER: &str = "envoy.filters.network.sni_cluster";

/// Of a cluster that stands alone.
const WHOLE: u32 = 100;

/// At most this many ports of a range are listed one by one.
const MOST_PORTS: usize = 1024;

pub(crate) fn listener_filter_to_pb(filter: &ListenerFilter) -> pb::ListenerFilter {
    let (name, config, disabled) = match filter {
        ListenerFilter::OriginalDst => {
            ("envoy.filters.listener.original_dst", any(&listener::original_dst::v3::OriginalDst {}), None)
        }
        ListenerFilter::ProxyProtocol => (
            "envoy.filters.listener.proxy_protocol",
            any(&listener::proxy_protocol::v3::ProxyProtocol::default()),
            None,
        ),
        ListenerFilter::TlsInspector => {
            ("envoy.filters.listener.tls_inspector", any(&listener::tls_inspector::v3::TlsInspector::default()), None)
        }
        ListenerFilter::HttpInspector { disabled_ports } => (
            "envoy.filters.listener.http_inspector",
            any(&listener::http_inspector::v3::HttpInspector {}),
            ports_to_pb(disabled_ports),
        ),
        ListenerFilter::Opaque(opaque) => (opaque.name.as_str(), opaque_any(opaque), None),
    };
    pb::ListenerFilter {
        name: name.into(),
        filter_disabled: disabled,
        config_type: Some(pb::listener_filter::ConfigType::TypedConfig(config)),
    }
}

fn ports_to_pb(ports: &[u16]) -> Option<pb::ListenerFilterChainMatchPredicate> {
    let rule = |rule| pb::ListenerFilterChainMatchPredicate { rule: Some(rule) };
    let port = |port: &u16| {
        let start = i32::from(*port);
        rule(predicate::Rule::DestinationPortRange(kind::Int32Range { start, end: start + 1 }))
    };
    match ports {
        [] => None,
        [one] => Some(port(one)),
        // Envoy wants at least two rules here.
        many => Some(rule(predicate::Rule::OrMatch(predicate::MatchSet { rules: many.iter().map(port).collect() }))),
    }
}

/// None where the predicate is about more than destination ports.
fn ports_from_pb(disabled: Option<&pb::ListenerFilterChainMatchPredicate>) -> Option<Vec<u16>> {
    let Some(disabled) = disabled else {
        return Some(Vec::new());
    };
    match disabled.rule.as_ref()? {
        predicate::Rule::DestinationPortRange(range) => {
            let ports = range.start..range.end;
            (ports.len() <= MOST_PORTS).then(|| ports.map(u16::try_from).collect::<Result<_, _>>().ok())?
        }
        predicate::Rule::OrMatch(set) => {
            let ports: Option<Vec<_>> = set.rules.iter().map(|rule| ports_from_pb(Some(rule))).collect();
            ports.map(|ports| ports.concat())
        }
        _ => None,
    }
}

pub(crate) fn listener_filter_from_pb(filter: pb::ListenerFilter) -> ListenerFilter {
    let ports = ports_from_pb(filter.filter_disabled.as_ref());
    let config = match &filter.config_type {
        Some(pb::listener_filter::ConfigType::TypedConfig(config)) => config.clone(),
        Some(pb::listener_filter::ConfigType::ConfigDiscovery(_)) | None => {
            return ListenerFilter::Opaque(opaque_message(filter.name.clone(), &filter));
        }
    };
    let is = |url: String| config.type_url == url;
    match ports {
        Some(disabled_ports) if is(listener::http_inspector::v3::HttpInspector::type_url()) => {
            ListenerFilter::HttpInspector { disabled_ports }
        }
        _ if is(listener::original_dst::v3::OriginalDst::type_url()) => ListenerFilter::OriginalDst,
        _ if is(listener::proxy_protocol::v3::ProxyProtocol::type_url()) => ListenerFilter::ProxyProtocol,
        _ if is(listener::tls_inspector::v3::TlsInspector::type_url()) => ListenerFilter::TlsInspector,
        _ => ListenerFilter::Opaque(opaque(filter.name, config)),
    }
}

pub(crate) fn network_filter_to_pb(filter: &NetworkFilter) -> pb::Filter {
    let (name, config) = match filter {
        NetworkFilter::Http(manager) => (HCM, any(&hcm::to_pb(manager))),
        NetworkFilter::Tcp(proxy) => (TCP_PROXY, any(&tcp_to_pb(proxy))),
        NetworkFilter::SniCluster => (SNI_CLUSTER, any(&network::sni_cluster::v3::SniCluster {})),
        NetworkFilter::SniDynamicForwardProxy { cache, port } => (dynamic::SNI, dynamic::sni_to_pb(cache, *port)),
        NetworkFilter::Opaque(opaque) => {
            if let Some(discovery) = discovery_of(opaque) {
                return pb::Filter {
                    name: opaque.name.clone(),
                    config_type: Some(pb::filter::ConfigType::ConfigDiscovery(discovery)),
                };
            }
            (opaque.name.as_str(), opaque_any(opaque))
        }
    };
    pb::Filter { name: name.into(), config_type: Some(pb::filter::ConfigType::TypedConfig(config)) }
}

/// A filter whose configuration comes by ECDS is kept as where it comes from.
pub(crate) fn discovery_of(opaque: &Opaque) -> Option<core::ExtensionConfigSource> {
    (opaque.type_url == core::ExtensionConfigSource::type_url())
        .then(|| core::ExtensionConfigSource::decode(opaque.bytes.as_slice()).ok())?
}

pub(crate) fn network_filter_from_pb(filter: pb::Filter) -> Result<NetworkFilter, DecodeError> {
    let config = match filter.config_type {
        Some(pb::filter::ConfigType::TypedConfig(config)) => config,
        Some(pb::filter::ConfigType::ConfigDiscovery(discovery)) => {
            return Ok(NetworkFilter::Opaque(opaque_message(filter.name, &discovery)));
        }
        None => Default::default(),
    };
    let understood = if let Some(manager) = unpack::<HttpConnectionManager>(&config) {
        hcm::from_pb(manager?)?.map(|manager| NetworkFilter::Http(Box::new(manager)))
    } else if let Some(proxy) = unpack::<tcp::TcpProxy>(&config) {
        tcp_from_pb(proxy?)?.map(NetworkFilter::Tcp)
    } else if config.type_url == network::sni_cluster::v3::SniCluster::type_url() {
        Some(NetworkFilter::SniCluster)
    } else if let Some((cache, port)) = dynamic::sni_from_pb(&config) {
        Some(NetworkFilter::SniDynamicForwardProxy { cache, port })
    } else {
        None
    };
    Ok(understood.unwrap_or_else(|| NetworkFilter::Opaque(opaque(filter.name, config))))
}

fn tcp_to_pb(proxy: &TcpProxy) -> tcp::TcpProxy {
    use tcp::tcp_proxy::weighted_cluster::ClusterWeight;
    use tcp::tcp_proxy::{ClusterSpecifier, WeightedCluster};
    let specifier = match proxy.clusters.as_slice() {
        [TcpCluster { name, weight: WHOLE }] => ClusterSpecifier::Cluster(name.clone()),
        many => ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: many
                .iter()
                .map(|c| ClusterWeight { name: c.name.clone(), weight: c.weight, ..Default::default() })
                .collect(),
        }),
    };
    tcp::TcpProxy {
        stat_prefix: proxy.stat_prefix.clone(),
        cluster_specifier: Some(specifier),
        idle_timeout: duration(proxy.idle_timeout),
        max_downstream_connection_duration: duration(proxy.max_duration),
        max_connect_attempts: u32_value(Some(proxy.max_connect_attempts)),
        hash_policy: proxy
            .hash_source_ip
            .then_some(kind::HashPolicy {
                policy_specifier: Some(kind::hash_policy::PolicySpecifier::SourceIp(kind::hash_policy::SourceIp {})),
            })
            .into_iter()
            .collect(),
        tunneling_config: proxy.tunnel.as_ref().map(|tunnel| tcp::tcp_proxy::TunnelingConfig {
            hostname: tunnel.authority.clone(),
            use_post: tunnel.post,
            ..Default::default()
        }),
        access_log: access_log::to_pb(&proxy.access_log),
        // A TCP proxy has no metadata. Of these criteria Envoy reads `envoy.lb` alone, so that ours select
        // nothing.
        metadata_match: of_origin(proxy.origin.as_ref()),
        ..Default::default()
    }
}

/// None where the proxy does something that is not understood.
fn tcp_from_pb(proxy: tcp::TcpProxy) -> Result<Option<TcpProxy>, DecodeError> {
    use tcp::tcp_proxy::ClusterSpecifier;
    if proxy.on_demand.is_some() {
        return Ok(None);
    }
    let tunnel = match proxy.tunneling_config {
        None => None,
        Some(config) => {
            let (authority, post) = (config.hostname.clone(), config.use_post);
            let plain =
                tcp::tcp_proxy::TunnelingConfig { hostname: authority.clone(), use_post: post, ..Default::default() };
            // A name may be a format; there may be more to say than a name.
            if config != plain || authority.contains('%') || authority.parse::<http::uri::Authority>().is_err() {
                return Ok(None);
            }
            Some(Tunnel { authority, post })
        }
    };
    let clusters = match proxy.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => vec![TcpCluster { name, weight: WHOLE }],
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            weighted.clusters.into_iter().map(|c| TcpCluster { name: c.name, weight: c.weight }).collect()
        }
        None => return Err(field("tcp_proxy", "names no cluster")),
    };
    Ok(Some(TcpProxy {
        stat_prefix: proxy.stat_prefix,
        clusters,
        idle_timeout: from_duration(proxy.idle_timeout),
        max_duration: from_duration(proxy.max_downstream_connection_duration),
        max_connect_attempts: proxy.max_connect_attempts.map_or(1, |a| a.value),
        hash_source_ip: proxy
            .hash_policy
            .iter()
            .any(|p| matches!(p.policy_specifier, Some(kind::hash_policy::PolicySpecifier::SourceIp(_)))),
        tunnel,
        access_log: access_log::from_pb(proxy.access_log)?,
        origin: from_origin(proxy.metadata_match.as_ref()),
    }))
}
