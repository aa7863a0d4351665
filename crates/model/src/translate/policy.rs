//! Traffic policies: which of a DestinationRule's settings hold for one port of one subset, and what they do to a
//! cluster.
//!
//! Called by `cluster`; inbound clusters take the connection pool alone.

use crate::config::{
    CircuitBreakers, Cluster, Discovery, Http2Keepalive, LbPolicy, OutlierDetection, RetryBudget, SlowStart,
    TcpKeepalive, UpstreamProtocol,
};
use crate::protocol::Protocol;
use crate::resource::MeshConfig;
use crate::resource::destination_rule as spec;
use crate::resource::mesh_config::MeshH2UpgradePolicy;
use spec::{ConnectionPool, H2UpgradePolicy, LoadBalancer, ProxyProtocolVersion, SimpleLb, TrafficPolicy};
use std::time::Duration;

/// Istio's limits where nothing is written: none.
const UNLIMITED: u32 = u32::MAX;
/// The ring that Istio asks for where a rule says nothing.
const RING: u64 = 1024;

/// The policy for a port. What a port sets replaces all of the rest; nothing is inherited.
pub(crate) fn for_port(policy: Option<&TrafficPolicy>, port: u32) -> Option<TrafficPolicy> {
    let policy = policy?;
    Some(port_level(policy, port).unwrap_or_else(|| without_ports(policy)))
}

/// The policy for a port of a subset: the subset's over the port's general one, part by part.
pub(crate) fn for_subset(
    general: Option<TrafficPolicy>,
    subset: Option<&TrafficPolicy>,
    port: u32,
) -> Option<TrafficPolicy> {
    let Some(subset) = subset else { return general };
    let of_port = port_level(subset, port);
    let has_port = of_port.is_some();
    let over = of_port.unwrap_or_else(|| without_ports(subset));
    let Some(mut merged) = general else { return Some(over) };
    if over.connection_pool.is_some() || has_port {
        merged.connection_pool = over.connection_pool;
    }
    if over.outlier_detection.is_some() || has_port {
        merged.outlier_detection = over.outlier_detection;
    }
    if over.load_balancer.is_some() || has_port {
        merged.load_balancer = over.load_balancer;
    }
    if over.tls.is_some() || has_port {
        merged.tls = over.tls;
    }
    merged.tunnel = over.tunnel.or(merged.tunnel);
    merged.proxy_protocol = over.proxy_protocol.or(merged.proxy_protocol);
    merged.retry_budget = over.retry_budget.or(merged.retry_budget);
    Some(merged)
}

/// Whether its own balancer is PASSTHROUGH, whatever it says for single ports.
pub(super) fn is_passthrough(subset: &TrafficPolicy) -> bool {
    subset.load_balancer.as_ref().and_then(|lb| lb.simple) == Some(SimpleLb::Passthrough)
}

/// The mesh's own policy under a rule's: a part that the rule leaves open comes from the mesh.
pub(super) fn over_mesh(policy: Option<TrafficPolicy>, mesh: &MeshConfig) -> Option<TrafficPolicy> {
    let Some(base) = &mesh.default_traffic_policy else { return policy };
    if base.connection_pool.is_none() && base.outlier_detection.is_none() {
        return policy;
    }
    let mut policy = policy.unwrap_or_default();
    policy.connection_pool = policy.connection_pool.or_else(|| base.connection_pool.clone());
    policy.outlier_detection = policy.outlier_detection.or_else(|| base.outlier_detection.clone());
    Some(policy)
}

fn without_ports(policy: &TrafficPolicy) -> TrafficPolicy {
    TrafficPolicy { port_level_settings: Vec::new(), ..policy.clone() }
}

fn port_level(policy: &TrafficPolicy, port: u32) -> Option<TrafficPolicy> {
    let of_port = policy.port_level_settings.iter().find(|s| s.port.as_ref().is_some_and(|p| p.number == port))?;
    Some(TrafficPolicy {
        load_balancer: of_port.load_balancer.clone(),
        connection_pool: of_port.connection_pool.clone(),
        outlier_detection: of_port.outlier_detection.clone(),
        tls: of_port.tls.clone(),
        ..TrafficPolicy::default()
    })
}

/// How requests are sent upstream, before any policy: by the port's protocol.
pub(super) fn protocol(cluster: &mut Cluster, protocol: Protocol, sidecar: bool) {
    cluster.protocol = if protocol.is_http2() {
        UpstreamProtocol::Http2
    } else if sidecar && protocol == Protocol::Unspecified {
        UpstreamProtocol::UseDownstream
    } else {
        UpstreamProtocol::Http1
    };
}

