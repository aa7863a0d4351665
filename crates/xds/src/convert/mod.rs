//! `model::config` <-> Envoy's protobufs, one file a subject, both directions side by side.
//!
//! Called through [`crate::encode`] and [`crate::decode`]. The protobuf structs are huge (a Cluster has
//! 3.4 KB), so they live only as long as one conversion.

pub(crate) mod access_log;
pub(crate) mod balance;
pub(crate) mod cluster;
pub(crate) mod common;
pub(crate) mod dynamic;
pub(crate) mod endpoint;
pub(crate) mod filters;
pub(crate) mod hcm;
pub(crate) mod listener;
pub(crate) mod order;
pub(crate) mod origin;
pub(crate) mod outlier;
pub(crate) mod retry;
pub(crate) mod route;
pub(crate) mod route_action;
pub(crate) mod route_filters;
pub(crate) mod secret;
pub(crate) mod tls;
pub(crate) mod upstream_http;
