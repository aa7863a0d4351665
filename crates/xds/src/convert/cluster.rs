//! Clusters.

use super::common::{ads, any, duration, field, from_duration};
use super::origin::{from_origins, from_service, of_origins, text_struct};
use super::{balance, dynamic, endpoint, outlier, tls, upstream_http};
use crate::decode::DecodeError;
use amime_model::config::{Cluster, Discovery, DnsFamily, DnsOptions, TransportSocketMatch, UpstreamTls};
use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::core::v3 as core;
use pb::cluster::{ClusterDiscoveryType, DiscoveryType, LbConfig};
use std::net::IpAddr;

#[allow(deprecated, reason = "Envoy's newer place for DNS options is an extension; Istio writes these")]
pub(crate) fn to_pb(cluster: &Cluster) -> pb::Cluster {
    let discovery = discovery_to_pb(&cluster.discovery, cluster.tls.as_ref());
    let (lb_policy, lb_config) = balance::to_pb(cluster);
    let http = upstream_http::to_pb(cluster);
    let proxy = cluster.proxy_protocol;
    pb::Cluster {
        name: cluster.name.clone(),
        cluster_discovery_type: Some(discovery.kind),
        eds_cluster_config: discovery.eds,
        load_assignment: discovery.assignment,
        connect_timeout: duration(cluster.connect_timeout),
        lb_policy: lb_policy as i32,
        lb_config,
        common_lb_config: balance::common_to_pb(cluster),
        circuit_breakers: outlier::limits_to_pb(&cluster.limits),
        outlier_detection: cluster.outlier.as_ref().map(outlier::outlier_to_pb),
        typed_extension_protocol_options: http
            .map(|options| (upstream_http::OPTIONS.to_owned(), any(&options)))
            .into_iter()
            .collect(),
        upstream_connection_options: cluster.tcp_keepalive.map(|keepalive| pb::UpstreamConnectionOptions {
            tcp_keepalive: Some(outlier::keepalive_to_pb(keepalive)),
            ..Default::default()
        }),
        transport_socket: tls::upstream_to_pb(cluster.tls.as_ref(), cluster.opaque_transport.as_ref(), proxy),
        transport_socket_matches: cluster
            .transport_socket_matches
            .iter()
            .map(|m| socket_match_to_pb(m, proxy))
            .collect(),
        upstream_bind_config: cluster.bind_source.map(|source| core::BindConfig {
            source_address: Some(core::SocketAddress {
                address: source.to_string(),
                port_specifier: Some(core::socket_address::PortSpecifier::PortValue(0)),
                ..Default::default()
            }),
            ..Default::default()
        }),
        dns_refresh_rate: duration(cluster.dns.refresh),
        dns_jitter: duration(cluster.dns.jitter),
        respect_dns_ttl: cluster.dns.respect_ttl,
        dns_lookup_family: dns_family_to_pb(cluster.dns.family) as i32,
        ignore_health_on_host_removal: cluster.drain_on_host_removal,
        metadata: of_origins(&cluster.origins, cluster.service.as_ref()),
        ..Default::default()
    }
}

struct PbDiscovery {
    kind: ClusterDiscoveryType,
    eds: Option<pb::cluster::EdsClusterConfig>,
    assignment: Option<envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment>,
}

fn discovery_to_pb(discovery: &Discovery, tls: Option<&UpstreamTls>) -> PbDiscovery {
    let of = |kind: DiscoveryType, assignment| PbDiscovery {
        kind: ClusterDiscoveryType::Type(kind as i32),
        eds: None,
        assignment,
    };
    match discovery {
        Discovery::Eds(name) => PbDiscovery {
            eds: Some(pb::cluster::EdsClusterConfig { eds_config: ads(), service_name: name.clone() }),
            ..of(DiscoveryType::Eds, None)
        },
        Discovery::Static(endpoints) => of(DiscoveryType::Static, Some(endpoint::to_pb(endpoints))),
        Discovery::StrictDns(endpoints) => of(DiscoveryType::StrictDns, Some(endpoint::to_pb(endpoints))),
        Discovery::LogicalDns(endpoints) => of(DiscoveryType::LogicalDns, Some(endpoint::to_pb(endpoints))),
        Discovery::OriginalDst { .. } => of(DiscoveryType::OriginalDst, None),
        Discovery::DynamicDns(cache) => PbDiscovery {
            kind: ClusterDiscoveryType::ClusterType(dynamic::cluster_to_pb(cache, tls)),
            eds: None,
            assignment: None,
        },
        Discovery::Opaque(name) => PbDiscovery {
            kind: ClusterDiscoveryType::ClusterType(pb::cluster::CustomClusterType {
                name: name.clone(),
                typed_config: None,
            }),
            eds: None,
            assignment: None,
        },
    }
}

fn socket_match_to_pb(socket: &TransportSocketMatch, proxy_protocol: Option<u8>) -> pb::cluster::TransportSocketMatch {
    let transport = tls::upstream_to_pb(socket.tls.as_ref(), socket.opaque.as_ref(), proxy_protocol);
    pb::cluster::TransportSocketMatch {
        name: socket.name.clone(),
        r#match: text_struct(socket.labels.iter().map(|(k, v)| (k.as_str(), v.as_str()))),
        transport_socket: Some(transport.unwrap_or_else(tls::raw_buffer)),
    }
}

