//! Rules of HTTP: compared by the matches that proxies would have for them.

use super::reach::Reach;
use super::{Shadowed, goes_first, known_rules};
use crate::analyze::bindings::Bindings;
use crate::config::{Origin, RouteMatch};
use crate::resource::virtual_service::{HttpMatch, HttpRoute};
use crate::route::cover::Index;
use crate::rule::matches;
use crate::snapshot::{Health, ResolvedVirtualService, Rule, Snapshot};
use crate::translate::{Bound, Carries, takes_all};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Claims of tokens are in no route yet, so that a match without one looks wider than it is.
const CLAIMS: &str = "@request.auth.claims";
/// As many rules that take all of some place are remembered.
const OPEN: usize = 64;

/// A rule with its matches, as far as they are in force anywhere.
struct Judged<'s> {
    rule: &'s Rule<HttpRoute>,
    matches: Vec<Match<'s>>,
}

struct Match<'s> {
    matches: RouteMatch,
    reach: Reach<'s>,
    /// It takes no less than is written.
    is_sure: bool,
    /// The rule of the same VirtualService that covers it.
    winner: Option<&'s Origin>,
}

/// A match that goes before others.
struct Taker<'s> {
    virtual_service: &'s ResolvedVirtualService,
    rule: &'s Origin,
    reach: Reach<'s>,
}

/// For matches (by VirtualService, rule and match) that other VirtualServices may cover: by whom, or None where they do
/// not somewhere.
type ByOthers<'s> = HashMap<(usize, usize, usize), Option<&'s Origin>>;

pub(super) fn find<'s>(snapshot: &'s Snapshot, bindings: &Bindings<'s>) -> Vec<Shadowed<'s>> {
    let all: Vec<(&ResolvedVirtualService, Vec<Judged<'_>>)> =
        snapshot.virtual_services().iter().map(|vs| (&**vs, judge(vs))).collect();
    let others = by_others(&all, bindings);
    let mut shadowed = Vec::new();
    for (index, (virtual_service, rules)) in all.iter().enumerate() {
        for (at, judged) in rules.iter().enumerate().filter(|(_, judged)| judged.rule.health == Health::Sound) {
            let winner = |(place, m): (usize, &Match<'s>)| match m.winner {
                Some(winner) => Some(winner),
                None => others.get(&(index, at, place)).copied().flatten(),
            };
            let winners: Option<_> = judged.matches.iter().enumerate().map(winner).collect();
            let matches = judged.rule.route.matches.len();
            if let Some(winners) = winners.filter(|_| !judged.matches.is_empty()) {
                shadowed.push(Shadowed { virtual_service, rule: &judged.rule.origin, matches, winners });
            }
        }
    }
    shadowed
}

/// The rules of a VirtualService beside one another.
fn judge(vs: &ResolvedVirtualService) -> Vec<Judged<'_>> {
    let mut earlier: Index<Taker<'_>> = Index::default();
    let mut open: Vec<Taker<'_>> = Vec::new();
    let mut judged = Vec::new();
    for rule in known_rules(&vs.http) {
        let mut matches = matches_of(vs, rule);
        for m in &mut matches {
            let within = |reach: &Reach<'_>| m.reach.places_within(reach) && m.reach.clients_within(reach);
            let by_open = open.iter().find(|taker| within(&taker.reach));
            let by = by_open.or_else(|| earlier.covering(&m.matches, |_, taker| within(&taker.reach)));
            m.winner = by.map(|taker| taker.rule);
        }
        for m in matches.iter().filter(|m| m.is_sure && m.winner.is_none()) {
            let taker = Taker { virtual_service: vs, rule: &rule.origin, reach: m.reach.clone() };
            if !takes_all(&m.matches) {
                earlier.add(m.matches.clone(), taker);
            } else if open.len() < OPEN {
                open.push(taker);
            }
        }
        judged.push(Judged { rule, matches });
    }
    judged
}

