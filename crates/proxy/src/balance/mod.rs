//! Which endpoint of a cluster takes a request: policies, priorities and localities, outlier detection,
//! and the limits that are the proxy's as a whole.
//!
//! `cluster::ClusterLocal` owns a `Balancer`; the request path and the TCP proxy ask it.

pub(crate) mod host;
pub(crate) mod limits;
pub(crate) mod outlier;
mod priority;
mod ring;
mod schedule;
mod select;
mod warm_up;

pub(crate) use host::{Host, HostShared};
pub(crate) use select::{Balancer, PickContext};
