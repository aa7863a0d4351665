//! The names of things on the wire: Istio's, which users' scripts, dashboards and EnvoyFilters know.

use std::fmt::Display;

pub const PASSTHROUGH_CLUSTER: &str = "PassthroughCluster";
pub const BLACK_HOLE_CLUSTER: &str = "BlackHoleCluster";
/// Where the names of DYNAMIC_DNS services are kept: all clusters and filters share one.
pub const DNS_CACHE: &str = "mesh_dfp_dns_cache";
pub const INBOUND_PASSTHROUGH_CLUSTER: &str = "InboundPassthroughCluster";
/// The cluster of rules that cannot be carried out. There is none of that name, so requests get 503 (NC).
pub const UNKNOWN_CLUSTER: &str = "UnknownService";
pub const VIRTUAL_OUTBOUND: &str = "virtualOutbound";
pub const VIRTUAL_INBOUND: &str = "virtualInbound";
pub const ALLOW_ANY: &str = "allow_any";
pub const BLOCK_ALL: &str = "block_all";

/// `outbound|80|v1|reviews.default.svc.cluster.local`; the subset may be empty.
pub fn outbound_cluster(port: u32, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// `outbound_.80_.v1_.reviews.default.svc.cluster.local`: where a gateway passes the mesh's own TLS to, and the server name
/// that sidecars send with it.
pub fn passed_cluster(port: u32, subset: &str, host: &str) -> String {
    format!("{PASSED}{port}_.{subset}_.{host}")
}

/// What such names begin with.
pub const PASSED: &str = "outbound_.";

/// `inbound|9080||`.
pub fn inbound_cluster(port: u16) -> String {
    format!("inbound|{port}||")
}

/// `0.0.0.0_80`, `10.96.0.1_9090`.
pub fn listener(address: impl Display, port: impl Display) -> String {
    format!("{address}_{port}")
}

/// `reviews.default.svc.cluster.local:80`.
pub fn virtual_host(host: &str, port: u32) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The parts of an outbound cluster's name: port, subset, host.
pub fn parse_outbound(name: &str) -> Option<(u32, &str, &str)> {
    let mut parts = name.strip_prefix("outbound|")?.splitn(3, '|');
    let port = parts.next()?.parse().ok()?;
    Some((port, parts.next()?, parts.next()?))
}

/// The parts of a name that `passed_cluster` makes: port, subset, host.
pub fn parse_passed(name: &str) -> Option<(u32, &str, &str)> {
    let mut parts = name.strip_prefix(PASSED)?.splitn(3, "_.");
    let port = parts.next()?.parse().ok()?;
    Some((port, parts.next()?, parts.next()?))
}
