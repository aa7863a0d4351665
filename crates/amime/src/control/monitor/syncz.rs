//! `/debug/syncz`: how far each proxy has come, type by type. `amime status` reads it.

use super::digest::Digests;
use super::view::{View, proxy_name, rfc3339};
use crate::serve::{Answer, json};
use amime_control::ProxyStatus;
use amime_model::resource::{Kind, ResourceId};
use amime_model::snapshot::{Pending, Snapshot, selects};
use amime_model::translate::{Node, NodeKind};
use amime_xds::ResourceType;
use amime_xds::server::{Protocol, Rejection, TypeStatus};
use serde::Serialize;
use std::collections::BTreeMap;

/// One proxy. `inputs` and `in_force` tell control planes apart that do not agree.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    /// `productpage-v1.default`.
    proxy: String,
    id: &'a str,
    kind: &'static str,
    cluster_id: &'a str,
    revision: &'a str,
    version: &'a str,
    control_plane: &'a str,
    connected_since: String,
    protocol: &'static str,
    /// Of the configuration that it is being given; `newest_generation` is the newest.
    generation: u64,
    newest_generation: u64,
    inputs: &'a str,
    in_force: &'a str,
    types: BTreeMap<&'static str, Type<'a>>,
    pending: Vec<String>,
}

#[derive(Debug, Serialize, PartialEq)]
struct Type<'a> {
    state: State,
    /// Of all that it was to have of the type when something was last sent, and acknowledged. Control planes that
    /// give the same give it the same version.
    sent_version: Option<&'a str>,
    acked_version: Option<&'a str>,
    /// Since it is in this state, as far as is known.
    age_seconds: Option<f64>,
    /// The proxy's words.
    error: Option<&'a str>,
    /// What it refused, and the objects that this was made of.
    resource: Option<&'a str>,
    object: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize, PartialEq)]
pub(super) enum State {
    #[serde(rename = "SYNCED")]
    Synced,
    #[serde(rename = "STALE")]
    Stale,
    #[serde(rename = "REJECTED")]
    Rejected,
    #[serde(rename = "NOT SENT")]
    NotSent,
}

pub(super) fn page(view: &View, digests: &Digests) -> Answer {
    json(&entries(view, digests))
}

fn entries<'a>(view: &'a View, digests: &'a Digests) -> Vec<Entry<'a>> {
    let pending: Vec<_> = view.snapshot().pending().iter().map(|one| Waiting::of(view.snapshot(), one)).collect();
    view.proxies.iter().map(|proxy| entry(view, digests, &pending, proxy)).collect()
}

fn entry<'a>(view: &'a View, digests: &'a Digests, pending: &[Waiting<'_>], proxy: &'a ProxyStatus) -> Entry<'a> {
    // What few proxies ask for is told of those alone.
    let usual = |kind| !matches!(kind, ResourceType::Secret | ResourceType::VirtualHost);
    let types = proxy.stream.types.iter().filter(|(kind, status)| status.subscribed || usual(*kind));
    let mut waits: Vec<_> =
        pending.iter().filter(|one| one.concerns(&proxy.node)).map(|one| one.text.clone()).collect();
    waits.extend(held_up(proxy));
    Entry {
        proxy: proxy_name(proxy),
        id: &proxy.id,
        kind: kind(&proxy.node),
        cluster_id: &proxy.connection.cluster_id,
        revision: &proxy.connection.revision,
        version: &proxy.connection.version,
        control_plane: &view.name,
        connected_since: rfc3339(proxy.connection.since),
        protocol: protocol(proxy.connection.protocol),
        generation: proxy.generation,
        newest_generation: view.generation.number,
        inputs: &digests.inputs,
        in_force: &digests.in_force,
        types: types.map(|(kind, status)| (kind.short(), one_type(view, proxy, status))).collect(),
        pending: waits,
    }
}

