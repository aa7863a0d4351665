//! The hops at the server: whether its pods have a sidecar, and the security policies that are for them. These are
//! named and never decided: nothing here says that a request is allowed.

use super::{By, Hop, Known, Stage, sidecar};
use crate::config::{Cluster, ClusterEndpoints};
use crate::resource::{MatchLabels, Object, Spec};
use crate::snapshot::{Pod, Snapshot};
use std::collections::BTreeSet;

pub(super) fn hops(
    known: &Known<'_>,
    cluster: &Cluster,
    endpoints: Option<&ClusterEndpoints>,
    pods: &[&Pod],
) -> Vec<Hop> {
    let mut hops = vec![sidecar::hop(known, endpoints, pods)];
    let mut hop = Hop::new(Stage::Policies, "not evaluated");
    let tls = cluster.tls.is_some() || cluster.transport_socket_matches.iter().any(|m| m.tls.is_some());
    hop.details.push(match tls {
        true => "the client speaks TLS, as the cluster says".to_string(),
        false => "no TLS of the cluster's own".to_string(),
    });
    match known.snapshot {
        None => hop.details.push("which policies are in force is not in the dump's routes".to_string()),
        Some(snapshot) => {
            let found = policies(snapshot, pods);
            hop.details.extend(found.iter().map(|policy| format!("not evaluated: {policy}")));
            if found.is_empty() {
                hop.details
                    .push("no PeerAuthentication, RequestAuthentication or AuthorizationPolicy is for it".into());
            }
        }
    }
    hops.push(hop);
    hops
}

/// Those of the root namespace and of the pods' own, for all pods or by labels.
fn policies(snapshot: &Snapshot, pods: &[&Pod]) -> BTreeSet<By> {
    let mut found = BTreeSet::new();
    for object in snapshot.in_force().filter(|object| object.id.kind.is_security()) {
        let selector = selector(object);
        let is_for = |pod: &&&Pod| {
            let namespace =
                *object.id.namespace == *pod.namespace || *object.id.namespace == *snapshot.mesh.root_namespace;
            namespace && selector.is_none_or(|selector| selector.matches(&pod.labels))
        };
        if pods.iter().any(|pod| is_for(&pod)) {
            found.insert(By::of_object(object, ""));
        }
    }
    found
}

fn selector(object: &Object) -> Option<&MatchLabels> {
    match &object.spec {
        Spec::AuthorizationPolicy(policy) => policy.selector.as_ref(),
        Spec::PeerAuthentication(policy) => policy.selector.as_ref(),
        Spec::RequestAuthentication(policy) => policy.selector.as_ref(),
        _ => None,
    }
}
