//! The workloads of `amime up`: which pods the user's objects would have, and where on this machine they live.
//!
//! The file source's pipeline calls it before each `Snapshot::build`, `explain` and the tests too.

mod expand;
mod gateway_ports;
mod gateways;
mod plan;
mod pods;

use crate::resource::Kind;

pub use expand::{Expanded, expand, workload_of};
pub use gateway_ports::{GatewayPortPolicy, GatewayPortWant, OpenedPort, Seniority};
pub use plan::{AddressPlan, Placement, PodAddresses, PodKey, Replacement};

/// The kinds that make pods.
pub const CONTROLLERS: [Kind; 6] =
    [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::ReplicaSet, Kind::Job, Kind::CronJob];
