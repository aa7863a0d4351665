//! The search for requests of which something else comes: the plain request to each target, then, where both sides have
//! rules for it, requests made of those rules. The matcher says which rule takes one; `explain` says what comes of it.

use super::candidates::{Choices, Draft};
use super::clients::Client;
use super::outcome::{Answer, Outcome, Unsent, ask, plain};
use super::targets::Target;
use super::words::{condition, moved, short, words};
use super::{Change, Observed};
use crate::config::{PathMatch, PathRewrite, ProxyConfig, RedirectPath, Route, RouteAction, RouteMatch, VirtualHost};
use crate::explain::{Action, Explainer, OneOrMany, Question, State};
use crate::route::{RequestView, RouteTable};
use crate::snapshot::Snapshot;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// So many requests are all that can be put together of a few rules.
const ALL: usize = 6_000;
/// Of one rule that differs, and of each of so many rules of the other side with it.
const OF_ONE: usize = 96;
const OTHERS: usize = 64;
/// In all, for one host and client.
const MOST: usize = 40_000;
/// So often is a pair of rules asked of before it is taken for one that makes no difference.
const TRIES: usize = 4;
/// Dialled for names that only one side knows an address of, or none: of nobody (RFC 5737, TEST-NET-1).
const NOBODY: &str = "192.0.2.1";
/// So many rules are compared by how few of them have changed places; of more, all that differ from their neighbours have.
const ALIGNED: usize = 1_000_000;

pub(super) struct Search<'s> {
    pub before: Explainer<'s>,
    pub after: Explainer<'s>,
    pub changes: Vec<Change>,
    /// Places of changes by host, before and after.
    pub known: HashMap<(String, String, String), usize>,
}

/// One rule of a virtual host, and all that its requests meet.
struct Rule<'t> {
    matches: &'t RouteMatch,
    effect: Effect,
}

#[derive(PartialEq)]
struct Effect {
    route: Route,
    /// Of its clusters.
    states: Vec<State>,
    /// What is replaced by a prefix's rewrite.
    replaced: Option<PathMatch>,
}

