//! What goes out next: the order of "make before break".

use super::encoded::Encoded;
use super::resources::version_of;
use super::state::{Held, InFlight};
use super::{Protocol, Response, Stream, USERS};
use crate::ResourceType;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// What a response changes: the new version, or nothing.
pub(super) type Item = (Arc<str>, Option<Arc<Encoded>>);

/// Whether a listener or route configuration may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    /// A cluster that it names is not acknowledged yet.
    Waits,
    /// A cluster that it names was refused, and the client goes on with an older version of this.
    KeepsOlder,
}

impl Stream {
    /// The next response to send; to be asked again until there is none. There is never more than one of a type
    /// without an answer.
    pub fn next(&mut self, now: Instant) -> Option<Response> {
        if let Some(type_url) = self.unknown.pop() {
            return Some(self.response(type_url, version_of(std::iter::empty()), Vec::new(), Vec::new()));
        }
        // Endpoints go ahead of all else; those that a cluster's change calls for again follow its response.
        const ORDER: [ResourceType; 6] = [
            ResourceType::Endpoints,
            ResourceType::Secret,
            ResourceType::Cluster,
            ResourceType::Listener,
            ResourceType::Route,
            ResourceType::VirtualHost,
        ];
        for kind in ORDER {
            let state = &self.types[kind];
            let keeps = kind == ResourceType::Cluster && self.keeps_clusters(now);
            if state.subscribed && state.in_flight.is_none() && !keeps {
                let response = self.suspect(kind, now).or_else(|| match kind {
                    ResourceType::VirtualHost => self.due_hosts(now),
                    _ => self.due(kind, now),
                });
                if response.is_some() {
                    return response;
                }
            }
        }
        self.plan_removals(now);
        self.removal(now)
    }

    /// The next of a refused response's resources, alone. Those whose turn has not come stay in the queue.
    fn suspect(&mut self, kind: ResourceType, now: Instant) -> Option<Response> {
        let mut later = VecDeque::new();
        let mut next = None;
        while let Some(name) = self.types[kind].suspects.pop_front() {
            let encoded = self.target.get(kind, &name).filter(|_| self.types[kind].wants(&name));
            let Some(encoded) = encoded.cloned() else { continue };
            match self.turn(kind, &name, &encoded, now) {
                Turn::Now => {
                    next = Some((name, Some(encoded)));
                    break;
                }
                Turn::Waits => {
                    self.types[kind].waiting.entry(name.clone()).or_insert(now);
                    later.push_back(name);
                }
                Turn::KeepsOlder => drop(self.types[kind].waiting.remove(&name)),
            }
        }
        later.append(&mut self.types[kind].suspects);
        self.types[kind].suspects = later;
        next.map(|item| self.send(kind, now, vec![item]))
    }

    /// All of a type that is due.
    fn due(&mut self, kind: ResourceType, now: Instant) -> Option<Response> {
        let state = &self.types[kind];
        let names: BTreeSet<_> = state.behind.keys().chain(&state.owed).cloned().collect();
        let (mut items, mut removals, mut waits) = (Vec::new(), Vec::new(), false);
        for name in names {
            match self.item(kind, &name) {
                Some((_, Some(encoded))) => match self.turn(kind, &name, &encoded, now) {
                    Turn::Now => items.push((name, Some(encoded))),
                    Turn::Waits => {
                        self.types[kind].waiting.entry(name).or_insert(now);
                        waits = true;
                    }
                    // It waits for nothing; the next version's time begins anew.
                    Turn::KeepsOlder => drop(self.types[kind].waiting.remove(&name)),
                },
                Some(removal) => removals.push(removal),
                None => {}
            }
        }
        if kind == ResourceType::Listener && waits && self.needs_all_listeners() {
            return None;
        }
        if kind == ResourceType::Listener && !removals.is_empty() {
            // What takes the place of an old listener has to work first.
            let busy = waits || !items.is_empty() || !self.listeners_are_warm();
            let expired = |since: Instant| now >= since + self.options.cluster_wait;
            removals.retain(|(name, _)| {
                let since = *self.types[kind].waiting.entry(name.clone()).or_insert(now);
                let goes = !busy || expired(since);
                waits |= !goes;
                goes
            });
        }
        items.append(&mut removals);
        if items.is_empty() && (waits || !self.types[kind].owes_answer) {
            return None;
        }
        Some(self.send(kind, now, items))
    }

