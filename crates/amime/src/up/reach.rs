//! Where the addresses of a cluster are reached on this machine, for what sidecars pass through as it was dialled: no
//! kernel here sends a service's virtual address on to a pod. `run` gives it to the proxies, of the newest snapshot,
//! and `control` to the stand-ins that call without a sidecar.
//!
//! What is made up and stands for nothing is reached nowhere: it must not leave the machine, where somebody else
//! may have that address.

use super::names;
use amime_control::Generation;
use amime_model::snapshot::{EndpointHost, ServiceAddress, Snapshot};
use amime_proxy::Reach;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// What one snapshot says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    /// A service's virtual address, or a pod's port that is bound elsewhere, to where it is answered.
    known: HashMap<SocketAddr, Vec<SocketAddr>>,
    /// Addresses of services, and of pods of this mesh: at other ports nobody is there.
    own: HashSet<IpAddr>,
}

impl Table {
    fn of(snapshot: &Snapshot) -> Self {
        let mut table = Self::default();
        for service in snapshot.services() {
            let own = match service.address_for(true) {
                ServiceAddress::Ip(ip) => Some(ip),
                ServiceAddress::Unspecified | ServiceAddress::Cidr(_) => None,
            };
            for ip in own.into_iter().chain(service.more_addresses.iter().copied()) {
                for port in &service.ports {
                    let Ok(number) = u16::try_from(port.number) else { continue };
                    let ready = snapshot.endpoints(service, port.number).iter().filter(|endpoint| endpoint.ready);
                    let places = ready.filter_map(|endpoint| match &endpoint.address {
                        EndpointHost::Ip(ip) => Some(SocketAddr::new(*ip, endpoint.bound_port)),
                        EndpointHost::Name(_) | EndpointHost::Unix(_) => None,
                    });
                    table.known.entry(SocketAddr::new(ip, number)).or_default().extend(places);
                }
                // The address of a host outside is a real one, with whatever ports it has.
                if !service.mesh_external {
                    table.own.insert(ip);
                }
            }
        }
        for pod in snapshot.pods() {
            let Some(placement) = pod.placement() else { continue };
            for (written, bound) in placement.ports.iter().filter(|(written, bound)| written != bound) {
                let place = SocketAddr::new(placement.pod_ip, *bound);
                table.known.insert(SocketAddr::new(placement.pod_ip, *written), vec![place]);
            }
        }
        table
    }

    /// None: nobody is there.
    fn reach(&self, address: SocketAddr, turn: usize) -> Option<SocketAddr> {
        match self.known.get(&address) {
            Some(places) if !places.is_empty() => Some(places[turn % places.len()]),
            _ if self.own.contains(&address.ip()) || is_made_up(address.ip()) => None,
            _ => Some(address),
        }
    }
}

/// The ranges from which services without an address get one, and names that nobody resolves.
fn is_made_up(ip: IpAddr) -> bool {
    let IpAddr::V4(ip) = ip else { return false };
    let in_services = ip.to_bits() & !0xF_FFFF == Ipv4Addr::new(10, 96, 0, 0).to_bits();
    in_services || matches!(ip.octets(), [240, 240, ..]) || names::is_stand_in(ip)
}

/// Where an address of the mesh is really reached; None: nobody is there.
pub(crate) type Places = Arc<dyn Fn(SocketAddr) -> Option<SocketAddr> + Send + Sync>;

/// For proxies.
pub(super) fn follow(generations: &watch::Receiver<Generation>) -> Reach {
    let places = places(generations);
    Reach::new(move |address| places(address))
}

/// Of the newest generation, and worked out once for each.
pub(crate) fn places(generations: &watch::Receiver<Generation>) -> Places {
    let generations = generations.clone();
    let worked_out: Mutex<(u64, Arc<Table>)> = Mutex::new((0, Arc::default()));
    let turn = AtomicUsize::new(0);
    Arc::new(move |address| {
        let table = {
            // A whole value is put in its place at once.
            let mut known = worked_out.lock().unwrap_or_else(PoisonError::into_inner);
            let newest = generations.borrow();
            if known.0 != newest.number {
                *known = (newest.number, Arc::new(Table::of(&newest.snapshot)));
            }
            known.1.clone()
        };
        table.reach(address, turn.fetch_add(1, Ordering::Relaxed))
    })
}

#[cfg(test)]
#[path = "reach_tests.rs"]
mod tests;
