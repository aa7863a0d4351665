//! Virtual hosts as resources: which go out together.
//!
//! A changed rule of a virtual host concerns nobody else. But a domain that moves from one to another must never be
//! nobody's, for its requests would fall through to what catches all; nor be there twice. So virtual hosts of one
//! route configuration that come, go or change their domains go out in one response, when the turn of all of them
//! has come; and so do the first ones, for a route configuration is used when they are there.

use super::order::{Item, Turn};
use super::requests::linger;
use super::resources::in_route;
use super::state::{Held, Rejection};
use super::{Encoded, Response, Stream};
use crate::{ResourceType, refs};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

const KIND: ResourceType = ResourceType::VirtualHost;

impl Stream {
    pub(super) fn subscribe_hosts(&mut self, route: &str, initial: &BTreeMap<Arc<str>, Arc<str>>) {
        let state = &mut self.types[KIND];
        if state.routes.contains(route) {
            state.owed.extend(self.target.hosts_of(route).map(|(name, _)| name.clone()));
            return;
        }
        state.routes.insert(route.into());
        let told = in_route(initial, route);
        let mut told_any = false;
        for (name, version) in told {
            told_any = true;
            state.set_held(KIND, &self.target, name, Held::Version(version.clone()));
        }
        if !told_any {
            state.fresh.insert(route.into());
        }
        for (name, _) in self.target.hosts_of(route).filter(|(name, _)| !initial.contains_key(*name)) {
            state.set_held(KIND, &self.target, name, Held::Nothing);
        }
    }

    /// The client does not want the virtual hosts of that route configuration any more.
    pub(super) fn forget_hosts(&mut self, route: &str) {
        let target = self.target.clone();
        let state = &self.types[KIND];
        let known = target.hosts_of(route).map(|(name, _)| name);
        let names: BTreeSet<_> = known.chain(in_route(&state.behind, route).map(|(name, _)| name)).cloned().collect();
        for name in &names {
            let old = self.types[KIND].held(KIND, &target, name);
            self.linger = self.linger.max(linger(&old));
        }
        let state = &mut self.types[KIND];
        state.routes.remove(route);
        state.fresh.remove(route);
        names.iter().for_each(|name| state.forget(name));
    }

    /// The client has the virtual hosts of that route configuration, where it is to have them by themselves.
    pub(super) fn has_hosts_of(&self, route: &str) -> bool {
        let state = &self.types[KIND];
        match self.target.hosts_of(route).next() {
            Some(_) => state.routes.contains(route) && in_route(&state.behind, route).next().is_none(),
            None => true,
        }
    }

    /// All virtual hosts that are due.
    pub(super) fn due_hosts(&mut self, now: Instant) -> Option<Response> {
        let state = &self.types[KIND];
        let mut names: BTreeSet<_> = state.behind.keys().chain(&state.owed).cloned().collect();
        let mut items = Vec::new();
        // Each of these is to be answered, by nothing where there is nothing.
        let fresh = state.fresh.iter().filter(|route| self.target.hosts_of(route).next().is_none());
        items.extend(fresh.map(|route| -> Item { (refs::hosts_of(route).into(), None) }));
        let (mut waiting, mut kept) = (Vec::new(), Vec::new());
        while let Some(first) = names.pop_first() {
            let Some(route) = refs::route_of(&first) else { continue };
            let mut of_route = vec![first.clone()];
            while let Some(next) = names.pop_first() {
                if refs::route_of(&next) != Some(route) {
                    names.insert(next);
                    break;
                }
                of_route.push(next);
            }
            self.due_of_route(route, of_route, now, &mut items, &mut waiting, &mut kept);
        }
        let state = &mut self.types[KIND];
        for name in waiting {
            state.waiting.entry(name).or_insert(now);
        }
        for name in kept {
            state.waiting.remove(&name);
        }
        if items.is_empty() {
            return None;
        }
        items.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (name, _) in &items {
            if let Some(route) = refs::route_of(name) {
                state.fresh.remove(route);
            }
        }
        Some(self.send(KIND, now, items))
    }

