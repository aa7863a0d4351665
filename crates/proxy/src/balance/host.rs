//! Endpoints as the balancer sees them, and what is known of each over all workers.

use super::limits::Gauge;
use super::outlier::HostHealth;
use super::warm_up::Since;
use crate::telemetry::labels::Number;
use crate::telemetry::peer::Peer;
use amime_model::config::{Endpoint, EndpointAddress};
use std::cell::{Cell, RefCell};
use std::net::{Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use xxhash_rust::xxh64::xxh64;

/// What all workers share about one address of one cluster. Survives configuration updates.
#[derive(Debug, Default)]
pub(crate) struct HostShared {
    /// Requests and TCP connections under way.
    pub(crate) active: Gauge,
    pub(crate) health: HostHealth,
    pub(crate) since: Since,
}

/// One endpoint of one worker's view of a cluster.
#[derive(Debug)]
pub(crate) struct Host {
    /// Of a Unix socket what stands for it.
    pub(crate) address: SocketAddr,
    pub(crate) weight: u32,
    /// By the configuration: neither unhealthy nor draining.
    pub(crate) usable: bool,
    /// None for an address that no endpoint names (original destination).
    pub(crate) endpoint: Option<Arc<Endpoint>>,
    pub(crate) shared: Arc<HostShared>,
    /// Of its workload, for metrics.
    pub(crate) number: Cell<Number>,
    /// Who said there last who it is.
    pub(crate) peer: RefCell<Option<Rc<Peer>>>,
}

impl Host {
    /// The Unix socket that it is.
    pub(crate) fn pipe(&self) -> Option<&str> {
        self.endpoint.as_ref().and_then(|endpoint| pipe(endpoint))
    }
}

pub(crate) fn pipe(endpoint: &Endpoint) -> Option<&str> {
    match &endpoint.address {
        EndpointAddress::Pipe(path) => Some(path),
        _ => None,
    }
}

/// What an endpoint is known by: its address; of a Unix socket one of the network that discards everything (RFC 6666),
/// which nobody dials. None: it cannot be dialled.
pub(crate) fn known_by(address: &EndpointAddress) -> Option<SocketAddr> {
    match address {
        EndpointAddress::Socket(address) => Some(*address),
        EndpointAddress::Pipe(path) => {
            let number = (0x0100 << 112) | u128::from(xxh64(path.as_bytes(), 0));
            Some(SocketAddr::new(Ipv6Addr::from_bits(number).into(), 0))
        }
        _ => None,
    }
}
