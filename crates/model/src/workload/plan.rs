//! The address plan: a stable place on the loopback network for each pod.
//!
//! `workload::expand` asks it, `up` owns it. The plan is plain data: what can be bound on this machine is
//! told to it, never looked up here.

use super::gateway_ports::GatewayPortPolicy;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use xxhash_rust::xxh64::xxh64;

/// Half of a /16: the other half holds the twins.
const SLOTS: u16 = 0x8000;
/// The first 256 slots (`127.N.0.x`, `127.N.128.x`) stay free for the mesh itself: its lock lives there.
const FIRST_SLOT: u16 = 0x100;
/// Hashes tried for one pod before the first free slot is taken.
const TRIES: u64 = 32;
/// What a pod's own sidecar needs at the pod's addresses, so no port of the pod is bound there as written:
/// outbound capture, inbound capture, the proxy that `--replace` prints.
const RESERVED: [u16; 3] = [15001, 15006, AddressPlan::NAME_PROXY_PORT];

/// A pod's namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodKey {
    pub namespace: String,
    pub name: String,
}

/// Where a pod lives on this machine. `expand` sets it; YAML cannot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Placement {
    /// What endpoints name; the pod's sidecar listens there.
    pub pod_ip: IpAddr,
    /// The twin address, where the application (a stand-in) listens.
    pub app_ip: IpAddr,
    /// Every TCP port of the pod, or of a gateway, as written, to the port that is really bound: the same
    /// where it can be, at both addresses.
    pub ports: BTreeMap<u16, u16>,
    /// Ports of the pod that a process of the user's answers (`--replace`), and where it listens.
    pub replaced: BTreeMap<u16, SocketAddr>,
    /// Gateways: the addresses at which their ports are opened, the first one the listener's own.
    pub bind: Vec<IpAddr>,
}

impl Placement {
    /// The port that is bound for `port` of the pod.
    pub fn bound(&self, port: u16) -> u16 {
        self.ports.get(&port).copied().unwrap_or(port)
    }

    /// Where the application that serves `port` of the pod listens.
    pub fn application(&self, port: u16) -> SocketAddr {
        match self.replaced.get(&port) {
            Some(address) => *address,
            None => SocketAddr::new(self.app_ip, self.bound(port)),
        }
    }
}

/// The two addresses of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PodAddresses {
    pub pod_ip: Ipv4Addr,
    pub app_ip: Ipv4Addr,
}

/// `--replace [NAMESPACE/]WORKLOAD[:PORT]=HOST:PORT`, its host resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    pub namespace: String,
    pub workload: String,
    /// None: the workload's only port.
    pub port: Option<u16>,
    pub address: SocketAddr,
}

/// Who lives where in one /16 of 127/8. A pod's addresses follow from its name alone; where two names hash to
/// one slot, the pod that already has it keeps it for as long as the plan lives, even when it goes and comes back.
#[derive(Debug, Clone)]
pub struct AddressPlan {
    network: [u8; 2],
    gateway_bind: Vec<IpAddr>,
    gateway_ports: GatewayPortPolicy,
    replacements: Vec<Replacement>,
    slots: BTreeMap<PodKey, u16>,
    free: BTreeSet<u16>,
    unbindable: BTreeSet<u16>,
    busy: BTreeSet<u16>,
}

impl Default for AddressPlan {
    /// The plan of tools that open no socket.
    fn default() -> Self {
        Self::new([127, 64])
    }
}

impl AddressPlan {
    /// So many pods have an address.
    pub const PODS: u32 = (SLOTS - FIRST_SLOT) as u32;

    /// Where the proxy that `--replace` prints listens, at the pod's application address.
    pub const NAME_PROXY_PORT: u16 = 15080;

    /// A plan over the /16 that begins with these two octets.
    pub fn new(network: [u8; 2]) -> Self {
        Self {
            network,
            gateway_bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            gateway_ports: GatewayPortPolicy::default(),
            replacements: Vec::new(),
            slots: BTreeMap::new(),
            free: (FIRST_SLOT..SLOTS).collect(),
            unbindable: BTreeSet::new(),
            busy: BTreeSet::new(),
        }
    }

    /// The addresses at which gateways open their ports (`127.0.0.1`, `::1`); never empty.
    pub fn with_gateways(mut self, bind: Vec<IpAddr>, policy: GatewayPortPolicy) -> Self {
        if !bind.is_empty() {
            self.gateway_bind = bind;
        }
        self.gateway_ports = policy;
        self
    }

