//! The discovery messages as protobuf, written by hand: the generated ones copy every resource out of the
//! receive buffer and encode maps in random order.

mod json;

use crate::message::{DeltaRequest, DeltaResponse, Node, Resource, SotwRequest};
use amime_model::config::Locality;
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;

pub(crate) use json::{Struct, from_json, to_json};

/// google.protobuf.Any, sharing the buffer that it was read from.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AnyBytes {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// envoy.service.discovery.v3.Resource, the fields that are used.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WireResource {
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(message, optional, tag = "2")]
    pub resource: Option<AnyBytes>,
}

/// envoy.service.discovery.v3.DeltaDiscoveryResponse.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WireDeltaResponse {
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<WireResource>,
    #[prost(string, tag = "4")]
    pub type_url: String,
    #[prost(string, tag = "5")]
    pub nonce: String,
    #[prost(string, repeated, tag = "6")]
    pub removed: Vec<String>,
}

/// envoy.config.core.v3.Node.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WireNode {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "2")]
    pub cluster: String,
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<Struct>,
    #[prost(message, optional, tag = "4")]
    pub locality: Option<WireLocality>,
    #[prost(string, tag = "6")]
    pub user_agent_name: String,
}

/// envoy.config.core.v3.Locality.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WireLocality {
    #[prost(string, tag = "1")]
    pub region: String,
    #[prost(string, tag = "2")]
    pub zone: String,
    #[prost(string, tag = "3")]
    pub sub_zone: String,
}

/// google.rpc.Status.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
}

/// envoy.service.discovery.v3.DeltaDiscoveryRequest.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WireDeltaRequest {
    #[prost(message, optional, tag = "1")]
    pub node: Option<WireNode>,
    #[prost(string, tag = "2")]
    pub type_url: String,
    #[prost(string, repeated, tag = "3")]
    pub subscribe: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub unsubscribe: Vec<String>,
    #[prost(btree_map = "string, string", tag = "5")]
    pub initial_versions: BTreeMap<String, String>,
    #[prost(string, tag = "6")]
    pub nonce: String,
    #[prost(message, optional, tag = "7")]
    pub error: Option<RpcStatus>,
}

/// envoy.service.discovery.v3.DiscoveryRequest.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WireSotwRequest {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(message, optional, tag = "2")]
    pub node: Option<WireNode>,
    #[prost(string, repeated, tag = "3")]
    pub names: Vec<String>,
    #[prost(string, tag = "4")]
    pub type_url: String,
    #[prost(string, tag = "5")]
    pub nonce: String,
    #[prost(message, optional, tag = "6")]
    pub error: Option<RpcStatus>,
}

/// google.rpc.Code.INVALID_ARGUMENT, which Envoy sends with a NACK.
const INVALID_ARGUMENT: i32 = 3;

fn status(error: String) -> RpcStatus {
    RpcStatus { code: INVALID_ARGUMENT, message: error }
}

/// An error without words is an error all the same.
fn problem(status: RpcStatus) -> String {
    match status.message {
        message if message.is_empty() => format!("code {}", status.code),
        message => message,
    }
}

impl From<Node> for WireNode {
    fn from(node: Node) -> Self {
        let Locality { region, zone, sub_zone } = node.locality;
        let locality = WireLocality { region, zone, sub_zone };
        Self {
            id: node.id,
            cluster: node.cluster,
            metadata: from_json(&node.metadata),
            locality: Some(locality).filter(|l| *l != WireLocality::default()),
            user_agent_name: "amime".into(),
        }
    }
}

impl From<WireNode> for Node {
    fn from(node: WireNode) -> Self {
        let WireLocality { region, zone, sub_zone } = node.locality.unwrap_or_default();
        Self {
            id: node.id,
            cluster: node.cluster,
            metadata: node.metadata.as_ref().map(to_json).unwrap_or_default(),
            locality: Locality { region, zone, sub_zone },
        }
    }
}

impl From<DeltaRequest> for WireDeltaRequest {
    fn from(request: DeltaRequest) -> Self {
        let versions = request.initial_versions.iter();
        Self {
            node: request.node.map(WireNode::from),
            type_url: request.type_url,
            subscribe: request.subscribe.iter().map(ToString::to_string).collect(),
            unsubscribe: request.unsubscribe.iter().map(ToString::to_string).collect(),
            initial_versions: versions.map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            nonce: request.nonce,
            error: request.error.map(status),
        }
    }
}

impl From<WireDeltaRequest> for DeltaRequest {
    fn from(request: WireDeltaRequest) -> Self {
        let versions = request.initial_versions.into_iter();
        Self {
            node: request.node.map(Node::from),
            type_url: request.type_url,
            subscribe: request.subscribe.into_iter().map(Into::into).collect(),
            unsubscribe: request.unsubscribe.into_iter().map(Into::into).collect(),
            initial_versions: versions.map(|(n, v)| (n.into(), v.into())).collect(),
            nonce: request.nonce,
            error: request.error.map(problem),
        }
    }
}

impl From<WireSotwRequest> for SotwRequest {
    fn from(request: WireSotwRequest) -> Self {
        Self {
            node: request.node.map(Node::from),
            type_url: request.type_url,
            names: request.names.into_iter().map(Into::into).collect(),
            version: request.version,
            nonce: request.nonce,
            error: request.error.map(problem),
        }
    }
}

impl From<SotwRequest> for WireSotwRequest {
    fn from(request: SotwRequest) -> Self {
        Self {
            node: request.node.map(WireNode::from),
            type_url: request.type_url,
            names: request.names.iter().map(ToString::to_string).collect(),
            version: request.version,
            nonce: request.nonce,
            error: request.error.map(status),
        }
    }
}

impl From<WireDeltaResponse> for DeltaResponse {
    fn from(response: WireDeltaResponse) -> Self {
        let resource = |r: WireResource| {
            let any = r.resource.unwrap_or_default();
            Resource { name: r.name, version: r.version, type_url: any.type_url, body: any.value }
        };
        Self {
            type_url: response.type_url,
            nonce: response.nonce,
            resources: response.resources.into_iter().map(resource).collect(),
            removed: response.removed,
        }
    }
}
