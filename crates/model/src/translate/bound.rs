//! Which VirtualServices a Gateway serves, and by which of its servers: what gateways would make of them, whoever runs
//! the gateway. The tools ask it of what no request can reach.

use super::gateway_merge::{MergedServer, merge};
use crate::snapshot::{GatewayObject, ResolvedVirtualService, Snapshot};
use std::sync::Arc;

/// A VirtualService at one server of a Gateway.
#[derive(Debug, Clone)]
pub(crate) struct Bound<'s> {
    pub virtual_service: &'s Arc<ResolvedVirtualService>,
    /// `namespace/name`.
    pub gateway: Arc<str>,
    /// Which server of all, in the order in which they are merged.
    pub server: usize,
    /// Servers of one name share their routes.
    pub routes: Arc<str>,
    /// As the Gateway writes it.
    pub port: u32,
    pub carries: Carries,
    /// What the two have in common.
    pub hosts: Vec<String>,
}

/// Which of a VirtualService's rules a server looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carries {
    Http,
    /// TLS that is ended here too.
    Tcp,
    /// TLS that is passed on, by the rules of `tls`.
    PassedTls,
    /// The mesh's own TLS: no rules at all.
    MeshTls,
}

impl Carries {
    fn of(server: &MergedServer) -> Self {
        if server.is_http() {
            Self::Http
        } else if server.is_auto_passthrough() {
            Self::MeshTls
        } else if server.is_passthrough() {
            Self::PassedTls
        } else {
            Self::Tcp
        }
    }
}

/// In the order of servers, and at each the oldest VirtualService first: without exportTo the order in which rules win.
pub(crate) fn bound<'s>(snapshot: &'s Snapshot, gateway: &GatewayObject) -> Vec<Bound<'s>> {
    let name: Arc<str> = format!("{}/{}", gateway.id.namespace, gateway.id.name).into();
    let merged = merge(&[gateway], &|_| None, &mut Vec::new());
    let mut found = Vec::new();
    for (index, server) in merged.groups.iter().flat_map(|group| &group.servers).enumerate() {
        let (carries, routes): (_, Arc<str>) = (Carries::of(server), server.routes.as_str().into());
        for virtual_service in snapshot.virtual_services_of(&name) {
            let hosts = server.common_hosts(&virtual_service.id.namespace, &virtual_service.hosts);
            if !hosts.is_empty() {
                let (gateway, routes, port) = (name.clone(), routes.clone(), server.number);
                found.push(Bound { virtual_service, gateway, server: index, routes, port, carries, hosts });
            }
        }
    }
    found
}
