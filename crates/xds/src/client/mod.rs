//! The client of a delta ADS stream, without I/O and clock; `transport::session` drives it for the proxy.
//!
//! Responses go in by [`Client::on_response`]; [`Client::poll`] hands out, one at a time, the updates that
//! are ready to run: clusters once their endpoints and secrets are there, listeners once their routes are,
//! routes once the clusters they name are. The proxy answers each by [`Client::accepted`] or
//! [`Client::rejected`], and only then is the response acknowledged. What is to be sent comes from
//! [`Client::requests`].

mod cold;
mod parts;
mod saved;
mod staged;
mod wanted;
mod warm;

pub use saved::{Saved, SavedError};

use crate::intern::{Decoded, Interner};
use crate::{DeltaRequest, DeltaResponse, Node, PerType, ResourceType, refs};
use amime_model::config::ProxyConfig;
use cold::Cold;
use parts::Parts;
use staged::{Change, Changes, Staged};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wanted::Wanted;

/// By resource name.
type Versions = BTreeMap<Arc<str>, Arc<str>>;

#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// How long an update waits for what it refers to before it is run all the same (Envoy's
    /// initial_fetch_timeout is 15 s).
    pub warm_limit: Duration,
    /// How long servers may be silent before what was saved is run in the place of what they would say.
    pub saved_after: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { warm_limit: Duration::from_secs(15), saved_after: Duration::from_secs(3) }
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
    /// It is what an earlier client had accepted.
    pub saved: bool,
}

#[derive(Debug)]
pub struct Client {
    node: Node,
    options: ClientOptions,
    interner: Arc<Interner>,
    /// What the proxy runs.
    config: Arc<ProxyConfig>,
    /// Of what the proxy runs.
    parts: Parts,
    /// Of what the proxy runs.
    versions: PerType<Versions>,
    staged: PerType<Option<Staged>>,
    applying: Option<Applying>,
    /// What was saved by an earlier client, until it is handed out or a server has answered.
    saved: Option<Saved>,
    /// Names that the server said are not there.
    absent: PerType<BTreeSet<Arc<str>>>,
    cold: Cold,
    wanted: Wanted,
    /// Names that nothing refers to any more, to be dropped when no update is under way.
    unused: PerType<BTreeSet<Arc<str>>>,
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
    what: What,
}

#[derive(Debug)]
enum What {
    Staged(Staged),
    Saved(Saved),
}

impl Client {
    pub fn new(mut node: Node, interner: Arc<Interner>, options: ClientOptions) -> Self {
        node.ask_for_vhds();
        Self {
            node,
            options,
            interner,
            config: Arc::default(),
            parts: Parts::default(),
            versions: PerType::default(),
            staged: PerType::default(),
            applying: None,
            saved: None,
            absent: PerType::default(),
            cold: Cold::default(),
            wanted: Wanted::default(),
            unused: PerType::default(),
            accepted: PerType::default(),
            connected: false,
            out: Vec::new(),
            next_id: 1,
        }
    }

    /// Keeps what an earlier client had accepted, for [`Client::poll_saved`]. To be called before anything else.
    pub fn restore(&mut self, saved: Saved) {
        self.saved = Some(saved);
    }

    /// For how long servers may be silent before [`Client::poll_saved`] is called; None where nothing was saved, or
    /// one has answered.
    pub fn saved_after(&self) -> Option<Duration> {
        self.saved.as_ref().map(|_| self.options.saved_after)
    }

    /// What an earlier client had accepted, as one update, where no server has answered. To be called while no stream
    /// is open: once it is accepted, the next is told of its versions.
    pub fn poll_saved(&mut self) -> Option<Update> {
        let saved = self.saved.take()?;
        Some(self.run_saved(saved))
    }

