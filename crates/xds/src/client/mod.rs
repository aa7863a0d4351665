//! The client of a delta ADS stream, without I/O and clock; `transport::session` drives it for the proxy.
//!
//! Responses go in by [`Client::on_response`]; [`Client::poll`] hands out, one at a time, the updates that
//! are ready to run: clusters once their endpoints and secrets are there, listeners once their routes are,
//! routes once the clusters they name are. The proxy answers each by [`Client::accepted`] or
//! [`Client::rejected`], and only then is the response acknowledged. What is to be sent comes from
//! [`Client::requests`].

mod staged;
mod subscribe;

use crate::intern::{Decoded, Interner};
use crate::{DeltaRequest, DeltaResponse, Node, PerType, ResourceType, refs};
use amime_model::config::{Cluster, Listener, ProxyConfig};
use staged::Staged;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// How long an update waits for what it refers to before it is run all the same (Envoy's
    /// initial_fetch_timeout is 15 s).
    pub warm_limit: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { warm_limit: Duration::from_secs(15) }
    }
}

/// A configuration to run from now on. Give it back to [`Client::accepted`] once every worker has
/// swapped, or to [`Client::rejected`].
#[derive(Debug, Clone)]
pub struct Update {
    /// The type of the resources that differ from the configuration before.
    pub kind: ResourceType,
    pub config: Arc<ProxyConfig>,
    /// Names that were added, or that have other contents than before.
    pub changed: Vec<Arc<str>>,
    pub removed: Vec<Arc<str>>,
    /// Counts up with each update of this client.
    pub id: u64,
}

#[derive(Debug)]
pub struct Client {
    node: Node,
    options: ClientOptions,
    interner: Arc<Interner>,
    /// What the proxy runs.
    config: Arc<ProxyConfig>,
    /// Of what the proxy runs.
    versions: PerType<BTreeMap<Arc<str>, Arc<str>>>,
    staged: PerType<Option<Staged>>,
    applying: Option<Applying>,
    /// Names that the server said are not there.
    absent: PerType<BTreeSet<Arc<str>>>,
    subscribed: PerType<BTreeSet<Arc<str>>>,
    /// An update of this type was accepted.
    accepted: PerType<bool>,
    connected: bool,
    out: Vec<DeltaRequest>,
    next_id: u64,
}

/// An update that the proxy is about to run.
#[derive(Debug)]
struct Applying {
    id: u64,
    kind: ResourceType,
    config: Arc<ProxyConfig>,
    staged: Staged,
}

impl Client {
    pub fn new(node: Node, interner: Arc<Interner>, options: ClientOptions) -> Self {
        Self {
            node,
            options,
            interner,
            config: Arc::default(),
            versions: PerType::default(),
            staged: PerType::default(),
            applying: None,
            absent: PerType::default(),
            subscribed: PerType::default(),
            accepted: PerType::default(),
            connected: false,
            out: Vec::new(),
            next_id: 1,
        }
    }

    /// What the proxy runs: all that was accepted.
    pub fn config(&self) -> &Arc<ProxyConfig> {
        &self.config
    }

    /// The first configuration was accepted: clusters and listeners, with the routes that these name.
    pub fn ready(&self) -> bool {
        self.accepted[ResourceType::Cluster]
            && self.accepted[ResourceType::Listener]
            && self.config.listeners.values().all(|l| {
                refs::listener_routes(l).all(|name| {
                    self.config.routes.contains_key(name) || self.absent[ResourceType::Route].contains(name)
                })
            })
    }

    /// A stream has been opened. What was not accepted by now is asked for again.
    pub fn connected(&mut self) {
        self.disconnected();
        self.connected = true;
        let mut node = Some(self.node.clone());
        for kind in [
            ResourceType::Cluster,
            ResourceType::Endpoints,
            ResourceType::Listener,
            ResourceType::Route,
            ResourceType::Secret,
        ] {
            if !kind.is_wildcard() {
                self.subscribed[kind] = self.wanted(kind);
                if self.subscribed[kind].is_empty() {
                    continue;
                }
            }
            self.out.push(DeltaRequest {
                node: node.take(),
                type_url: kind.type_url().into(),
                subscribe: self.subscribed[kind].iter().cloned().collect(),
                initial_versions: self.versions[kind].clone(),
                ..DeltaRequest::default()
            });
        }
    }

    /// The stream has ended: nothing that came over it can be acknowledged any more.
    pub fn disconnected(&mut self) {
        self.connected = false;
        self.out.clear();
        self.staged = PerType::default();
        self.absent = PerType::default();
        self.subscribed = PerType::default();
        if let Some(applying) = &mut self.applying {
            applying.staged.nonces.clear();
        }
    }

    /// What is to be sent now, in this order.
    pub fn requests(&mut self) -> Vec<DeltaRequest> {
        std::mem::take(&mut self.out)
    }

    /// When [`Client::poll`] has to be called again though nothing came.
    pub fn deadline(&self) -> Option<Instant> {
        if self.applying.is_some() {
            return None;
        }
        let waiting = self.staged.iter().filter_map(|(_, s)| s.as_ref());
        waiting.map(|s| s.since + self.options.warm_limit).min()
    }

