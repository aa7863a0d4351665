//! ServiceEntries: TCP ports without an address (IST0134), and hosts whose protocol is told in two ways (IST0177).

use crate::analyze::world::{World, about, full_name, scopes};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::{Object, ResourceId};
use crate::yaml::{Node, View};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) fn addresses(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    if addresses_are_allocated(world) {
        return;
    }
    for (object, entry) in world.service_entries() {
        if !entry.addresses.is_empty() || has_allocated(object) {
            continue;
        }
        for (index, port) in entry.ports.iter().enumerate() {
            if port.protocol.is_empty() || port.protocol.eq_ignore_ascii_case("TCP") {
                let message = format!("port {} is TCP, and the entry has no addresses to tell it by", port.number);
                let field = format!("spec.ports[{index}].name");
                found.push(about(codes::ADDRESSES_REQUIRED, object, &field, message));
            }
        }
    }
}

/// Whether sidecars answer DNS and give entries addresses of their own.
fn addresses_are_allocated(world: &World<'_>) -> bool {
    let is_on = |key: &str| world.mesh.default_config.proxy_metadata.get(key).is_some_and(|value| value == "true");
    is_on("ISTIO_META_DNS_CAPTURE") && (is_on("ISTIO_META_DNS_AUTO_ALLOCATE") || is_on("PILOT_ENABLE_IP_AUTOALLOCATE"))
}

/// Whether the control plane has written addresses into the status.
fn has_allocated(object: &Object) -> bool {
    let status = object.source.as_ref().and_then(|source| source.root().get("status"));
    let addresses = status.and_then(|status| status.get("addresses")).map(Node::view);
    matches!(addresses, Some(View::Sequence(items)) if items.len() > 0)
}

/// A port of a host, as a namespace sees it.
type Claim<'a> = (String, &'a str, u32);

pub(super) fn protocols(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let mut claims: BTreeMap<Claim<'_>, Vec<(String, &Arc<Object>)>> = BTreeMap::new();
    for (object, entry) in world.service_entries() {
        for scope in scopes(&entry.export_to, &object.id.namespace) {
            for (host, port) in entry.hosts.iter().flat_map(|host| entry.ports.iter().map(move |port| (host, port))) {
                let claim = (scope.clone(), host.as_str(), port.number);
                claims.entry(claim).or_default().push((port.protocol.to_ascii_uppercase(), object));
            }
        }
    }
    let mut told: BTreeSet<&ResourceId> = BTreeSet::new();
    for ((scope, host, port), own) in &claims {
        let public = claims.get(&("*".to_owned(), *host, *port)).filter(|_| scope != "*");
        let all: Vec<_> = own.iter().chain(public.into_iter().flatten()).collect();
        let protocols: BTreeSet<&str> = all.iter().map(|(protocol, _)| protocol.as_str()).collect();
        if protocols.len() < 2 {
            continue;
        }
        let names: BTreeSet<String> = all.iter().map(|(_, object)| full_name(object)).collect();
        let names: Vec<String> = names.into_iter().collect();
        for (_, object) in all.iter().filter(|(_, object)| told.insert(&object.id)) {
            let protocols: Vec<&str> = protocols.iter().copied().collect();
            let message =
                format!("port {port} of {host} is {} in the entries {}", protocols.join(" and "), names.join(", "));
            found.push(about(codes::ENTRIES_DISAGREE, object, "metadata.name", message));
        }
    }
}