    /// The client has the routes of all the listeners that it is to have.
    fn listeners_are_warm(&self) -> bool {
        let routes = &self.types[ResourceType::Route];
        let listeners = self.target.iter(ResourceType::Listener).map(|(_, listener)| listener);
        let mut named = listeners.flat_map(|l| &l.refs.routes);
        named.all(|name| {
            let is_there = routes.names.contains(name) && !routes.behind.contains_key(name) && self.has_hosts_of(name);
            is_there || self.target.get(ResourceType::Route, name).is_none()
        })
    }

    /// What is to be said of a name, if anything.
    pub(super) fn item(&self, kind: ResourceType, name: &Arc<str>) -> Option<Item> {
        let state = &self.types[kind];
        let owed = state.owed.contains(name);
        if let Some(encoded) = self.target.get(kind, name) {
            let say = owed || !state.is_rejected(name, &encoded.version);
            return say.then(|| (name.clone(), Some(encoded.clone())));
        }
        let held = state.behind.get(name);
        let gone = || Some((name.clone(), None));
        match kind {
            // Taken away last; see `removal`. One that was asked for by name is said not to be there.
            ResourceType::Cluster if owed && !held.is_some_and(Held::is_something) => gone(),
            // A client ignores that a route configuration has gone; one that asked for it is told.
            ResourceType::Cluster | ResourceType::Route => owed.then(gone)?,
            ResourceType::Listener | ResourceType::Secret | ResourceType::VirtualHost => {
                (owed || held.is_some_and(Held::is_something)).then(gone)?
            }
            // A client ignores that endpoints have gone; they are withdrawn by an assignment without any. Those
            // of a cluster that is about to go stay for the requests that still need it.
            ResourceType::Endpoints if self.keeps_endpoints(name) => None,
            ResourceType::Endpoints => {
                let none = Encoded::no_endpoints(name);
                let has_none = held.and_then(Held::version) == Some(&none.version);
                let withdraw = self.target.get(ResourceType::Cluster, name).is_some() && !has_none;
                (owed || withdraw).then(|| (name.clone(), Some(Arc::new(none))))
            }
        }
    }

    pub(super) fn turn(&self, kind: ResourceType, name: &str, encoded: &Encoded, now: Instant) -> Turn {
        if self.waits_for_parts(kind, name, encoded) {
            return Turn::Waits;
        }
        if let Some(turn) = self.turn_before_clusters(kind, encoded) {
            return turn;
        }
        let clusters = &self.types[ResourceType::Cluster];
        let waits_for_clusters = USERS.contains(&kind);
        let all_there = clusters.behind.is_empty() && clusters.in_flight.is_none();
        if !waits_for_clusters || !clusters.subscribed || all_there {
            return Turn::Now;
        }
        let state = &self.types[kind];
        let of_routes = encoded.refs.routes.iter().filter_map(|r| self.target.get(ResourceType::Route, r));
        let of_hosts = encoded.refs.routes.iter().flat_map(|r| self.target.hosts_of(r)).map(|(_, host)| host);
        let named = of_routes.chain(of_hosts).flat_map(|e| &e.refs.clusters).chain(&encoded.refs.clusters);
        let (mut waits, mut all_sent) = (false, true);
        for cluster in named {
            // One that nobody has is not worth waiting for.
            let Some(wanted) = self.target.get(ResourceType::Cluster, cluster) else { continue };
            if clusters.is_taking_away(cluster) {
                waits = true;
            }
            let Some(held) = clusters.behind.get(cluster) else { continue };
            if !clusters.is_rejected(cluster, &wanted.version) {
                waits = true;
                all_sent &= clusters.is_sending(cluster);
            } else if !held.is_something() && state.held(kind, &self.target, name).is_something() {
                return Turn::KeepsOlder;
            }
        }
        // The client has had its time since the clusters were sent; what is not even sent is waited for itself.
        let sent = clusters.in_flight.as_ref().filter(|_| all_sent).map(|f| f.sent);
        let since = sent.or_else(|| state.waiting.get(name).copied()).unwrap_or(now);
        if waits && now < since + self.options.cluster_wait { Turn::Waits } else { Turn::Now }
    }