impl Search<'_> {
    /// Asks for one host and port in the name of one group of clients.
    pub(super) fn compare(&mut self, client: &Client, target: &Target) {
        for scheme in &target.schemes {
            if self.of_scheme(client, target, scheme) {
                break;
            }
        }
    }

    /// Whether something differs.
    fn of_scheme(&mut self, client: &Client, target: &Target, scheme: &'static str) -> bool {
        let mut question =
            Question { from: Some(client.from.clone()), url: url(scheme, target, "/"), ..Question::default() };
        let Some((mut one, mut other)) = self.both(&question) else { return false };
        let unknown = |answer: &Answer| answer.outcome == Outcome::Unsent(Unsent::UnknownName);
        // Names of a cluster are those of its services; others the mesh need not know.
        if (unknown(&one) || unknown(&other)) && short(&target.host) == target.host {
            question.address = Some(NOBODY.to_owned());
            let Some(both) = self.both(&question) else { return false };
            (one, other) = both;
        }
        let differs = one.outcome != other.outcome;
        if differs {
            self.note(&target.host, &client.members, &one, &other, &question);
        }
        let (Some(before), Some(after)) = (one.table, other.table) else { return differs };
        self.of_rules(client, target, scheme, &question, (&before, &after)) || differs
    }

    fn both(&mut self, question: &Question) -> Option<(Answer, Answer)> {
        let one = ask(&mut self.before, question).ok()?;
        let other = ask(&mut self.after, question).ok()?;
        Some((one, other))
    }

    /// Whether something differs.
    fn of_rules(
        &mut self,
        client: &Client,
        target: &Target,
        scheme: &'static str,
        base: &Question,
        (before, after): (&Arc<RouteTable>, &Arc<RouteTable>),
    ) -> bool {
        let authority = authority(scheme, target);
        let (Some(one), Some(other)) = (before.virtual_host(&authority), after.virtual_host(&authority)) else {
            return false;
        };
        let configs = (self.before.translation_for(base), self.after.translation_for(base));
        let (Ok(Some(config_before)), Ok(Some(config_after))) = configs else { return false };
        let rules = (rules(one, &config_before.config), rules(other, &config_after.config));
        let changed = changed(&rules.0, &rules.1);
        if changed.0.is_empty() && changed.1.is_empty() {
            return false;
        }
        let mut differs = false;
        let mut tries: HashMap<(Option<usize>, Option<usize>), usize> = HashMap::new();
        for draft in drafts(&rules, &changed) {
            let question = asked(&draft, scheme, target, base);
            let headers = headers(&draft);
            let path = draft.path_and_query();
            let view = RequestView {
                method: draft.method.as_deref().unwrap_or("GET"),
                scheme,
                authority: draft.authority.as_deref().unwrap_or(&authority),
                path: &path,
                headers: &headers,
            };
            // Shares of requests are left out, as in every answer.
            let by = |table: &RouteTable| table.select(&view, u32::MAX).map(|selection| selection.route_index);
            let pair = (by(before), by(after));
            let effect =
                |rules: &[Rule<'_>], index: Option<usize>| index.and_then(|index| rules.get(index).map(|_| index));
            let same = match (effect(&rules.0, pair.0), effect(&rules.1, pair.1)) {
                (Some(one), Some(other)) => rules.0[one].effect == rules.1[other].effect,
                (None, None) => true,
                _ => false,
            };
            let count = tries.entry(pair).or_default();
            if (same && draft.authority.is_none()) || *count >= TRIES {
                continue;
            }
            *count += 1;
            let question = with_edited_headers(question, [(&rules.0, pair.0), (&rules.1, pair.1)]);
            let Some((one, other)) = self.both(&question) else { continue };
            if one.outcome != other.outcome {
                *count = TRIES;
                differs = true;
                self.note(&target.host, &client.members, &one, &other, &question);
            }
        }
        differs
    }

    /// Puts it to the requests of which the same came and comes.
    fn note(
        &mut self,
        host: &str,
        clients: &BTreeSet<String>,
        one: &Answer,
        other: &Answer,
        question: &Question,
    ) -> usize {
        let (before, after) = words(&one.outcome, &other.outcome, host);
        let key = (host.to_owned(), before, after);
        let when = condition(one.matches.as_ref(), other.matches.as_ref());
        if let Some(index) = self.known.get(&key) {
            let known = &mut self.changes[*index];
            known.clients.extend(clients.iter().cloned());
            known.unconditional |= when.is_none();
            known.when.extend(when);
            return *index;
        }
        self.changes.push(Change {
            host: host.to_owned(),
            name: short(host),
            clients: clients.clone(),
            unconditional: when.is_none(),
            when: when.into_iter().collect(),
            before: key.1.clone(),
            after: key.2.clone(),
            moved_percent: moved(&one.outcome, &other.outcome),
            witness: question.clone(),
            observed: 0,
        });
        self.known.insert(key, self.changes.len() - 1);
        self.changes.len() - 1
    }

    /// Asks for requests that were seen.
    pub(super) fn observe(&mut self, all: &[Vec<Question>], before: &Snapshot, after: &Snapshot) -> Observed {
        let mut observed = Observed { requests: all.len() as u64, ..Observed::default() };
        for ways in all {
            let leads = |answer: &Answer| match &answer.outcome {
                Outcome::Met(met) => met.verdict.action != Action::Refuse,
                Outcome::Unsent(_) => false,
            };
            let answers = ways.iter().filter_map(|question| Some((question, self.both(question)?)));
            let answers: Vec<_> = answers.collect();
            let chosen = answers.iter().find(|(_, (one, other))| leads(one) || leads(other)).or(answers.first());
            let Some((question, (one, other))) = chosen else {
                observed.unanswered += 1;
                continue;
            };
            let unsent = |answer: &Answer| matches!(answer.outcome, Outcome::Unsent(_));
            if unsent(one) && unsent(other) {
                observed.unanswered += 1;
            }
            if one.outcome != other.outcome {
                observed.changed += 1;
                let host = host_of(question, before).or_else(|| host_of(question, after));
                let host = host.unwrap_or_else(|| question.host().unwrap_or_default());
                let clients = question.from.iter().chain(&question.at).cloned().collect();
                let index = self.note(&host, &clients, one, other, question);
                self.changes[index].observed += 1;
            }
        }
        observed
    }
}