    /// Takes a response in. What cannot be read is rejected at once, whole.
    pub fn on_response(&mut self, now: Instant, response: DeltaResponse) {
        let Some(kind) = ResourceType::from_type_url(&response.type_url) else {
            let problem = format!("nobody asked for {}", response.type_url);
            self.answer(&response.type_url, response.nonce, Some(problem));
            return;
        };
        let mut changes = BTreeMap::new();
        for resource in response.resources {
            if resource.body.is_empty() && resource.type_url.is_empty() {
                continue; // A renewed time to live.
            }
            let decoded = match self.interner.decode(kind, &resource.body) {
                Ok(decoded) => decoded,
                Err(error) => {
                    let problem = format!("{} {}: {error}", kind.short(), resource.name);
                    self.answer(kind.type_url(), response.nonce, Some(problem));
                    return;
                }
            };
            let name = match resource.name.as_str() {
                "" => decoded.name(),
                name => name,
            };
            let name = self.interner.name(name);
            self.absent[kind].remove(&name);
            changes.insert(name, Some((self.interner.name(&resource.version), decoded)));
        }
        for name in response.removed {
            let name = self.interner.name(&name);
            self.absent[kind].insert(name.clone());
            changes.insert(name, None);
        }
        self.staged[kind].get_or_insert_with(|| Staged::new(now)).merge(response.nonce, changes);
        if kind.is_wildcard() {
            self.subscribe();
        }
    }

    /// The next update that is ready to run; none while one is being run.
    pub fn poll(&mut self, now: Instant) -> Option<Update> {
        if self.applying.is_some() {
            return None;
        }
        let kind = ResourceType::ALL.into_iter().find(|&kind| self.is_ready(kind, now))?;
        let staged = self.staged[kind].take()?;
        if let Some(problem) = self.unknown_cluster(&staged) {
            for nonce in staged.nonces {
                self.answer(kind.type_url(), nonce, Some(problem.clone()));
            }
            return self.poll(now);
        }
        let mut config = self.config.clone();
        let (changed, removed) = staged.apply(kind, Arc::make_mut(&mut config));
        let id = self.next_id;
        self.next_id += 1;
        self.applying = Some(Applying { id, kind, config: config.clone(), staged });
        Some(Update { kind, config, changed, removed, id })
    }

    /// Every worker runs that update.
    pub fn accepted(&mut self, update: &Update) {
        let Some(applying) = self.applying.take_if(|a| a.id == update.id) else {
            return;
        };
        let kind = applying.kind;
        self.config = applying.config;
        self.accepted[kind] = true;
        for (name, change) in applying.staged.changes {
            match change {
                Some((version, _)) => self.versions[kind].insert(name, version),
                None => self.versions[kind].remove(&name),
            };
        }
        if kind.is_wildcard() {
            // Before the ACK: a server that answers an ACK by taking things away then knows them.
            self.subscribe();
        }
        for nonce in applying.staged.nonces {
            self.answer(kind.type_url(), nonce, None);
        }
    }

    /// The proxy could not run that update and goes on with what it had.
    pub fn rejected(&mut self, update: &Update, problem: &str) {
        let Some(applying) = self.applying.take_if(|a| a.id == update.id) else {
            return;
        };
        for nonce in applying.staged.nonces {
            self.answer(applying.kind.type_url(), nonce, Some(problem.into()));
        }
        if applying.kind.is_wildcard() {
            self.subscribe();
        }
    }

    fn answer(&mut self, type_url: &str, nonce: String, error: Option<String>) {
        if self.connected {
            let type_url = type_url.into();
            self.out.push(DeltaRequest { type_url, nonce, error, ..DeltaRequest::default() });
        }
    }

    fn is_ready(&self, kind: ResourceType, now: Instant) -> bool {
        let Some(staged) = &self.staged[kind] else {
            return false;
        };
        if now >= staged.since + self.options.warm_limit {
            return true;
        }
        staged.changes.values().flatten().all(|(_, resource)| match resource {
            Decoded::Secret(_) | Decoded::Endpoints(_) => true,
            Decoded::Cluster(cluster) => self.cluster_is_warm(cluster),
            Decoded::Listener(listener) => self.listener_is_warm(listener),
            Decoded::Route(routes) => refs::route_clusters(routes).all(|c| !self.is_coming(c)),
        })
    }

    fn cluster_is_warm(&self, cluster: &Cluster) -> bool {
        refs::eds_name(cluster).is_none_or(|name| self.has(ResourceType::Endpoints, name))
            && refs::cluster_secrets(cluster).all(|name| self.has(ResourceType::Secret, name))
    }

    fn listener_is_warm(&self, listener: &Listener) -> bool {
        refs::listener_routes(listener).all(|name| self.has(ResourceType::Route, name))
            && refs::listener_secrets(listener).all(|name| self.has(ResourceType::Secret, name))
            && refs::listener_clusters(listener).into_iter().all(|c| !self.is_coming(c))
    }

    /// That resource is there, or the server has said that it is not.
    fn has(&self, kind: ResourceType, name: &str) -> bool {
        let there = match kind {
            ResourceType::Secret => self.config.secrets.contains_key(name),
            ResourceType::Endpoints => self.config.endpoints.contains_key(name),
            ResourceType::Route => self.config.routes.contains_key(name),
            ResourceType::Cluster => self.config.clusters.contains_key(name),
            ResourceType::Listener => self.config.listeners.contains_key(name),
        };
        there || self.absent[kind].contains(name)
    }

    /// That cluster is not there yet, but it has arrived and is warming.
    fn is_coming(&self, cluster: &str) -> bool {
        !self.config.clusters.contains_key(cluster)
            && self.staged[ResourceType::Cluster]
                .as_ref()
                .is_some_and(|s| s.changes.get(cluster).is_some_and(Option::is_some))
    }

    /// `validate_clusters`: such a route configuration is refused where a cluster is missing.
    fn unknown_cluster(&self, staged: &Staged) -> Option<String> {
        staged.changes.values().flatten().find_map(|(_, resource)| match resource {
            Decoded::Route(routes) if routes.validate_clusters => refs::route_clusters(routes)
                .find(|name| !self.config.clusters.contains_key(*name))
                .map(|name| format!("route {}: unknown cluster {name}", routes.name)),
            _ => None,
        })
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