pub(super) fn dns_family_to_pb(family: DnsFamily) -> pb::cluster::DnsLookupFamily {
    use pb::cluster::DnsLookupFamily as Pb;
    match family {
        DnsFamily::Auto => Pb::Auto,
        DnsFamily::V4Only => Pb::V4Only,
        DnsFamily::V6Only => Pb::V6Only,
        DnsFamily::V4Preferred => Pb::V4Preferred,
        DnsFamily::All => Pb::All,
    }
}

pub(super) fn dns_family(family: pb::cluster::DnsLookupFamily) -> DnsFamily {
    use pb::cluster::DnsLookupFamily as Pb;
    match family {
        Pb::Auto => DnsFamily::Auto,
        Pb::V4Only => DnsFamily::V4Only,
        Pb::V6Only => DnsFamily::V6Only,
        Pb::V4Preferred => DnsFamily::V4Preferred,
        Pb::All => DnsFamily::All,
    }
}

#[allow(deprecated, reason = "as in `to_pb`")]
pub(crate) fn from_pb(mut pb: pb::Cluster) -> Result<Cluster, DecodeError> {
    let discovery = discovery(&mut pb)?;
    let (lb, slow_start) = balance::from_pb(&mut pb, &discovery);
    let mut cluster = Cluster::new(std::mem::take(&mut pb.name), discovery);
    cluster.connect_timeout = from_duration(pb.connect_timeout);
    cluster.lb = lb;
    cluster.slow_start = slow_start;
    cluster.dns = DnsOptions {
        refresh: from_duration(pb.dns_refresh_rate),
        respect_ttl: pb.respect_dns_ttl,
        family: dns_family(pb.dns_lookup_family()),
        jitter: from_duration(pb.dns_jitter),
    };
    if let Some(common) = &pb.common_lb_config {
        use pb::cluster::common_lb_config::LocalityConfigSpecifier::LocalityWeightedLbConfig;
        cluster.panic_threshold = common.healthy_panic_threshold.map(|p| p.value.round() as u32);
        cluster.locality_weighted = matches!(common.locality_config_specifier, Some(LocalityWeightedLbConfig(_)));
    }
    cluster.limits = outlier::limits_from_pb(pb.circuit_breakers.take());
    cluster.outlier = pb.outlier_detection.take().map(outlier::outlier_from_pb);
    let keepalive = pb.upstream_connection_options.as_ref().and_then(|o| o.tcp_keepalive.as_ref());
    cluster.tcp_keepalive = keepalive.map(outlier::keepalive_from_pb);
    let transport = tls::upstream_from_pb(pb.transport_socket.as_ref())?;
    cluster.tls = transport.tls;
    cluster.opaque_transport = transport.opaque;
    cluster.proxy_protocol = transport.proxy_protocol;
    for socket in &pb.transport_socket_matches {
        let transport = tls::upstream_from_pb(socket.transport_socket.as_ref())?;
        cluster.proxy_protocol = cluster.proxy_protocol.or(transport.proxy_protocol);
        cluster.transport_socket_matches.push(TransportSocketMatch {
            name: socket.name.clone(),
            labels: socket.r#match.as_ref().map(endpoint::labels_from_pb).unwrap_or_default(),
            tls: transport.tls,
            opaque: transport.opaque,
        });
    }
    upstream_http::from_pb(&pb, &mut cluster)?;
    if let Some(source) = pb.upstream_bind_config.and_then(|b| b.source_address) {
        let ip: Result<IpAddr, _> = source.address.parse();
        cluster.bind_source =
            Some(ip.map_err(|_| field("upstream_bind_config", format!("{:?} is not an IP address", source.address)))?);
    }
    cluster.drain_on_host_removal = pb.ignore_health_on_host_removal;
    cluster.origins = from_origins(pb.metadata.as_ref());
    cluster.service = from_service(pb.metadata.as_ref());
    Ok(cluster)
}

fn discovery(pb: &mut pb::Cluster) -> Result<Discovery, DecodeError> {
    let kind = match pb.cluster_discovery_type.take() {
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            let dynamic = dynamic::cluster_from_pb(&custom);
            return Ok(dynamic.map_or_else(|| Discovery::Opaque(custom.name), Discovery::DynamicDns));
        }
        Some(ClusterDiscoveryType::Type(kind)) => kind,
        None => DiscoveryType::Static as i32,
    };
    let assignment = pb.load_assignment.take().unwrap_or_default();
    Ok(match DiscoveryType::try_from(kind) {
        Ok(DiscoveryType::Static) => Discovery::Static(endpoint::from_pb(assignment)?),
        Ok(DiscoveryType::StrictDns) => Discovery::StrictDns(endpoint::from_pb(assignment)?),
        Ok(DiscoveryType::LogicalDns) => Discovery::LogicalDns(endpoint::from_pb(assignment)?),
        Ok(DiscoveryType::Eds) => Discovery::Eds(pb.eds_cluster_config.take().unwrap_or_default().service_name),
        Ok(DiscoveryType::OriginalDst) => {
            let config = match &pb.lb_config {
                Some(LbConfig::OriginalDstLbConfig(config)) => config.clone(),
                _ => Default::default(),
            };
            // Envoy takes no port above 65535.
            let port = config.upstream_port_override.and_then(|port| u16::try_from(port.value).ok());
            Discovery::OriginalDst { header: config.use_http_header, port }
        }
        Err(_) => Discovery::Opaque(format!("type {kind}")),
    })
}