/// The service's own name of the host that is asked for.
fn host_of(question: &Question, snapshot: &Snapshot) -> Option<String> {
    let host = question.host()?.to_ascii_lowercase();
    let from = question.from.as_deref().unwrap_or_default();
    let namespace = match (from.strip_prefix("namespace "), from.split_once('/')) {
        (Some(namespace), _) | (None, Some((namespace, _))) => namespace.to_owned(),
        (None, None) => {
            let named = |pod: &&Arc<crate::snapshot::Pod>| pod.name == from || pod.workload.workload == from;
            snapshot.pods().find(named).map(|pod| pod.namespace.clone()).unwrap_or_default()
        }
    };
    let forms = ["", ".cluster.local", ".svc.cluster.local"].map(|end| format!("{host}{end}"));
    let short = format!("{host}.{namespace}.svc.cluster.local");
    let mut all = [forms[0].clone(), short, forms[2].clone(), forms[1].clone()].into_iter();
    all.find(|name| snapshot.services_of_host(name).is_some_and(|services| !services.is_empty()))
}

/// With the states of the clusters in that configuration.
fn rules<'t>(host: &'t VirtualHost, config: &ProxyConfig) -> Vec<Rule<'t>> {
    let rule = |route: &'t Route| {
        let (states, by_prefix) = match &route.action {
            RouteAction::Forward(forward) => {
                let weighted = forward.clusters.iter().map(|cluster| cluster.name.as_str());
                let all = weighted.chain(forward.mirrors.iter().map(|mirror| mirror.cluster.as_str()));
                let states = all.map(|name| (name, State::of(config, name))).collect::<BTreeMap<_, _>>();
                (states.into_values().collect(), matches!(forward.rewrite, PathRewrite::Prefix(_)))
            }
            RouteAction::Redirect(redirect) => (Vec::new(), matches!(redirect.path, RedirectPath::Prefix(_))),
            RouteAction::Respond(_) | RouteAction::Opaque(_) => (Vec::new(), false),
        };
        let replaced = by_prefix.then(|| route.matches.path.clone());
        Rule { matches: &route.matches, effect: Effect { route: plain(route), states, replaced } }
    };
    host.routes.iter().map(rule).collect()
}

/// Indexes of rules that the other side does not have in the same order. Of a request that is decided otherwise, one of
/// these decides on its side: if neither did, each would stand before the other.
fn changed(one: &[Rule<'_>], other: &[Rule<'_>]) -> (Vec<usize>, Vec<usize>) {
    let same = |a: usize, b: usize| one[a].matches == other[b].matches && one[a].effect == other[b].effect;
    let shorter = one.len().min(other.len());
    let head = (0..shorter).take_while(|index| same(*index, *index)).count();
    let rest = shorter - head;
    let tail = (1..=rest).take_while(|back| same(one.len() - back, other.len() - back)).count();
    let (left, right) = (one.len() - head - tail, other.len() - head - tail);
    let (mut kept_one, mut kept_other) = (BTreeSet::new(), BTreeSet::new());
    if left > 0 && right > 0 && left.saturating_mul(right) <= ALIGNED {
        // The longest common subsequence of what is between.
        let mut lengths = vec![vec![0u32; right + 1]; left + 1];
        let mut equal = vec![vec![false; right]; left];
        for a in (0..left).rev() {
            for b in (0..right).rev() {
                equal[a][b] = same(head + a, head + b);
                lengths[a][b] = match equal[a][b] {
                    true => lengths[a + 1][b + 1] + 1,
                    false => lengths[a + 1][b].max(lengths[a][b + 1]),
                };
            }
        }
        let (mut a, mut b) = (0, 0);
        while a < left && b < right {
            if equal[a][b] {
                kept_one.insert(head + a);
                kept_other.insert(head + b);
                (a, b) = (a + 1, b + 1);
            } else if lengths[a + 1][b] >= lengths[a][b + 1] {
                a += 1;
            } else {
                b += 1;
            }
        }
    }
    let differing = |count: usize, kept: &BTreeSet<usize>| (head..head + count).filter(|i| !kept.contains(i)).collect();
    (differing(left, &kept_one), differing(right, &kept_other))
}

