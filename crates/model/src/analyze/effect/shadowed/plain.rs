//! Rules of `tcp` and `tls`: compared by addresses and server names as the choice of filter chains does, which takes the
//! narrowest first, so that an earlier rule takes what a later one would only where it names the very same.

use super::reach::Reach;
use super::{Shadowed, goes_first, known_rules};
use crate::analyze::bindings::Bindings;
use crate::config::Origin;
use crate::resource::virtual_service::{L4Match, TcpRoute, TlsMatch, TlsRoute};
use crate::snapshot::{Health, ResolvedVirtualService, Rule, Snapshot};
use crate::translate::{Bound, Carries};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// No more matches than this are compared with one: what is not found among them is not told.
const LOOKED_AT: usize = 256;

/// A rule with its matches, as far as they are in force anywhere.
struct Judged<'s> {
    rule: &'s Origin,
    /// It is carried out; what is broken takes its connections too, and is told otherwise.
    is_sound: bool,
    written: usize,
    matches: Vec<Match<'s>>,
}

struct Match<'s> {
    /// Addresses or server names; none: any.
    keys: BTreeSet<String>,
    reach: Reach<'s>,
    winner: Option<&'s Origin>,
}

/// The rules of a VirtualService, of one kind.
type Rules<'s> = (&'s ResolvedVirtualService, Vec<Judged<'s>>);

pub(super) fn find<'s>(snapshot: &'s Snapshot, bindings: &Bindings<'s>) -> Vec<Shadowed<'s>> {
    let all = |rules: fn(&'s ResolvedVirtualService) -> Vec<Judged<'s>>| -> Vec<Rules<'s>> {
        let with_rules = |vs: &'s ResolvedVirtualService| (vs, rules(vs));
        let all = snapshot.virtual_services().iter().map(|vs| with_rules(vs));
        all.filter(|(_, rules)| !rules.is_empty()).collect()
    };
    let mut shadowed = Vec::new();
    for (mut rules, carries) in [(all(tcp), Carries::Tcp), (all(tls), Carries::PassedTls)] {
        rules.iter_mut().for_each(|(_, rules)| beside_one_another(rules, carries == Carries::Tcp));
        at_gateways(&mut rules, carries, bindings);
        for (virtual_service, rules) in &rules {
            for judged in rules.iter().filter(|judged| judged.is_sound && !judged.matches.is_empty()) {
                let winners: Option<_> = judged.matches.iter().map(|m| m.winner).collect();
                let (rule, matches) = (judged.rule, judged.written);
                shadowed.extend(winners.map(|winners| Shadowed { virtual_service, rule, matches, winners }));
            }
        }
    }
    shadowed
}

/// Rules without a destination are left out by proxies.
fn in_force<T>(rule: &&Rule<T>, has_route: bool) -> bool {
    has_route || rule.health != Health::Sound
}

fn tcp(vs: &ResolvedVirtualService) -> Vec<Judged<'_>> {
    let rules = known_rules(&vs.tcp).filter(|rule| in_force(rule, !rule.route.route.is_empty()));
    let of = |rule| {
        let Rule { route, origin, health }: &Rule<TcpRoute> = rule;
        let of_match = |m: &'_ L4Match| m.destination_subnets.iter().map(|subnet| network(subnet)).collect();
        let mut matches: Vec<Match<'_>> = Vec::new();
        for m in &route.matches {
            let reach = Reach::of(vs, &m.gateways, m.port, &m.source_labels, &m.source_namespace);
            matches.push(Match { keys: of_match(m), reach, winner: None });
        }
        if route.matches.is_empty() {
            matches.push(Match { keys: BTreeSet::new(), reach: Reach::everywhere(vs), winner: None });
        }
        judged(origin, *health, route.matches.len(), matches)
    };
    rules.map(of).collect()
}

fn tls(vs: &ResolvedVirtualService) -> Vec<Judged<'_>> {
    // Addresses are looked at before names, and those of one match hold for the next ones too.
    let mut all = vs.tls.iter().flat_map(|rule| &rule.route.matches);
    if all.any(|m| !m.destination_subnets.is_empty()) {
        return Vec::new();
    }
    let rules = known_rules(&vs.tls).filter(|rule| in_force(rule, !rule.route.route.is_empty()));
    let of = |rule| {
        let Rule { route, origin, health }: &Rule<TlsRoute> = rule;
        let of_match = |m: &'_ TlsMatch| m.sni_hosts.iter().map(|name| name.to_ascii_lowercase()).collect();
        let mut matches: Vec<Match<'_>> = Vec::new();
        for m in &route.matches {
            let reach = Reach::of(vs, &m.gateways, m.port, &m.source_labels, &m.source_namespace);
            matches.push(Match { keys: of_match(m), reach, winner: None });
        }
        judged(origin, *health, route.matches.len(), matches)
    };
    rules.map(of).collect()
}

fn judged<'s>(rule: &'s Origin, health: Health, written: usize, mut matches: Vec<Match<'s>>) -> Judged<'s> {
    matches.retain(|m| !m.reach.gateways.is_empty());
    Judged { rule, is_sound: health == Health::Sound, written, matches }
}

