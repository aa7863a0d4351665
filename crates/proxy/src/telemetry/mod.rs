//! What a proxy tells of its traffic: Istio's standard metrics, and records for who asks for them.
//!
//! The request path gives each worker's `Counters` one call when a request has ended; `gather` puts the workers'
//! counts together when somebody asks `Proxy::metrics`.

pub(crate) mod access_log;
pub(crate) mod counters;
mod exposition;
pub(crate) mod gather;
mod histogram;
pub(crate) mod http;
mod identity;
pub(crate) mod labels;
pub(crate) mod peer;
mod record;
mod recorder;
pub(crate) mod tcp;
pub(crate) mod totals;

pub use access_log::file::reopen_access_logs;
pub(crate) use exposition::Exposition;
pub use exposition::MetricsFormat;
pub use identity::ProxyIdentity;
pub use record::{Ends, Protocol, RequestRecord, RequestText, Rule, Upstream};
pub use recorder::RecordSender;
pub(crate) use recorder::Recorder;
