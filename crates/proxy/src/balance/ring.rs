//! Consistent hashing: a ring (ketama, as Envoy builds it) and Maglev's table.

use amime_model::config::LbPolicy;
use std::net::SocketAddr;
use xxhash_rust::xxh64::xxh64;

/// Envoy's default and largest sizes.
const RING_MIN: u64 = 1024;
const RING_MAX: u64 = 8 * 1024 * 1024;
const MAGLEV_SIZE: u64 = 65_537;

/// From a hash to an index into the hosts that it was built from.
#[derive(Debug)]
pub(super) enum Consistent {
    /// Sorted by hash.
    Ring(Vec<(u64, u32)>),
    Maglev(Vec<u32>),
}

impl Consistent {
    /// None where the policy does not hash, or there are no hosts.
    pub(super) fn build(policy: &LbPolicy, hosts: &[(SocketAddr, u32)]) -> Option<Self> {
        if hosts.is_empty() {
            return None;
        }
        match policy {
            LbPolicy::RingHash { min_size, max_size } => {
                Some(Self::Ring(ring(hosts, min_size.unwrap_or(RING_MIN), max_size.unwrap_or(RING_MAX))))
            }
            LbPolicy::Maglev { table_size } => Some(Self::Maglev(maglev(hosts, table_size.unwrap_or(MAGLEV_SIZE)))),
            _ => None,
        }
    }

    /// The host for a hash; `attempt` moves on, for retries.
    pub(super) fn pick(&self, hash: u64, attempt: u32) -> usize {
        match self {
            Self::Ring(ring) => {
                let at = ring.partition_point(|(point, _)| *point < hash) + attempt as usize;
                ring[at % ring.len()].1 as usize
            }
            Self::Maglev(table) => {
                // Retries turn bits of the hash over, as Envoy does, to land elsewhere.
                let hash = if attempt == 0 { hash } else { hash ^ (!0u64 - u64::from(attempt) + 1) };
                table[(hash % table.len() as u64) as usize] as usize
            }
        }
    }
}

fn ring(hosts: &[(SocketAddr, u32)], min: u64, max: u64) -> Vec<(u64, u32)> {
    let total: f64 = hosts.iter().map(|(_, weight)| f64::from(*weight)).sum::<f64>().max(1.0);
    let share = |weight: u32| f64::from(weight) / total;
    let smallest = hosts.iter().map(|(_, weight)| share(*weight)).fold(1.0, f64::min).max(1e-9);
    // As many points for the lightest host as make it whole, within the bounds.
    let scale = ((smallest * min as f64).ceil() / smallest).min(max as f64);
    let mut points = Vec::with_capacity(scale.ceil() as usize);
    let (mut current, mut target) = (0.0f64, 0.0f64);
    let mut key = String::new();
    for (index, (address, weight)) in hosts.iter().enumerate() {
        target += scale * share(*weight);
        let mut i = 0u64;
        while current < target {
            key.clear();
            use std::fmt::Write;
            // Writing to a String cannot fail.
            let _ = write!(key, "{address}_{i}");
            points.push((xxh64(key.as_bytes(), 0), index as u32));
            i += 1;
            current += 1.0;
        }
    }
    points.sort_unstable();
    points
}

fn maglev(hosts: &[(SocketAddr, u32)], size: u64) -> Vec<u32> {
    let size = size.clamp(2, 5_000_011);
    let heaviest = f64::from(hosts.iter().map(|(_, weight)| *weight).max().unwrap_or(1).max(1));
    struct Entry {
        index: u32,
        key: String,
        offset: u64,
        skip: u64,
        next: u64,
        weight: f64,
        target: f64,
    }
    let mut entries: Vec<Entry> = hosts
        .iter()
        .enumerate()
        .map(|(index, (address, weight))| {
            let key = address.to_string();
            Entry {
                index: index as u32,
                offset: xxh64(key.as_bytes(), 0) % size,
                skip: xxh64(key.as_bytes(), 1) % (size - 1) + 1,
                next: 0,
                weight: f64::from((*weight).max(1)) / heaviest,
                target: 0.0,
                key,
            }
        })
        .collect();
    // Places are taken in this order, whichever the endpoints came in: as in Envoy, by the address's text.
    entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    let mut table = vec![u32::MAX; size as usize];
    let mut filled = 0;
    let mut iteration = 1.0;
    while filled < size {
        for entry in &mut entries {
            if filled == size {
                break;
            }
            // A lighter host fills a place only in its share of the rounds.
            if iteration * entry.weight < entry.target {
                continue;
            }
            entry.target += 1.0;
            loop {
                let at = ((entry.offset + entry.skip * entry.next) % size) as usize;
                entry.next += 1;
                if table[at] == u32::MAX {
                    table[at] = entry.index;
                    filled += 1;
                    break;
                }
                if entry.next > size {
                    // A table size that is not prime does not reach every place: take the first free one.
                    if let Some(free) = table.iter_mut().find(|slot| **slot == u32::MAX) {
                        *free = entry.index;
                        filled += 1;
                    }
                    break;
                }
            }
        }
        iteration += 1.0;
    }
    table
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
