//! Endpoints as the balancer sees them, and what is known of each over all workers.

use super::limits::Gauge;
use super::outlier::HostHealth;
use super::warm_up::Since;
use crate::telemetry::labels::Number;
use crate::telemetry::peer::Peer;
use amime_model::config::Endpoint;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

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
