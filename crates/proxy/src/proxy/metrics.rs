//! A proxy's metrics: asked of its workers and put together.

use super::Proxy;
use crate::telemetry::gather::Gathered;
use crate::telemetry::{Exposition, MetricsFormat, totals};
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Proxy {
    /// Metrics of now: Istio's standard ones, those of Envoy's that dashboards look at, and the proxy's own.
    pub async fn metrics(&self, format: MetricsFormat) -> String {
        let inner = &self.0;
        let id = inner.id;
        let portions = inner.on.iter().map(|worker| {
            inner.workers.call(*worker, move |here| here.proxies.borrow().get(&id).map(|proxy| proxy.portion()))
        });
        let mut gathered = Gathered::default();
        // A worker without it: the proxy has no configuration yet, or has ended.
        for portion in futures_util::future::join_all(portions).await.into_iter().flatten().flatten() {
            gathered.add(&inner.shared.own, portion);
        }
        let config = inner.state.lock().await.config.clone();
        let mut text = Exposition::new(format);
        // What peers may make much of comes last.
        totals::write(&mut text, &inner.shared, config.as_deref(), &gathered);
        gathered.write(&mut text);
        text.into_text()
    }

    /// Says how old what runs now is, for the metrics, where it was accepted by an earlier run.
    pub fn tell_age(&self, age: Duration) {
        self.0.shared.vitals.accepted_before(age);
    }

    /// Says whether a control plane is connected, for the metrics. Who holds the connection calls it.
    pub fn tell_control_plane(&self, connected: bool) {
        self.0.shared.vitals.connected(connected);
    }

    /// Says how many lines of the process's own log were lost so far, for the metrics. Who logs calls it.
    pub fn tell_log_lost(&self, lines: u64) {
        self.0.shared.vitals.log_lost(lines);
    }

    /// Records that were lost because their reader did not keep up.
    pub fn records_dropped(&self) -> u64 {
        self.0.shared.records_dropped.load(Ordering::Relaxed)
    }
}
