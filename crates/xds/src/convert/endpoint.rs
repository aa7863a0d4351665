//! Endpoints <-> ClusterLoadAssignment.

use super::common::{address, field, host_port, socket_address, u32_value};
use super::origin::{as_text, metadata, part, text_struct};
use crate::decode::DecodeError;
use amime_model::config::{
    ClusterEndpoints, Endpoint, EndpointAddress, Health, Locality, LocalityEndpoints, WorkloadIdentity,
};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::endpoint::v3 as pb;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use std::net::{IpAddr, SocketAddr};

const TRANSPORT_SOCKET_MATCH: &str = "envoy.transport_socket_match";

pub(crate) fn to_pb(endpoints: &ClusterEndpoints) -> pb::ClusterLoadAssignment {
    let policy = endpoints.overprovisioning_factor.map(|factor| pb::cluster_load_assignment::Policy {
        overprovisioning_factor: u32_value(Some(factor)),
        ..Default::default()
    });
    pb::ClusterLoadAssignment {
        cluster_name: endpoints.cluster.clone(),
        endpoints: endpoints.localities.iter().map(locality_to_pb).collect(),
        policy,
        ..Default::default()
    }
}

fn locality_to_pb(locality: &LocalityEndpoints) -> pb::LocalityLbEndpoints {
    let Locality { region, zone, sub_zone } = locality.locality.clone();
    pb::LocalityLbEndpoints {
        locality: (locality.locality != Locality::default()).then_some(core::Locality { region, zone, sub_zone }),
        lb_endpoints: locality.endpoints.iter().map(endpoint_to_pb).collect(),
        load_balancing_weight: u32_value(locality.weight),
        priority: locality.priority,
        ..Default::default()
    }
}

fn endpoint_to_pb(endpoint: &Endpoint) -> pb::LbEndpoint {
    let address = match &endpoint.address {
        EndpointAddress::Socket(socket) => address(*socket),
        EndpointAddress::Name { host, port } => socket_address(host.clone(), *port),
        EndpointAddress::Pipe(path) => core::Address {
            address: Some(core::address::Address::Pipe(core::Pipe { path: path.clone(), ..Default::default() })),
        },
        EndpointAddress::Internal { listener, endpoint_id } => core::Address {
            address: Some(core::address::Address::EnvoyInternalAddress(core::EnvoyInternalAddress {
                endpoint_id: endpoint_id.clone(),
                address_name_specifier: Some(core::envoy_internal_address::AddressNameSpecifier::ServerListenerName(
                    listener.clone(),
                )),
            })),
        },
    };
    let health = match endpoint.health {
        Health::Unknown => core::HealthStatus::Unknown,
        Health::Healthy => core::HealthStatus::Healthy,
        Health::Unhealthy => core::HealthStatus::Unhealthy,
        Health::Draining => core::HealthStatus::Draining,
        Health::Timeout => core::HealthStatus::Timeout,
        Health::Degraded => core::HealthStatus::Degraded,
    };
    let (istio, amime) = workload_to_pb(&endpoint.workload);
    let labels = endpoint.transport_labels.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    pb::LbEndpoint {
        health_status: health as i32,
        metadata: metadata([("istio", istio), ("amime", amime), (TRANSPORT_SOCKET_MATCH, text_struct(labels))]),
        load_balancing_weight: u32_value((endpoint.weight != 1).then_some(endpoint.weight)),
        host_identifier: Some(pb::lb_endpoint::HostIdentifier::Endpoint(pb::Endpoint {
            address: Some(address),
            hostname: endpoint.hostname.clone(),
            ..Default::default()
        })),
    }
}

/// Istio's one string, and the network, for which Istio has no place.
fn workload_to_pb(workload: &WorkloadIdentity) -> (Option<Struct>, Option<Struct>) {
    let WorkloadIdentity { workload, namespace, canonical_service, canonical_revision, cluster, network } = workload;
    let joined = [workload, namespace, canonical_service, canonical_revision, cluster].map(String::as_str);
    let istio = joined.iter().any(|part| !part.is_empty()).then(|| joined.join(";"));
    (
        text_struct(istio.as_deref().map(|joined| ("workload", joined))),
        text_struct((!network.is_empty()).then_some(("network", network.as_str()))),
    )
}

pub(crate) fn from_pb(assignment: pb::ClusterLoadAssignment) -> Result<ClusterEndpoints, DecodeError> {
    let localities = assignment.endpoints.into_iter().enumerate().map(|(i, locality)| {
        let Some(pb::locality_lb_endpoints::LbConfig::LedsClusterLocalityConfig(_)) = locality.lb_config else {
            return locality_from_pb(locality, i);
        };
        Err(field(format!("endpoints[{i}]"), "LEDS is not understood"))
    });
    Ok(ClusterEndpoints {
        cluster: assignment.cluster_name,
        localities: localities.collect::<Result<_, _>>()?,
        overprovisioning_factor: assignment.policy.and_then(|p| p.overprovisioning_factor).map(|f| f.value),
    })
}

