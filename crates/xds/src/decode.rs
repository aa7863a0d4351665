//! Envoy's protobufs -> `model::config`.

use amime_model::config::{Cluster, ClusterEndpoints, Listener, RouteConfig, Secret};

/// Why a resource could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("not a valid protobuf message: {0}")]
    Protobuf(String),
    #[error("{field}: {problem}")]
    Field { field: String, problem: String },
}

fn unsupported<T>() -> Result<T, DecodeError> {
    Err(DecodeError::Protobuf("this type is not read yet".into()))
}

pub fn cluster(_body: &[u8]) -> Result<Cluster, DecodeError> {
    unsupported()
}

pub fn endpoints(_body: &[u8]) -> Result<ClusterEndpoints, DecodeError> {
    unsupported()
}

pub fn listener(_body: &[u8]) -> Result<Listener, DecodeError> {
    unsupported()
}

pub fn route(_body: &[u8]) -> Result<RouteConfig, DecodeError> {
    unsupported()
}

pub fn secret(_body: &[u8]) -> Result<Secret, DecodeError> {
    unsupported()
}
