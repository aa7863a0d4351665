//! Servers of several Gateways that want the same host and port of the same pods (IST0145).

use crate::analyze::world::{World, about, full_name, selector_text};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::gateway::Server;
use crate::resource::{Gateway, Object};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Holder<'a> = (&'a Arc<Object>, &'a Gateway, &'a Server);

pub(in crate::analyze::istio) fn find(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let mut holders: BTreeMap<(u32, &str, &str), Vec<Holder<'_>>> = BTreeMap::new();
    for (object, gateway) in world.gateways() {
        for server in &gateway.servers {
            for host in &server.hosts {
                let claim = (port_of(server), server.bind.as_str(), host.as_str());
                holders.entry(claim).or_default().push((object, gateway, server));
            }
        }
    }
    for (object, gateway) in world.gateways() {
        for (index, server) in gateway.servers.iter().enumerate() {
            let claims = server.hosts.iter().map(|host| (port_of(server), server.bind.as_str(), host.as_str()));
            let others: BTreeSet<String> = claims
                .filter_map(|claim| holders.get(&claim))
                .flatten()
                .filter(|(other, of, _)| other.id != object.id && share_pods(world, gateway, of))
                .map(|(other, ..)| full_name(other))
                .collect();
            if !others.is_empty() {
                let others: Vec<String> = others.into_iter().collect();
                let message = format!(
                    "Gateway {} wants port {} and a host of {} of the pods with {} too",
                    others.join(", "),
                    port_of(server),
                    server.hosts.join(", "),
                    selector_text(&gateway.selector)
                );
                found.push(about(codes::GATEWAYS_IN_CONFLICT, object, &format!("spec.servers[{index}]"), message));
            }
        }
    }
}

fn port_of(server: &Server) -> u32 {
    server.port.as_ref().map_or(0, |port| port.number)
}

/// Whether some pod follows both.
fn share_pods(world: &World<'_>, one: &Gateway, other: &Gateway) -> bool {
    let chosen_by_other =
        |labels: &crate::resource::Map| other.selector.iter().all(|(key, value)| labels.get(key) == Some(value));
    one.selector == other.selector || world.pods.matching(&one.selector).any(|pod| chosen_by_other(pod.labels))
}
