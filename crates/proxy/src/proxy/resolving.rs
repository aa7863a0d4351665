//! DNS clusters of a proxy: their names are looked up again and again, and workers are told what has changed.

use super::{Inner, State};
use crate::cluster::ClusterShared;
use crate::connect::dns;
use crate::connect::names::Names;
use crate::rng::Rng;
use crate::runtime::RuntimeConfig;
use amime_model::config::{Cluster, ClusterEndpoints, Discovery};
use amime_xds::transport::Warming;
use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeSet;
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
            let (proxy, names) = (Arc::downgrade(self), self.names.clone());
            let task = self.background.spawn(keep_resolving(proxy, names, Arc::clone(cluster), shared, known));
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

/// Asks for each name of a cluster again and again, each at its own pace, so that one that nobody answers for holds up
/// no other.
async fn keep_resolving(
    proxy: Weak<Inner>,
    names: Names,
    cluster: Arc<Cluster>,
    shared: Arc<ClusterShared>,
    told: tokio::sync::oneshot::Sender<()>,
) {
    let mut told = Some(told);
    let mut known = dns::Known::default();
    let rng = Rng::new();
    let ask = |host: String, failures: u32, pause: Duration| {
        let (names, family) = (&names, cluster.dns.family);
        async move {
            tokio::time::sleep(pause).await;
            let answer = names.ask(&host, family).await;
            (host, failures, answer)
        }
    };
    let hosts = dns::names(&cluster);
    let mut unheard: BTreeSet<&str> = hosts.clone();
    let mut asked: FuturesUnordered<_> =
        hosts.into_iter().map(|host| ask(host.to_owned(), 0, Duration::ZERO)).collect();
    loop {
        // Whoever has answered meanwhile is taken along: each change costs every worker a new balancer.
        let mut heard = asked.next().await;
        while let Some((host, failures, answer)) = heard {
            let pause = match &answer {
                Some(answer) => dns::good_for(&cluster.dns, answer, rng.unit()),
                None => dns::again_after(&cluster.dns, failures + 1, rng.unit()),
            };
            let failures = if answer.is_none() { failures.saturating_add(1) } else { 0 };
            if let Some(answer) = answer {
                let answer = answer.or(known.get(&host));
                known.insert(host.clone(), answer);
            } else {
                tracing::debug!(host, "a name does not resolve");
            }
            unheard.remove(&*host);
            asked.push(ask(host, failures, pause));
            heard = asked.next().now_or_never().flatten();
        }
        if let Some(found) = dns::endpoints(&cluster, &known) {
            let Some(proxy) = proxy.upgrade() else { return };
            proxy.tell(&shared, found);
        }
        if unheard.is_empty()
            && let Some(told) = told.take()
        {
            // Nobody waits any more where it took too long.
            let _ = told.send(());
        }
        if asked.is_empty() {
            return;
        }
    }
}

impl Inner {
    /// Gives a cluster's addresses to the workers, where they are others than before.
    fn tell(&self, shared: &ClusterShared, found: ClusterEndpoints) {
        let found = Arc::new(found);
        let before = shared.resolved.lock().unwrap_or_else(PoisonError::into_inner).replace(Arc::clone(&found));
        if before.is_some_and(|before| before == found) {
            return;
        }
        for worker in &self.on {
            let (id, name) = (self.id, Arc::clone(&shared.name));
            // An error: the workers are gone; so is this task, soon.
            let _ = self.workers.post(*worker, move |here| {
                if let Some(proxy) = here.proxies.borrow().get(&id) {
                    proxy.refresh_clusters(Some(&name));
                }
            });
        }
    }
}

#[cfg(test)]
#[path = "resolving_tests.rs"]
mod tests;
