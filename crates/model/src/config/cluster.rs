//! Clusters: how a group of endpoints is found, balanced and connected to.

use super::{ClusterEndpoints, Opaque, Origin, TlsVersion};
use std::net::IpAddr;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// `outbound|80|v1|reviews.default.svc.cluster.local`, `inbound|9080||`, `PassthroughCluster`, `BlackHoleCluster`.
    pub name: String,
    pub discovery: Discovery,
    /// None is Envoy's default of 5 s; Istio's is 10 s.
    pub connect_timeout: Option<Duration>,
    pub lb: LbPolicy,
    pub locality_weighted: bool,
    /// Below this percentage of healthy hosts balancing goes over all of them; None is 50.
    pub panic_threshold: Option<u32>,
    pub slow_start: Option<SlowStart>,
    pub limits: CircuitBreakers,
    pub outlier: Option<OutlierDetection>,
    pub protocol: UpstreamProtocol,
    pub max_concurrent_streams: Option<u32>,
    pub max_requests_per_connection: Option<u32>,
    /// Of pooled connections; None is Envoy's default of 1 h, zero is none.
    pub idle_timeout: Option<Duration>,
    pub max_connection_duration: Option<Duration>,
    /// PINGs on HTTP/2 connections.
    pub http2_keepalive: Option<Http2Keepalive>,
    pub tcp_keepalive: Option<TcpKeepalive>,
    pub tls: Option<UpstreamTls>,
    /// TLS by endpoint metadata (auto mTLS); the first whose labels an endpoint has wins, before `tls`.
    pub transport_socket_matches: Vec<TransportSocketMatch>,
    pub opaque_transport: Option<Opaque>,
    /// Send a PROXY protocol header of this version (1 or 2) first.
    pub proxy_protocol: Option<u8>,
    /// Upstream sockets are bound to this address.
    pub bind_source: Option<IpAddr>,
    pub dns: DnsOptions,
    /// Close connections to a host that leaves (Envoy: close_connections_on_host_health_failure is another).
    pub drain_on_host_removal: bool,
    /// The DestinationRule and the Service or ServiceEntry behind it.
    pub origins: Vec<Origin>,
    pub service: Option<ClusterService>,
}

impl Cluster {
    /// A cluster with Envoy's defaults.
    pub fn new(name: impl Into<String>, discovery: Discovery) -> Self {
        Self {
            name: name.into(),
            discovery,
            connect_timeout: None,
            lb: LbPolicy::RoundRobin,
            locality_weighted: false,
            panic_threshold: None,
            slow_start: None,
            limits: CircuitBreakers::default(),
            outlier: None,
            protocol: UpstreamProtocol::Http1,
            max_concurrent_streams: None,
            max_requests_per_connection: None,
            idle_timeout: None,
            max_connection_duration: None,
            http2_keepalive: None,
            tcp_keepalive: None,
            tls: None,
            transport_socket_matches: Vec::new(),
            opaque_transport: None,
            proxy_protocol: None,
            bind_source: None,
            dns: DnsOptions::default(),
            drain_on_host_removal: false,
            origins: Vec::new(),
            service: None,
        }
    }
}

/// The service a cluster stands for (`filter_metadata["istio"].services[0]`), for telemetry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClusterService {
    pub host: String,
    pub name: String,
    pub namespace: String,
    /// Of nobody in the mesh (`filter_metadata["istio"].external`).
    pub external: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Discovery {
    /// The EDS resource's name: the cluster's own where empty.
    Eds(String),
    Static(ClusterEndpoints),
    /// Every address of every name is an endpoint.
    StrictDns(ClusterEndpoints),
    /// The first address of the one name.
    LogicalDns(ClusterEndpoints),
    /// The address that the client dialled; with `header`, the one in `x-envoy-original-dst-host`.
    OriginalDst {
        header: bool,
        /// Dial this port instead of the one that was dialled.
        port: Option<u16>,
    },
    /// Whatever name the request or connection is for, looked up when it comes.
    DynamicDns(DnsCache),
    Opaque(String),
}

