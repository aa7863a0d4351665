//! Scenario 7: valid changes by chance, from a seed, saved in any order and with or without waiting for the one before.

use super::oracle::Allowed;
use super::shop::{self, Rule};
use super::stage::{Cast, Effort, GATEWAYS, Report, Stage};
use amime_testkit::chance::Chance;
use amime_testkit::echo::Echo;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Users of the load: two that rules may name, and everybody else.
const CLASSES: [(&str, Option<&str>); 3] = [("anna", Some("anna")), ("ben", Some("ben")), ("others", None)];
const VERSIONS: [&str; 3] = ["v1", "v2", "v3"];
const ORIGINS: usize = 3;

/// What the user has written. Names of subsets are never used again for another version.
#[derive(Debug, Clone, PartialEq)]
struct State {
    /// Subset to version.
    subsets: BTreeMap<String, &'static str>,
    /// User to shares of subsets.
    rules: BTreeMap<&'static str, Vec<String>>,
    default: Vec<String>,
    endpoints: BTreeSet<String>,
    /// Lines of the DestinationRule's trafficPolicy.
    policy: &'static str,
    /// Fields of every HTTP rule.
    knobs: &'static str,
    /// Services that nobody calls.
    others: BTreeSet<usize>,
}

/// What a change is about; each is one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum File {
    Routes,
    Subsets,
    Service,
    Others,
}

impl State {
    fn first(origins: &[Echo]) -> Self {
        Self {
            subsets: VERSIONS.iter().map(|v| ((*v).to_owned(), *v)).collect(),
            rules: BTreeMap::new(),
            default: vec!["v1".into()],
            endpoints: origins.iter().map(|origin| origin.name.clone()).collect(),
            policy: "",
            knobs: "",
            others: BTreeSet::new(),
        }
    }

    fn text(&self, file: File, origins: &[Echo]) -> (&'static str, String) {
        match file {
            File::Routes => {
                let shares = |subsets: &[String]| {
                    let weight = 100 / subsets.len() as u32;
                    let mut all: Vec<(String, u32)> = subsets.iter().map(|s| (s.clone(), weight)).collect();
                    all[0].1 += 100 - weight * subsets.len() as u32;
                    all
                };
                let all: Vec<_> = self.rules.iter().map(|(user, s)| (Some(*user), shares(s))).collect();
                let all: Vec<_> = all.into_iter().chain([(None, shares(&self.default))]).collect();
                let borrowed: Vec<Vec<(&str, u32)>> =
                    all.iter().map(|(_, s)| s.iter().map(|(name, w)| (name.as_str(), *w)).collect()).collect();
                let rules: Vec<Rule<'_>> = all.iter().zip(&borrowed).map(|((user, _), s)| (*user, &s[..])).collect();
                let text = shop::routes(&GATEWAYS, &rules);
                ("routes.yaml", text.replace("    route:\n", &format!("{}    route:\n", self.knobs)))
            }
            File::Subsets => {
                let subsets: Vec<(&str, &str)> = self.subsets.iter().map(|(name, v)| (name.as_str(), *v)).collect();
                ("subsets.yaml", shop::subsets(&subsets) + self.policy)
            }
            File::Service => {
                let present = origins.iter().filter(|origin| self.endpoints.contains(&origin.name));
                ("service.yaml", shop::service(shop::endpoints_of(present)))
            }
            File::Others => {
                let mut text = String::from("# Services that nobody calls.\n");
                for number in &self.others {
                    write!(
                        text,
                        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: other-{number}, \
                         namespace: shop}}\nspec:\n  hosts: [other-{number}.shop.internal]\n  resolution: STATIC\n  ports: \
                         [{{number: 80, name: http, protocol: HTTP}}]\n  endpoints: [{{address: 127.0.0.1}}]\n"
                    )
                    .unwrap();
                }
                ("others.yaml", text)
            }
        }
    }

    /// Who answers where these routes meet those endpoints.
    fn allowed(&self, endpoints: &BTreeSet<String>) -> Allowed {
        let of = |user: &str| {
            let subsets = self.rules.get(user).unwrap_or(&self.default);
            let versions: BTreeSet<&str> = subsets.iter().map(|subset| self.subsets[subset]).collect();
            let is = |name: &&String| versions.contains(name.split('-').next().unwrap_or_default());
            endpoints.iter().filter(is).cloned().collect()
        };
        CLASSES.iter().map(|(class, _)| ((*class).to_owned(), of(class))).collect()
    }

    fn used(&self) -> BTreeSet<&String> {
        self.rules.values().flatten().chain(&self.default).collect()
    }

    /// One valid change, and the files that it is in.
    fn change(&mut self, chance: &mut Chance, number: usize, origins: &[Echo]) -> Vec<File> {
        let names: Vec<String> = self.subsets.keys().cloned().collect();
        match chance.below(12) {
            0 | 1 => {
                self.default = shares(chance, &names);
                vec![File::Routes]
            }
            2 | 3 => {
                let user = chance.one_of(&["anna", "ben"]);
                if chance.below(3) == 0 {
                    self.rules.remove(user);
                } else {
                    self.rules.insert(user, shares(chance, &names));
                }
                vec![File::Routes]
            }
            // A subset comes and is used at once.
            4 | 5 => {
                let name = format!("s{number}");
                self.subsets.insert(name.clone(), chance.one_of(&VERSIONS));
                match chance.below(3) {
                    0 => self.default = vec![name],
                    1 => self.default.push(name),
                    _ => drop(self.rules.insert("anna", vec![name])),
                }
                vec![File::Routes, File::Subsets]
            }
            // A subset goes, with its uses.
            6 | 7 if self.subsets.len() > 1 => {
                let gone = chance.one_of(&names);
                let left: Vec<String> = names.into_iter().filter(|name| *name != gone).collect();
                let instead = chance.one_of(&left);
                self.replace(&gone, &instead);
                self.subsets.remove(&gone);
                vec![File::Routes, File::Subsets]
            }
            // A subset is renamed.
            8 => {
                let old = chance.one_of(&names);
                let new = format!("s{number}");
                let version = self.subsets.remove(&old).expect("one of them");
                self.subsets.insert(new.clone(), version);
                self.replace(&old, &new);
                vec![File::Routes, File::Subsets]
            }
            9 => {
                let origin = &origins[chance.below(origins.len())].name;
                let version = origin.split('-').next().unwrap_or_default();
                let alike = self.endpoints.iter().filter(|name| name.starts_with(version)).count();
                if !self.endpoints.remove(origin) {
                    self.endpoints.insert(origin.clone());
                } else if alike == 1 {
                    // A version without endpoints answers nothing.
                    self.endpoints.insert(origin.clone());
                }
                vec![File::Service]
            }
            10 => {
                self.policy = chance.one_of(&[
                    "",
                    "  trafficPolicy: {loadBalancer: {simple: RANDOM}}\n",
                    "  trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}\n",
                    "  trafficPolicy: {connectionPool: {tcp: {connectTimeout: 3s}}}\n",
                    "  trafficPolicy: {connectionPool: {http: {http2MaxRequests: 900}}}\n",
                ]);
                vec![File::Subsets]
            }
            _ if chance.below(2) == 0 => {
                self.knobs = chance.one_of(&[
                    "",
                    "    timeout: 15s\n",
                    "    retries: {attempts: 1}\n",
                    "    headers: {request: {set: {x-rule: changed}}}\n",
                ]);
                vec![File::Routes]
            }
            _ => {
                let other = chance.below(4);
                if !self.others.remove(&other) {
                    self.others.insert(other);
                }
                vec![File::Others]
            }
        }
    }

    fn replace(&mut self, old: &str, new: &str) {
        for shares in self.rules.values_mut().chain([&mut self.default]) {
            shares.iter_mut().filter(|name| *name == old).for_each(|name| new.clone_into(name));
            let mut seen = BTreeSet::new();
            shares.retain(|name| seen.insert(name.clone()));
        }
    }
}

