//! Who sends requests: one of each group of clients whose proxies have the same configuration on both sides.

use crate::config::DnsFamily;
use crate::explain::Explainer;
use crate::resource::{Kind, Object};
use crate::snapshot::{Pod, Snapshot, selects};
use crate::translate::{NodeKind, Scope, SharedScope, Translation};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// From outside, whatever gateway it comes to.
pub(super) const INTERNET: &str = "internet";

/// A group of clients.
pub(super) struct Client {
    /// As `Question::from` has it: the first of the group.
    pub from: String,
    pub kind: NodeKind,
    /// All of the group, likewise.
    pub members: BTreeSet<String>,
    pub namespaces: BTreeSet<String>,
    /// None: it is not there, or comes to no certain proxy.
    before: Option<Scope>,
    after: Option<Scope>,
}

impl Client {
    pub(super) fn translations(
        &self,
        before: &mut Explainer<'_>,
        after: &mut Explainer<'_>,
    ) -> (Option<Arc<Translation>>, Option<Arc<Translation>>) {
        let of = |explainer: &mut Explainer<'_>, scope: &Option<Scope>| {
            scope.as_ref().map(|scope| explainer.translation(scope))
        };
        (of(before, &self.before), of(after, &self.after))
    }
}

/// Namespace and workload, with a pod of it.
type Workloads = BTreeMap<(String, String), Arc<Pod>>;

/// From outside first, then gateways, then workloads, then whoever is in a namespace.
pub(super) fn all(
    before: &Snapshot,
    after: &Snapshot,
    asked_before: &Explainer<'_>,
    asked_after: &Explainer<'_>,
) -> Vec<Client> {
    let (one, other) = (workloads(before), workloads(after));
    let mut clients = Vec::new();
    let names: BTreeSet<_> = one.gateways.keys().chain(other.gateways.keys()).collect();
    if !names.is_empty() {
        clients.push(Client {
            from: INTERNET.to_owned(),
            kind: NodeKind::Gateway,
            members: BTreeSet::from([INTERNET.to_owned()]),
            namespaces: BTreeSet::new(),
            before: None,
            after: None,
        });
    }
    for (namespace, name) in names {
        let key = (namespace.clone(), name.clone());
        let from = format!("gateway {namespace}/{name}");
        clients.push(Client {
            members: BTreeSet::from([from.clone()]),
            from,
            kind: NodeKind::Gateway,
            namespaces: BTreeSet::new(),
            before: one.gateways.get(&key).map(|pod| asked_before.scope_of(pod, NodeKind::Gateway)),
            after: other.gateways.get(&key).map(|pod| asked_after.scope_of(pod, NodeKind::Gateway)),
        });
    }
    let mut by_scope: HashMap<(SharedScope, SharedScope), usize> = HashMap::new();
    let mut add = |from: String, namespace: &str, scopes: (Scope, Scope)| {
        let key = (without_dns(&scopes.0.shared), without_dns(&scopes.1.shared));
        let index = *by_scope.entry(key).or_insert_with(|| {
            clients.push(Client {
                from: from.clone(),
                kind: NodeKind::Sidecar,
                members: BTreeSet::new(),
                namespaces: BTreeSet::new(),
                before: Some(scopes.0),
                after: Some(scopes.1),
            });
            clients.len() - 1
        });
        clients[index].members.insert(from);
        clients[index].namespaces.insert(namespace.to_owned());
    };
    for ((namespace, name), pod) in &one.clients {
        let Some(later) = other.clients.get(&(namespace.clone(), name.clone())) else { continue };
        let scopes = (asked_before.scope_of(pod, NodeKind::Sidecar), asked_after.scope_of(later, NodeKind::Sidecar));
        add(format!("{namespace}/{name}"), namespace, scopes);
    }
    for namespace in one.namespaces.union(&other.namespaces) {
        let anyone = Pod::anyone_in(namespace);
        let scopes =
            (asked_before.scope_of(&anyone, NodeKind::Sidecar), asked_after.scope_of(&anyone, NodeKind::Sidecar));
        add(format!("namespace {namespace}"), namespace, scopes);
    }
    clients
}

/// How names are looked up tells no clients apart.
fn without_dns(scope: &SharedScope) -> SharedScope {
    SharedScope { dns_capture: false, dns_family: DnsFamily::V4Only, ..scope.clone() }
}

struct Found {
    gateways: Workloads,
    clients: Workloads,
    namespaces: BTreeSet<String>,
}

fn workloads(snapshot: &Snapshot) -> Found {
    let mut found = Found { gateways: Workloads::new(), clients: Workloads::new(), namespaces: BTreeSet::new() };
    for pod in snapshot.pods() {
        let gateway = snapshot.gateways().iter().any(|gateway| selects(&gateway.spec.selector, &pod.labels));
        let all = if gateway { &mut found.gateways } else { &mut found.clients };
        all.entry((pod.namespace.clone(), pod.workload.workload.clone())).or_insert_with(|| pod.clone());
        found.namespaces.insert(pod.namespace.clone());
    }
    let named = |object: &Arc<Object>| match object.id.kind {
        Kind::Namespace => object.id.name.to_string(),
        _ => object.id.namespace.to_string(),
    };
    found.namespaces.extend(snapshot.in_force().map(named).filter(|namespace| !namespace.is_empty()));
    found
}
