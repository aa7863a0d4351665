//! The first hops at a proxy: the name that an application looks up, the listener, and at a gateway the Gateway server
//! that has the host.

use super::super::Target;
use super::super::walk::{Connection, missing_secrets};
use super::{By, Hop, Known, Lost, Stage, sidecar};
use crate::config::{FilterChain, Listener, Origin};
use crate::host::overlaps;
use crate::resource::gateway::Server;
use crate::snapshot::{GatewayObject, Registry, Snapshot, origin_of, selects};
use crate::translate::{NodeKind, names};
use std::net::IpAddr;

/// What the mesh's DNS says to a workload.
pub(super) fn dns(snapshot: &Snapshot, target: &Target, address: IpAddr, dialled: bool) -> Hop {
    if dialled {
        return Hop::new(Stage::Dns, format!("not asked: {address} is dialled"));
    }
    let service = snapshot.services().iter().find(|service| {
        let own = [Some(service.address), service.auto_address.map(crate::snapshot::ServiceAddress::Ip)];
        own.contains(&Some(crate::snapshot::ServiceAddress::Ip(address)))
    });
    let hop = Hop::new(Stage::Dns, format!("{} is {address}", target.host));
    match service {
        Some(service) if service.registry == Registry::Kubernetes => {
            let by = By::of(Some(snapshot), &origin_of(&service.id, ""));
            hop.by(Some(by)).detail("a look-up alone: the sidecar sends the request to a pod, not to this address")
        }
        Some(service) => hop.by(Some(By::of(Some(snapshot), &origin_of(&service.id, "")))),
        None => hop,
    }
}

pub(super) fn hop(known: &Known<'_>, connection: &Connection, target: &Target, listener: &Listener) -> Hop {
    match (connection.kind, known.snapshot, known.pod) {
        (NodeKind::Gateway, Some(snapshot), Some(pod)) => {
            let chosen: Vec<_> =
                snapshot.gateways().iter().filter(|g| selects(&g.spec.selector, &pod.labels)).collect();
            gateway(known, snapshot, &chosen, target, listener)
        }
        (NodeKind::Gateway, _, _) => {
            let hop = Hop::new(Stage::Gateway, format!("listener {}", listener.name));
            hop.by(listener.origins.first().map(|origin| By::of(None, origin)))
        }
        (NodeKind::Sidecar, _, _) => {
            let hop = sidecar_hop(known, connection, listener);
            match known.snapshot.zip(known.pod).and_then(|(snapshot, pod)| sidecar::why_none(snapshot, pod)) {
                Some(why) => hop.detail(format!("taken as if the client had a sidecar; it has none: {why}")),
                None => hop,
            }
        }
    }
}

fn sidecar_hop(known: &Known<'_>, connection: &Connection, listener: &Listener) -> Hop {
    if listener.name == names::VIRTUAL_OUTBOUND {
        return Hop::new(Stage::Listener, format!("the client's sidecar: {} (nobody listens for it)", listener.name))
            .detail(format!("no service that the client sees has port {}", connection.destination.port()));
    }
    let hop = Hop::new(Stage::Listener, format!("the client's sidecar: {}", listener.name));
    match listener.origins.first() {
        Some(only) if !listener.address.ip().is_unspecified() => hop.by(Some(By::of(known.snapshot, only))),
        _ => hop.detail("the services of the port share it; the request's host decides"),
    }
}

/// Where TLS is ended, each server has a chain of its own.
pub(super) fn narrow(known: &Known<'_>, connection: &Connection, chain: &FilterChain, hops: &mut [Hop]) {
    let (Some(hop), Some(origin)) = (hops.last_mut(), &chain.origin) else { return };
    if connection.kind == NodeKind::Gateway && chain.tls.is_some() {
        let by = By::of(known.snapshot, origin);
        hop.lost.retain(|lost| lost.by != by);
        hop.by = Some(by);
        if let Some(server) = known.snapshot.and_then(|snapshot| server_of(snapshot, origin)) {
            hop.what = titled(server);
        }
        hop.details.push("ends TLS".to_string());
        let there = if connection.has_all_secrets { "is not there" } else { "is not in these files" };
        hop.details.extend(missing_secrets(known.config, chain).map(|name| format!("Secret {name} {there}")));
    }
}

/// The server whose hosts have the request's; all servers of a port share its listener.
fn gateway(
    known: &Known<'_>,
    snapshot: &Snapshot,
    chosen: &[&GatewayObject],
    target: &Target,
    listener: &Listener,
) -> Hop {
    let mut hop = Hop::new(Stage::Gateway, format!("listener {}", listener.name));
    for gateway in chosen {
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let origin = origin_of(&gateway.id, format!("spec.servers[{index}]"));
            let by = By::of(Some(snapshot), &origin);
            let lost = known.exclusions.iter().find(|e| e.origin == origin);
            let why = match lost {
                Some(exclusion) => {
                    let winner = exclusion.winner.as_ref().map(|winner| format!(": {winner}")).unwrap_or_default();
                    format!("{}{winner}", exclusion.reason)
                }
                None if !is_on(server, listener) => continue,
                None if !has_host(server, &target.host) => {
                    format!("its hosts ({}) are not {}", server.hosts.join(", "), target.host)
                }
                None if hop.by.is_none() => {
                    hop.what = titled(server);
                    hop.by = Some(by);
                    continue;
                }
                None => "shares the port; its VirtualServices count too".to_string(),
            };
            hop.lost.push(Lost { by, why });
        }
    }
    if hop.by.is_none() {
        hop.details.push(format!("no server of this port has the host {}", target.host));
    }
    hop
}

fn titled(server: &Server) -> String {
    let port = server.port.as_ref().map_or_else(String::new, |p| format!("port {} {}", p.number, p.protocol));
    format!("{port}, hosts {}", server.hosts.join(", "))
}

/// The server that an origin names.
fn server_of<'s>(snapshot: &'s Snapshot, origin: &Origin) -> Option<&'s Server> {
    let is_own = |g: &&GatewayObject| *g.id.namespace == *origin.namespace && *g.id.name == *origin.name;
    let gateway = snapshot.gateways().iter().find(is_own)?;
    let mut servers = gateway.spec.servers.iter().enumerate();
    servers.find(|(index, _)| origin.path == format!("spec.servers[{index}]")).map(|(_, server)| server)
}

/// A listener is named after the port that its servers write, or after what a Service makes of that.
fn is_on(server: &Server, listener: &Listener) -> bool {
    let Some(port) = &server.port else { return false };
    let written = listener.name.rsplit_once('_').is_some_and(|(_, number)| number == port.number.to_string());
    let opened = u32::from(listener.address.port()) == port.number;
    written || opened || listener.origins.iter().any(|origin| origin.path.starts_with("spec.servers"))
}

/// Hosts may have a namespace before them.
pub(in super::super) fn has_host(server: &Server, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let bare =
        |written: &String| written.split_once('/').map_or(written.as_str(), |(_, host)| host).to_ascii_lowercase();
    server.hosts.iter().map(bare).any(|written| overlaps(&written, &host))
}
