//! Services that sidecars would have to listen for at the same address and port: TCP services without an address of
//! their own, and servers that speak first, whose protocol cannot be detected beside another's.

use super::{at, named, namespaces, sees};
use crate::config::Origin;
use crate::diagnostic::{Diagnostic, codes};
use crate::protocol::{ListenerProtocol, Protocol};
use crate::snapshot::{Service, ServiceAddress, Snapshot};
use crate::translate::{Reason, listener_exclusions};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) fn find(snapshot: &Snapshot) -> Vec<Diagnostic> {
    // With the mesh's DNS a ServiceEntry without addresses gets one, and some conflicts are none.
    let up = snapshot.pods().any(|pod| pod.placement().is_some());
    let captured = excluded(snapshot, true);
    let all = if up { captured.clone() } else { excluded(snapshot, false) };
    let mut found = Vec::new();
    for ((loser, listener), winner) in all {
        let remedy = match captured.contains_key(&(loser.clone(), listener.clone())) {
            true => "give it an address, another port, or only one of them the port's visibility (exportTo)",
            false => "give it an address, or capture DNS in the proxies, so that it gets one",
        };
        let message = format!(
            "sidecars do not listen for it at {listener}, which belongs to {} already: connections that only their \
             address could tell apart go to the oldest service; {remedy}",
            named(snapshot, &winner)
        );
        found.push(at(snapshot, Diagnostic::error(codes::LISTENER_TAKEN, message), &loser));
    }
    found
}

/// The loser and its listener, with the winner.
fn excluded(snapshot: &Snapshot, dns_capture: bool) -> BTreeMap<(Origin, String), Origin> {
    let all = suspects(snapshot.services().iter(), dns_capture);
    let mut found = BTreeMap::new();
    for namespace in namespaces(all.iter().map(|service| &service.export_to)) {
        let seen = all.iter().filter(|service| sees(namespace.as_deref(), &service.export_to));
        let seen = suspects(seen, dns_capture);
        if seen.is_empty() {
            continue;
        }
        for exclusion in listener_exclusions(snapshot, namespace.as_deref().unwrap_or(""), dns_capture, seen) {
            if let (Reason::ListenerTaken { listener }, Some(winner)) = (exclusion.reason, exclusion.winner)
                && winner != exclusion.origin
            {
                found.entry((exclusion.origin, listener)).or_insert(winner);
            }
        }
    }
    found
}

/// The services that share a listener with another, not all of them HTTP: only there can be conflicts.
fn suspects<'s>(services: impl Iterator<Item = &'s Arc<Service>> + Clone, dns_capture: bool) -> Vec<Arc<Service>> {
    let wildcard = String::new;
    let listener_of = |service: &Service, protocol: Protocol| match protocol.listener() {
        ListenerProtocol::Http => wildcard(),
        _ => match service.address_for(dns_capture) {
            ServiceAddress::Ip(ip) => ip.to_string(),
            ServiceAddress::Unspecified | ServiceAddress::Cidr(_) => wildcard(),
        },
    };
    // By listener: how many want it, and whether all of them are HTTP.
    let mut wanted: BTreeMap<(String, u32), (usize, bool)> = BTreeMap::new();
    let ports = |service: &'s Arc<Service>| {
        let ports = service.ports.iter().filter(|p| p.protocol.listener() != ListenerProtocol::Other);
        ports.map(|p| ((listener_of(service, p.protocol), p.number), p.protocol)).collect::<Vec<_>>()
    };
    for (key, protocol) in services.clone().flat_map(ports) {
        let (count, http) = wanted.entry(key).or_insert((0, true));
        *count += 1;
        *http &= protocol.listener() == ListenerProtocol::Http;
    }
    let shared: BTreeSet<_> =
        wanted.into_iter().filter(|(_, (count, http))| *count > 1 && !http).map(|(key, _)| key).collect();
    services.filter(|service| ports(service).iter().any(|(key, _)| shared.contains(key))).cloned().collect()
}
