//! Clusters that run but do not know their addresses yet (DNS). As Envoy does, their acknowledgement is held back until
//! they do, so that the server does not let routes follow; nothing else waits but what names them.

use super::{Client, Update};
use crate::ResourceType;
use amime_model::config::Discovery;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Cold {
    updates: Vec<ColdUpdate>,
    /// Of the responses whose acknowledgement is held back, in the order that they came.
    nonces: Vec<String>,
}

#[derive(Debug)]
struct ColdUpdate {
    id: u64,
    since: Instant,
    clusters: BTreeSet<Arc<str>>,
}

impl Cold {
    /// When those that are still cold were accepted.
    pub(super) fn since(&self) -> impl Iterator<Item = Instant> {
        self.updates.iter().map(|update| update.since)
    }

    pub(super) fn has(&self, cluster: &str) -> bool {
        self.updates.iter().any(|update| update.clusters.contains(cluster))
    }

    /// Takes the nonce of an acknowledgement, where that is to wait. Later ones queue behind earlier ones.
    pub(super) fn holds(&mut self, nonce: &str) -> bool {
        let holds = !self.updates.is_empty();
        if holds {
            self.nonces.push(nonce.to_owned());
        }
        holds
    }

    pub(super) fn disconnected(&mut self) {
        self.nonces.clear();
    }
}

impl Client {
    /// As [`Client::accepted`], of clusters whose names are still looked up: [`Client::warmed`] is to follow, or the
    /// warm limit passes.
    pub fn accepted_cold(&mut self, now: Instant, update: &Update) {
        let is_dns = |name: &&Arc<str>| {
            let cluster = update.config.clusters.get(*name);
            cluster.is_some_and(|c| matches!(c.discovery, Discovery::StrictDns(_) | Discovery::LogicalDns(_)))
        };
        let clusters = update.changed.iter().filter(is_dns).cloned().collect();
        self.cold.updates.push(ColdUpdate { id: update.id, since: now, clusters });
        self.accepted(update);
    }

    /// Each cluster of that update has its addresses, or a first answer that there are none.
    pub fn warmed(&mut self, id: u64) {
        self.cold.updates.retain(|update| update.id != id);
        self.answer_warmed();
    }

    /// Goes on without the addresses that have not come within the warm limit.
    pub(super) fn give_up_cold(&mut self, now: Instant) {
        let limit = self.options.warm_limit;
        self.cold.updates.retain(|update| now < update.since + limit);
        self.answer_warmed();
    }

    fn answer_warmed(&mut self) {
        if !self.cold.updates.is_empty() {
            return;
        }
        for nonce in std::mem::take(&mut self.cold.nonces) {
            self.answer(ResourceType::Cluster.type_url(), nonce, None);
        }
    }
}
