//! Locality: which endpoints of a cluster clients of one place go to, and which only when those fail: Istio's
//! `localityLbSetting`, `zoneAwareLbSetting` and a Service's `trafficDistribution`.
//!
//! `cluster` finds what holds for a cluster, `endpoints` asks for priorities and shares.

use super::node::Place;
use crate::config::{Locality, LocalityEndpoints};
use crate::resource::MeshConfig;
use crate::resource::destination_rule::{LocalityDistribute, LocalityFailover, LocalityLb, TrafficPolicy, ZoneAwareLb};
use crate::snapshot::locality::{self, NETWORK};
use crate::snapshot::{Service, ServiceEndpoint, TrafficDistribution};
use std::collections::BTreeSet;

/// What decides where the clients of a cluster go.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Balance {
    /// Where there are any, they alone count.
    shares: Vec<LocalityDistribute>,
    /// `failoverPriority`: the more of these labels agree, from the first on, the nearer.
    labels: Vec<String>,
    nearness: Nearness,
    /// Where else the clients of a region go first.
    regions: Vec<LocalityFailover>,
    /// Whether localities of one priority share by their weights.
    pub weighted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nearness {
    /// Labels alone.
    Labels,
    /// Subzone, zone, region.
    Locality,
    Region,
}

/// The settings that count, the first of: the rule's, the service's, the mesh's. None: all endpoints are alike.
pub(super) fn of_cluster(policy: Option<&TrafficPolicy>, service: &Service, mesh: &MeshConfig) -> Option<Balance> {
    let balancer = policy.and_then(|p| p.load_balancer.as_ref());
    // Without it nobody would be found to have failed.
    let detects = policy.is_some_and(|p| p.outlier_detection.is_some());
    if let Some(setting) = balancer.and_then(|b| b.zone_aware_lb_setting.as_ref()) {
        return zone_aware(setting);
    }
    if let Some(setting) = balancer.and_then(|b| b.locality_lb_setting.as_ref()) {
        return by_locality(setting, detects);
    }
    if service.distribution != TrafficDistribution::Any {
        let failover_priority =
            locality::preferred(service.distribution).iter().map(|label| label.to_string()).collect();
        // Its endpoints are sent with their readiness, which tells who has failed.
        return by_locality(&LocalityLb { failover_priority, ..LocalityLb::default() }, true);
    }
    if let Some(setting) = &mesh.zone_aware_lb_setting {
        return zone_aware(setting);
    }
    by_locality(mesh.locality_lb_setting.as_ref()?, detects)
}

fn by_locality(setting: &LocalityLb, detects: bool) -> Option<Balance> {
    if setting.enabled == Some(false) || (setting.distribute.is_empty() && !detects) {
        return None;
    }
    let chosen = !setting.failover.is_empty() || !setting.failover_priority.is_empty();
    Some(Balance {
        weighted: chosen || !setting.distribute.is_empty(),
        nearness: match !setting.failover_priority.is_empty() && setting.failover.is_empty() {
            true => Nearness::Labels,
            false => Nearness::Locality,
        },
        shares: setting.distribute.clone(),
        labels: setting.failover_priority.clone(),
        regions: setting.failover.clone(),
    })
}

fn zone_aware(setting: &ZoneAwareLb) -> Option<Balance> {
    (setting.enabled != Some(false)).then(|| Balance {
        shares: Vec::new(),
        labels: setting.failover_priority.clone(),
        nearness: Nearness::Region,
        regions: setting.failover.clone(),
        weighted: false,
    })
}

impl Balance {
    /// The label keys of a client that decide something.
    pub(super) fn label_keys(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().filter(|label| !label.contains('=')).map(String::as_str)
    }

    /// Whether a client's place matters where all endpoints are in one locality.
    pub(super) fn looks_into_localities(&self) -> bool {
        !self.shares.is_empty() || !self.labels.is_empty()
    }

