//! Listeners and filter chains.

use super::common::{
    address, bool_value, duration, field, from_address, from_duration, is_true, opaque_message, set_if, u32_value,
};
use super::filters::{listener_filter_from_pb, listener_filter_to_pb, network_filter_from_pb, network_filter_to_pb};
use super::origin::{from_origin, from_origins, of_origin, of_origins};
use super::{access_log, tls};
use crate::decode::DecodeError;
use amime_model::config::{Direction, FilterChain, FilterChainMatch, Listener, Opaque};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::listener::v3 as pb;
use ipnet::IpNet;
use std::net::IpAddr;

pub(crate) fn to_pb(listener: &Listener) -> pb::Listener {
    let direction = match listener.direction {
        Direction::Unspecified => core::TrafficDirection::Unspecified,
        Direction::Inbound => core::TrafficDirection::Inbound,
        Direction::Outbound => core::TrafficDirection::Outbound,
    };
    pb::Listener {
        name: listener.name.clone(),
        address: Some(address(listener.address)),
        additional_addresses: listener
            .additional_addresses
            .iter()
            .map(|a| pb::AdditionalAddress { address: Some(address(*a)), ..Default::default() })
            .collect(),
        bind_to_port: bool_value((!listener.bind_to_port).then_some(false)),
        traffic_direction: direction as i32,
        listener_filters: listener.listener_filters.iter().map(listener_filter_to_pb).collect(),
        listener_filters_timeout: duration(listener.listener_filters_timeout),
        continue_on_listener_filters_timeout: listener.continue_on_timeout,
        use_original_dst: set_if(listener.use_original_dst),
        filter_chains: listener.filter_chains.iter().map(chain_to_pb).collect(),
        default_filter_chain: listener.default_filter_chain.as_deref().map(chain_to_pb),
        metadata: of_origins(&listener.origins, None),
        access_log: access_log::to_pb(&listener.access_log),
        ..Default::default()
    }
}

fn chain_to_pb(chain: &FilterChain) -> pb::FilterChain {
    pb::FilterChain {
        name: chain.name.clone(),
        filter_chain_match: match_to_pb(&chain.matches),
        transport_socket: tls::downstream_to_pb(chain.tls.as_ref(), chain.opaque_transport.as_ref()),
        filters: chain.filters.iter().map(network_filter_to_pb).collect(),
        metadata: of_origin(chain.origin.as_ref()),
        ..Default::default()
    }
}

fn match_to_pb(matches: &FilterChainMatch) -> Option<pb::FilterChainMatch> {
    let ranges = |ranges: &[IpNet]| {
        let range = |range: &IpNet| core::CidrRange {
            address_prefix: range.addr().to_string(),
            prefix_len: u32_value(Some(range.prefix_len().into())),
        };
        ranges.iter().map(range).collect()
    };
    (*matches != FilterChainMatch::default()).then(|| pb::FilterChainMatch {
        destination_port: u32_value(matches.destination_port.map(u32::from)),
        prefix_ranges: ranges(&matches.prefix_ranges),
        source_prefix_ranges: ranges(&matches.source_prefix_ranges),
        server_names: matches.server_names.clone(),
        transport_protocol: matches.transport_protocol.clone(),
        application_protocols: matches.application_protocols.clone(),
        ..Default::default()
    })
}

pub(crate) fn from_pb(listener: pb::Listener) -> Result<Listener, DecodeError> {
    if listener.filter_chain_matcher.is_some() || listener.fcds_config.is_some() {
        return Err(field("filter_chain_matcher", "not understood"));
    }
    let direction = match listener.traffic_direction() {
        core::TrafficDirection::Unspecified => Direction::Unspecified,
        core::TrafficDirection::Inbound => Direction::Inbound,
        core::TrafficDirection::Outbound => Direction::Outbound,
    };
    let additional = listener.additional_addresses.into_iter();
    let filters = listener.listener_filters.into_iter();
    Ok(Listener {
        name: listener.name,
        address: from_address(listener.address, "address")?,
        additional_addresses: additional
            .map(|a| from_address(a.address, "additional_addresses"))
            .collect::<Result<_, _>>()?,
        bind_to_port: listener.bind_to_port.is_none_or(|b| b.value),
        direction,
        listener_filters: filters.map(listener_filter_from_pb).collect(),
        listener_filters_timeout: from_duration(listener.listener_filters_timeout),
        continue_on_timeout: listener.continue_on_listener_filters_timeout,
        use_original_dst: is_true(listener.use_original_dst),
        filter_chains: listener.filter_chains.into_iter().map(chain_from_pb).collect::<Result<_, _>>()?,
        default_filter_chain: listener.default_filter_chain.map(chain_from_pb).transpose()?.map(Box::new),
        origins: from_origins(listener.metadata.as_ref()),
        access_log: access_log::from_pb(listener.access_log)?,
    })
}

fn chain_from_pb(chain: pb::FilterChain) -> Result<FilterChain, DecodeError> {
    let transport = tls::downstream_from_pb(chain.transport_socket.as_ref())?;
    let matches = chain.filter_chain_match.unwrap_or_default();
    let opaque_match = opaque_match(&matches);
    let filters = chain.filters.into_iter();
    Ok(FilterChain {
        name: chain.name,
        matches: match_from_pb(matches)?,
        tls: transport.tls,
        opaque_transport: opaque_match.or(transport.opaque),
        filters: filters.map(network_filter_from_pb).collect::<Result<_, _>>()?,
        origin: from_origin(chain.metadata.as_ref()),
    })
}

/// A chain that is also chosen by what is not looked at here must not take connections that were not meant
/// for it: it refuses them.
fn opaque_match(matches: &pb::FilterChainMatch) -> Option<Opaque> {
    let more = !matches.direct_source_prefix_ranges.is_empty()
        || !matches.source_ports.is_empty()
        || !matches.address_suffix.is_empty()
        || matches.suffix_len.is_some()
        || matches.source_type != 0;
    more.then(|| opaque_message("filter_chain_match", matches))
}

fn match_from_pb(matches: pb::FilterChainMatch) -> Result<FilterChainMatch, DecodeError> {
    let port = matches.destination_port.map(|p| u16::try_from(p.value)).transpose();
    Ok(FilterChainMatch {
        destination_port: port.map_err(|_| field("destination_port", "not a port"))?,
        prefix_ranges: ranges_from_pb(matches.prefix_ranges)?,
        source_prefix_ranges: ranges_from_pb(matches.source_prefix_ranges)?,
        server_names: matches.server_names,
        transport_protocol: matches.transport_protocol,
        application_protocols: matches.application_protocols,
    })
}

fn ranges_from_pb(ranges: Vec<core::CidrRange>) -> Result<Vec<IpNet>, DecodeError> {
    let range = |range: core::CidrRange| {
        let bad = || field("prefix_ranges", format!("{:?} is not a range", range.address_prefix));
        let ip: IpAddr = range.address_prefix.parse().map_err(|_| bad())?;
        // Envoy's default is 0: every address.
        let length = u8::try_from(range.prefix_len.map_or(0, |l| l.value)).map_err(|_| bad())?;
        IpNet::new(ip, length).map_err(|_| bad())
    };
    ranges.into_iter().map(range).collect()
}
