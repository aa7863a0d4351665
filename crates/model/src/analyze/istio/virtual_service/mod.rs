//! Findings about VirtualServices beside others.

pub(super) mod claims;
pub(super) mod destinations;
pub(super) mod gateways;
pub(super) mod mesh_hosts;
pub(super) mod unreachable;
