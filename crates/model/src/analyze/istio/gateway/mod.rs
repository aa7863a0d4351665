//! Findings about Gateways.

pub(super) mod certificates;
pub(super) mod conflicts;
pub(super) mod secrets;
pub(super) mod workloads;
