//! DNS clusters of a proxy: their names are looked up again and again, and workers are told what has changed.

use super::{Inner, State};
use crate::cluster::ClusterShared;
use crate::connect::dns;
use crate::runtime::RuntimeConfig;
use amime_model::config::{Cluster, Discovery};
use amime_xds::transport::Warming;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

/// How long the first configuration waits for its names. Later ones do not, for what is queued behind them, such as
/// endpoints that have gone, must not wait for a name server: their acknowledgement alone does.
const DNS_WARM: Duration = Duration::from_secs(2);

impl Inner {
    /// Keeps a task for each DNS cluster. Those of the first configuration are waited for, a little while; of later
    /// ones comes back what ends when each has had a first answer. None: there is nothing to wait for.
    pub(super) async fn resolve(self: &Arc<Self>, config: &RuntimeConfig, state: &mut State) -> Option<Warming> {
        let is_dns = |c: &Cluster| matches!(c.discovery, Discovery::StrictDns(_) | Discovery::LogicalDns(_));
        state.resolving.retain(|name, (cluster, task)| {
            let stays = config.config.clusters.get(name).is_some_and(|now| now == cluster);
            if !stays {
                task.abort();
            }
            stays
        });
        let mut first = Vec::new();
        for (name, cluster) in &config.config.clusters {
            if !is_dns(cluster) || state.resolving.contains_key(name) {
                continue;
            }
            let shared = self.shared.cluster(name);
            let (known, wait) = tokio::sync::oneshot::channel();
            first.push(wait);
            let task = self.background.spawn(keep_resolving(Arc::downgrade(self), Arc::clone(cluster), shared, known));
            state.resolving.insert(Arc::clone(name), (Arc::clone(cluster), task));
        }
        if first.is_empty() {
            return None;
        }
        let all = futures_util::future::join_all(first);
        if state.config.is_some() {
            return Some(Box::pin(async move { drop(all.await) }));
        }
        if tokio::time::timeout(DNS_WARM, all).await.is_err() {
            tracing::warn!("going on without the addresses of some DNS clusters");
        }
        None
    }
}

async fn keep_resolving(
    proxy: Weak<Inner>,
    cluster: Arc<Cluster>,
    shared: Arc<ClusterShared>,
    told: tokio::sync::oneshot::Sender<()>,
) {
    let mut told = Some(told);
    let mut known = dns::Known::default();
    let refresh = cluster.dns.refresh.unwrap_or(dns::REFRESH).max(Duration::from_millis(100));
    loop {
        if let Some(found) = dns::resolve(&cluster, &mut known).await {
            let found = Arc::new(found);
            let before = shared.resolved.lock().unwrap_or_else(PoisonError::into_inner).replace(Arc::clone(&found));
            let Some(proxy) = proxy.upgrade() else { return };
            if before.is_none_or(|before| before != found) {
                for worker in &proxy.on {
                    let (id, name) = (proxy.id, Arc::clone(&shared.name));
                    // An error: the workers are gone; so is this task, soon.
                    let _ = proxy.workers.post(*worker, move |here| {
                        if let Some(proxy) = here.proxies.borrow().get(&id) {
                            proxy.refresh_clusters(Some(&name));
                        }
                    });
                }
            }
        }
        if let Some(told) = told.take() {
            // Nobody waits any more where it took too long.
            let _ = told.send(());
        }
        tokio::time::sleep(refresh).await;
    }
}

#[cfg(test)]
#[path = "resolving_tests.rs"]
mod tests;
