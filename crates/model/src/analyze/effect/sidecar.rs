//! AM-E6: Sidecars whose egress lets their workloads see nothing, or has entries that mean nothing. `effect` calls it.

use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::host::{is_wildcard, subset_of};
use crate::resource::sidecar::EgressListener;
use crate::resource::{Object, Sidecar};
use crate::snapshot::{Service, Snapshot};
use crate::translate::lets_through;
use crate::yaml::View;
use std::collections::HashMap;
use std::sync::Arc;

/// Services by namespace. Where it has none of a namespace, none of it can be missed.
type Index<'s> = HashMap<&'s str, Vec<&'s Arc<Service>>>;

pub(super) fn find(world: &World<'_>, snapshot: &Snapshot, found: &mut Vec<Diagnostic>) {
    let mut index = Index::new();
    for service in snapshot.services() {
        index.entry(&service.namespace).or_default().push(service);
    }
    for (object, sidecar) in world.sidecars() {
        if is_empty_list(object) {
            let message = "an empty list means every service, as if it were not there: `hosts: [\"~/*\"]` is for none";
            found.push(about(codes::EMPTY_EGRESS, object, "spec.egress", message));
            continue;
        }
        found.extend(unmatched(snapshot, object, sidecar, &index));
    }
}

/// `egress: []`, as opposed to none at all.
fn is_empty_list(object: &Object) -> bool {
    let spec = object.source.as_ref().and_then(|source| source.root().get("spec"));
    match spec.and_then(|spec| spec.get("egress")).map(|egress| egress.view()) {
        Some(View::Sequence(mut items)) => items.next().is_none(),
        _ => false,
    }
}

/// Entries by which no service is seen; one finding for the whole where that is all of them.
fn unmatched(snapshot: &Snapshot, object: &Object, sidecar: &Sidecar, index: &Index<'_>) -> Vec<Diagnostic> {
    let namespace = &*object.id.namespace;
    let mut found = Vec::new();
    let mut entries = 0;
    for (listener, egress) in sidecar.egress.iter().enumerate() {
        for (at, entry) in egress.hosts.iter().enumerate() {
            // What is taken out needs nothing to be there.
            let Some((of, host)) = entry.split_once('/').filter(|(of, _)| !of.starts_with('~')) else { continue };
            entries += 1;
            let of = if of == "." { namespace } else { of };
            // One that is there and hidden is told as such (AM-E3).
            let is_hidden = snapshot.services_of_host(host).is_some_and(|services| services.contains_key(of));
            if is_hidden && egress.port.is_none()
                || may_be_elsewhere(of, host, index)
                || sees(snapshot, index, namespace, egress, entry)
            {
                continue;
            }
            let short = !host.contains('.') && !is_wildcard(host);
            let why = match egress.port.as_ref() {
                _ if short => ", for hosts are full names here: reviews.shop.svc.cluster.local".to_owned(),
                Some(port) => format!(" with port {}", port.number),
                None => String::new(),
            };
            let field = format!("spec.egress[{listener}].hosts[{at}]");
            let message = format!("{entry} means no service that {namespace} sees{why}");
            found.push(about(codes::EMPTY_EGRESS, object, &field, message));
        }
    }
    if found.len() > 1 && found.len() == entries {
        let message =
            format!("none of the {entries} hosts means a service: its workloads know no destination of the mesh");
        return vec![about(codes::EMPTY_EGRESS, object, "spec.egress", message)];
    }
    found
}

/// Of a namespace without services here, and of names outside of the cluster, the input may be a part alone.
fn may_be_elsewhere(namespace: &str, host: &str, index: &Index<'_>) -> bool {
    let is_short = !host.contains('.') && !is_wildcard(host);
    let is_of_cluster = is_short || is_wildcard(host) || host.ends_with(".svc.cluster.local");
    let is_known = if namespace == "*" { !index.is_empty() && is_short } else { index.contains_key(namespace) };
    !is_known || !is_of_cluster
}

/// What is found by the index needs no look at all services; what is not is asked of translation.
fn sees(snapshot: &Snapshot, index: &Index<'_>, namespace: &str, egress: &EgressListener, entry: &String) -> bool {
    if let Some((of, host)) = entry.split_once('/').filter(|_| egress.port.is_none()) {
        let of = if of == "." { namespace } else { of };
        let means = |service: &Service| {
            let same = if is_wildcard(host) { subset_of(&service.host, host) } else { service.host == host };
            same && service.export_to.includes(namespace)
        };
        let there = match of {
            "*" => snapshot.services().iter().any(|service| means(service)),
            of => index.get(of).into_iter().flatten().any(|service| means(service)),
        };
        if there {
            return true;
        }
    }
    lets_through(snapshot, namespace, egress, std::slice::from_ref(entry))
}
