//! What a log can tell of an ended request or connection.

use super::Kept;
use crate::flags::Flags;
use crate::telemetry::{Ends, Protocol};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// An ended request, or TCP connection, in the terms of Envoy's commands. What is None prints `-`.
pub(crate) struct Entry<'a> {
    pub(crate) started: SystemTime,
    pub(crate) duration: Duration,
    /// From the start to the last byte of the request, and to the first of the upstream's answer.
    pub(crate) request_duration: Option<Duration>,
    pub(crate) response_duration: Option<Duration>,
    /// None for TCP.
    pub(crate) protocol: Option<Protocol>,
    pub(crate) status: u16,
    pub(crate) grpc_status: Option<u32>,
    pub(crate) flags: Flags,
    pub(crate) details: &'a str,
    pub(crate) transport_failure: &'a str,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) request_head: u32,
    pub(crate) response_head: u32,
    pub(crate) attempts: u32,
    pub(crate) upstream: Option<SocketAddr>,
    pub(crate) upstream_local: Option<SocketAddr>,
    /// The Unix socket that `upstream` stands for, if it does.
    pub(crate) upstream_pipe: &'a str,
    /// The endpoint's name, where it has one.
    pub(crate) upstream_name: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) downstream: Ends,
    pub(crate) server_name: &'a str,
    pub(crate) route: &'a str,
    pub(crate) chain: &'a str,
    pub(crate) kept: Option<&'a Kept>,
}
