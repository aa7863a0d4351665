//! ADS over gRPC: the client's stream and its loop (called by `proxy`), and the server's (called by `control`).

mod dial;
mod frames;
mod open;
mod serve;
mod session;
mod tls;

pub use dial::{ConnectionState, ControlPlane, Dialer};
pub use open::{DeltaStream, channel_over};
pub use serve::{AdsStream, DeltaRequests, Incoming, Link, Requests, Responses, SotwRequests, serve_connection};
pub use session::{Backoff, Warming, run, run_saving};
pub use tls::{ClientTls, TlsError};

/// Of a response: gRPC's usual limit of 4 MiB is less than a mesh of some thousand services takes.
const MAX_RESPONSE: usize = 512 << 20;

/// Of a request: the names and versions of a hundred thousand resources.
const MAX_REQUEST: usize = 16 << 20;

/// Of one HTTP/2 stream: a whole small configuration in flight.
const STREAM_WINDOW: u32 = 4 << 20;

/// Of one HTTP/2 connection: a thousand sidecars of one process share it, and one that is slow must not
/// use up what the others need.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

const DELTA_PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const SOTW_PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
