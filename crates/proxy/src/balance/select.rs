//! Choosing a host: priority, then locality, then the policy among its healthy hosts.

use super::host::{Host, HostShared, known_by};
use super::outlier::{ClusterHealth, millis};
use super::priority::{self, Count, Load};
use super::ring::Consistent;
use super::schedule::RoundRobin;
use super::warm_up::WarmUp;
use crate::rng::Rng;
use amime_model::config::{Cluster, ClusterEndpoints, Health, LbPolicy};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Envoy's defaults, in percent.
const PANIC_THRESHOLD: u32 = 50;
const OVERPROVISIONING: u32 = 140;

/// How many hosts that warm up may pass on their turn before one has to take it.
const PASSES: usize = 64;

/// One worker's view of a cluster's endpoints. Rebuilt when the endpoints change; the view of which are
/// healthy follows the shared state.
pub(crate) struct Balancer {
    policy: LbPolicy,
    warm_up: Option<WarmUp>,
    locality_weighted: bool,
    panic_threshold: u32,
    overprovisioning: u32,
    hosts: Vec<Rc<Host>>,
    /// One for each locality, by priority.
    groups: Vec<Group>,
    health: Arc<ClusterHealth>,
    view: RefCell<View>,
}

struct Group {
    priority: u32,
    weight: u32,
    hosts: Vec<usize>,
}

/// Who takes part right now.
struct View {
    epoch: u64,
    /// When an ejected host comes back, or all are warm, in `millis`.
    until: u64,
    priorities: Vec<Priority>,
    /// How much of the traffic each priority could take, in percent.
    availability: Vec<u32>,
}

struct Priority {
    /// In percent.
    load: u32,
    total_weight: u64,
    sets: Vec<Set>,
}

/// Hosts among which the policy chooses.
struct Set {
    weight: u64,
    members: Vec<usize>,
    turns: RoundRobin,
    /// Cumulative weights; empty where all are equal.
    cumulative: Vec<u64>,
    /// While somebody warms up: the member that has been there longest.
    oldest: Option<usize>,
    consistent: Option<Consistent>,
}

/// What of a request a choice depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PickContext<'a> {
    pub(crate) hash: Option<u64>,
    /// Hosts that this request has tried and should not be given again …
    pub(crate) tried: &'a [SocketAddr],
    /// … for so many further choices.
    pub(crate) reselect: u32,
    /// After every so many of them their priorities are left for others.
    pub(crate) leave_priorities: Option<u32>,
    pub(crate) now: Instant,
}

impl Balancer {
    /// `shared` finds what is known of an address.
    pub(crate) fn new(
        cluster: &Cluster,
        endpoints: &ClusterEndpoints,
        health: Arc<ClusterHealth>,
        shared: &mut dyn FnMut(SocketAddr) -> Arc<HostShared>,
        rng: &Rng,
    ) -> Self {
        let now = millis(Instant::now());
        let mut hosts = Vec::new();
        let mut groups = Vec::new();
        for locality in &endpoints.localities {
            let mut members = Vec::with_capacity(locality.endpoints.len());
            for endpoint in &locality.endpoints {
                let Some(address) = known_by(&endpoint.address) else { continue };
                if endpoint.health == Health::Draining {
                    continue;
                }
                members.push(hosts.len());
                let (usable, shared) = (endpoint.health.takes_requests(), shared(address));
                shared.since.note(usable, now);
                hosts.push(Rc::new(Host {
                    address,
                    weight: endpoint.weight.max(1),
                    usable,
                    endpoint: Some(Arc::new(endpoint.clone())),
                    shared,
                    number: Default::default(),
                    peer: Default::default(),
                }));
            }
            if !members.is_empty() {
                groups.push(Group {
                    priority: locality.priority,
                    weight: locality.weight.unwrap_or(u32::from(!cluster.locality_weighted)),
                    hosts: members,
                });
            }
        }
        groups.sort_by_key(|group| group.priority);
        let warms = matches!(cluster.lb, LbPolicy::LeastRequest { .. } | LbPolicy::RoundRobin);
        let mut balancer = Self {
            policy: cluster.lb.clone(),
            warm_up: cluster.slow_start.as_ref().filter(|_| warms).and_then(WarmUp::new),
            locality_weighted: cluster.locality_weighted,
            panic_threshold: cluster.panic_threshold.unwrap_or(PANIC_THRESHOLD),
            overprovisioning: endpoints.overprovisioning_factor.unwrap_or(OVERPROVISIONING).max(100),
            hosts,
            groups,
            health,
            view: RefCell::new(View { epoch: 0, until: u64::MAX, priorities: Vec::new(), availability: Vec::new() }),
        };
        let view = balancer.look(now, rng);
        balancer.view = RefCell::new(view);
        balancer
    }

    pub(crate) fn hosts(&self) -> &[Rc<Host>] {
        &self.hosts
    }