type Both<'a, 't> = (Vec<Rule<'t>>, Vec<Rule<'t>>);

/// All that can be made of the rules, where these are few; else of each that differs, alone and with each of the other side.
fn drafts(rules: &Both<'_, '_>, changed: &(Vec<usize>, Vec<usize>)) -> Vec<Draft> {
    let differing = || {
        let one = changed.0.iter().map(|index| &rules.0[*index]);
        one.chain(changed.1.iter().map(|index| &rules.1[*index]))
    };
    let removed = differing().flat_map(|rule| edits(&rule.effect.route).0).collect();
    let all = Choices::of(rules.0.iter().chain(&rules.1).map(|rule| rule.matches), &removed);
    if all.count() <= ALL {
        return all.first(ALL).collect();
    }
    let mut drafts = Vec::new();
    let of_changed = Choices::of(differing().map(|rule| rule.matches), &removed);
    if of_changed.count() <= ALL {
        drafts.extend(of_changed.first(ALL));
    }
    for (own, other, changed) in [(&rules.0, &rules.1, &changed.0), (&rules.1, &rules.0, &changed.1)] {
        for index in changed {
            let rule = &own[*index];
            // Those that it may have to be without.
            let without: Vec<_> = own[..*index].iter().filter(|earlier| has_inverted(earlier.matches)).collect();
            let near = without.iter().rev().take(4).map(|rule| rule.matches);
            drafts.extend(Choices::of(std::iter::once(rule.matches).chain(near), &removed).first(OF_ONE));
            for met in other.iter().filter(|met| met.effect != rule.effect).take(OTHERS) {
                drafts.extend(Choices::of([rule.matches, met.matches], &removed).first(OF_ONE));
            }
            if drafts.len() >= MOST {
                drafts.truncate(MOST);
                return drafts;
            }
        }
    }
    drafts
}

fn has_inverted(matches: &RouteMatch) -> bool {
    matches.headers.iter().any(|header| header.invert)
}

fn authority(scheme: &str, target: &Target) -> String {
    match (scheme, target.port) {
        ("http", 80) | ("https", 443) => target.host.clone(),
        (_, port) => format!("{}:{port}", target.host),
    }
}

fn url(scheme: &str, target: &Target, path: &str) -> String {
    format!("{scheme}://{}{path}", authority(scheme, target))
}

fn asked(draft: &Draft, scheme: &str, target: &Target, base: &Question) -> Question {
    let one = |(name, value): (&String, &String)| (name.clone(), OneOrMany::One(value.clone()));
    Question {
        url: url(scheme, target, &draft.path_and_query()),
        method: draft.method.clone(),
        authority: draft.authority.clone(),
        headers: draft.headers.iter().map(one).collect(),
        ..base.clone()
    }
}

fn headers(draft: &Draft) -> HeaderMap {
    let one = |(name, value): (&String, &String)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
    };
    draft.headers.iter().filter_map(one).collect()
}

/// What rules take away of answers shows only of what is there.
fn with_edited_headers(mut question: Question, rules: [(&Vec<Rule<'_>>, Option<usize>); 2]) -> Question {
    for rule in rules.into_iter().filter_map(|(rules, index)| rules.get(index?)) {
        question.answer.extend(edits(&rule.effect.route).1);
    }
    question.answer.sort();
    question.answer.dedup();
    question
}

/// Headers that a rule takes away: of requests, of answers.
fn edits(route: &Route) -> (Vec<String>, Vec<String>) {
    let clusters = match &route.action {
        RouteAction::Forward(forward) => forward.clusters.as_slice(),
        RouteAction::Redirect(_) | RouteAction::Respond(_) | RouteAction::Opaque(_) => &[],
    };
    let of_requests = clusters.iter().map(|cluster| &cluster.request_headers).chain([&route.request_headers]);
    let of_answers = clusters.iter().map(|cluster| &cluster.response_headers).chain([&route.response_headers]);
    (of_requests.flat_map(|e| e.remove.clone()).collect(), of_answers.flat_map(|e| e.remove.clone()).collect())
}
