//! What a stream tells of itself: for readiness, and for whoever asks what a proxy runs.

use super::Stream;
use super::state::Rejection;
use crate::{PerType, ResourceType};
use std::sync::Arc;
use std::time::Instant;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    pub types: PerType<TypeStatus>,
    /// The client runs all that it is to have, and refused none of it.
    pub in_step: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypeStatus {
    pub subscribed: bool,
    /// The client came with resources of the type that it has from an earlier stream.
    pub brought: bool,
    /// The client has all of this type that it is to have, and refused none of it.
    pub in_step: bool,
    /// Resources that the client does not have in their newest version.
    pub behind: usize,
    /// Since when a response has had no answer.
    pub unanswered_since: Option<Instant>,
    pub last_sent: Option<Instant>,
    /// The version of all that the client was to have of the type when something was last sent.
    pub sent_version: Option<Arc<str>>,
    pub last_ack: Option<Instant>,
    /// The number of the last response that was sent, counted over the whole stream; 0 before the first.
    pub sent: u64,
    /// The number of the last response that was acknowledged; 0 before the first.
    pub acked: u64,
    /// How many responses were sent.
    pub pushes: u64,
    /// The [`TypeStatus::sent_version`] of the response that was acknowledged last. The client has all of it where
    /// nothing is [`TypeStatus::behind`]; what waits for others, or was refused, it does not have.
    pub acked_version: Option<Arc<str>>,
    pub nacks: u64,
    /// What the client refused and goes on refusing.
    pub rejected: Vec<Rejection>,
    /// Of clusters: those that withhold the ACK, as far as can be told.
    pub held_up_by: Vec<Arc<str>>,
}

impl Stream {
    pub fn status(&self) -> Status {
        let mut status = Status::default();
        for kind in ResourceType::ALL {
            let state = &self.types[kind];
            status.types[kind] = TypeStatus {
                subscribed: state.subscribed,
                brought: state.brought,
                in_step: self.has_all(kind),
                behind: state.behind.len(),
                unanswered_since: state.in_flight.as_ref().map(|f| f.sent),
                last_sent: state.last_sent,
                sent_version: state.sent_version.clone(),
                last_ack: state.last_ack,
                sent: state.last_nonce.parse().unwrap_or_default(),
                acked: state.acked,
                pushes: state.pushes,
                acked_version: state.acked_version.clone(),
                nacks: state.nacks,
                rejected: state.rejected.values().cloned().collect(),
                held_up_by: if kind == ResourceType::Cluster { self.held_up_by() } else { Vec::new() },
            };
        }
        let began = [ResourceType::Cluster, ResourceType::Listener].into_iter().all(|kind| {
            let state = &self.types[kind];
            state.subscribed && (state.last_ack.is_some() || self.target.is_empty(kind))
        });
        status.in_step = began && status.types.iter().all(|(_, of_type)| of_type.in_step);
        status
    }

    /// Whether the client runs all of a type that it is to have.
    fn has_all(&self, kind: ResourceType) -> bool {
        let state = &self.types[kind];
        let settled = match kind {
            // Old clusters that wait for their time to go are no reason to say that a client is not in step.
            ResourceType::Cluster => state.behind.keys().all(|name| self.target.get(kind, name).is_none()),
            _ => state.is_settled(kind, &self.target),
        };
        state.rejected.is_empty() && settled
    }

    /// Clusters without an answer whose endpoints were not asked for or are not acknowledged; else all of them.
    fn held_up_by(&self) -> Vec<Arc<str>> {
        let Some(in_flight) = &self.types[ResourceType::Cluster].in_flight else { return Vec::new() };
        let endpoints = &self.types[ResourceType::Endpoints];
        let sent = || in_flight.items.iter().filter_map(|(name, item)| Some((name, item.as_ref()?)));
        let cold: Vec<_> = sent()
            .filter(|(_, cluster)| {
                cluster
                    .refs
                    .endpoints
                    .as_ref()
                    .is_some_and(|eds| !endpoints.names.contains(eds) || endpoints.behind.contains_key(eds))
            })
            .map(|(name, _)| name.clone())
            .collect();
        if cold.is_empty() { sent().map(|(name, _)| name.clone()).collect() } else { cold }
    }
}
