//! What a client sends: subscriptions, ACKs and NACKs of both protocols.

use super::names::Names;
use super::order::Item;
use super::state::{Held, Rejection};
use super::{Encoded, Stream, USERS};
use crate::{DeltaRequest, ResourceType, SotwRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Of what a client had before it came back: its fault delays are not known.
const UNKNOWN_LINGER: Duration = Duration::from_secs(10);

/// What follows the name of a route configuration in a subscription to all its virtual hosts.
const ALL_HOSTS: &str = "/*";

/// A subscription to everything, by name.
const EVERYTHING: &str = "*";

impl Stream {
    pub fn on_delta(&mut self, now: Instant, request: DeltaRequest) {
        let Some(kind) = ResourceType::from_type_url(&request.type_url) else {
            if request.nonce.is_empty() {
                self.unknown.push(request.type_url.into());
            }
            return;
        };
        self.note_names(&request.subscribe, &request.initial_versions);
        self.answered(now, kind, &request.nonce, request.error.as_deref());
        let first = !self.types[kind].subscribed;
        self.types[kind].subscribed = true;
        self.types[kind].brought |= first && !request.initial_versions.is_empty();
        let (everything, names): (Vec<_>, Vec<_>) =
            request.subscribe.into_iter().partition(|name| &**name == EVERYTHING);
        let by_silence = first && names.is_empty() && kind.is_wildcard();
        if by_silence || !everything.is_empty() {
            self.subscribe_all(kind, &request.initial_versions);
        }
        for name in names {
            match all_hosts_of(kind, &name) {
                Some(route) => self.subscribe_hosts(route, &request.initial_versions),
                None => self.subscribe(kind, name, &request.initial_versions),
            }
        }
        self.types[kind].names.share(self.target.names(kind));
        for name in request.unsubscribe {
            if let Some(route) = all_hosts_of(kind, &name) {
                self.forget_hosts(route);
            } else if &*name == EVERYTHING {
                self.unsubscribe_all(kind);
            } else if !self.types[kind].wildcard {
                self.forget(kind, &name);
            } else if self.types[kind].names.contains(&name) {
                // It is told whether it is among all the others.
                self.types[kind].names.remove(&name);
                self.types[kind].owed.insert(name);
            }
        }
    }

    pub fn on_sotw(&mut self, now: Instant, request: SotwRequest) {
        let Some(kind) = ResourceType::from_type_url(&request.type_url) else {
            if request.nonce.is_empty() {
                self.unknown.push(request.type_url.into());
            }
            return;
        };
        let state = &self.types[kind];
        let first = !state.subscribed;
        if !first && !request.nonce.is_empty() && request.nonce != state.last_nonce {
            // It was sent before the client saw our last response, which it will answer too.
            return;
        }
        let none = BTreeMap::new();
        self.note_names(&request.names, &none);
        let answers = self.answered(now, kind, &request.nonce, request.error.as_deref());
        self.types[kind].subscribed = true;
        // No name means everything until the first name.
        let any = first || self.types[kind].wildcard;
        let everything = request.names.is_empty() && any || request.names.iter().any(|name| &**name == EVERYTHING);
        if kind.is_wildcard() && everything {
            if first && kind == ResourceType::Cluster && !request.version.is_empty() {
                self.came_back = Some(now);
            }
            if !self.types[kind].wildcard {
                self.subscribe_all(kind, &none);
                self.types[kind].names = Names::default();
            } else if !answers {
                self.types[kind].owes_answer = true;
            }
            return;
        }
        let wanted: BTreeSet<_> = request.names.into_iter().collect();
        if self.types[kind].wildcard {
            // What it has of these it keeps; an answer without the others takes them away.
            wanted.into_iter().for_each(|name| self.types[kind].names.insert(name));
            self.unsubscribe_all(kind);
            self.types[kind].owes_answer = true;
            return;
        }
        let left: Vec<_> = self.types[kind].names.iter().filter(|name| !wanted.contains(*name)).cloned().collect();
        let gives_up = !left.is_empty();
        for name in left {
            self.forget(kind, &name);
        }
        let new: Vec<_> = wanted.into_iter().filter(|name| !self.types[kind].names.contains(name)).collect();
        if new.is_empty() && !gives_up && !answers {
            // Asked again: answered again.
            let state = &mut self.types[kind];
            state.owed.extend(state.names.iter().cloned());
            state.owes_answer = true;
        }
        for name in new {
            self.subscribe(kind, name, &none);
        }
        self.types[kind].names.share(self.target.names(kind));
    }

    /// Takes an ACK or a NACK; true where the request is one.
    fn answered(&mut self, now: Instant, kind: ResourceType, nonce: &str, error: Option<&str>) -> bool {
        let in_flight = self.types[kind].in_flight.take_if(|f| !nonce.is_empty() && f.nonce == nonce);
        let Some(in_flight) = in_flight else { return false };
        match error {
            None => {
                self.types[kind].last_ack = Some(now);
                self.types[kind].acked = in_flight.nonce.parse().unwrap_or_default();
                self.types[kind].acked_version = Some(in_flight.version);
                if kind == ResourceType::Cluster {
                    self.try_again_with(&in_flight.items);
                }
                for (name, item) in in_flight.items {
                    self.types[kind].rejected.remove(&name);
                    self.took(kind, &name, item.map_or(Held::Nothing, Held::Known));
                }
            }
            Some(message) => self.refused(now, kind, in_flight.items, message),
        }
        true
    }

    /// What was refused may have been so for want of these clusters.
    fn try_again_with(&mut self, clusters: &[Item]) {
        for kind in USERS {
            let (target, state) = (&self.target, &mut self.types[kind]);
            state.rejected.retain(|name, _| {
                let named = target.get(kind, name).map(|encoded| &encoded.refs.clusters);
                let mut came = clusters.iter().filter(|(_, item)| item.is_some()).map(|(name, _)| name);
                !came.any(|cluster| named.is_some_and(|named| named.contains(cluster)))
            });
        }
    }

    /// The client has this under that name now.
    pub(super) fn took(&mut self, kind: ResourceType, name: &Arc<str>, held: Held) {
        let state = &mut self.types[kind];
        let old = state.held(kind, &self.target, name);
        if old.version() != held.version() {
            self.linger = self.linger.max(linger(&old));
        }
        if kind == ResourceType::Cluster && !held.is_something() {
            self.leaving.remove(name);
        }
        if state.wants(name) {
            state.set_held(kind, &self.target, name, held);
        }
    }

    fn refused(&mut self, now: Instant, kind: ResourceType, items: Vec<Item>, message: &str) {
        self.types[kind].nacks += 1;
        // What is not wanted any more need not be told of, nor be sent again.
        let target = &self.target;
        let is_wanted = |name, item: &Encoded| target.get(kind, name).is_some_and(|now| now.version == item.version);
        if kind == ResourceType::VirtualHost {
            let items = Self::without_removals(items);
            return self.refused_hosts(now, items, message);
        }
        if let [(name, item)] = items.as_slice() {
            match item {
                Some(encoded) if is_wanted(name, encoded) => {
                    let rejection = Rejection::new(kind, name, encoded, message, now);
                    self.types[kind].rejected.insert(name.clone(), rejection);
                }
                Some(_) => {}
                // A removal cannot be done better; it is not tried again.
                None => self.took(kind, name, Held::Nothing),
            }
            return;
        }
        // Parts of it may have been taken: each is sent again, alone; but for removals, as above.
        for (name, item) in items {
            match item {
                Some(_) => self.types[kind].suspects.push_back(name),
                None => self.took(kind, &name, Held::Nothing),
            }
        }
    }

    fn subscribe_all(&mut self, kind: ResourceType, initial: &BTreeMap<Arc<str>, Arc<str>>) {
        let state = &mut self.types[kind];
        if state.wildcard {
            state.owed.extend(self.target.iter(kind).map(|(name, _)| name.clone()));
        }
        let was_wildcard = std::mem::replace(&mut state.wildcard, true);
        state.owes_answer = true;
        for (name, version) in initial {
            state.set_held(kind, &self.target, name, Held::Version(version.clone()));
        }
        if !was_wildcard {
            let new = self
                .target
                .iter(kind)
                .map(|(name, _)| name)
                .filter(|n| !initial.contains_key(*n) && !state.names.contains(n));
            let new: Vec<_> = new.cloned().collect();
            for name in new {
                state.set_held(kind, &self.target, &name, Held::Nothing);
            }
        }
    }

    fn unsubscribe_all(&mut self, kind: ResourceType) {
        let state = &mut self.types[kind];
        state.wildcard = false;
        let names: BTreeSet<_> = state.behind.keys().chain(&state.owed).cloned().collect();
        for name in names {
            if !self.types[kind].names.contains(&name) {
                self.types[kind].forget(&name);
            }
        }
    }

    /// The client does not want that name any more; what it had still counts for requests that began under it.
    fn forget(&mut self, kind: ResourceType, name: &Arc<str>) {
        let old = self.types[kind].held(kind, &self.target, name);
        self.linger = self.linger.max(linger(&old));
        self.types[kind].forget(name);
    }

    fn subscribe(&mut self, kind: ResourceType, name: Arc<str>, initial: &BTreeMap<Arc<str>, Arc<str>>) {
        // Of a thousand streams' names there is but one copy.
        let name = self.target.name(kind, &name).cloned().unwrap_or(name);
        let state = &mut self.types[kind];
        if state.wildcard {
            // It stays wanted when everything is not any more.
            state.names.insert(name.clone());
        }
        if !state.wants(&name) {
            // An Envoy that lost its stream while a cluster was warming tells of endpoints that the cluster was not
            // given, and would wait for them.
            let is_told = self.is_exact || kind != ResourceType::Endpoints;
            let initial = initial.get(&name).filter(|_| is_told);
            let held = initial.map_or(Held::Nothing, |version| Held::Version(version.clone()));
            let told = held.is_something();
            state.names.insert(name.clone());
            state.set_held(kind, &self.target, &name, held);
            if told {
                // What it has is current, or due by itself.
                return;
            }
        }
        state.owed.insert(name);
    }
}

/// The route configuration all of whose virtual hosts a subscription means.
fn all_hosts_of(kind: ResourceType, name: &str) -> Option<&str> {
    let route = name.strip_suffix(ALL_HOSTS)?;
    (kind == ResourceType::VirtualHost).then_some(route)
}

/// How long requests may still need the clusters of what was replaced.
pub(super) fn linger(old: &Held) -> Duration {
    match old {
        Held::Known(encoded) => encoded.refs.linger,
        Held::Version(_) => UNKNOWN_LINGER,
        Held::Nothing => Duration::ZERO,
    }
}