/// As it is compared: an address is a network of its own.
fn network(text: &str) -> String {
    match (text.parse::<IpAddr>(), text.parse::<IpNet>()) {
        (Ok(address), _) => IpNet::from(address).to_string(),
        (_, Ok(network)) => network.trunc().to_string(),
        _ => text.to_owned(),
    }
}

impl Match<'_> {
    /// Whatever comes to `other` would come here before. Gateways look at no addresses and no clients; and they leave a
    /// match of `tls` out as a whole where one of its names is taken, so that one with other names may not be there.
    fn covers(&self, other: &Match<'_>, is_tcp: bool) -> bool {
        let in_mesh = other.reach.in_mesh();
        let at_gateways = other.reach.gateways.iter().any(|gateway| *gateway != "mesh");
        let within = !other.keys.is_empty() && other.keys.is_subset(&self.keys);
        let keys = match is_tcp {
            true => !in_mesh || self.keys.is_empty() || within,
            false => (!in_mesh || within) && (!at_gateways || self.keys.is_subset(&other.keys)),
        };
        keys && other.reach.places_within(&self.reach) && (!in_mesh || other.reach.clients_within(&self.reach))
    }
}

/// The rules of a VirtualService beside one another.
fn beside_one_another(rules: &mut [Judged<'_>], is_tcp: bool) {
    // By one of its keys, or by none.
    let mut by_key: HashMap<Option<String>, Vec<(usize, usize)>> = HashMap::new();
    for at in 0..rules.len() {
        let mut winners = Vec::new();
        for m in &rules[at].matches {
            let keys = m.keys.iter().cloned().map(Some).chain([None]);
            let candidates = keys.filter_map(|key| by_key.get(&key)).flatten().take(LOOKED_AT);
            let mut covering = candidates.filter(|(rule, index)| rules[*rule].matches[*index].covers(m, is_tcp));
            winners.push(covering.next().map(|(rule, _)| rules[*rule].rule));
        }
        for (index, winner) in winners.into_iter().enumerate() {
            let m = &mut rules[at].matches[index];
            m.winner = winner;
            if winner.is_some() {
                continue;
            }
            let at_gateways = is_tcp && !m.reach.in_mesh();
            let keys: Vec<_> = m.keys.iter().cloned().map(Some).collect();
            let keys = if keys.is_empty() || at_gateways { vec![None] } else { keys };
            keys.into_iter().for_each(|key| by_key.entry(key).or_default().push((at, index)));
        }
    }
}

/// The rules of several VirtualServices at the servers of gateways, the oldest first.
fn at_gateways<'s>(all: &mut [Rules<'s>], carries: Carries, bindings: &Bindings<'s>) {
    let is_tcp = carries == Carries::Tcp;
    let places: HashMap<_, usize> = all.iter().enumerate().map(|(index, (vs, _))| (&vs.id, index)).collect();
    let mut servers: BTreeMap<(&str, usize), Vec<(usize, &Bound<'s>)>> = BTreeMap::new();
    for bound in bindings.all().filter(|bound| bound.carries == carries) {
        if let Some(index) = places.get(&bound.virtual_service.id) {
            servers.entry((&bound.gateway, bound.server)).or_default().push((*index, bound));
        }
    }
    let mut found: HashMap<(usize, usize, usize), Option<&'s Origin>> = HashMap::new();
    for ((gateway, _), list) in &servers {
        // By name, or none where names are not looked at.
        let mut earlier: HashMap<Option<&str>, Vec<(usize, &'s Origin, &Match<'s>)>> = HashMap::new();
        for (index, bound) in list {
            let (vs, rules) = &all[*index];
            let here: Vec<_> = (rules.iter().enumerate())
                .flat_map(|(at, judged)| {
                    judged.matches.iter().enumerate().map(move |(place, m)| (at, judged, place, m))
                })
                .filter(|(.., m)| m.reach.at(gateway, bound.port))
                .collect();
            for (at, _, place, m) in &here {
                let known = m.reach.gateways.iter().all(|name| bindings.knows(name));
                if m.winner.is_some() || !known {
                    continue;
                }
                let names = m.keys.iter().map(|name| Some(name.as_str())).filter(|_| !is_tcp);
                let keys = names.chain(is_tcp.then_some(None));
                let mut candidates = keys.filter_map(|key| earlier.get(&key)).flatten().take(LOOKED_AT);
                let covering = candidates
                    .find(|(other, _, wide)| goes_first(all[*other].0, vs) && (is_tcp || wide.keys.is_subset(&m.keys)));
                let winner = covering.map(|(_, rule, _)| *rule);
                let state = found.entry((*index, *at, *place)).or_insert(winner);
                *state = state.and(winner);
            }
            for (_, judged, _, m) in here {
                let names = m.keys.iter().map(|name| Some(name.as_str())).filter(|_| !is_tcp);
                let keys = names.chain(is_tcp.then_some(None));
                keys.for_each(|key| earlier.entry(key).or_default().push((*index, judged.rule, m)));
            }
        }
    }
    for ((index, at, place), winner) in found {
        let m = &mut all[index].1[at].matches[place];
        m.winner = m.winner.or(winner);
    }
}
