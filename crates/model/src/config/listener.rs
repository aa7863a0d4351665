//! Listeners and their filter chains.

use super::{AccessLog, DnsCache, HttpConnectionManager, Opaque, Origin};
use ipnet::IpNet;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// `virtualOutbound`, `virtualInbound`, `0.0.0.0_80`, `10.96.0.1_9090`.
    pub name: String,
    pub address: SocketAddr,
    /// Further addresses that the same listener binds (gateways: `[::1]` beside `127.0.0.1`).
    pub additional_addresses: Vec<SocketAddr>,
    /// False: no socket; connections are handed to it by original destination.
    pub bind_to_port: bool,
    pub direction: Direction,
    pub listener_filters: Vec<ListenerFilter>,
    /// How long listener filters may wait for bytes; None is Envoy's default of 15 s; zero waits for ever.
    pub listener_filters_timeout: Option<Duration>,
    /// After that timeout: go on without a detected protocol (true, as Istio's outbound) or close.
    pub continue_on_timeout: bool,
    /// Hand a connection to the listener whose address is its original destination: exact address first,
    /// then `0.0.0.0:port`, else this listener's own chains.
    pub use_original_dst: bool,
    pub filter_chains: Vec<FilterChain>,
    pub default_filter_chain: Option<Box<FilterChain>>,
    pub origins: Vec<Origin>,
    pub access_log: Vec<AccessLog>,
}

impl Listener {
    /// One that binds its address and has nothing else yet.
    pub fn new(name: impl Into<String>, address: SocketAddr) -> Self {
        Self {
            name: name.into(),
            address,
            additional_addresses: Vec::new(),
            bind_to_port: true,
            direction: Direction::Unspecified,
            listener_filters: Vec::new(),
            listener_filters_timeout: None,
            continue_on_timeout: false,
            use_original_dst: false,
            filter_chains: Vec::new(),
            default_filter_chain: None,
            origins: Vec::new(),
            access_log: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    #[default]
    Unspecified,
    Inbound,
    Outbound,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ListenerFilter {
    OriginalDst,
    /// Reads a PROXY v1 or v2 header, whose destination becomes the original destination.
    ProxyProtocol,
    /// Detects TLS, SNI and ALPN.
    TlsInspector,
    /// Detects HTTP/1 and HTTP/2 cleartext; not on these destination ports.
    HttpInspector {
        disabled_ports: Vec<u16>,
    },
    Opaque(Opaque),
}

#[derive(Debug, Clone, PartialEq)]
pub struct FilterChain {
    pub name: String,
    pub matches: FilterChainMatch,
    /// None: plaintext.
    pub tls: Option<DownstreamTls>,
    /// A transport socket that is not understood: the chain refuses connections.
    pub opaque_transport: Option<Opaque>,
    pub filters: Vec<NetworkFilter>,
    pub origin: Option<Origin>,
}

impl FilterChain {
    /// A plaintext chain that takes everything, with these filters.
    pub fn new(filters: Vec<NetworkFilter>) -> Self {
        Self {
            name: String::new(),
            matches: FilterChainMatch::default(),
            tls: None,
            opaque_transport: None,
            filters,
            origin: None,
        }
    }
}

/// Envoy's filter_chain_match. Evaluated in Envoy's order: destination port, destination prefix (longest),
/// server name (exact, then longest wildcard suffix), transport protocol, application protocols,
/// source prefix.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilterChainMatch {
    pub destination_port: Option<u16>,
    pub prefix_ranges: Vec<IpNet>,
    pub source_prefix_ranges: Vec<IpNet>,
    /// `a.example`, `*.example`.
    pub server_names: Vec<String>,
    /// `raw_buffer`, `tls`, or empty for any.
    pub transport_protocol: String,
    /// `http/1.1`, `h2`, `h2c`, `istio` …
    pub application_protocols: Vec<String>,
}

/// TLS that a listener ends. Certificates come by SDS name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DownstreamTls {
    /// SDS names of the certificates, at least one: `kubernetes://NAME`, or `file-cert:CHAIN~KEY` of files.
    pub certificates: Vec<String>,
    /// SDS name of the validation context (`file-root:PATH` of a file), where client certificates are looked at.
    pub validation: Option<String>,
    /// `file-crl:PATH`: revoked certificates, beside those that the validation context names.
    pub crl: Option<String>,
    pub require_client_certificate: bool,
    pub alpn: Vec<String>,
    pub min_version: TlsVersion,
    pub max_version: TlsVersion,
    pub cipher_suites: Vec<String>,
    /// Key exchange: `X25519MLKEM768`, `P-256` …, in order of preference; none: the library's own.
    pub curves: Vec<String>,
    /// Client certificate: subject alternative names, hashes and SPKI pins that are accepted (any where empty).
    pub match_sans: Vec<String>,
    pub certificate_hashes: Vec<String>,
    pub certificate_spki: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TlsVersion {
    #[default]
    Auto,
    V1_0,
    V1_1,
    V1_2,
    V1_3,
}

#[derive(Debug, Clone, PartialEq)]
pub enum NetworkFilter {
    Http(Box<HttpConnectionManager>),
    Tcp(TcpProxy),
    /// Takes the cluster's endpoint name from the SNI (AUTO_PASSTHROUGH).
    SniCluster,
    /// Looks up the SNI for the `Discovery::DynamicDns` cluster of the TCP proxy after it, and dials this port.
    SniDynamicForwardProxy {
        cache: DnsCache,
        port: u16,
    },
    Opaque(Opaque),
}

#[derive(Debug, Clone, PartialEq)]
pub struct TcpProxy {
    pub stat_prefix: String,
    /// Clusters with their weights (one: all of it). Never empty.
    pub clusters: Vec<TcpCluster>,
    /// None is Envoy's default of 1 h; zero is none.
    pub idle_timeout: Option<Duration>,
    /// Connections are closed at this age.
    pub max_duration: Option<Duration>,
    pub max_connect_attempts: u32,
    /// Hash on the source address for consistent balancing.
    pub hash_source_ip: bool,
    /// Through whom the connections go that the clusters' endpoints are.
    pub tunnel: Option<Tunnel>,
    pub access_log: Vec<AccessLog>,
    pub origin: Option<Origin>,
}

/// A connection within a request to an HTTP proxy, by the version of HTTP that the cluster speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// Host and port that the proxy is to connect to.
    pub authority: String,
    /// POST, not CONNECT.
    pub post: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpCluster {
    pub name: String,
    pub weight: u32,
}
