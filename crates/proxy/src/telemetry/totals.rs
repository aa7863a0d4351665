//! Envoy's own counters of clusters and listeners, as far as dashboards look at them, and what a proxy tells of
//! itself.

use super::access_log::file::lines_dropped;
use super::exposition::{Exposition, Labels};
use super::gather::Gathered;
use crate::proxy_worker::{Draining, ProxyShared};
use crate::runtime::RuntimeConfig;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One worker's counts of one cluster. They live as long as the worker uses the cluster, through its updates.
#[derive(Debug, Default)]
pub(crate) struct ClusterCounts {
    pub(crate) requests: Cell<u64>,
    pub(crate) retries: Cell<u64>,
    pub(crate) connections: Cell<u64>,
    pub(crate) connect_failures: Cell<u64>,
}

/// Counts one more.
pub(crate) fn one_more(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// Of one cluster, over workers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ClusterTotals {
    requests: u64,
    retries: u64,
    connections: u64,
    connect_failures: u64,
    active_requests: u32,
    active_connections: u32,
}

impl ClusterTotals {
    /// `active`: requests and connections now, over all workers; every one of them tells the same.
    pub(crate) fn of(counts: &ClusterCounts, active: (u32, u32)) -> Self {
        Self {
            requests: counts.requests.get(),
            retries: counts.retries.get(),
            connections: counts.connections.get(),
            connect_failures: counts.connect_failures.get(),
            active_requests: active.0,
            active_connections: active.1,
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.retries += other.retries;
        self.connections += other.connections;
        self.connect_failures += other.connect_failures;
        self.active_requests = other.active_requests;
        self.active_connections = other.active_connections;
    }
}

/// A listener's client connections. Survive updates of the listener.
#[derive(Debug, Default)]
pub(crate) struct ListenerCounts {
    total: AtomicU64,
    closed: AtomicU64,
}

impl ListenerCounts {
    pub(crate) fn opened(&self) {
        self.total.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a proxy knows of its control plane and its configuration.
#[derive(Debug)]
pub(crate) struct Vitals {
    started: Instant,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    connected: bool,
    accepted_at: Option<Instant>,
    accepted: u64,
    rejected: u64,
    log_lost: u64,
}

impl Default for Vitals {
    fn default() -> Self {
        Self { started: Instant::now(), told: Mutex::default() }
    }
}

impl Vitals {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connected(&self, connected: bool) {
        self.told().connected = connected;
    }

    pub(crate) fn accepted(&self) {
        let mut told = self.told();
        told.accepted += 1;
        told.accepted_at = Some(Instant::now());
    }

    /// What runs now had been accepted so long before.
    pub(crate) fn accepted_before(&self, age: Duration) {
        self.told().accepted_at = Instant::now().checked_sub(age);
    }

    pub(crate) fn log_lost(&self, lines: u64) {
        self.told().log_lost = lines;
    }

    pub(crate) fn rejected(&self) {
        self.told().rejected += 1;
    }
}

/// Everything that is not Istio's.
pub(crate) fn write(text: &mut Exposition, shared: &ProxyShared, config: Option<&RuntimeConfig>, gathered: &Gathered) {
    let clusters: Vec<(String, ClusterTotals)> = gathered
        .clusters
        .iter()
        .map(|(name, totals)| (Labels::default().with("cluster_name", name).into_text(), *totals))
        .collect();
    let each =
        |of: fn(&ClusterTotals) -> u64| clusters.iter().map(move |(labels, totals)| (labels.as_str(), of(totals)));
    text.counters("envoy_cluster_upstream_rq_total", each(|t| t.requests));
    text.counters("envoy_cluster_upstream_rq_retry", each(|t| t.retries));
    text.gauges("envoy_cluster_upstream_rq_active", each(|t| u64::from(t.active_requests)));
    text.counters("envoy_cluster_upstream_cx_total", each(|t| t.connections));
    text.counters("envoy_cluster_upstream_cx_connect_fail", each(|t| t.connect_failures));
    text.gauges("envoy_cluster_upstream_cx_active", each(|t| u64::from(t.active_connections)));
    let listeners = listeners(config);
    text.counters(
        "envoy_listener_downstream_cx_total",
        listeners.iter().map(|(labels, total, _)| (labels.as_str(), total)),
    );
    text.gauges("envoy_listener_downstream_cx_active", listeners.iter().map(|(labels, _, now)| (labels.as_str(), now)));
    text.gauge("envoy_cluster_manager_active_clusters", config.map_or(0, |c| c.config.clusters.len()));
    text.gauge("envoy_listener_manager_total_listeners_active", config.map_or(0, |c| c.config.listeners.len()));
    let draining = shared.draining() != Draining::No;
    text.gauge("envoy_server_live", u8::from(!draining));
    // Envoy's numbers: live, draining, initializing.
    let state = if draining { 1 } else { u8::from(config.is_none()) * 3 };
    text.gauge("envoy_server_state", state);
    text.gauge("envoy_server_uptime", shared.vitals.started.elapsed().as_secs());
    text.gauge("envoy_server_total_connections", shared.connections.load(Ordering::Relaxed));
    let told = shared.vitals.told();
    text.gauge("amime_control_plane_connected", u8::from(told.connected));
    if let Some(at) = told.accepted_at {
        text.gauge("amime_config_age_seconds", at.elapsed().as_secs());
    }
    text.counters(
        "amime_config_updates_total",
        [("result=\"accepted\"", told.accepted), ("result=\"rejected\"", told.rejected)],
    );
    text.counter("amime_log_lost_lines_total", told.log_lost);
    text.counter("amime_access_log_dropped_total", lines_dropped());
    text.counter("amime_records_dropped_total", shared.records_dropped.load(Ordering::Relaxed));
}

/// Labels, connections so far, connections now.
fn listeners(config: Option<&RuntimeConfig>) -> Vec<(String, u64, u64)> {
    let mut all: Vec<_> = config
        .into_iter()
        .flat_map(|config| config.listeners.all())
        .map(|listener| {
            let address = listener.config.address.to_string();
            let address = address.rsplit_once(':').map_or(address.clone(), |(ip, port)| format!("{ip}_{port}"));
            let total = listener.counts.total.load(Ordering::Relaxed);
            let now = total.saturating_sub(listener.counts.closed.load(Ordering::Relaxed));
            (Labels::default().with("listener_address", &address).into_text(), total, now)
        })
        .filter(|(_, total, _)| *total > 0)
        .collect();
    all.sort_unstable();
    all
}