    fn due_of_route(
        &self,
        route: &str,
        names: Vec<Arc<str>>,
        now: Instant,
        items: &mut Vec<Item>,
        waiting: &mut Vec<Arc<str>>,
        kept: &mut Vec<Arc<str>>,
    ) {
        let state = &self.types[KIND];
        let is_first = state.fresh.contains(route);
        let (mut together, mut turn) = (Vec::new(), Turn::Now);
        for name in names {
            let alone = !is_first && self.keeps_domains(&name);
            let Some(item) = self.item(KIND, &name) else {
                // It was refused: what would take its domains away, or give them to another, stays as it is.
                if !alone {
                    turn = Turn::KeepsOlder;
                }
                continue;
            };
            let own = item.1.as_ref().map_or(Turn::Now, |encoded| self.turn(KIND, &name, encoded, now));
            match own {
                Turn::Waits => waiting.push(name),
                Turn::KeepsOlder => kept.push(name),
                Turn::Now => {}
            }
            if alone {
                items.extend((own == Turn::Now).then_some(item));
            } else {
                turn = match (turn, own) {
                    (Turn::KeepsOlder, _) | (_, Turn::KeepsOlder) => Turn::KeepsOlder,
                    (Turn::Waits, _) | (_, Turn::Waits) => Turn::Waits,
                    (Turn::Now, Turn::Now) => Turn::Now,
                };
                together.push(item);
            }
        }
        if turn == Turn::Now {
            items.append(&mut together);
        }
    }

    /// A route configuration that has its clusters checked goes out after the virtual hosts that bear it; one that
    /// does not any more goes out before those that would not.
    pub(super) fn waits_for_parts(&self, kind: ResourceType, name: &str, encoded: &Encoded) -> bool {
        let (heads, hosts) = (&self.types[ResourceType::Route], &self.types[KIND]);
        let is_due = |(name, _): (&Arc<str>, &Held)| {
            self.target.get(KIND, name).is_none_or(|wanted| !hosts.is_rejected(name, &wanted.version))
        };
        match kind {
            ResourceType::Route => {
                encoded.refs.validates
                    && hosts.routes.contains(name)
                    && !hosts.fresh.contains(name)
                    && in_route(&hosts.behind, name).any(is_due)
            }
            KIND => refs::route_of(name).is_some_and(|route| {
                let Some(head) = self.target.get(ResourceType::Route, route) else { return false };
                let checks = match heads.behind.get(route) {
                    Some(Held::Known(old)) => old.refs.validates,
                    Some(Held::Version(_)) => true,
                    Some(Held::Nothing) | None => false,
                };
                checks && !head.refs.validates && !heads.is_rejected(route, &head.version)
            }),
            _ => false,
        }
    }

    /// That virtual host is there before and after, with the same domains.
    fn keeps_domains(&self, name: &str) -> bool {
        let Some(new) = self.target.get(KIND, name) else { return false };
        match self.types[KIND].held(KIND, &self.target, name) {
            Held::Known(old) => old.refs.domains == new.refs.domains,
            Held::Nothing | Held::Version(_) => false,
        }
    }

    /// Of a response that was refused, what it was to add. What it was to take away is still there, for the client
    /// refuses as a whole, and is due again.
    pub(super) fn without_removals(items: Vec<Item>) -> Vec<(Arc<str>, Arc<Encoded>)> {
        items.into_iter().filter_map(|(name, item)| Some((name, item?))).collect()
    }

    /// Each is sent again, alone. One that is refused alone may only have been so because of another that has not
    /// had its turn, so it has a second one.
    pub(super) fn refused_hosts(&mut self, now: Instant, items: Vec<(Arc<str>, Arc<Encoded>)>, message: &str) {
        let wanted = |(name, item): &(Arc<str>, Arc<Encoded>)| {
            self.target.get(KIND, name).is_some_and(|now| now.version == item.version)
        };
        let is_wanted = items.iter().any(wanted);
        let state = &mut self.types[KIND];
        match items.as_slice() {
            // It was taken back meanwhile.
            [_] if !is_wanted => {}
            [(name, encoded)] => {
                let others = !state.suspects.is_empty();
                if others && state.retried.insert(name.clone()) {
                    state.suspects.push_back(name.clone());
                } else {
                    state.retried.remove(name);
                    state.rejected.insert(name.clone(), Rejection::new(KIND, name, encoded, message, now));
                }
            }
            _ => state.suspects.extend(items.into_iter().map(|(name, _)| name)),
        }
    }
}