    pub fn with_replacements(mut self, replacements: Vec<Replacement>) -> Self {
        self.replacements = replacements;
        self
    }

    pub fn gateway_bind(&self) -> &[IpAddr] {
        &self.gateway_bind
    }

    pub fn gateway_policy(&self) -> GatewayPortPolicy {
        self.gateway_ports
    }

    pub fn replacements(&self) -> &[Replacement] {
        &self.replacements
    }

    /// Pod ports that cannot be bound here: below 1024 without the right to, or held by another program.
    pub fn mark_unbindable(&mut self, port: u16) -> bool {
        self.unbindable.insert(port)
    }

    /// Ports that other programs hold at the gateways' addresses: no moved gateway port goes there.
    pub fn mark_busy(&mut self, port: u16) -> bool {
        self.busy.insert(port)
    }

    pub(super) fn is_busy(&self, port: u16) -> bool {
        self.busy.contains(&port)
    }

    /// Gives each of these pods its addresses, in the order of their names. Call it with all pods of the mesh
    /// before `addresses`; those that have theirs keep them.
    pub fn settle(&mut self, pods: &BTreeSet<PodKey>) {
        if self.slots.len() + pods.len() > usize::from(SLOTS - FIRST_SLOT) {
            self.forget_departed(pods);
        }
        for pod in pods {
            if self.slots.contains_key(pod) {
                continue;
            }
            if let Some(slot) = self.free_slot(pod) {
                self.free.remove(&slot);
                self.slots.insert(pod.clone(), slot);
            }
        }
    }

    /// None: `settle` was not told of the pod, or all 32,512 places are taken.
    pub fn addresses(&self, pod: &PodKey) -> Option<PodAddresses> {
        let slot = *self.slots.get(pod)?;
        let [a, b] = self.network;
        let [c, d] = slot.to_be_bytes();
        Some(PodAddresses { pod_ip: Ipv4Addr::new(a, b, c, d), app_ip: Ipv4Addr::new(a, b, c | 0x80, d) })
    }

    /// For each TCP port of one pod the port that is bound in its place: itself where that is possible.
    pub fn bound_ports(&self, ports: &BTreeSet<u16>) -> BTreeMap<u16, u16> {
        let mut used: BTreeSet<u16> = ports.iter().copied().filter(|p| self.can_bind(*p)).collect();
        let mut bound: BTreeMap<u16, u16> = used.iter().map(|p| (*p, *p)).collect();
        for port in ports {
            if bound.contains_key(port) {
                continue;
            }
            // 80 becomes 20080: still readable in a log.
            let wish = 20_000 + port % 10_000;
            let found = (wish..=u16::MAX).chain(1024..wish).find(|p| self.can_bind(*p) && !used.contains(p));
            if let Some(found) = found {
                used.insert(found);
                bound.insert(*port, found);
            }
        }
        bound
    }

    /// The addresses of the user's own processes that answer in place of this workload, by port of the pod.
    pub fn replaced(&self, namespace: &str, workload: &str, ports: &BTreeSet<u16>) -> BTreeMap<u16, SocketAddr> {
        let mut found = BTreeMap::new();
        for r in self.replacements.iter().filter(|r| r.namespace == namespace && r.workload == workload) {
            let only = (ports.len() == 1).then(|| ports.first().copied()).flatten();
            if let Some(port) = r.port.or(only) {
                found.insert(port, r.address);
            }
        }
        found
    }

    fn can_bind(&self, port: u16) -> bool {
        !self.unbindable.contains(&port) && !RESERVED.contains(&port)
    }

    fn free_slot(&self, pod: &PodKey) -> Option<u16> {
        let name = format!("{}/{}", pod.namespace, pod.name);
        (0..TRIES)
            .map(|seed| slot_of(xxh64(name.as_bytes(), seed)))
            .find(|slot| self.free.contains(slot))
            .or_else(|| self.free.first().copied())
    }

    fn forget_departed(&mut self, pods: &BTreeSet<PodKey>) {
        self.slots.retain(|pod, _| pods.contains(pod));
        let taken: BTreeSet<u16> = self.slots.values().copied().collect();
        self.free = (FIRST_SLOT..SLOTS).filter(|slot| !taken.contains(slot)).collect();
    }
}

fn slot_of(hash: u64) -> u16 {
    let places = u64::from(SLOTS - FIRST_SLOT);
    // The remainder is below 0x7f00, so it fits.
    FIRST_SLOT + (hash % places) as u16
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
