//! Envoy v3 on the wire: protobuf <-> `model::config`, and the state machines of both ends of an ADS stream.
//!
//! `control` serves it, `proxy` consumes it. The state machines ([`client`], [`server`]) do no I/O and
//! read no clock; [`transport`] puts them on tonic. Protobuf types never leave this crate.

pub mod client;
mod convert;
pub mod decode;
pub mod encode;
pub mod intern;
pub mod json;
mod message;
pub mod refs;
mod resource_type;
pub mod server;
#[cfg(test)]
mod test_mesh;
pub mod transport;
mod wire;

pub use message::{DeltaRequest, DeltaResponse, Node, Resource, SotwRequest};
pub use resource_type::{PerType, ResourceType};
