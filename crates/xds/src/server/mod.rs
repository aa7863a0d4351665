//! The server of an ADS stream, delta and state of the world, without I/O and clock: `control::distribute`
//! drives one for each proxy.
//!
//! Requests and new targets go in ([`Stream::on_delta`], [`Stream::on_sotw`], [`Stream::set_target`]); what is
//! to be sent comes out of [`Stream::next`], which is asked until it has nothing, and again at
//! [`Stream::deadline`]. The order is that of "make before break": endpoints at once; new and changed clusters;
//! their endpoints again; listeners and routes once the client has acknowledged the clusters that they name;
//! last, when those are acknowledged and the requests that began under the old ones have had time to end, old
//! clusters are taken away. Each step looks at what the client has and what it is to have, not at what happened,
//! so that no order of events can lose one.

mod encoded;
mod encoder;
mod hosts;
mod limit;
mod names;
mod order;
mod origins;
mod requests;
mod resources;
mod response;
mod returning;
mod routes;
mod state;
mod status;

pub use encoded::Encoded;
pub use encoder::{Encoder, Form};
pub use resources::{Common, Diff, Own, Resources};
pub use response::{Message, Protocol, Response};
pub use state::Rejection;
pub use status::{Status, TypeStatus};

use crate::{PerType, ResourceType};
use state::TypeState;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Waiting times of a stream.
#[derive(Debug, Clone)]
pub struct StreamOptions {
    /// Listeners and routes wait so long for the ACK of the clusters that they name. An Envoy withholds it for
    /// 15 s where a cluster has not warmed.
    pub cluster_wait: Duration,
    /// Old clusters stay at least so long after the routes that named them.
    pub grace: Duration,
    /// And at most so long, however long a fault delay with its retries may be.
    pub most_grace: Duration,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            cluster_wait: Duration::from_secs(15),
            grace: Duration::from_secs(2),
            most_grace: Duration::from_secs(120),
        }
    }
}

/// What names clusters, and so waits for them.
const USERS: [ResourceType; 3] = [ResourceType::Listener, ResourceType::Route, ResourceType::VirtualHost];

#[derive(Debug)]
pub struct Stream {
    protocol: Protocol,
    /// The client tells what it runs, no more and no less; others may tell of endpoints that they never used.
    is_exact: bool,
    options: StreamOptions,
    target: Arc<Resources>,
    types: PerType<TypeState>,
    /// Types that are not served here and were asked for since the last response: each is answered by nothing.
    unknown: Vec<Arc<str>>,
    /// When each cluster that is not wanted any more may go.
    leaving: BTreeMap<Arc<str>, Instant>,
    /// The longest linger of what was replaced since the last cluster left.
    linger: Duration,
    /// When a client of the state-of-the-world protocol came back with clusters that are not known.
    came_back: Option<Instant>,
    next_nonce: u64,
    /// Bytes of names in requests since those that are remembered were counted.
    noted: usize,
    asks_too_much: bool,
}

impl Stream {
    pub fn new(protocol: Protocol, options: StreamOptions) -> Self {
        Self {
            protocol,
            is_exact: false,
            options,
            target: Arc::default(),
            types: PerType::default(),
            unknown: Vec::new(),
            leaving: BTreeMap::new(),
            linger: Duration::ZERO,
            came_back: None,
            next_nonce: 1,
            noted: 0,
            asks_too_much: false,
        }
    }

    /// The client is a proxy of ours: it tells what it runs, no more and no less.
    pub fn of_own_proxy(self) -> Self {
        Self { is_exact: true, ..self }
    }

    /// What the client is to have.
    pub fn target(&self) -> &Arc<Resources> {
        &self.target
    }

    /// From now on the client is to have `target`. `diff` is what that changes of [`Stream::target`].
    pub fn set_target(&mut self, target: Arc<Resources>, diff: &Diff) {
        let old = std::mem::replace(&mut self.target, target);
        for kind in ResourceType::ALL {
            let state = &mut self.types[kind];
            if !state.subscribed {
                continue;
            }
            for name in diff.names(kind) {
                if state.wants(name) {
                    let held = state.held(kind, &old, name);
                    state.set_held(kind, &self.target, name, held);
                }
            }
        }
        self.leaving.retain(|name, _| self.target.get(ResourceType::Cluster, name).is_none());
    }

    /// When [`Stream::next`], which has just been asked, has to be asked again though nothing has happened.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let waiting = || USERS.into_iter().flat_map(|kind| self.types[kind].waiting.values());
        // From when something has begun to wait, and from when the clusters that it waits for have been sent.
        let sent = self.types[ResourceType::Cluster].in_flight.as_ref().map(|f| f.sent);
        let since = waiting().copied().chain(sent.filter(|_| waiting().next().is_some()));
        let waiting = since.map(|since| since + self.options.cluster_wait);
        // What is due but has not gone out waits for an answer of the client.
        let keeping = self.keeping_ends();
        self.leaving.values().copied().chain(waiting).chain(keeping).filter(|time| *time > now).min()
    }

    fn nonce(&mut self) -> String {
        let nonce = self.next_nonce.to_string();
        self.next_nonce += 1;
        nonce
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