    /// The host for a request; None where there is none (UH).
    pub(crate) fn pick(&self, context: &PickContext<'_>, rng: &Rng) -> Option<&Rc<Host>> {
        let mut view = self.view.borrow_mut();
        let mut now = 0;
        if view.until != u64::MAX {
            now = millis(context.now);
        }
        if view.until <= now || view.epoch != self.health.epoch.load(Relaxed) {
            *view = self.look(millis(context.now), rng);
        }
        // Of a first try there is nothing to leave.
        let frequency = context.leave_priorities.filter(|_| !context.tried.is_empty());
        let loads = frequency.and_then(|frequency| {
            let tried: Vec<_> = context.tried.iter().map(|address| self.priority_of(*address)).collect();
            priority::loads_after(&view.availability, &tried, frequency)
        });
        let mut chosen = None;
        for attempt in 0..=context.reselect {
            let index = view.choose(self, loads.as_deref(), context.hash, attempt, now, rng)?;
            chosen = Some(&self.hosts[index]);
            if !context.tried.contains(&self.hosts[index].address) {
                break;
            }
        }
        chosen
    }

    /// Works out who takes part.
    fn look(&self, now: u64, rng: &Rng) -> View {
        let epoch = self.health.epoch.load(Relaxed);
        let mut until = u64::MAX;
        let healthy: Vec<bool> = self
            .hosts
            .iter()
            .map(|host| {
                if host.shared.health.ejected(now) {
                    until = until.min(host.shared.health.ejected_until());
                }
                host.usable && !host.shared.health.ejected(now)
            })
            .collect();
        self.health.next_return.store(until, Relaxed);
        let usable = self.hosts.iter().filter(|host| host.usable);
        let warm_at = self.warm_up.as_ref().and_then(|warm_up| usable.map(|host| warm_up.ends(&host.shared)).max());
        let warm_at = warm_at.filter(|at| *at > now);

        let by_priority: Vec<&[Group]> = self.groups.chunk_by(|a, b| a.priority == b.priority).collect();
        let counts: Vec<Count> = by_priority.iter().map(|groups| count(groups, &healthy)).collect();
        let loads = priority::loads(&counts, self.overprovisioning, self.panic_threshold);
        let priorities = by_priority.iter().zip(loads);
        View {
            epoch,
            until: until.min(warm_at.unwrap_or(u64::MAX)),
            priorities: priorities
                .map(|(of, load)| self.priority(of, load, &healthy, warm_at.is_some(), rng))
                .collect(),
            availability: counts.iter().map(|count| count.availability(self.overprovisioning)).collect(),
        }
    }

    /// Which priority a host is of, counted from the highest; None where it is no more.
    fn priority_of(&self, address: SocketAddr) -> Option<usize> {
        let mut by_priority = self.groups.chunk_by(|a, b| a.priority == b.priority);
        by_priority.position(|groups| {
            groups.iter().flat_map(|group| &group.hosts).any(|host| self.hosts[*host].address == address)
        })
    }

    fn priority(&self, groups: &[Group], load: Load, healthy: &[bool], warming: bool, rng: &Rng) -> Priority {
        let Load { percent, panics } = load;
        let members =
            |group: &Group| -> Vec<usize> { group.hosts.iter().copied().filter(|h| panics || healthy[*h]).collect() };
        let mut sets = Vec::new();
        if self.locality_weighted && !panics {
            for group in groups {
                let weight = u64::from(group.weight)
                    * u64::from(count(std::slice::from_ref(group), healthy).availability(self.overprovisioning));
                if weight > 0 {
                    sets.push(self.set(members(group), weight, warming, rng));
                }
            }
        } else {
            sets.push(self.set(groups.iter().flat_map(members).collect(), 1, warming, rng));
        }
        sets.retain(|set| !set.members.is_empty());
        Priority { load: percent, total_weight: sets.iter().map(|set| set.weight).sum(), sets }
    }

    fn set(&self, members: Vec<usize>, weight: u64, warming: bool, rng: &Rng) -> Set {
        let weights: Vec<u32> = members.iter().map(|h| self.hosts[*h].weight).collect();
        let mut cumulative = Vec::new();
        if weights.windows(2).any(|pair| pair[0] != pair[1]) {
            let mut sum = 0;
            cumulative.extend(weights.iter().map(|w| {
                sum += u64::from(*w);
                sum
            }));
        }
        let hashed: Vec<(SocketAddr, u32)> =
            members.iter().map(|h| (self.hosts[*h].address, self.hosts[*h].weight)).collect();
        let warm_up = self.warm_up.as_ref().filter(|_| warming);
        let oldest = warm_up.and_then(|w| members.iter().copied().min_by_key(|h| w.ends(&self.hosts[*h].shared)));
        Set {
            weight,
            oldest,
            turns: RoundRobin::new(&weights, rng.below(weights.len())),
            consistent: Consistent::build(&self.policy, &hashed),
            members,
            cumulative,
        }
    }
}