fn matches_of<'s>(vs: &'s ResolvedVirtualService, rule: &'s Rule<HttpRoute>) -> Vec<Match<'s>> {
    if rule.route.matches.is_empty() {
        let all = RouteMatch::default();
        return vec![Match { matches: all, reach: Reach::everywhere(vs), is_sure: true, winner: None }];
    }
    let of = |m: &'s HttpMatch| {
        let reach = Reach::of(vs, &m.gateways, m.port, &m.source_labels, &m.source_namespace);
        let reach = if m.gateways.is_empty() { reach } else { reach.of_all_clients() };
        let is_sure = !m.without_headers.keys().any(|name| name.starts_with(CLAIMS));
        Match { matches: matches::of(m), reach, is_sure, winner: None }
    };
    rule.route.matches.iter().map(of).filter(|m| !m.reach.gateways.is_empty()).collect()
}

/// At gateways: the rules of several VirtualServices for one host are put together, those of the oldest first, and what
/// takes everything last.
fn by_others<'s>(all: &[(&'s ResolvedVirtualService, Vec<Judged<'s>>)], bindings: &Bindings<'s>) -> ByOthers<'s> {
    let mut hosts: BTreeMap<(&str, &str, String), Vec<&Bound<'s>>> = BTreeMap::new();
    for bound in bindings.all().filter(|bound| bound.carries == Carries::Http) {
        for host in &bound.hosts {
            let of_host = hosts.entry((&bound.gateway, &bound.routes, host.to_ascii_lowercase())).or_default();
            // A VirtualService has one list of rules for a host.
            if of_host.iter().all(|known| known.virtual_service.id != bound.virtual_service.id) {
                of_host.push(bound);
            }
        }
    }
    // Whoever goes first somewhere is covered by nobody there.
    let first: HashSet<_> = hosts.values().filter_map(|list| Some(&list.first()?.virtual_service.id)).collect();
    let places: HashMap<_, usize> = all.iter().enumerate().map(|(index, (vs, _))| (&vs.id, index)).collect();
    let mut seen = HashSet::new();
    let mut found = ByOthers::new();
    for ((gateway, ..), list) in hosts.iter().filter(|(_, list)| list.len() > 1) {
        let indexes: Vec<(usize, u32)> =
            list.iter().filter_map(|bound| Some((*places.get(&bound.virtual_service.id)?, bound.port))).collect();
        if indexes.iter().all(|(index, _)| first.contains(&all[*index].0.id))
            || !seen.insert((gateway, indexes.clone()))
        {
            continue;
        }
        let mut earlier: Index<Taker<'s>> = Index::default();
        for (index, port) in indexes {
            let (vs, rules) = &all[index];
            if !first.contains(&vs.id) {
                cover_by_others(&mut found, &earlier, (index, vs, rules), gateway, port, bindings);
            }
            add_in_force(&mut earlier, vs, rules);
        }
    }
    found
}

fn cover_by_others<'s>(
    found: &mut ByOthers<'s>,
    earlier: &Index<Taker<'s>>,
    (index, vs, rules): (usize, &'s ResolvedVirtualService, &[Judged<'s>]),
    gateway: &str,
    port: u32,
    bindings: &Bindings<'s>,
) {
    for (at, judged) in rules.iter().enumerate() {
        for (place, m) in judged.matches.iter().enumerate() {
            // Where else it is in force has to be known.
            let known = m.reach.gateways.iter().all(|name| bindings.knows(name));
            if m.winner.is_some() || !known || !m.reach.at(gateway, port) {
                continue;
            }
            let fits = |wide: &RouteMatch, taker: &Taker<'s>| {
                goes_first(taker.virtual_service, vs)
                    && taker.reach.at(gateway, port)
                    && m.reach.clients_within(&taker.reach)
                    && (!takes_all(wide) || takes_all(&m.matches))
            };
            let winner = earlier.covering(&m.matches, fits).map(|taker| taker.rule);
            let known = found.entry((index, at, place)).or_insert(winner);
            *known = known.and(winner);
        }
    }
}

/// The matches of a VirtualService that are in a gateway's routes whatever port it has: those up to the first that may
/// take everything.
fn add_in_force<'s>(earlier: &mut Index<Taker<'s>>, virtual_service: &'s ResolvedVirtualService, rules: &[Judged<'s>]) {
    for judged in rules {
        for m in &judged.matches {
            if m.is_sure {
                let taker = Taker { virtual_service, rule: &judged.rule.origin, reach: m.reach.clone() };
                earlier.add(m.matches.clone(), taker);
            }
            if takes_all(&m.matches) {
                return;
            }
        }
    }
}
