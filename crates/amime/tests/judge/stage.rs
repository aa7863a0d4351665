//! A stage for the zero-loss scenarios: one control plane, gateways and sidecars of each kind under a constant load, and
//! the oracle.

use super::oracle::{Allowed, Oracle, Verdict};
use super::plane::Plane;
use super::ports::Port;
use super::proxy::{Door, Proxy, is_sidecar};
use super::relay::Relay;
use super::shop;
use amime_testkit::load::{Lane, Load, Outcome, Speaks};
use std::collections::BTreeMap;
use std::time::Duration;

/// The kinds of gateways, by their Gateways' names.
pub const GATEWAYS: [&str; 3] = ["envoy-delta", "envoy-sotw", "amime"];
/// The kinds of sidecars, by their workloads' names.
const SIDECARS: [&str; 3] = ["envoy-delta-sidecar", "envoy-sotw-sidecar", "amime-sidecar"];

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cast {
    Everybody,
    /// Without sidecars, whose addresses are the control plane's to give: where it starts again, it may get others.
    Gateways,
    /// The same, each behind a relay of its own.
    Relayed,
}

/// A class of requests: its name, and the user (`x-user`) that it is of.
pub type Class<'a> = (&'a str, Option<&'a str>);

/// How hard it is gone about.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Requests in a second, of all lanes together.
    pub rate: u32,
    /// Requests of each lane between two steps.
    pub between: u64,
}

impl Effort {
    /// For `make test`.
    pub const SHORT: Self = Self { rate: 450, between: 4 };
    /// For `make soak`.
    pub const LONG: Self = Self { rate: 1_000, between: 50 };
}

pub struct Stage {
    pub plane: Plane,
    pub oracle: Oracle,
    load: Option<Load>,
    effort: Effort,
    pub proxies: Vec<(&'static str, Proxy)>,
    /// One for each of the proxies, or none.
    pub relays: Vec<Relay>,
    _doors: Vec<Door>,
}

/// What came of a scenario, for each kind of proxy, and what they or the control plane complained of.
#[derive(Debug)]
pub struct Report {
    pub verdicts: BTreeMap<&'static str, Verdict>,
    pub complaints: Vec<String>,
}

impl Stage {
    /// Proxies of each kind run these manifests, and the load begins. None where there is no Envoy.
    pub async fn start(
        effort: Effort,
        cast: Cast,
        files: &[(&str, String)],
        classes: &[Class<'_>],
        allowed: Allowed,
    ) -> Option<Self> {
        let binary = amime_testkit::envoy::binary()?;
        let sidecars: &[&str] = if cast == Cast::Everybody { &SIDECARS } else { &[] };
        let kinds: Vec<&str> = GATEWAYS.iter().chain(sidecars).copied().collect();
        let ports = GATEWAYS.map(|_| Port::take());
        let gateways = shop::gateways(&GATEWAYS.into_iter().zip(&ports).collect::<Vec<_>>());
        let mut all: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        all.push(("gateways.yaml", &gateways));
        let plane = Plane::start(&all, sidecars);
        let (mut proxies, mut doors) = (Vec::new(), Vec::from(ports.map(Door::gateway)));
        let mut relays = Vec::new();
        for kind in kinds {
            let who = Door::who(&plane, kind);
            if is_sidecar(kind) {
                doors.push(Door::sidecar(&who));
            }
            let mut control = plane.address;
            if cast == Cast::Relayed {
                let relay = Relay::start(control).await;
                control = relay.address;
                relays.push(relay);
            }
            proxies.push((kind, Proxy::start(&binary, kind, &who, control).await));
        }
        plane.settled(proxies.len()).await;
        let kinds: Vec<_> = proxies.iter().map(|(kind, _)| *kind).zip(&doors).collect();
        let lanes = lanes(effort, classes, &kinds);
        let oracle = Oracle::new(allowed);
        let load = Load::start(lanes);
        load.more(effort.between).await;
        Some(Self { plane, oracle, load: Some(load), effort, proxies, relays, _doors: doors })
    }

    /// Saves these files at once (None removes one) and waits until all proxies run them; `next` may answer then.
    pub async fn step(&mut self, files: &[(&str, Option<String>)], next: Allowed) {
        self.oracle.saving(&next);
        self.save(files);
        self.settled(next).await;
        self.more().await;
    }

    pub fn save(&self, files: &[(&str, Option<String>)]) {
        for (name, text) in files {
            match text {
                Some(text) => self.plane.save(name, text),
                None => self.plane.remove(name),
            }
        }
    }

    pub async fn settled(&mut self, next: Allowed) {
        self.plane.settled(self.proxies.len()).await;
        self.oracle.settled(next);
    }

    /// Some further requests of each lane.
    pub async fn more(&self) {
        self.load().more(self.effort.between).await;
    }

    pub fn load(&self) -> &Load {
        self.load.as_ref().expect("until the end")
    }

    /// Old clusters go away, the load ends, and what came of it is told.
    pub async fn finish(mut self) -> Report {
        self.plane.tidied().await;
        self.more().await;
        let load = self.load.take().expect("until the end");
        let lanes = load.lanes().to_vec();
        let outcomes = load.stop().await;
        let mut complaints = self.plane.refusals().await;
        for (kind, proxy) in &self.proxies {
            complaints.extend(proxy.faults().await.into_iter().map(|fault| format!("{kind}: {fault}")));
        }
        let kinds = self.proxies.iter().map(|(kind, _)| *kind);
        Report::of(kinds, &self.oracle, &lanes, &outcomes, complaints)
    }
}

/// Each class by each protocol at each door.
fn lanes(effort: Effort, classes: &[Class<'_>], doors: &[(&str, &Door)]) -> Vec<Lane> {
    let count = u32::try_from(doors.len() * classes.len() * Speaks::ALL.len()).expect("few");
    let lane = |kind: &str, door: &Door, class: &Class<'_>, speaks| Lane {
        name: format!("{} {kind} {speaks:?}", class.0),
        speaks,
        target: door.target,
        preface: door.preface.clone(),
        host: shop::HOST.into(),
        path: if speaks == Speaks::Grpc { "/echo.Echo/Say".into() } else { "/".into() },
        headers: class.1.iter().map(|user| ("x-user".to_owned(), (*user).to_owned())).collect(),
        every: Duration::from_secs(1) * count / effort.rate,
    };
    let mut lanes = Vec::new();
    for (kind, door) in doors {
        for class in classes {
            lanes.extend(Speaks::ALL.map(|speaks| lane(kind, door, class, speaks)));
        }
    }
    lanes
}

fn lane_kind<'a>(lanes: &'a [Lane], outcome: &Outcome) -> &'a str {
    lanes[outcome.lane].name.split(' ').nth(1).unwrap_or_default()
}

