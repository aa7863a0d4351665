//! How much of the traffic the endpoints of each priority take, as Envoy reckons it.
//!
//! `select` asks whenever health has changed, and for retries that are to leave the priorities that were tried.

use std::collections::BTreeSet;

/// The hosts of a priority, or of a locality.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) healthy: u32,
    pub(super) all: u32,
}

/// What of the traffic goes to a priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    /// In percent; those of all priorities add up to 100.
    pub(super) percent: u32,
    /// To all of its hosts, for too few are healthy to take it.
    pub(super) panics: bool,
}

impl Count {
    /// How much of all traffic the healthy ones can take, in percent. `factor` is in percent too: with 140, two in
    /// seven may be missing before anything goes elsewhere.
    pub(super) fn availability(self, factor: u32) -> u32 {
        let most = u64::from(self.healthy) * u64::from(factor);
        most.checked_div(self.all.into()).map_or(0, |percent| percent.min(100) as u32)
    }

    fn is_below(self, threshold: u32) -> bool {
        u64::from(self.healthy) * 100 < u64::from(threshold) * u64::from(self.all)
    }
}

/// The loads of priorities, the highest first. `threshold`, in percent: below it a priority panics, but only while
/// all of them together cannot take the traffic.
pub(super) fn loads(counts: &[Count], factor: u32, threshold: u32) -> Vec<Load> {
    let availability: Vec<u32> = counts.iter().map(|count| count.availability(factor)).collect();
    let is_enough = availability.iter().sum::<u32>() >= 100;
    let panics: Vec<bool> = counts.iter().map(|count| !is_enough && count.is_below(threshold)).collect();
    let all: u64 = counts.iter().map(|count| u64::from(count.all)).sum();
    let percent = if all > 0 && panics.iter().all(|panics| *panics) {
        // Nobody is to be trusted more than others: each has as much as it has hosts.
        let by_hosts: Vec<u32> = counts.iter().map(|c| (u64::from(c.all) * 100 / all) as u32).collect();
        filled(by_hosts)
    } else {
        // Where nobody can take anything, the first priority fails.
        shared(&availability).unwrap_or_else(|| filled(vec![0; counts.len()]))
    };
    percent.into_iter().zip(panics).map(|(percent, panics)| Load { percent, panics }).collect()
}

/// Loads by availabilities, the highest priority first; None where nothing is available.
fn shared(availability: &[u32]) -> Option<Vec<u32>> {
    let total = availability.iter().sum::<u32>().min(100);
    if total == 0 {
        return None;
    }
    let mut left = 100;
    let take = |availability: &u32| {
        let load = (availability * 100 / total).min(left);
        left -= load;
        load
    };
    Some(filled(availability.iter().map(take).collect()))
}

/// What rounding left over goes to the first that has any, else to the first.
fn filled(mut loads: Vec<u32>) -> Vec<u32> {
    let left = 100 - loads.iter().sum::<u32>().min(100);
    let first = loads.iter().position(|load| *load > 0).unwrap_or(0);
    if let Some(load) = loads.get_mut(first) {
        *load += left;
    }
    loads
}

/// The loads for a retry that leaves the priorities of earlier tries alone, which are looked at after every
/// `frequency` tries; where none would be left, all count again (Envoy's `previous_priorities`). `tried`: the
/// priorities of all tries, None where a host is no more. None: they are as ever.
pub(super) fn loads_after(availability: &[u32], tried: &[Option<usize>], frequency: u32) -> Option<Vec<u32>> {
    let frequency = frequency.max(1) as usize;
    let mut excluded = BTreeSet::new();
    // Since all counted the last time.
    let mut first = 0;
    let mut loads = None;
    for end in 1..=tried.len() {
        let since = &tried[first..end];
        if !since.len().is_multiple_of(frequency) {
            continue;
        }
        excluded.extend(since.iter().flatten());
        let left = |excluded: &BTreeSet<usize>| -> Vec<u32> {
            let of = |(at, percent): (usize, &u32)| if excluded.contains(&at) { 0 } else { *percent };
            availability.iter().enumerate().map(of).collect()
        };
        loads = shared(&left(&excluded));
        if loads.is_none() {
            excluded.clear();
            first = end;
            loads = shared(&left(&excluded));
        }
    }
    loads
}

#[cfg(test)]
#[path = "priority_tests.rs"]
mod tests;
