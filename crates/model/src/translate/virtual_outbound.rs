//! The listener at which all of an application's connections arrive, to be handed on by their original destination.

use super::names;
use super::node::{Interception, LocalScope};
use super::outbound::{catch_all, to_cluster_chain};
use super::view::View;
use crate::config::{Direction, Listener, ListenerFilter};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub(super) fn build(view: &View<'_>, local: &LocalScope) -> Listener {
    let port = u16::try_from(view.snapshot.mesh.proxy_listen_port).unwrap_or(15001);
    let (address, filter) = match (local.interception, &local.place) {
        (Interception::ProxyProtocol, Some(place)) => (place.pod_ip, ListenerFilter::ProxyProtocol),
        _ => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), ListenerFilter::OriginalDst),
    };
    Listener {
        direction: Direction::Outbound,
        listener_filters: vec![filter],
        use_original_dst: true,
        filter_chains: vec![
            // A connection to the listener itself would come back to it for ever.
            to_cluster_chain(view, "virtualOutbound-blackhole", names::BLACK_HOLE_CLUSTER.to_string(), Some(port)),
            catch_all(view, "virtualOutbound-catchall-tcp"),
        ],
        access_log: super::log::of_listener(&view.snapshot.mesh),
        ..Listener::new(names::VIRTUAL_OUTBOUND, SocketAddr::new(address, port))
    }
}