pub(super) fn kind(node: &Node) -> &'static str {
    match node.kind {
        NodeKind::Sidecar => "sidecar",
        NodeKind::Gateway => "gateway",
    }
}

pub(super) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Delta => "delta",
        Protocol::Sotw => "state of the world",
    }
}

pub(super) fn state(status: &TypeStatus, is_newest: bool) -> State {
    if !status.rejected.is_empty() {
        State::Rejected
    } else if !status.subscribed || status.sent == 0 && !status.brought {
        State::NotSent
    } else if status.in_step && is_newest {
        State::Synced
    } else {
        State::Stale
    }
}

fn one_type<'a>(view: &View, proxy: &ProxyStatus, status: &'a TypeStatus) -> Type<'a> {
    let state = state(status, proxy.generation >= view.generation.number);
    let rejection = status.rejected.first();
    let since = match state {
        State::Rejected => rejection.map(|rejection| rejection.at),
        State::Synced => status.last_ack,
        State::Stale => status.unanswered_since.or(Some(view.generation.changed)),
        State::NotSent => None,
    };
    Type {
        state,
        sent_version: status.sent_version.as_deref(),
        acked_version: status.acked_version.as_deref(),
        age_seconds: since.map(|since| view.age(since)),
        error: rejection.map(|rejection| rejection.message.as_str()),
        resource: rejection.map(|rejection| &*rejection.name),
        object: rejection.and_then(blamed),
    }
}

/// The objects that a refused resource was made of.
pub(super) fn blamed(rejection: &Rejection) -> Option<String> {
    (!rejection.objects.is_empty()).then(|| rejection.objects.join(", "))
}

/// So many names say enough.
const FEW: usize = 3;

/// What a proxy's listeners and routes wait for.
fn held_up(proxy: &ProxyStatus) -> Option<String> {
    let clusters = &proxy.stream.types[ResourceType::Cluster].held_up_by;
    let types = [ResourceType::Listener, ResourceType::Route].into_iter();
    let waiting: Vec<_> = types.filter(|kind| proxy.stream.types[*kind].behind > 0).map(ResourceType::short).collect();
    if clusters.is_empty() || waiting.is_empty() {
        return None;
    }
    let more = match clusters.len().saturating_sub(FEW) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names: Vec<_> = clusters.iter().take(FEW).map(|name| &**name).collect();
    Some(format!("{}: waits until the proxy acknowledges {}{more}", waiting.join(" and "), names.join(", ")))
}

/// A reference that leads nowhere, as a sentence, and whom it concerns.
pub(super) struct Waiting<'a> {
    pub(super) text: String,
    snapshot: &'a Snapshot,
    object: &'a ResourceId,
}

impl<'a> Waiting<'a> {
    pub(super) fn of(snapshot: &'a Snapshot, pending: &'a Pending) -> Self {
        let then = if pending.held { "its last good version goes on" } else { "it is in force as it stands" };
        let text = format!("{}: waits for {}; {then}", pending.object, pending.waits_for);
        Self { text, snapshot, object: &pending.object }
    }

    /// Whether that proxy would have something of the object.
    fn concerns(&self, node: &Node) -> bool {
        match self.object.kind {
            Kind::VirtualService => {
                let virtual_services = self.snapshot.virtual_services();
                // A delegate is a part of others.
                virtual_services.iter().find(|vs| vs.id == *self.object).is_none_or(|vs| {
                    vs.export_to.includes(&node.namespace)
                        && vs.gateways.iter().any(|gateway| (gateway == "mesh") == (node.kind == NodeKind::Sidecar))
                })
            }
            Kind::Gateway => {
                let gateways = self.snapshot.gateways().iter();
                let selected =
                    |id: &ResourceId| gateways.clone().any(|g| g.id == *id && selects(&g.spec.selector, &node.labels));
                node.kind == NodeKind::Gateway && selected(self.object)
            }
            _ => true,
        }
    }
}
