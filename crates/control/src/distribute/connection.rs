//! Who a stream belongs to, as it introduced itself. `stream` makes it once; it never changes.

use amime_model::translate::Node;
use amime_xds::server::Protocol;
use std::net::SocketAddr;
use std::time::SystemTime;

/// One stream of a proxy.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Counts the streams of this control plane from 1.
    pub number: u64,
    /// None within this process.
    pub peer: Option<SocketAddr>,
    pub protocol: Protocol,
    pub since: SystemTime,
    /// Of the proxy (`ISTIO_VERSION` of its metadata); empty where it does not tell.
    pub version: String,
    /// Of the control plane that the proxy wants (`istio.io/rev` of its labels); `default` where it does not tell.
    pub revision: String,
    /// `CLUSTER_ID` of its metadata; empty where it does not tell.
    pub cluster_id: String,
}

/// The label that names a revision.
const REVISION: &str = "istio.io/rev";

impl Connection {
    pub(super) fn new(
        number: u64,
        introduced: &amime_xds::Node,
        node: &Node,
        peer: Option<SocketAddr>,
        protocol: Protocol,
    ) -> Self {
        let text = |key: &str| introduced.metadata.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        Self {
            number,
            revision: node.labels.get(REVISION).cloned().unwrap_or_else(|| "default".to_owned()),
            peer,
            protocol,
            since: SystemTime::now(),
            version: text("ISTIO_VERSION"),
            cluster_id: text("CLUSTER_ID"),
        }
    }
}