/// All of a policy on an outbound cluster, but for TLS.
pub(super) fn apply(cluster: &mut Cluster, policy: Option<&TrafficPolicy>, port: Protocol, mesh: &MeshConfig) {
    let pool = policy.and_then(|p| p.connection_pool.as_ref());
    // Where clients decide by what they speak, nothing is left to upgrade.
    if cluster.protocol != UpstreamProtocol::UseDownstream && upgrades_to_h2(pool, port, mesh) {
        cluster.protocol = UpstreamProtocol::Http2;
    }
    connection_pool(cluster, pool, policy.and_then(|p| p.retry_budget.as_ref()), mesh);
    outlier_detection(cluster, policy.and_then(|p| p.outlier_detection.as_ref()));
    load_balancer(cluster, policy.and_then(|p| p.load_balancer.as_ref()));
    cluster.proxy_protocol = policy.and_then(|p| p.proxy_protocol.as_ref()).map(|p| match p.version {
        ProxyProtocolVersion::V1 => 1,
        ProxyProtocolVersion::V2 => 2,
    });
}

fn upgrades_to_h2(pool: Option<&ConnectionPool>, port: Protocol, mesh: &MeshConfig) -> bool {
    if let Some(http) = pool.and_then(|p| p.http.as_ref()) {
        if http.use_client_protocol {
            return false;
        }
        match http.h2_upgrade_policy {
            H2UpgradePolicy::Upgrade => return true,
            H2UpgradePolicy::DoNotUpgrade => return false,
            H2UpgradePolicy::Default => {}
        }
    }
    port.is_http() && mesh.h2_upgrade_policy == MeshH2UpgradePolicy::Upgrade
}

/// A written limit; 0 is none written.
fn limit(written: i32) -> Option<u32> {
    u32::try_from(written).ok().filter(|n| *n > 0)
}

/// Connection pools, of inbound clusters too.
pub(super) fn connection_pool(
    cluster: &mut Cluster,
    pool: Option<&ConnectionPool>,
    budget: Option<&spec::RetryBudget>,
    mesh: &MeshConfig,
) {
    let http = pool.and_then(|p| p.http.as_ref());
    let tcp = pool.and_then(|p| p.tcp.as_ref());
    let of_http = |f: fn(&spec::HttpSettings) -> i32| http.and_then(|h| limit(f(h))).unwrap_or(UNLIMITED);
    cluster.limits = CircuitBreakers {
        max_connections: Some(tcp.and_then(|t| limit(t.max_connections)).unwrap_or(UNLIMITED)),
        max_pending_requests: Some(of_http(|h| h.http1_max_pending_requests)),
        max_requests: Some(of_http(|h| h.http2_max_requests)),
        max_retries: Some(of_http(|h| h.max_retries)),
        retry_budget: budget.map(|budget| RetryBudget {
            percent: budget.percent.unwrap_or(20.0),
            min_concurrency: if budget.min_retry_concurrency == 0 { 3 } else { budget.min_retry_concurrency },
            interval: budget.budget_interval.map(Into::into),
        }),
    };
    cluster.connect_timeout = Some(tcp.and_then(|t| t.connect_timeout).unwrap_or(mesh.connect_timeout).into());
    cluster.idle_timeout =
        http.and_then(|h| h.idle_timeout).or_else(|| tcp.and_then(|t| t.idle_timeout)).map(Into::into);
    cluster.max_connection_duration = tcp.and_then(|t| t.max_connection_duration).map(Into::into);
    cluster.max_requests_per_connection = http.and_then(|h| limit(h.max_requests_per_connection));
    if http.is_some_and(|h| h.use_client_protocol) {
        cluster.protocol = UpstreamProtocol::UseDownstream;
    }
    if cluster.protocol == UpstreamProtocol::Http2 {
        cluster.max_concurrent_streams = http.and_then(|h| limit(h.max_concurrent_streams));
        cluster.http2_keepalive = http.and_then(|h| h.http2_keep_alive.as_ref()).and_then(|keepalive| {
            Some(Http2Keepalive { interval: keepalive.interval?.into(), timeout: keepalive.timeout?.into() })
        });
    }
    cluster.tcp_keepalive = keepalive(mesh.tcp_keepalive.as_ref(), tcp.and_then(|t| t.tcp_keepalive.as_ref()));
}

