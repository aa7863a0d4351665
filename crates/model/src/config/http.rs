//! The HTTP connection manager and its filters.

use super::{DnsCache, Opaque, RouteConfig};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq)]
pub struct HttpConnectionManager {
    pub stat_prefix: String,
    pub codec: CodecType,
    pub routes: RouteSource,
    /// In order; the router is last.
    pub http_filters: Vec<HttpFilter>,
    /// The `server` header of responses; empty leaves the upstream's.
    pub server_name: String,
    pub server_header: ServerHeader,
    /// True at the edge: the peer's address is the client's and `x-forwarded-for` is appended to.
    pub use_remote_address: bool,
    pub xff_num_trusted_hops: u32,
    pub normalize_path: bool,
    pub merge_slashes: bool,
    pub escaped_slashes: EscapedSlashes,
    /// Whole request; None or zero: no limit.
    pub request_timeout: Option<Duration>,
    /// Headers of a request; None or zero: no limit of its own.
    pub request_headers_timeout: Option<Duration>,
    /// A stream without bytes either way; None is Envoy's default of 5 min, zero is none.
    pub stream_idle_timeout: Option<Duration>,
    /// A connection without requests; None is Envoy's default of 1 h, zero is none.
    pub idle_timeout: Option<Duration>,
    /// None is Envoy's 60.
    pub max_request_headers_kb: Option<u32>,
    /// None is Envoy's 100.
    pub max_headers_count: Option<u32>,
    pub max_requests_per_connection: Option<u32>,
    /// HTTP/2 streams of one connection; None is the codec's default.
    pub max_concurrent_streams: Option<u32>,
    /// Upgrades that are let through: `websocket`, `CONNECT`.
    pub upgrades: Vec<String>,
    pub generate_request_id: bool,
    pub preserve_external_request_id: bool,
    /// Ports are taken off hosts before matching.
    pub strip_any_host_port: bool,
    pub accept_http_10: bool,
    pub proxy_100_continue: bool,
    pub access_log: Vec<AccessLog>,
}

impl HttpConnectionManager {
    /// With Envoy's defaults, and no filter but the router.
    pub fn new(routes: RouteSource) -> Self {
        Self {
            stat_prefix: String::new(),
            codec: CodecType::Auto,
            routes,
            http_filters: vec![HttpFilter::Router],
            server_name: String::new(),
            server_header: ServerHeader::Overwrite,
            use_remote_address: false,
            xff_num_trusted_hops: 0,
            normalize_path: false,
            merge_slashes: false,
            escaped_slashes: EscapedSlashes::Keep,
            request_timeout: None,
            request_headers_timeout: None,
            stream_idle_timeout: None,
            idle_timeout: None,
            max_request_headers_kb: None,
            max_headers_count: None,
            max_requests_per_connection: None,
            max_concurrent_streams: None,
            upgrades: Vec::new(),
            generate_request_id: true,
            preserve_external_request_id: false,
            strip_any_host_port: false,
            accept_http_10: false,
            proxy_100_continue: false,
            access_log: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CodecType {
    #[default]
    Auto,
    Http1,
    Http2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ServerHeader {
    #[default]
    Overwrite,
    AppendIfAbsent,
    PassThrough,
}

/// What happens to `%2F`, `%5C` in a path before it is matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EscapedSlashes {
    #[default]
    Keep,
    Reject,
    UnescapeAndRedirect,
    UnescapeAndForward,
}

#[derive(Debug, Clone, PartialEq)]
pub enum RouteSource {
    /// The name of a route configuration.
    Rds(String),
    Inline(Arc<RouteConfig>),
}

#[derive(Debug, Clone, PartialEq)]
pub enum HttpFilter {
    /// Acts where a route has a fault policy.
    Fault,
    /// Acts where a route has a CORS policy.
    Cors,
    /// Looks up the hosts of requests to `Discovery::DynamicDns` clusters.
    DynamicForwardProxy(DnsCache),
    Router,
    /// `disabled`: off unless a route turns it on.
    Opaque {
        filter: Opaque,
        disabled: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// A file path (`/dev/stdout`) and the format: empty text is Envoy's default.
    File {
        path: String,
        format: LogFormat,
        /// Only what has one of these response flags (Envoy's response_flag_filter); everything where empty.
        flags: Vec<String>,
    },
    Opaque(Opaque),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogFormat {
    Text(String),
    /// Strings in it, at any depth, are formats.
    Json(serde_json::Map<String, serde_json::Value>),
}