/// Where looked-up names are kept: clusters and filters of one name share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct DnsCache {
    pub name: String,
    pub family: DnsFamily,
    /// Names at once; None is Envoy's default of 1024.
    pub max_hosts: Option<u32>,
    /// None is Envoy's default of 60 s.
    pub refresh: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LbPolicy {
    #[default]
    RoundRobin,
    LeastRequest {
        /// How many are drawn; None is 2.
        choices: Option<u32>,
    },
    Random,
    RingHash {
        min_size: Option<u64>,
        max_size: Option<u64>,
    },
    Maglev {
        table_size: Option<u64>,
    },
    /// For OriginalDst and DynamicDns.
    ClusterProvided,
}

/// New hosts take less at first: weight × max(minimum, (age / window) ^ (1 / aggression)).
#[derive(Debug, Clone, PartialEq)]
pub struct SlowStart {
    pub window: Duration,
    pub aggression: f64,
    pub min_weight_percent: f64,
}

/// None is Envoy's default: 1024 connections, pending and requests, 3 retries.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CircuitBreakers {
    pub max_connections: Option<u32>,
    pub max_pending_requests: Option<u32>,
    pub max_requests: Option<u32>,
    pub max_retries: Option<u32>,
    pub retry_budget: Option<RetryBudget>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RetryBudget {
    /// Of active requests, in percent.
    pub percent: f64,
    pub min_concurrency: u32,
    /// A request counts as active for so long after it began, though it has ended; None or zero: not.
    pub interval: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct OutlierDetection {
    pub consecutive_5xx: Option<u32>,
    pub enforcing_consecutive_5xx: Option<u32>,
    pub consecutive_gateway_failure: Option<u32>,
    pub enforcing_consecutive_gateway_failure: Option<u32>,
    pub split_external_local_origin: bool,
    pub consecutive_local_origin_failure: Option<u32>,
    pub enforcing_consecutive_local_origin_failure: Option<u32>,
    pub enforcing_local_origin_success_rate: Option<u32>,
    pub enforcing_success_rate: Option<u32>,
    pub interval: Option<Duration>,
    pub base_ejection: Option<Duration>,
    pub max_ejection: Option<Duration>,
    pub max_ejection_percent: Option<u32>,
    /// The statuses that count as errors; where there are none, all from 500 on do.
    pub error_statuses: Vec<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UpstreamProtocol {
    #[default]
    Http1,
    Http2,
    /// As the client spoke.
    UseDownstream,
    /// By ALPN over TLS.
    Alpn,
}

/// A PING at each interval; a connection whose answer does not come in time is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Http2Keepalive {
    pub interval: Duration,
    pub timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpKeepalive {
    pub probes: Option<u32>,
    /// Seconds.
    pub time: Option<u32>,
    /// Seconds.
    pub interval: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamTls {
    pub sni: String,
    /// The SNI is the request's host where `sni` is empty.
    pub auto_sni: bool,
    pub alpn: Vec<String>,
    /// SDS names (`file-cert:…`, `kubernetes://…`, `default`).
    pub certificate: Option<String>,
    /// None: the system's authorities, where the certificate is looked at.
    pub validation: Option<String>,
    /// `file-crl:PATH`: revoked certificates, beside those that the validation context names.
    pub crl: Option<String>,
    pub match_sans: Vec<String>,
    pub auto_san_validation: bool,
    /// Accept any certificate.
    pub insecure: bool,
    pub min_version: TlsVersion,
    pub max_version: TlsVersion,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TransportSocketMatch {
    pub name: String,
    /// Endpoint metadata `envoy.transport_socket_match`; empty matches every endpoint.
    pub labels: Vec<(String, String)>,
    /// None: plaintext.
    pub tls: Option<UpstreamTls>,
    pub opaque: Option<Opaque>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DnsOptions {
    pub refresh: Option<Duration>,
    pub respect_ttl: bool,
    pub family: DnsFamily,
    pub jitter: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum DnsFamily {
    #[default]
    Auto,
    V4Only,
    V6Only,
    V4Preferred,
    All,
}
