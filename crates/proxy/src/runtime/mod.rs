//! A `ProxyConfig` made ready to run: route tables compiled, listeners indexed. Immutable and shared by the
//! workers of a proxy. An update builds a whole new one, and what it does not touch is taken over as it is: a
//! thousand sidecars get the same update.

mod listener;

pub(crate) use listener::{ChainAction, ChainRuntime, Hcm, ListenerRuntime, TcpRuntime};

use crate::tls::secrets::Secrets;
use amime_model::config::{Listener, Named, ProxyConfig, RouteConfig};
use amime_model::route::{CompileError, RouteTable};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

pub(crate) struct RuntimeConfig {
    pub(crate) config: Arc<ProxyConfig>,
    pub(crate) tables: Arc<Tables>,
    pub(crate) listeners: Arc<Listeners>,
    pub(crate) secrets: Arc<Secrets>,
}

pub(crate) type Tables = HashMap<Arc<str>, Arc<RouteTable>>;

#[derive(Default)]
pub(crate) struct Listeners {
    all: Vec<Arc<ListenerRuntime>>,
    by_name: HashMap<Arc<str>, usize>,
    /// Addresses that have sockets.
    bound: HashMap<SocketAddr, usize>,
    /// Every address, for connections that are handed over.
    by_address: HashMap<SocketAddr, usize>,
    /// Listeners on any address, by port.
    by_port: HashMap<u16, usize>,
}

/// Why a configuration is not taken; the one before goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{resource}: {reason}")]
pub struct ConfigError {
    /// The kind and name on the wire: `Listener 0.0.0.0_80`.
    pub resource: String,
    pub reason: String,
}

impl RuntimeConfig {
    /// Compiles what is new, or names the resource that cannot be.
    pub(crate) fn build(config: Arc<ProxyConfig>, previous: Option<&Self>) -> Result<Self, ConfigError> {
        let tables = match previous {
            Some(previous) if same(&previous.config.routes, &config.routes) => Arc::clone(&previous.tables),
            _ => Arc::new(compile(&config.routes, previous.map(|p| &*p.tables))?),
        };
        let named = previous.is_none_or(|previous| {
            !same(&previous.config.listeners, &config.listeners) || !same(&previous.config.clusters, &config.clusters)
        });
        let secrets = Secrets::build(&config, named, previous.map(|previous| &previous.secrets));
        let listeners = match previous {
            Some(previous)
                if same(&previous.config.listeners, &config.listeners) && Arc::ptr_eq(&previous.secrets, &secrets) =>
            {
                Arc::clone(&previous.listeners)
            }
            _ => Arc::new(Listeners::build(&config.listeners, previous.map(|p| &*p.listeners), &secrets)?),
        };
        Ok(Self { config, tables, listeners, secrets })
    }
}

/// Whether two maps hold the very same resources.
fn same<T>(a: &Named<T>, b: &Named<T>) -> bool {
    let each_equal = || a.iter().zip(b).all(|((n, x), (m, y))| Arc::ptr_eq(x, y) && n == m);
    a.is_same(b) || (a.len() == b.len() && each_equal())
}

fn compile(routes: &BTreeMap<Arc<str>, Arc<RouteConfig>>, previous: Option<&Tables>) -> Result<Tables, ConfigError> {
    let one = |(name, routes): (&Arc<str>, &Arc<RouteConfig>)| {
        let known = previous.and_then(|tables| tables.get(name));
        if let Some(known) = known.filter(|known| Arc::ptr_eq(known.config(), routes)) {
            return Ok((Arc::clone(name), Arc::clone(known)));
        }
        match crate::intern::table(routes, known.map(|known| &**known)) {
            Ok(table) => Ok((Arc::clone(name), table)),
            Err(error) => Err(compile_error("RouteConfiguration", name, &error)),
        }
    };
    routes.iter().map(one).collect()
}

fn compile_error(kind: &str, name: &str, error: &CompileError) -> ConfigError {
    ConfigError { resource: format!("{kind} {name}"), reason: error.to_string() }
}

impl Listeners {
    fn build(
        configs: &BTreeMap<Arc<str>, Arc<Listener>>,
        previous: Option<&Self>,
        secrets: &Secrets,
    ) -> Result<Self, ConfigError> {
        let mut listeners = Self::default();
        for (name, config) in configs {
            let before = previous.and_then(|previous| previous.named(name));
            let counts = before.map(|before| Arc::clone(&before.counts)).unwrap_or_default();
            let as_before = |known: &&Arc<ListenerRuntime>| {
                (Arc::ptr_eq(&known.config, config) || known.config == *config) && known.is_of(secrets)
            };
            let kept = before.filter(as_before);
            let runtime = match kept {
                Some(runtime) => Arc::clone(runtime),
                None => Arc::new(ListenerRuntime::build(Arc::clone(name), Arc::clone(config), counts, secrets)?),
            };
            listeners.add(runtime)?;
        }
        Ok(listeners)
    }

    fn add(&mut self, listener: Arc<ListenerRuntime>) -> Result<(), ConfigError> {
        let index = self.all.len();
        for address in addresses(&listener.config) {
            if listener.config.bind_to_port
                && let Some(other) = self.bound.insert(address, index)
            {
                return Err(ConfigError {
                    resource: format!("Listener {}", listener.name),
                    reason: format!("{address} is Listener {}'s already", self.all[other].name),
                });
            }
            self.by_address.entry(address).or_insert(index);
            if address.ip().is_unspecified() {
                self.by_port.entry(address.port()).or_insert(index);
            }
        }
        self.by_name.insert(Arc::clone(&listener.name), index);
        self.all.push(listener);
        Ok(())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<ListenerRuntime>> {
        self.all.iter()
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Arc<ListenerRuntime>> {
        self.by_name.get(name).map(|index| &self.all[*index])
    }

    /// Whether connections of an earlier version's chain may go on.
    pub(crate) fn keeps(&self, listener: &ListenerRuntime, chain: &Arc<ChainRuntime>) -> bool {
        self.named(&listener.name).is_some_and(|now| now.goes_on(listener) && now.has_chain(chain))
    }

    /// The listener whose socket has this address.
    pub(crate) fn listening_at(&self, address: SocketAddr) -> Option<&Arc<ListenerRuntime>> {
        self.bound.get(&address).map(|index| &self.all[*index])
    }

    /// `model::route::listener::by_original_destination`, by an index.
    pub(crate) fn by_original_destination(&self, destination: SocketAddr) -> Option<&Arc<ListenerRuntime>> {
        let index = self.by_address.get(&destination).or_else(|| self.by_port.get(&destination.port()))?;
        Some(&self.all[*index])
    }

    /// Every address that needs a socket, with its listener, in the order of names.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (SocketAddr, &Arc<ListenerRuntime>)> {
        let bound = self.all.iter().filter(|listener| listener.config.bind_to_port);
        bound.flat_map(|listener| addresses(&listener.config).map(move |address| (address, listener)))
    }
}

fn addresses(listener: &Listener) -> impl Iterator<Item = SocketAddr> {
    std::iter::once(listener.address).chain(listener.additional_addresses.iter().copied())
}

#[cfg(test)]
#[path = "runtime_tests.rs"]
mod tests;
