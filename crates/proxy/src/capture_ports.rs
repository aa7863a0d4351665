//! The ports at which an application's connections arrive, where this machine needs others than the configuration
//! says: several proxies in one network namespace. `proxy` applies it to each configuration before it is built.

use amime_model::config::{Listener, ListenerFilter, ProxyConfig};
use std::sync::Arc;

/// Other ports than those that the listeners of these names come with; None: as they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapturePorts {
    /// Of `virtualOutbound` (15001).
    pub outbound: Option<u16>,
    /// Of `virtualInbound` (15006). Ports of its further addresses stay.
    pub inbound: Option<u16>,
}

/// The two listeners as they came and as they run, so that what did not change stays the same value.
#[derive(Default)]
pub(crate) struct Moved([Option<(Arc<Listener>, Arc<Listener>)>; 2]);

impl Moved {
    pub(crate) fn apply(&mut self, ports: CapturePorts, mut config: Arc<ProxyConfig>) -> Arc<ProxyConfig> {
        let wanted = [("virtualOutbound", ports.outbound), ("virtualInbound", ports.inbound)];
        for ((name, port), kept) in wanted.into_iter().zip(&mut self.0) {
            let Some(port) = port else { continue };
            let Some(listener) = config.listeners.get(name).filter(|listener| listener.address.port() != port) else {
                continue;
            };
            let moved = match kept {
                Some((before, moved)) if Arc::ptr_eq(before, listener) => Arc::clone(moved),
                _ => {
                    let moved = Arc::new(at_port(listener, port));
                    *kept = Some((Arc::clone(listener), Arc::clone(&moved)));
                    moved
                }
            };
            Arc::make_mut(&mut config).listeners.insert(name.into(), moved);
        }
        config
    }
}

/// The listener at another port. What it says of its own port (that nothing may come to it directly) is said of
/// the new one.
fn at_port(listener: &Listener, port: u16) -> Listener {
    let mut moved = listener.clone();
    let old = moved.address.port();
    moved.address.set_port(port);
    for chain in &mut moved.filter_chains {
        if chain.matches.destination_port == Some(old) {
            chain.matches.destination_port = Some(port);
        }
    }
    for filter in &mut moved.listener_filters {
        if let ListenerFilter::HttpInspector { disabled_ports } = filter {
            disabled_ports.iter_mut().filter(|disabled| **disabled == old).for_each(|disabled| *disabled = port);
        }
    }
    moved
}

#[cfg(test)]
#[path = "capture_ports_tests.rs"]
mod tests;
