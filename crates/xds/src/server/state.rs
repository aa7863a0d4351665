//! What a stream knows of one resource type.

use super::encoded::Encoded;
use super::names::Names;
use super::origins;
use super::resources::Resources;
use crate::{ResourceType, refs};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// What the client has under a name.
#[derive(Debug, Clone)]
pub(super) enum Held {
    Nothing,
    Known(Arc<Encoded>),
    /// It told its version when it came back; the contents are not known.
    Version(Arc<str>),
}

impl Held {
    pub(super) fn version(&self) -> Option<&Arc<str>> {
        match self {
            Self::Nothing => None,
            Self::Known(encoded) => Some(&encoded.version),
            Self::Version(version) => Some(version),
        }
    }

    pub(super) fn is_something(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    fn of(encoded: Option<&Arc<Encoded>>) -> Self {
        encoded.map_or(Self::Nothing, |encoded| Self::Known(encoded.clone()))
    }
}

/// A response that waits for its ACK.
#[derive(Debug)]
pub(super) struct InFlight {
    pub nonce: String,
    pub sent: Instant,
    /// Of all that the client was to have of the type.
    pub version: Arc<str>,
    /// What it changes, in order of the names: the new version, or nothing.
    pub items: Vec<(Arc<str>, Option<Arc<Encoded>>)>,
}

impl InFlight {
    pub(super) fn new(
        nonce: String,
        sent: Instant,
        version: Arc<str>,
        mut items: Vec<(Arc<str>, Option<Arc<Encoded>>)>,
    ) -> Self {
        items.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Self { nonce, sent, version, items }
    }

    fn item(&self, name: &str) -> Option<&Option<Arc<Encoded>>> {
        let at = self.items.binary_search_by(|(n, _)| (**n).cmp(name)).ok()?;
        Some(&self.items[at].1)
    }
}

/// So many characters of why something was refused are kept: the reason, not all that may follow it.
const MOST_WORDS: usize = 4000;

/// A resource that the client refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub name: Arc<str>,
    pub version: Arc<str>,
    /// The client's words, the first few thousand characters.
    pub message: String,
    pub at: Instant,
    /// The objects that it was made of, as far as the client's words name them; else all of them:
    /// `VirtualService shop/reviews`.
    pub objects: Vec<String>,
}

impl Rejection {
    pub(super) fn new(kind: ResourceType, name: &Arc<str>, encoded: &Encoded, message: &str, at: Instant) -> Self {
        let objects = origins::blamed(kind, &encoded.body(), message);
        let message = message.chars().take(MOST_WORDS).collect();
        Self { name: name.clone(), version: encoded.version.clone(), message, at, objects }
    }
}

#[derive(Debug, Default)]
pub(super) struct TypeState {
    pub subscribed: bool,
    /// The first request told of resources that the client has.
    pub brought: bool,
    /// Everything there is; else the names.
    pub wildcard: bool,
    pub names: Names,
    /// Route configurations whose virtual hosts are wanted, all of them.
    pub routes: BTreeSet<Arc<str>>,
    /// Of those, the ones of which no virtual host was sent yet.
    pub fresh: BTreeSet<Arc<str>>,
    /// Where the client does not have what the target has: what it has instead. Names that are wanted only. A
    /// stream in step has nothing here, so that a thousand of them cost no thousand copies.
    pub behind: BTreeMap<Arc<str>, Held>,
    /// To be sent though the client may have it.
    pub owed: BTreeSet<Arc<str>>,
    /// A subscription was not answered by anything yet.
    pub owes_answer: bool,
    pub in_flight: Option<InFlight>,
    /// Of a response that was refused: to be sent one by one.
    pub suspects: VecDeque<Arc<str>>,
    /// Virtual hosts that were refused alone once, which those before them in the queue may have been the cause of.
    pub retried: BTreeSet<Arc<str>>,
    pub rejected: BTreeMap<Arc<str>, Rejection>,
    /// Since when a listener or route configuration waits for clusters.
    pub waiting: BTreeMap<Arc<str>, Instant>,
    /// Of the last response that was sent.
    pub last_nonce: String,
    pub last_sent: Option<Instant>,
    pub sent_version: Option<Arc<str>>,
    pub last_ack: Option<Instant>,
    /// The number of the response that was acknowledged last.
    pub acked: u64,
    /// How many responses were sent.
    pub pushes: u64,
    pub acked_version: Option<Arc<str>>,
    pub nacks: u64,
}

impl TypeState {
    pub(super) fn wants(&self, name: &str) -> bool {
        self.subscribed
            && (self.wildcard
                || self.names.contains(name)
                || (!self.routes.is_empty() && refs::route_of(name).is_some_and(|of| self.routes.contains(of))))
    }

    pub(super) fn held(&self, kind: ResourceType, target: &Resources, name: &str) -> Held {
        if !self.wants(name) {
            return Held::Nothing;
        }
        match self.behind.get(name) {
            Some(held) => held.clone(),
            None => Held::of(target.get(kind, name)),
        }
    }

    /// Notes what the client has now under a name that it wants.
    pub(super) fn set_held(&mut self, kind: ResourceType, target: &Resources, name: &Arc<str>, held: Held) {
        let wanted = target.get(kind, name).map(|encoded| &encoded.version);
        if held.version() == wanted {
            self.behind.remove(name);
            self.waiting.remove(name);
            // What it refused is not wanted any more: taken back, or gone from the target.
            self.rejected.remove(name);
            self.retried.remove(name);
        } else {
            self.behind.insert(name.clone(), held);
        }
    }

    pub(super) fn forget(&mut self, name: &Arc<str>) {
        self.names.remove(name);
        self.behind.remove(name);
        self.owed.remove(name);
        self.rejected.remove(name);
        self.waiting.remove(name);
    }

    /// A response that takes that name away has no answer yet.
    pub(super) fn is_taking_away(&self, name: &str) -> bool {
        self.in_flight.as_ref().and_then(|f| f.item(name)).is_some_and(Option::is_none)
    }

    /// A response with that name has no answer yet.
    pub(super) fn is_sending(&self, name: &str) -> bool {
        self.in_flight.as_ref().and_then(|f| f.item(name)).is_some_and(Option::is_some)
    }

    /// That version was refused; it is not sent again by itself.
    pub(super) fn is_rejected(&self, name: &str, version: &str) -> bool {
        self.rejected.get(name).is_some_and(|rejection| &*rejection.version == version)
    }

    /// Nothing is on its way and nothing is left to send, but for what was refused.
    pub(super) fn is_settled(&self, kind: ResourceType, target: &Resources) -> bool {
        self.in_flight.is_none()
            && self.suspects.is_empty()
            && self.owed.is_empty()
            && !self.owes_answer
            && self.behind.iter().all(|(name, held)| match target.get(kind, name) {
                Some(encoded) => self.is_rejected(name, &encoded.version),
                // These stay until nothing names them.
                None => matches!(kind, ResourceType::Route | ResourceType::Endpoints) || !held.is_something(),
            })
    }
}