fn shares(chance: &mut Chance, names: &[String]) -> Vec<String> {
    let all: BTreeSet<String> = (0..=chance.below(2)).map(|_| chance.one_of(names)).collect();
    all.into_iter().collect()
}

/// So many changes. None where there is no Envoy.
pub async fn changes(effort: Effort, seed: u64, count: usize) -> Option<Report> {
    println!("{count} changes of seed {seed}");
    let mut chance = Chance::new(seed);
    let mut origins = Vec::new();
    for version in VERSIONS {
        for number in 0..ORIGINS {
            origins.push(Echo::start(&format!("{version}-{number}")).await);
        }
    }
    let mut state = State::first(&origins);
    let files = [File::Routes, File::Subsets, File::Service, File::Others].map(|file| state.text(file, &origins));
    let mut stage = Stage::start(effort, Cast::Everybody, &files, &CLASSES, state.allowed(&state.endpoints)).await?;
    // All states that some proxy may be in.
    let mut window = vec![state.clone()];
    for number in 0..count {
        let mut files = state.change(&mut chance, number, &origins);
        window.push(state.clone());
        let mut possible = Allowed::new();
        for routes in &window {
            for endpoints in &window {
                for (class, names) in routes.allowed(&endpoints.endpoints) {
                    possible.entry(class).or_default().extend(names);
                }
            }
        }
        stage.oracle.saving(&possible);
        if chance.below(2) == 0 {
            files.reverse();
        }
        let apart = chance.below(3) > 0;
        for file in files {
            let (name, text) = state.text(file, &origins);
            stage.plane.save(name, &text);
            if apart {
                stage.plane.settled(stage.proxies.len()).await;
            }
        }
        // Two of three are waited for; the others run into the next.
        if chance.below(3) > 0 {
            stage.settled(state.allowed(&state.endpoints)).await;
            window = vec![state.clone()];
            stage.more().await;
        }
    }
    stage.settled(state.allowed(&state.endpoints)).await;
    stage.more().await;
    Some(stage.finish().await)
}
