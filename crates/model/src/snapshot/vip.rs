//! Addresses for services that are written without one: what a cluster, or the mesh's DNS, would give them.
//!
//! From a hash of namespace and name, so that no other edit moves them.

use crate::resource::{Kind, ResourceSet, Spec};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use xxhash_rust::xxh64::xxh64;

/// Gives each name an address of its own.
pub(super) struct Allocator {
    taken: BTreeSet<IpAddr>,
}

impl Allocator {
    /// Keeps clear of all addresses that are written.
    pub(super) fn new(resources: &ResourceSet) -> Self {
        let mut taken = BTreeSet::new();
        for kind in [Kind::Service, Kind::ServiceEntry] {
            for object in resources.of_kind(kind) {
                match &object.spec {
                    Spec::Service(service) => taken.extend(service.spec.cluster_ip.parse::<IpAddr>()),
                    Spec::ServiceEntry(entry) => {
                        taken.extend(entry.addresses.iter().filter_map(|a| a.parse::<IpAddr>().ok()))
                    }
                    _ => {}
                }
            }
        }
        Self { taken }
    }

    /// Of a Kubernetes Service: in 10.96.0.0/12, as in most clusters.
    pub(super) fn service(&mut self, namespace: &str, name: &str) -> IpAddr {
        self.pick(u32::from(Ipv4Addr::new(10, 96, 0, 0)), 20, &format!("{namespace}/{name}"))
    }

    /// Of a ServiceEntry's host: in 240.240.0.0/16, as Istio's.
    pub(super) fn entry(&mut self, namespace: &str, host: &str) -> IpAddr {
        self.pick(u32::from(Ipv4Addr::new(240, 240, 0, 0)), 16, &format!("{namespace}/{host}"))
    }

    fn pick(&mut self, network: u32, host_bits: u32, name: &str) -> IpAddr {
        let size = 1u64 << host_bits;
        for seed in 0..size {
            let offset = xxh64(name.as_bytes(), seed) % size;
            let ip = IpAddr::V4(Ipv4Addr::from(network | offset as u32));
            // The last number is kept from 0 and 255, which some tools take for networks.
            if !matches!(offset & 0xff, 0 | 0xff) && self.taken.insert(ip) {
                return ip;
            }
        }
        // More services than addresses: they share one rather than have none.
        IpAddr::V4(Ipv4Addr::from(network | 1))
    }
}