impl Report {
    fn of(
        kinds: impl Iterator<Item = &'static str>,
        oracle: &Oracle,
        lanes: &[Lane],
        outcomes: &[Outcome],
        complaints: Vec<String>,
    ) -> Self {
        let of = |kind: &str| {
            let own = |outcome: &&Outcome| lane_kind(lanes, outcome) == kind;
            oracle.judge(lanes, &outcomes.iter().filter(own).cloned().collect::<Vec<_>>())
        };
        Self { verdicts: kinds.map(|kind| (kind, of(kind))).collect(), complaints }
    }

    /// Nothing failed, nobody wrong answered, nothing was refused.
    pub fn assert_lossless(&self, scenario: &str) {
        for (kind, verdict) in &self.verdicts {
            println!(
                "{scenario}: {kind}: {} requests, {} failed, {} by a wrong version",
                verdict.requests,
                verdict.failed.len(),
                verdict.wrong.len()
            );
            assert!(verdict.requests > 0);
        }
        assert!(self.is_clean(), "{scenario}:\n{}", self.told());
    }

    pub fn is_clean(&self) -> bool {
        let clean = |verdict: &Verdict| verdict.failed.is_empty() && verdict.wrong.is_empty();
        self.verdicts.values().all(clean) && self.complaints.is_empty()
    }

    /// The first of each kind of what went wrong.
    pub fn told(&self) -> String {
        const FIRST: usize = 12;
        let mut lines: Vec<String> = self.complaints.clone();
        for verdict in self.verdicts.values() {
            lines.extend(verdict.failed.iter().take(FIRST).map(|text| format!("failed: {text}")));
            lines.extend(verdict.wrong.iter().take(FIRST).map(|text| format!("wrong: {text}")));
        }
        lines.join("\n")
    }
}