    /// All that was accepted, with its versions, for [`Client::restore`] of a later client.
    pub fn save(&self) -> Saved {
        Saved { config: self.config.clone(), parts: self.parts.clone(), versions: self.versions.clone() }
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
            ResourceType::VirtualHost,
            ResourceType::Secret,
        ] {
            let subscribe: Vec<_> = self.wanted.names(kind).cloned().collect();
            if subscribe.is_empty() && !kind.is_wildcard() {
                continue;
            }
            self.out.push(DeltaRequest {
                node: node.take(),
                type_url: kind.type_url().into(),
                subscribe,
                initial_versions: self.versions[kind].clone(),
                ..DeltaRequest::default()
            });
        }
    }

    /// The stream has ended: nothing that came over it can be acknowledged any more.
    pub fn disconnected(&mut self) {
        self.connected = false;
        self.out.clear();
        for kind in ResourceType::ALL {
            if let Some(staged) = self.staged[kind].take() {
                self.unstage(staged.changes);
            }
        }
        self.absent = PerType::default();
        self.cold.disconnected();
        let mut arriving = BTreeSet::new();
        if let Some(Applying { what: What::Staged(staged), .. }) = &mut self.applying {
            staged.nonces.clear();
            arriving.extend(staged.heads().cloned());
        }
        self.parts.keep_known(&arriving);
        let parts = &self.parts;
        self.versions[ResourceType::VirtualHost]
            .retain(|name, _| refs::route_of(name).is_some_and(|route| parts.is_complete(route)));
        // The next stream begins with all of what is wanted then.
        self.subscribe();
    }

    /// What was staged is not waited for any more.
    fn unstage(&mut self, changes: Changes) {
        for (_, resource) in changes.into_values().flatten() {
            self.wanted.remove(&self.interner, &resource);
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
        let waiting = self.staged.iter().filter_map(|(_, s)| s.as_ref()).map(|s| s.since);
        waiting.chain(self.cold.since()).map(|since| since + self.options.warm_limit).min()
    }

    /// Takes a response in. What cannot be read is rejected at once, whole.
    pub fn on_response(&mut self, now: Instant, response: DeltaResponse) {
        // Older than what comes now.
        self.saved = None;
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
        for (_, resource) in changes.values().flatten() {
            self.wanted.add(&self.interner, resource);
        }
        let replaced = self.staged[kind].get_or_insert_with(|| Staged::new(now)).merge(response.nonce, changes);
        self.unstage(replaced);
        self.subscribe();
    }

    /// The next update that is ready to run; none while one is being run.
    pub fn poll(&mut self, now: Instant) -> Option<Update> {
        self.give_up_cold(now);
        if self.applying.is_some() {
            return None;
        }
        loop {
            let kind = ResourceType::ALL.into_iter().find(|&kind| self.is_ready(kind, now))?;
            let staged = self.staged[kind].take()?;
            if let Some(problem) = self.unknown_cluster(&staged) {
                for nonce in &staged.nonces {
                    self.answer(kind.type_url(), nonce.clone(), Some(problem.clone()));
                }
                self.unstage(staged.changes);
                self.subscribe();
                continue;
            }
            let mut config = self.config.clone();
            let (changed, removed) = staged.apply(kind, &mut config, &self.parts, &self.interner);
            let id = self.next_id;
            self.next_id += 1;
            let nothing_new = Arc::ptr_eq(&config, &self.config);
            self.applying = Some(Applying { id, kind, config: config.clone(), what: What::Staged(staged) });
            let update = Update { kind, config, changed, removed, id, saved: false };
            if kind == ResourceType::VirtualHost && nothing_new {
                // Of a route configuration that is still to come.
                self.accepted(&update);
                continue;
            }
            return Some(update);
        }
    }

    /// What was saved goes out as one: it was accepted as a whole.
    fn run_saved(&mut self, saved: Saved) -> Update {
        let (id, kind, config) = (self.next_id, ResourceType::Listener, saved.config.clone());
        self.next_id += 1;
        let changed = config.listeners.keys().cloned().collect();
        self.applying = Some(Applying { id, kind, config: config.clone(), what: What::Saved(saved) });
        Update { kind, config, changed, removed: Vec::new(), id, saved: true }
    }

    /// Every worker runs that update.
    pub fn accepted(&mut self, update: &Update) {
        let Some(applying) = self.applying.take_if(|a| a.id == update.id) else {
            return;
        };
        let kind = applying.kind;
        let before = std::mem::replace(&mut self.config, applying.config);
        self.accepted[kind] = true;
        let nonces = match applying.what {
            What::Staged(staged) => {
                for (name, change) in staged.changes {
                    // It may have come when nothing named it any more: nobody would ever take it away.
                    let by_name = !kind.is_wildcard() && kind != ResourceType::VirtualHost;
                    if by_name && !self.wanted.contains(kind, &name) {
                        self.unused[kind].insert(name.clone());
                    }
                    self.take(kind, name, change, &before);
                }
                staged.nonces
            }
            What::Saved(saved) => {
                for resource in saved.referring() {
                    self.wanted.add(&self.interner, &resource);
                }
                self.accepted[ResourceType::Cluster] = true;
                self.parts = saved.parts;
                self.versions = saved.versions;
                Vec::new()
            }
        };
        // Before the ACK: a server that answers an ACK by taking things away then knows them.
        self.subscribe();
        self.prune_all();
        for nonce in nonces {
            if kind != ResourceType::Cluster || !self.cold.holds(&nonce) {
                self.answer(kind.type_url(), nonce, None);
            }
        }
    }

    /// One change of what runs, `before` being what ran before.
    fn take(&mut self, kind: ResourceType, name: Arc<str>, change: Change, before: &ProxyConfig) {
        let old = match kind {
            ResourceType::Cluster => before.clusters.get(&name).cloned().map(Decoded::Cluster),
            ResourceType::Listener => before.listeners.get(&name).cloned().map(Decoded::Listener),
            ResourceType::Route if change.is_some() => self.parts.head(&name).cloned().map(Decoded::Route),
            _ => None,
        };
        if let Some(old) = old {
            self.wanted.remove(&self.interner, &old);
        }
        match (&change, kind) {
            (Some((_, Decoded::Route(routes))), _) => {
                self.parts.set_head(&name, routes.vhds.then(|| routes.clone()));
            }
            (Some((_, Decoded::VirtualHost(host))), _) => {
                self.parts.set_host(&self.interner, &name, Some(host.clone()));
            }
            (None, ResourceType::VirtualHost) => self.parts.set_host(&self.interner, &name, None),
            _ => {}
        }
        match change {
            Some((version, _)) => self.versions[kind].insert(name, version),
            None => self.versions[kind].remove(&name),
        };
    }

    /// The proxy could not run that update and goes on with what it had.
    pub fn rejected(&mut self, update: &Update, problem: &str) {
        let Some(applying) = self.applying.take_if(|a| a.id == update.id) else {
            return;
        };
        let What::Staged(staged) = applying.what else { return };
        for nonce in staged.nonces {
            self.answer(applying.kind.type_url(), nonce, Some(problem.into()));
        }
        self.unstage(staged.changes);
        self.subscribe();
        self.prune_all();
    }

    fn answer(&mut self, type_url: &str, nonce: String, error: Option<String>) {
        if self.connected {
            let type_url = type_url.into();
            self.out.push(DeltaRequest { type_url, nonce, error, ..DeltaRequest::default() });
        }
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