/// The mesh's settings, each replaced by the rule's where that has one.
fn keepalive(mesh: Option<&spec::TcpKeepalive>, own: Option<&spec::TcpKeepalive>) -> Option<TcpKeepalive> {
    if mesh.is_none() && own.is_none() {
        return None;
    }
    let mut result = TcpKeepalive::default();
    let seconds = |d: Duration| u32::try_from(d.as_secs()).unwrap_or(u32::MAX);
    for layer in [mesh, own].into_iter().flatten() {
        if layer.probes > 0 {
            result.probes = Some(layer.probes);
        }
        result.time = layer.time.map(|d| seconds(d.into())).or(result.time);
        result.interval = layer.interval.map(|d| seconds(d.into())).or(result.interval);
    }
    Some(result)
}

fn outlier_detection(cluster: &mut Cluster, written: Option<&spec::OutlierDetection>) {
    let Some(written) = written else { return };
    // An error count of 0 turns that detection off.
    let enforcing = |count: Option<u32>| count.map(|n| if n > 0 { 100 } else { 0 });
    let split = written.split_external_local_origin_errors;
    let local = written.consecutive_local_origin_failures.filter(|n| split && *n > 0);
    cluster.outlier = Some(OutlierDetection {
        consecutive_5xx: written.consecutive_5xx_errors,
        enforcing_consecutive_5xx: enforcing(written.consecutive_5xx_errors),
        consecutive_gateway_failure: written.consecutive_gateway_errors,
        enforcing_consecutive_gateway_failure: enforcing(written.consecutive_gateway_errors),
        split_external_local_origin: split,
        consecutive_local_origin_failure: local,
        enforcing_consecutive_local_origin_failure: local.map(|_| 100),
        enforcing_local_origin_success_rate: split.then_some(0),
        enforcing_success_rate: Some(0),
        interval: written.interval.map(Into::into),
        base_ejection: written.base_ejection_time.map(Into::into),
        max_ejection: None,
        max_ejection_percent: limit(written.max_ejection_percent),
        error_statuses: written
            .outlier_detection_http_error_codes
            .iter()
            .filter_map(|n| (*n).try_into().ok())
            .collect(),
    });
    // Panic balancing is off unless asked for.
    cluster.panic_threshold = u32::try_from(written.min_health_percent).ok();
}

fn load_balancer(cluster: &mut Cluster, written: Option<&LoadBalancer>) {
    if matches!(cluster.discovery, Discovery::OriginalDst { .. } | Discovery::DynamicDns(_)) {
        cluster.lb = LbPolicy::ClusterProvided;
        return;
    }
    let simple = written.and_then(|lb| lb.simple).unwrap_or_default();
    cluster.lb = match simple {
        SimpleLb::Unspecified | SimpleLb::LeastConn | SimpleLb::LeastRequest => {
            LbPolicy::LeastRequest { choices: None }
        }
        SimpleLb::Random => LbPolicy::Random,
        SimpleLb::RoundRobin => LbPolicy::RoundRobin,
        SimpleLb::Passthrough => {
            cluster.discovery = Discovery::OriginalDst { header: false, port: None };
            LbPolicy::ClusterProvided
        }
    };
    let Some(written) = written else { return };
    if matches!(cluster.lb, LbPolicy::LeastRequest { .. } | LbPolicy::RoundRobin) {
        cluster.slow_start = slow_start(written);
    }
    let Some(hash) = &written.consistent_hash else { return };
    cluster.slow_start = None;
    let size = |n: u64| (n > 0).then_some(n);
    cluster.lb = match (&hash.maglev, &hash.ring_hash) {
        (Some(maglev), _) => LbPolicy::Maglev { table_size: size(maglev.table_size) },
        (None, Some(ring)) => LbPolicy::RingHash { min_size: size(ring.minimum_ring_size), max_size: None },
        (None, None) => LbPolicy::RingHash { min_size: size(hash.minimum_ring_size).or(Some(RING)), max_size: None },
    };
}

fn slow_start(written: &LoadBalancer) -> Option<SlowStart> {
    let (window, aggression, min) = match (&written.warmup, written.warmup_duration_secs) {
        (Some(warmup), _) => (warmup.duration?, warmup.aggression, warmup.minimum_percent),
        (None, Some(window)) => (window, None, None),
        (None, None) => return None,
    };
    Some(SlowStart {
        window: window.into(),
        aggression: aggression.unwrap_or(1.0),
        min_weight_percent: min.unwrap_or(10.0),
    })
}