    /// Clusters that are not wanted any more get their time to go as soon as the client runs the listeners and
    /// routes that do not name them.
    fn plan_removals(&mut self, now: Instant) {
        let clusters = &self.types[ResourceType::Cluster];
        let mut old = clusters
            .behind
            .iter()
            .filter(|(name, held)| held.is_something() && self.target.get(ResourceType::Cluster, name).is_none())
            .map(|(name, _)| name)
            .filter(|name| !self.leaving.contains_key(*name))
            .cloned()
            .peekable();
        if old.peek().is_none() {
            if self.leaving.is_empty() {
                self.linger = Default::default();
            }
            return;
        }
        if !USERS.into_iter().all(|kind| self.types[kind].is_settled(kind, &self.target)) {
            return;
        }
        // What the client goes on with because it refused the newer version.
        let older = USERS.into_iter().flat_map(|kind| self.types[kind].behind.values());
        let needed: BTreeSet<_> = older
            .filter_map(|held| match held {
                Held::Known(encoded) => Some(&encoded.refs.clusters),
                Held::Nothing | Held::Version(_) => None,
            })
            .flatten()
            .collect();
        let grace = (self.linger + self.options.grace).min(self.options.most_grace);
        let old: Vec<_> = old.filter(|name| !needed.contains(name)).collect();
        self.leaving.extend(old.into_iter().map(|name| (name, now + grace)));
    }

    /// Takes away the clusters whose time has come.
    fn removal(&mut self, now: Instant) -> Option<Response> {
        let state = &self.types[ResourceType::Cluster];
        if state.in_flight.is_some() || !state.suspects.is_empty() {
            return None;
        }
        if USERS
            .into_iter()
            .flat_map(|kind| self.types[kind].behind.values())
            .any(|held| matches!(held, Held::Version(_)))
        {
            // The client has come back with something that may need them: their time begins anew after it.
            self.leaving.clear();
            return None;
        }
        let due = self.leaving.iter().filter(|(_, time)| **time <= now).map(|(name, _)| (name.clone(), None));
        let items: Vec<Item> = due.collect();
        if items.is_empty() {
            return None;
        }
        Some(self.send(ResourceType::Cluster, now, items))
    }

    pub(super) fn send(&mut self, kind: ResourceType, now: Instant, items: Vec<Item>) -> Response {
        let mut resources: Vec<_> = items.iter().filter_map(|(n, e)| Some((n.clone(), e.clone()?))).collect();
        let mut removed = Vec::new();
        match self.protocol {
            Protocol::Delta => removed.extend(items.iter().filter(|(_, e)| e.is_none()).map(|(n, _)| n.clone())),
            // What is not there is gone, whether the client has asked for all or by name.
            Protocol::Sotw if kind.is_wildcard() => resources = self.whole(kind, &items),
            Protocol::Sotw => {}
        }
        if kind == ResourceType::Cluster {
            // A changed cluster warms again, and a client of the delta protocol does not ask again.
            for (_, encoded) in items.iter().filter_map(|(n, e)| Some((n, e.as_ref()?))) {
                let endpoints = &mut self.types[ResourceType::Endpoints];
                endpoints.owed.extend(encoded.refs.endpoints.iter().filter(|n| endpoints.names.contains(n)).cloned());
                let secrets = &mut self.types[ResourceType::Secret];
                secrets.owed.extend(encoded.refs.secrets.iter().filter(|n| secrets.names.contains(n)).cloned());
            }
        }
        let version = self.target.version(kind).clone();
        let response = self.response(kind.type_url().into(), version.clone(), resources, removed);
        let state = &mut self.types[kind];
        for (name, _) in &items {
            state.owed.remove(name);
            state.waiting.remove(name);
        }
        state.owes_answer = false;
        state.last_nonce.clone_from(&response.nonce);
        state.pushes += 1;
        state.last_sent = Some(now);
        state.sent_version = Some(version.clone());
        state.in_flight = Some(InFlight::new(response.nonce.clone(), now, version, items));
        response
    }

    /// All that a client of the state-of-the-world protocol is to have of a type once it has taken `items`.
    fn whole(&self, kind: ResourceType, items: &[Item]) -> Vec<(Arc<str>, Arc<Encoded>)> {
        let state = &self.types[kind];
        let names: BTreeSet<_> = self.target.iter(kind).map(|(name, _)| name).chain(state.behind.keys()).collect();
        let items: BTreeMap<_, _> = items.iter().map(|(name, item)| (name, item)).collect();
        let version = |name: &Arc<str>| {
            if let Some(item) = items.get(name) {
                return (*item).clone();
            }
            match state.held(kind, &self.target, name) {
                Held::Known(encoded) => Some(encoded),
                Held::Nothing | Held::Version(_) => None,
            }
        };
        names.into_iter().filter_map(|name| Some((name.clone(), version(name)?))).collect()
    }

    fn response(
        &mut self,
        type_url: Arc<str>,
        version: Arc<str>,
        resources: Vec<(Arc<str>, Arc<Encoded>)>,
        removed: Vec<Arc<str>>,
    ) -> Response {
        Response { protocol: self.protocol, type_url, nonce: self.nonce(), version, resources, removed }
    }
}