    /// How far an endpoint is by its labels; 0 is the nearest.
    pub(super) fn distance_by_labels(&self, endpoint: &ServiceEndpoint, place: &Place) -> usize {
        let count = self.labels.len();
        // In another network, but the rest is looked at all the same.
        let mut elsewhere = 0;
        if !self.shares.is_empty() {
            return 0;
        }
        for (index, label) in self.labels.iter().enumerate() {
            let (key, own) = match label.split_once('=') {
                Some((key, own)) => (key, own),
                None => (label.as_str(), place.labels.get(label).map_or("", String::as_str)),
            };
            if own == endpoint.label(key) {
                continue;
            }
            if index == 0 && label == NETWORK {
                elsewhere = count;
                continue;
            }
            return elsewhere + count - index;
        }
        elsewhere
    }

    /// How far a locality is; 0 is the nearest, 4 the farthest.
    fn distance(&self, of: &Locality, place: &Place) -> usize {
        let own = &place.locality;
        let failover = || self.regions.iter().find(|failover| failover.from == own.region).map(|f| &f.to);
        match self.nearness {
            _ if !self.shares.is_empty() => 0,
            Nearness::Labels => 0,
            Nearness::Region if of.region == own.region => 0,
            Nearness::Region => {
                if failover() == Some(&of.region) {
                    1
                } else {
                    2
                }
            }
            Nearness::Locality if of.region == own.region => match (of.zone == own.zone, of.sub_zone == own.sub_zone) {
                (true, true) => 0,
                (true, false) => 1,
                (false, _) => 2,
            },
            Nearness::Locality => {
                if failover().is_none_or(|to| *to == of.region) {
                    3
                } else {
                    4
                }
            }
        }
    }

    /// Gives priorities to groups of endpoints with their distance by labels, the nearest first and none left out; or
    /// shares, and takes away the groups that have none.
    pub(super) fn arrange(&self, groups: Vec<(usize, LocalityEndpoints)>, place: &Place) -> Vec<LocalityEndpoints> {
        let distance =
            |(by_labels, group): &(usize, LocalityEndpoints)| (*by_labels, self.distance(&group.locality, place));
        let distances: BTreeSet<_> = groups.iter().map(distance).collect();
        let priority = |group| distances.range(..distance(group)).count() as u32;
        let arranged = groups.iter().map(priority).collect::<Vec<_>>();
        let groups = groups.into_iter().zip(arranged);
        let mut groups: Vec<_> = groups.map(|((_, group), priority)| LocalityEndpoints { priority, ..group }).collect();
        if let Some(shares) = self.shares.iter().find(|shares| is_in(&place.locality, &shares.from)) {
            share(&mut groups, shares);
        }
        groups
    }
}

/// Each share is divided among the localities that it is for, by their weights.
fn share(groups: &mut Vec<LocalityEndpoints>, shares: &LocalityDistribute) {
    let target = |group: &LocalityEndpoints| shares.to.iter().position(|(to, _)| is_in(&group.locality, to));
    groups.retain(|group| target(group).is_some());
    let weight = |group: &LocalityEndpoints| u64::from(group.weight.unwrap_or(1));
    for (index, share) in shares.to.values().enumerate() {
        let total: u64 = groups.iter().filter(|group| target(group) == Some(index)).map(weight).sum();
        for group in groups.iter_mut().filter(|group| target(group) == Some(index)) {
            let part = (weight(group) * u64::from(*share)).div_ceil(total.max(1));
            group.weight = Some(u32::try_from(part).unwrap_or(u32::MAX));
        }
    }
}

/// Whether a locality is within `region/zone/subzone`, of which the end may be left out, and each may be `*`.
fn is_in(of: &Locality, written: &str) -> bool {
    let written = locality::parse(written);
    let fits = |written: &str, own: &str| written == "*" || written == own;
    fits(&written.region, &of.region)
        && (written.zone.is_empty() || fits(&written.zone, &of.zone))
        && (written.sub_zone.is_empty() || fits(&written.sub_zone, &of.sub_zone))
}
