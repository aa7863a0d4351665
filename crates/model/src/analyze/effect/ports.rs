//! AM-E4: ports of which sidecars do not look at requests, so that rules of HTTP do nothing there. `effect` calls it.

use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::Kind;
use crate::snapshot::{Health, ResolvedVirtualService, Service, ServicePort, Snapshot};
use std::sync::Arc;

pub(super) fn find(world: &World<'_>, snapshot: &Snapshot, found: &mut Vec<Diagnostic>) {
    let in_mesh = |vs: &&Arc<ResolvedVirtualService>| vs.gateways.iter().any(|gateway| gateway == "mesh");
    // Of rules that could not be read nobody knows whether they are of HTTP.
    let has_rules = |vs: &&Arc<ResolvedVirtualService>| vs.http.iter().any(|rule| rule.health != Health::BrokenMatch);
    for vs in snapshot.virtual_services().iter().filter(in_mesh).filter(has_rules) {
        let Some(object) = world.find(Kind::VirtualService, &vs.id.namespace, &vs.id.name) else { continue };
        let services = |host: &String| snapshot.services_of_host(host).into_iter().flat_map(|of| of.values());
        let mut all_plain = None;
        for host in &vs.hosts {
            let mut ports = services(host).flat_map(|service| &service.ports).peekable();
            if ports.peek().is_some() && ports.all(|port| !port.protocol.may_be_http()) {
                all_plain.get_or_insert(host);
            }
        }
        if let Some(host) = all_plain {
            let ports: Vec<String> = services(host).flat_map(|service| service.ports.iter().map(named)).collect();
            let message = format!(
                "{host} has {} alone: sidecars forward its connections and look at no request, so that the rules are not \
                 used for it",
                ports.join(", ")
            );
            found.push(about(codes::PORT_IS_NOT_HTTP, object, "spec.http", message));
            continue;
        }
        let of_port = |number: u32| vs.hosts.iter().flat_map(services).find_map(|service| plain(service, number));
        let rules =
            vs.http.iter().filter(|rule| rule.health == Health::Sound && !rule.origin.path.contains(".delegate"));
        for rule in rules {
            for (index, m) in rule.route.matches.iter().enumerate().filter(|(_, m)| m.port != 0) {
                let named_mesh = m.gateways.is_empty() || m.gateways.iter().any(|gateway| gateway == "mesh");
                let only_mesh = vs.gateways.len() == 1 || m.gateways.len() == 1;
                let has_http = vs
                    .hosts
                    .iter()
                    .flat_map(services)
                    .any(|service| service.port(m.port).is_some_and(|port| port.protocol.may_be_http()));
                if let Some(port) = of_port(m.port).filter(|_| named_mesh && only_mesh && !has_http) {
                    let field = format!("{}.match[{index}].port", rule.origin.path);
                    let message = format!("{port}: sidecars look at no request there, so that this matches none");
                    found.push(about(codes::PORT_IS_NOT_HTTP, object, &field, message));
                }
            }
        }
    }
}

/// The port of a service, where it is not HTTP.
fn plain(service: &Arc<Service>, number: u32) -> Option<String> {
    let port = service.port(number).filter(|port| !port.protocol.may_be_http())?;
    Some(format!("{} has {}", service.host, named(port)))
}

/// `port 9080 (tcp-web, which is TCP)`.
fn named(port: &ServicePort) -> String {
    let name = if port.name.is_empty() { "no name" } else { &port.name };
    format!("port {} ({name}: {})", port.number, format!("{:?}", port.protocol).to_ascii_uppercase())
}
