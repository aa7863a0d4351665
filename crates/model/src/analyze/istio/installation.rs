//! What else an installation holds: networks of unknown registries (IST0126), CRDs that are too old (IST0176) or gone
//! (IST0002), and what the control plane wrote into objects' status (IST0171).

use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::Kind;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Network {
    endpoints: Vec<NetworkEndpoint>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NetworkEndpoint {
    from_registry: Option<String>,
}

pub(super) fn registries(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let remote = world
        .secrets()
        .filter(|(object, _)| object.meta.labels.get("istio/multiCluster").is_some_and(|value| value == "true"));
    let mut known: BTreeSet<&str> = remote
        .flat_map(|(_, secret)| secret.data.keys().chain(secret.string_data.keys()))
        .map(String::as_str)
        .collect();
    known.extend(["Mock", "Kubernetes", "External"]);
    for object in world.of(Kind::MeshNetworks) {
        let networks: BTreeMap<String, Network> = object.read(&["networks"]);
        for (name, network) in &networks {
            for (index, endpoint) in network.endpoints.iter().enumerate() {
                let Some(registry) = endpoint.from_registry.as_deref().filter(|it| !known.contains(it)) else {
                    continue;
                };
                let field = format!("networks[\"{name}\"].endpoints[{index}].fromRegistry");
                let message = format!("network {name} has endpoints of registry {registry}, which is not known");
                found.push(about(codes::UNKNOWN_REGISTRY, object, &field, message));
            }
        }
    }
}

/// The oldest versions of the Gateway API whose CRDs Istio 1.31 reads.
const OLDEST: [(&str, [u32; 3]); 4] = [
    ("grpcroutes.gateway.networking.k8s.io", [1, 1, 0]),
    ("backendtlspolicies.gateway.networking.k8s.io", [1, 4, 0]),
    ("tlsroutes.gateway.networking.k8s.io", [1, 5, 0]),
    ("tcproutes.gateway.networking.k8s.io", [1, 6, 0]),
];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Definition {
    group: String,
    names: Names,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Names {
    kind: String,
}

pub(super) fn definitions(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    const VERSION: &str = "gateway.networking.k8s.io/bundle-version";
    for object in world.of(Kind::CustomResourceDefinition) {
        let oldest = OLDEST.iter().find(|(name, _)| **name == *object.id.name).map(|(_, oldest)| *oldest);
        let written = object.meta.annotations.get(VERSION);
        if let (Some(oldest), Some(written)) = (oldest, written)
            && version(written).is_some_and(|version| version < oldest)
        {
            let [major, minor, patch] = oldest;
            let message =
                format!("{} is of version {written}; at least {major}.{minor}.{patch} is read", object.id.name);
            let field = format!("metadata.annotations[\"{VERSION}\"]");
            found.push(about(codes::OLD_GATEWAY_API, object, &field, message));
        }
        let Definition { group, names: Names { kind } } = object.read(&["spec"]);
        let gone = ["ClusterRbacConfig", "RbacConfig", "ServiceRole", "ServiceRoleBinding"];
        if group == "rbac.istio.io" && gone.contains(&kind.as_str()) {
            let message = format!("{group} {kind} is gone; use AuthorizationPolicy");
            found.push(about(codes::DEPRECATED, object, "spec.names.kind", message));
        }
    }
}

/// `v1.4.0-rc.1` as 1, 4, 0.
fn version(text: &str) -> Option<[u32; 3]> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts = text.split(['-', '+']).next()?.split('.');
    let mut next = || parts.next().map_or(Some(0), |part| part.parse().ok());
    Some([next()?, next()?, next()?])
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Vec<Condition>,
    parents: Vec<Parent>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parent {
    conditions: Vec<Condition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: String,
    message: String,
}

pub(super) fn conditions(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    const WAYPOINT: &[&str] = &["istio.io/WaypointBound"];
    const ROUTE: &[&str] = &["Accepted", "Programmed", "ResolvedRefs"];
    let looked_at = [
        (Kind::Service, WAYPOINT),
        (Kind::ServiceEntry, WAYPOINT),
        (Kind::WorkloadEntry, WAYPOINT),
        (Kind::AuthorizationPolicy, &["ZtunnelAccepted", "WaypointAccepted"]),
        (Kind::KubernetesGateway, ROUTE),
        (Kind::HTTPRoute, ROUTE),
        (Kind::GRPCRoute, ROUTE),
    ];
    for (kind, types) in looked_at {
        for object in world.of(kind) {
            let Status { conditions, parents } = object.read(&["status"]);
            let all = conditions.iter().chain(parents.iter().flat_map(|parent| &parent.conditions));
            let partly = |it: &Condition| it.kind == "WaypointAccepted" && it.reason == "PartiallyInvalid";
            let bad = |it: &&Condition| types.contains(&it.kind.as_str()) && (it.status == "False" || partly(it));
            for Condition { kind, reason, message, .. } in all.filter(bad) {
                let message = format!("the control plane says {kind}: {reason}: {message}");
                found.push(about(codes::NEGATIVE_CONDITION, object, "status", message));
            }
        }
    }
}
