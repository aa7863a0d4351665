//! The data plane: runs a `model::config::ProxyConfig` over real sockets, thread per core.
//!
//! `Workers` are the threads, a `Proxy` lives on one of them (sidecars) or on all (gateways). A connection goes through
//! `listen` (listener filters, filter chain), `http` or `tcp`, `balance` and `connect`; `telemetry` gets one record of
//! each request. Modules are named after those stages.

mod ads;
mod balance;
mod capture_ports;
mod cluster;
mod connect;
mod flags;
mod http;
mod intern;
mod listen;
mod proxy;
mod proxy_worker;
mod rng;
mod runtime;
mod tcp;
mod telemetry;
mod tls;
mod workers;

pub use ads::AdsOptions;
pub use capture_ports::CapturePorts;
pub use connect::dial::{OwnPorts, Reach};
pub use connect::names::Names;
pub use flags::Flags;
pub use proxy::{
    Accepted, ApplyError, ClusterStatus, EndpointStatus, Placement, Proxy, ProxyOptions, Side, UsageStatus,
};
pub use runtime::ConfigError;
pub use telemetry::{
    Ends, MetricsFormat, Protocol, ProxyIdentity, RecordSender, RequestRecord, RequestText, Rule, Upstream,
    reopen_access_logs,
};
pub use workers::{Workers, WorkersGone};
