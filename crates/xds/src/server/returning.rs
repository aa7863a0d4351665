//! A client of the state-of-the-world protocol that comes back to a control plane that does not know it: it says that
//! it has something, not what.
//!
//! An answer with clusters takes away all others, and the client may have routes yet that name some of those. Their
//! names are known, for it asks for their endpoints; so where it asks for endpoints of a cluster that there is no more,
//! clusters come last: endpoints; listeners and routes that name none but clusters that it has; clusters once it has
//! acknowledged those, and the requests that began under the old ones have had their time; then what needs clusters
//! that are new to it. Endpoints of clusters that there are no more are not withdrawn meanwhile.
//!
//! What this cannot do, for the client does not tell enough: where one route configuration (or the listeners together,
//! whose answer is whole too) names a cluster that is new and named one that is gone, requests to the one that is gone
//! fail from the clusters' answer until the route's. Of clusters without EDS it is taken for granted that the client has
//! those that are wanted, and old ones go with the answer. The delta protocol has none of this.

use super::order::Turn;
use super::{Encoded, Stream};
use crate::ResourceType;
use std::iter::once;
use std::time::{Duration, Instant};

/// Who comes back asks for all that it wants at once; what it has not asked for by then it does not want.
const ASKS_WITHIN: Duration = Duration::from_secs(1);

/// What names clusters by this protocol.
const NAMING: [ResourceType; 2] = [ResourceType::Listener, ResourceType::Route];

impl Stream {
    /// Since when the client is back, as long as it was not given clusters.
    fn came_back(&self) -> Option<Instant> {
        self.came_back.filter(|_| self.types[ResourceType::Cluster].pushes == 0)
    }

    /// The client has clusters that it still needs, though there are none such any more.
    pub(super) fn keeps_clusters(&self, now: Instant) -> bool {
        let Some(since) = self.came_back() else { return false };
        if now >= since + self.options.cluster_wait {
            return false;
        }
        let has_asked = |kind: ResourceType| self.types[kind].subscribed;
        if !has_asked(ResourceType::Endpoints) || !NAMING.into_iter().all(has_asked) {
            // Without endpoints there is nothing to go by; without routes there are none that name old clusters.
            let may_ask = now < since + ASKS_WITHIN;
            if may_ask || !has_asked(ResourceType::Endpoints) {
                return may_ask;
            }
        }
        let has_old = self.types[ResourceType::Endpoints].names.iter().any(|name| self.is_old(name));
        has_old && (self.is_naming() || self.named_until().is_some_and(|until| now < until))
    }

    /// When [`Stream::keeps_clusters`] may end by time alone.
    pub(super) fn keeping_ends(&self) -> impl Iterator<Item = Instant> {
        let since = self.came_back();
        let after = |time: Duration| since.map(|since| since + time);
        let asked = after(ASKS_WITHIN).into_iter().chain(after(self.options.cluster_wait));
        asked.chain(self.named_until().filter(|_| since.is_some()))
    }

    /// Endpoints of that name are those of a cluster that the client has and that there is no more.
    fn is_old(&self, endpoints: &str) -> bool {
        self.target.get(ResourceType::Cluster, endpoints).is_none()
    }

    /// Endpoints of that name are asked for because of a cluster that may be needed yet.
    pub(super) fn keeps_endpoints(&self, name: &str) -> bool {
        self.came_back().is_some() && self.is_old(name)
    }

    /// Requests that began under the listeners and routes before the last ones have had their time.
    fn named_until(&self) -> Option<Instant> {
        let last = NAMING.into_iter().filter_map(|kind| self.types[kind].last_ack).max()?;
        Some(last + self.options.grace)
    }

    /// Some listeners or routes that need no new cluster are still to be sent, asked for, or acknowledged.
    fn is_naming(&self) -> bool {
        let listeners = &self.types[ResourceType::Listener];
        let routes = &self.types[ResourceType::Route];
        if NAMING.into_iter().any(|kind| self.types[kind].in_flight.is_some() || !self.types[kind].suspects.is_empty())
        {
            return true;
        }
        let due = |kind: ResourceType, name| self.item(kind, name).and_then(|(_, encoded)| encoded);
        let mut new_listeners = listeners.behind.keys().filter_map(|name| due(ResourceType::Listener, name)).peekable();
        let owes = new_listeners.peek().is_some() || listeners.owes_answer;
        if owes && new_listeners.all(|listener| self.has_clusters_of(&listener)) {
            return true;
        }
        let mut new_routes = routes.behind.keys().filter_map(|name| due(ResourceType::Route, name));
        if new_routes.any(|route| self.has_clusters_of(&route)) {
            return true;
        }
        let running =
            self.target.iter(ResourceType::Listener).filter(|(name, _)| !listeners.behind.contains_key(*name));
        let mut named = running.flat_map(|(_, listener)| &listener.refs.routes);
        named.any(|name| !routes.names.contains(name) && self.target.get(ResourceType::Route, name).is_some())
    }

    /// The client has all clusters that a listener, with its routes, or a route configuration names.
    fn has_clusters_of(&self, encoded: &Encoded) -> bool {
        let of_routes = encoded.refs.routes.iter().filter_map(|r| self.target.get(ResourceType::Route, r));
        let mut named = of_routes.map(|route| &**route).chain(once(encoded)).flat_map(|e| &e.refs.clusters);
        let endpoints = &self.types[ResourceType::Endpoints].names;
        named.all(|cluster| {
            let wanted = self.target.get(ResourceType::Cluster, cluster);
            wanted.and_then(|cluster| cluster.refs.endpoints.as_ref()).is_none_or(|name| endpoints.contains(name))
        })
    }

    /// The turn of a listener or route configuration while the client runs the clusters that it came with.
    pub(super) fn turn_before_clusters(&self, kind: ResourceType, encoded: &Encoded) -> Option<Turn> {
        self.came_back().filter(|_| NAMING.contains(&kind))?;
        let knows = self.types[ResourceType::Endpoints].subscribed;
        Some(if knows && self.has_clusters_of(encoded) { Turn::Now } else { Turn::Waits })
    }

    /// An answer with some listeners would take away the others that the client came with.
    pub(super) fn needs_all_listeners(&self) -> bool {
        self.came_back.is_some() && self.types[ResourceType::Listener].pushes == 0
    }
}
