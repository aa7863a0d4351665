//! Envoy's protobufs -> `model::config`: the value of an `Any` of each resource type.
//!
//! What is not understood is kept as `Opaque` or `RouteAction::Opaque`, or is an error that names it.

use crate::convert;
use amime_model::config::{Cluster, ClusterEndpoints, Listener, RouteConfig, Secret, VirtualHost};
use envoy_types::pb::envoy::config::cluster::v3::Cluster as PbCluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener as PbListener;
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost as PbVirtualHost};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret as PbSecret;
use prost::Message;

/// Why a resource could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("not a valid protobuf message: {0}")]
    Protobuf(String),
    #[error("{field}: {problem}")]
    Field { field: String, problem: String },
}

fn message<T: Message + Default>(body: &[u8]) -> Result<T, DecodeError> {
    T::decode(body).map_err(|e| DecodeError::Protobuf(e.to_string()))
}

pub fn cluster(body: &[u8]) -> Result<Cluster, DecodeError> {
    convert::cluster::from_pb(message::<PbCluster>(body)?)
}

pub fn endpoints(body: &[u8]) -> Result<ClusterEndpoints, DecodeError> {
    convert::endpoint::from_pb(message::<ClusterLoadAssignment>(body)?)
}

pub fn listener(body: &[u8]) -> Result<Listener, DecodeError> {
    convert::listener::from_pb(message::<PbListener>(body)?)
}

pub fn route(body: &[u8]) -> Result<RouteConfig, DecodeError> {
    convert::route::from_pb(message::<RouteConfiguration>(body)?)
}

pub fn virtual_host(body: &[u8]) -> Result<VirtualHost, DecodeError> {
    convert::route::host_from_pb(message::<PbVirtualHost>(body)?, &Default::default())
}

pub fn secret(body: &[u8]) -> Result<Secret, DecodeError> {
    convert::secret::from_pb(message::<PbSecret>(body)?)
}