fn locality_from_pb(locality: pb::LocalityLbEndpoints, index: usize) -> Result<LocalityEndpoints, DecodeError> {
    let at = format!("endpoints[{index}]");
    #[allow(deprecated, reason = "it is still read")]
    let listed = match locality.lb_config {
        Some(pb::locality_lb_endpoints::LbConfig::LoadBalancerEndpoints(list)) => list.lb_endpoints,
        _ => Vec::new(),
    };
    let endpoints = locality.lb_endpoints.into_iter().chain(listed);
    let core::Locality { region, zone, sub_zone } = locality.locality.unwrap_or_default();
    Ok(LocalityEndpoints {
        locality: Locality { region, zone, sub_zone },
        priority: locality.priority,
        weight: locality.load_balancing_weight.map(|w| w.value),
        endpoints: endpoints.map(|e| endpoint_from_pb(e, &at)).collect::<Result<_, _>>()?,
    })
}

fn endpoint_from_pb(endpoint: pb::LbEndpoint, at: &str) -> Result<Endpoint, DecodeError> {
    let health = match endpoint.health_status() {
        core::HealthStatus::Unknown => Health::Unknown,
        core::HealthStatus::Healthy => Health::Healthy,
        core::HealthStatus::Unhealthy => Health::Unhealthy,
        core::HealthStatus::Draining => Health::Draining,
        core::HealthStatus::Timeout => Health::Timeout,
        core::HealthStatus::Degraded => Health::Degraded,
    };
    let host = match endpoint.host_identifier {
        Some(pb::lb_endpoint::HostIdentifier::Endpoint(host)) => host,
        Some(pb::lb_endpoint::HostIdentifier::EndpointName(name)) => {
            return Err(field(at, format!("the named endpoint {name} is not understood")));
        }
        None => return Err(field(at, "an endpoint without an address")),
    };
    let metadata = endpoint.metadata.as_ref();
    let labels = part(metadata, TRANSPORT_SOCKET_MATCH).map(labels_from_pb).unwrap_or_default();
    Ok(Endpoint {
        address: address_from_pb(host.address, at)?,
        weight: endpoint.load_balancing_weight.map_or(1, |w| w.value),
        health,
        hostname: host.hostname,
        workload: workload_from_pb(part(metadata, "istio"), part(metadata, "amime")),
        transport_labels: labels,
    })
}

fn address_from_pb(address: Option<core::Address>, at: &str) -> Result<EndpointAddress, DecodeError> {
    use core::address::Address;
    match address.and_then(|a| a.address) {
        Some(Address::SocketAddress(socket)) => {
            let (host, port) = host_port(&socket, at)?;
            Ok(match host.parse::<IpAddr>() {
                Ok(ip) => EndpointAddress::Socket(SocketAddr::new(ip, port)),
                Err(_) => EndpointAddress::Name { host, port },
            })
        }
        Some(Address::Pipe(pipe)) => Ok(EndpointAddress::Pipe(pipe.path)),
        Some(Address::EnvoyInternalAddress(internal)) => {
            use core::envoy_internal_address::AddressNameSpecifier::ServerListenerName;
            let Some(ServerListenerName(listener)) = internal.address_name_specifier else {
                return Err(field(at, "an internal address without a listener"));
            };
            Ok(EndpointAddress::Internal { listener, endpoint_id: internal.endpoint_id })
        }
        None => Err(field(at, "an endpoint without an address")),
    }
}

/// Labels in order of their names. Values that are no strings read as Envoy would print them.
pub(crate) fn labels_from_pb(fields: &Struct) -> Vec<(String, String)> {
    let value = |value: &Value| match &value.kind {
        Some(Kind::StringValue(text)) => text.clone(),
        Some(Kind::BoolValue(value)) => value.to_string(),
        Some(Kind::NumberValue(value)) => value.to_string(),
        _ => String::new(),
    };
    let mut labels: Vec<_> = fields.fields.iter().map(|(k, v)| (k.clone(), value(v))).collect();
    labels.sort_unstable();
    labels
}

fn workload_from_pb(istio: Option<&Struct>, amime: Option<&Struct>) -> WorkloadIdentity {
    let get = |fields: Option<&Struct>, key| {
        fields.and_then(|f| f.fields.get(key)).and_then(as_text).unwrap_or_default().to_owned()
    };
    let joined = get(istio, "workload");
    let mut parts = joined.split(';').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    WorkloadIdentity {
        workload: next(),
        namespace: next(),
        canonical_service: next(),
        canonical_revision: next(),
        cluster: next(),
        network: get(amime, "network"),
    }
}