impl View {
    /// `loads`: of the priorities, where they are not those of first tries. `now`: in `millis`, where somebody warms up.
    fn choose(
        &mut self,
        balancer: &Balancer,
        loads: Option<&[u32]>,
        hash: Option<u64>,
        attempt: u32,
        now: u64,
        rng: &Rng,
    ) -> Option<usize> {
        // Priority and locality are chosen by the hash too, so that a hash keeps its host.
        let draw = |bound: u64| match hash {
            Some(hash) => hash % bound.max(1),
            None => rng.below(usize::try_from(bound).unwrap_or(usize::MAX)) as u64,
        };
        let mut left = if self.priorities.len() > 1 { draw(100) as u32 } else { 0 };
        let load = |at: usize, own: u32| loads.and_then(|loads| loads.get(at)).copied().unwrap_or(own);
        let mut priorities = self.priorities.iter().enumerate();
        let at = priorities.position(|(at, p)| match left.checked_sub(load(at, p.load)) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        let priority = match at {
            Some(at) => &mut self.priorities[at],
            None => self.priorities.iter_mut().find(|p| !p.sets.is_empty())?,
        };
        let mut left = if priority.sets.len() > 1 { draw(priority.total_weight) } else { 0 };
        let set = priority.sets.iter_mut().find(|set| match left.checked_sub(set.weight) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        })?;
        set.choose(balancer, hash, attempt, now, rng)
    }
}

impl Set {
    fn choose(&mut self, balancer: &Balancer, hash: Option<u64>, attempt: u32, now: u64, rng: &Rng) -> Option<usize> {
        if let Some(consistent) = &self.consistent {
            let at = consistent.pick(hash.unwrap_or_else(|| rng.next_u64()), attempt);
            return self.members.get(at).copied();
        }
        let load = |index: usize| balancer.hosts[index].shared.active.get() + 1;
        match &balancer.policy {
            LbPolicy::LeastRequest { choices } if self.cumulative.is_empty() => {
                // Two different hosts where there are only two, so that the idle one always wins.
                if let ([a, b], None) = (self.members.as_slice(), self.oldest) {
                    let (a, b) = if rng.next_u32() & 1 == 0 { (*a, *b) } else { (*b, *a) };
                    return Some(if load(b) < load(a) { b } else { a });
                }
                let mut best = self.warm(balancer, now, rng, |set| set.random(rng))?;
                for _ in 1..choices.unwrap_or(2).max(1) {
                    let other = self.warm(balancer, now, rng, |set| set.random(rng))?;
                    if load(other) < load(best) {
                        best = other;
                    }
                }
                Some(best)
            }
            LbPolicy::Random => self.random(rng),
            // By weight, a busy host's counting for less, as Envoy does it.
            LbPolicy::LeastRequest { .. } => self.warm(balancer, now, rng, |set| {
                let Self { turns, members, .. } = set;
                let at = turns.next(|at| 1.0 / f64::from(members.get(at).map_or(1, |member| load(*member))))?;
                members.get(at).copied()
            }),
            _ => self.warm(balancer, now, rng, |set| {
                let at = set.turns.next(|_| 1.0)?;
                set.members.get(at).copied()
            }),
        }
    }

    /// A choice in which each host that warms up passes on so many of its turns as it lacks.
    fn warm(
        &mut self,
        balancer: &Balancer,
        now: u64,
        rng: &Rng,
        mut choose: impl FnMut(&mut Self) -> Option<usize>,
    ) -> Option<usize> {
        let mut chosen = choose(self)?;
        let (Some(warm_up), Some(oldest)) = (&balancer.warm_up, self.oldest) else { return Some(chosen) };
        let part = |index: usize| warm_up.part(&balancer.hosts[index].shared, now);
        // Who has been there longest always takes its turn: where all are new, each is as good as the others.
        let most = part(oldest);
        for _ in 0..PASSES {
            let part = part(chosen);
            if part >= most || rng.unit() * most < part {
                break;
            }
            chosen = choose(self)?;
        }
        Some(chosen)
    }

    /// Each with the chance that its weight gives it.
    fn random(&self, rng: &Rng) -> Option<usize> {
        let at = match self.cumulative.last() {
            None => rng.below(self.members.len()),
            Some(total) => {
                let draw = rng.below(usize::try_from(*total).unwrap_or(usize::MAX)) as u64;
                self.cumulative.partition_point(|sum| *sum <= draw)
            }
        };
        self.members.get(at).copied()
    }
}

fn count(groups: &[Group], healthy: &[bool]) -> Count {
    let hosts = || groups.iter().flat_map(|group| &group.hosts);
    Count { healthy: hosts().filter(|h| healthy[**h]).count() as u32, all: hosts().count() as u32 }
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
