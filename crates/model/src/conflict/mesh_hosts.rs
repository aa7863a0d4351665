//! VirtualServices of one host in the mesh: sidecars follow one of them and none of the others' rules. Istio's
//! IST0109, but told of the loser alone, and only where the two are for the same port and clients.

use super::{at, in_order, named, namespaces, some_of};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::ResourceId;
use crate::snapshot::{Health, Labels, ResolvedVirtualService, Snapshot, origin_of};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a VirtualService decides of its hosts, for whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    what: What,
    /// 0: every port.
    port: u32,
    /// Of clients; empty: all.
    namespace: String,
    labels: Labels,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Http,
    /// By subnets; none: all connections.
    Tcp(Vec<String>),
    Tls {
        sni: Vec<String>,
        subnets: Vec<String>,
    },
}

impl Claim {
    /// Does `self`, which comes first, leave nothing of `other` for some client?
    fn takes(&self, other: &Self) -> bool {
        let what = match (&self.what, &other.what) {
            (What::Http, What::Http) => true,
            (What::Tcp(first), What::Tcp(second)) => first.is_empty() || first == second,
            (first @ What::Tls { .. }, second @ What::Tls { .. }) => first == second,
            _ => false,
        };
        let agree = |(key, value): (&String, &String)| other.labels.get(key).is_none_or(|other| other == value);
        what && (self.port == 0 || other.port == 0 || self.port == other.port)
            && (self.namespace.is_empty() || other.namespace.is_empty() || self.namespace == other.namespace)
            && self.labels.iter().all(agree)
    }
}

/// Who loses against whom, with the hosts and the clients' namespaces of which that is so; None: all others.
type Lost = BTreeMap<(ResourceId, ResourceId), (BTreeSet<String>, BTreeSet<Option<String>>)>;

pub(super) fn find(snapshot: &Snapshot) -> Vec<Diagnostic> {
    let mut by_host: BTreeMap<String, Vec<&Arc<ResolvedVirtualService>>> = BTreeMap::new();
    for vs in snapshot.virtual_services().iter().filter(|vs| vs.gateways.iter().any(|g| g == "mesh")) {
        let hosts: BTreeSet<_> = vs.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        hosts.into_iter().for_each(|host| by_host.entry(host).or_default().push(vs));
    }
    by_host.retain(|_, all| all.len() > 1);
    let mut claims: BTreeMap<&ResourceId, BTreeSet<Claim>> = BTreeMap::new();
    for vs in by_host.values().flatten() {
        claims.entry(&vs.id).or_insert_with(|| claims_of(vs));
    }
    let mut lost = Lost::new();
    for (host, all) in &by_host {
        for namespace in namespaces(all.iter().map(|vs| &vs.export_to)) {
            let order = in_order(all, namespace.as_deref());
            for (index, loser) in order.iter().enumerate() {
                let takes = |first: &&&Arc<ResolvedVirtualService>| {
                    claims[&first.id].iter().any(|one| claims[&loser.id].iter().any(|other| one.takes(other)))
                };
                if let Some(winner) = order[..index].iter().find(takes) {
                    let (hosts, clients) = lost.entry((loser.id.clone(), winner.id.clone())).or_default();
                    hosts.insert(host.clone());
                    clients.insert(namespace.clone());
                }
            }
        }
    }
    lost.iter().map(|((loser, winner), (hosts, clients))| told(snapshot, loser, winner, hosts, clients)).collect()
}

fn told(
    snapshot: &Snapshot,
    loser: &ResourceId,
    winner: &ResourceId,
    hosts: &BTreeSet<String>,
    clients: &BTreeSet<Option<String>>,
) -> Diagnostic {
    // Where all others are among them, so is everybody who is not named for a reason of their own.
    let clients: Vec<_> = if clients.contains(&None) { Vec::new() } else { clients.iter().flatten().collect() };
    let (whose, rule) = match clients.as_slice() {
        [] => (String::new(), "the oldest goes first, and by name where none tells its age"),
        some => (
            format!(" for clients in {}", some_of(some.iter().map(|n| n.as_str()))),
            "one that is exported to some namespaces alone goes before one for all, then the oldest",
        ),
    };
    let message = format!(
        "{} of the mesh belongs to {} already{whose}, so that the rules here are not used for it: of several \
         VirtualServices for a host in the mesh one counts, {rule}",
        some_of(hosts.iter().map(String::as_str)),
        named(snapshot, &origin_of(winner, ""))
    );
    let finding = Diagnostic::error(codes::MESH_HOST_TAKEN, message);
    at(snapshot, finding, &origin_of(loser, "spec.hosts"))
}

fn claims_of(vs: &ResolvedVirtualService) -> BTreeSet<Claim> {
    let all = |what: What| Claim { what, port: 0, namespace: String::new(), labels: Labels::new() };
    let in_mesh = |gateways: &[String]| gateways.is_empty() || gateways.iter().any(|g| g == "mesh");
    let mut claims = BTreeSet::new();
    for rule in &vs.http {
        if rule.health == Health::BrokenMatch || rule.route.matches.is_empty() {
            claims.insert(all(What::Http));
        }
        for m in rule.route.matches.iter().filter(|m| in_mesh(&m.gateways)) {
            // A match that names gateways is for all clients of these.
            let (namespace, labels) = match m.gateways.is_empty() {
                true => (m.source_namespace.clone(), m.source_labels.clone()),
                false => (String::new(), Labels::new()),
            };
            claims.insert(Claim { what: What::Http, port: m.port, namespace, labels });
        }
    }
    for rule in &vs.tcp {
        if rule.health == Health::BrokenMatch || rule.route.matches.is_empty() {
            claims.insert(all(What::Tcp(Vec::new())));
        }
        for m in rule.route.matches.iter().filter(|m| in_mesh(&m.gateways)) {
            let (namespace, labels) = (m.source_namespace.clone(), m.source_labels.clone());
            claims.insert(Claim { what: What::Tcp(m.destination_subnets.clone()), port: m.port, namespace, labels });
        }
    }
    for rule in &vs.tls {
        for m in rule.route.matches.iter().filter(|m| in_mesh(&m.gateways)) {
            let what = What::Tls { sni: m.sni_hosts.clone(), subnets: m.destination_subnets.clone() };
            let (namespace, labels) = (m.source_namespace.clone(), m.source_labels.clone());
            claims.insert(Claim { what, port: m.port, namespace, labels });
        }
    }
    claims
}
