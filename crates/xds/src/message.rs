//! What goes over an ADS stream, without protobuf: both state machines speak in these.

use amime_model::config::Locality;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who a proxy says it is. `id` and `metadata` are Istio's: `sidecar~10.1.1.1~productpage-v1.default~default.svc.cluster.local`
/// and `{"NAMESPACE": …, "LABELS": {…}, …}`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Node {
    pub id: String,
    pub cluster: String,
    /// An object, or null where there is none.
    pub metadata: serde_json::Value,
    pub locality: Locality,
}

impl Node {
    /// In the metadata, with the value "true": virtual hosts are asked for as resources of their own, by
    /// `ROUTECONFIG/*`, and come under names like `80/reviews.default.svc.cluster.local:80`.
    const VHDS: &str = "AMIME_VHDS";

    pub(crate) fn ask_for_vhds(&mut self) {
        if !self.metadata.is_object() {
            self.metadata = serde_json::json!({});
        }
        self.metadata[Self::VHDS] = "true".into();
    }

    /// The client is a proxy of ours, which asks for virtual hosts as resources of their own.
    pub fn asks_for_vhds(&self) -> bool {
        self.metadata[Self::VHDS] == "true"
    }
}

/// DeltaDiscoveryRequest: the first of a type, a change of subscriptions, or an ACK or NACK (with a nonce).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeltaRequest {
    /// In the first request of a stream.
    pub node: Option<Node>,
    pub type_url: String,
    /// Empty in the first request of a type: everything.
    pub subscribe: Vec<Arc<str>>,
    pub unsubscribe: Vec<Arc<str>>,
    /// After a reconnect: what the client still has, name to version.
    pub initial_versions: BTreeMap<Arc<str>, Arc<str>>,
    /// Of the response that this answers; empty where it answers none.
    pub nonce: String,
    /// Set: that response was rejected, and why.
    pub error: Option<String>,
}

/// DiscoveryRequest, of the state-of-the-world protocol.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SotwRequest {
    pub node: Option<Node>,
    pub type_url: String,
    /// All the names wanted; empty: everything.
    pub names: Vec<Arc<str>>,
    /// The last version that was accepted.
    pub version: String,
    pub nonce: String,
    pub error: Option<String>,
}

/// DeltaDiscoveryResponse, as a client reads it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeltaResponse {
    pub type_url: String,
    pub nonce: String,
    pub resources: Vec<Resource>,
    /// Names that are gone, or that were asked for and are not there.
    pub removed: Vec<String>,
}

/// One encoded resource.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resource {
    pub name: String,
    pub version: String,
    /// Of the `google.protobuf.Any` that carried it.
    pub type_url: String,
    /// Empty where only the time to live was renewed.
    pub body: Bytes,
}
