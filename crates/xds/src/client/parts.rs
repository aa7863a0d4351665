//! Route configurations that come in parts: a head by RDS, and its virtual hosts by VHDS. The proxy is handed the
//! whole, put together here; the virtual hosts that did not change stay the same `Arc`s.

use super::staged::Changes;
use crate::intern::{Decoded, Interner};
use crate::refs;
use amime_model::config::{RouteConfig, VirtualHost};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Of what the proxy runs, or could run as soon as the head is there.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts(BTreeMap<Arc<str>, Part>);

#[derive(Debug, Clone, Default)]
struct Part {
    head: Option<Arc<RouteConfig>>,
    /// By resource name.
    hosts: BTreeMap<Arc<str>, Arc<VirtualHost>>,
    /// The server has told which there are.
    complete: bool,
}

impl Parts {
    pub(super) fn head(&self, route: &str) -> Option<&Arc<RouteConfig>> {
        self.0.get(route)?.head.as_ref()
    }

    pub(super) fn heads(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<RouteConfig>)> {
        self.0.iter().filter_map(|(name, part)| Some((name, part.head.as_ref()?)))
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<VirtualHost>)> {
        self.0.values().flat_map(|part| &part.hosts)
    }

    pub(super) fn hosts_of(&self, route: &str) -> impl Iterator<Item = &Arc<VirtualHost>> {
        self.0.get(route).into_iter().flat_map(|part| part.hosts.values())
    }

    pub(super) fn is_complete(&self, route: &str) -> bool {
        self.0.get(route).is_some_and(|part| part.complete)
    }

    /// The whole of a head and the hosts that are there.
    pub(super) fn whole(&self, interner: &Interner, head: &RouteConfig) -> Arc<RouteConfig> {
        interner.whole(head, self.hosts_of(&head.name).cloned().collect())
    }

    /// The wholes of the heads that are there, with changed virtual hosts.
    pub(super) fn changed(&self, interner: &Interner, changes: &Changes) -> Vec<(Arc<str>, Arc<RouteConfig>)> {
        let routes: BTreeSet<&str> = changes.keys().filter_map(|name| refs::route_of(name)).collect();
        let whole = |route: &str| {
            let (name, part) = self.0.get_key_value(route)?;
            let head = part.head.as_ref()?;
            let mut hosts: BTreeMap<&Arc<str>, &Arc<VirtualHost>> = part.hosts.iter().collect();
            for (name, change) in changes.iter().filter(|(name, _)| refs::route_of(name) == Some(route)) {
                match change {
                    Some((_, Decoded::VirtualHost(host))) => drop(hosts.insert(name, host)),
                    _ => drop(hosts.remove(name)),
                }
            }
            Some((name.clone(), interner.whole(head, hosts.into_values().cloned().collect())))
        };
        routes.into_iter().filter_map(whole).collect()
    }

    /// What has come by RDS; None where it came whole.
    pub(super) fn set_head(&mut self, route: &Arc<str>, head: Option<Arc<RouteConfig>>) {
        match head {
            Some(head) => self.0.entry(route.clone()).or_default().head = Some(head),
            None => self.forget_head(route),
        }
    }

    pub(super) fn set_host(&mut self, interner: &Interner, name: &Arc<str>, host: Option<Arc<VirtualHost>>) {
        let Some(route) = refs::route_of(name) else { return };
        let part = self.0.entry(interner.name(route)).or_default();
        // The first of them come together; `80/*` is said to be gone where there is none.
        part.complete = true;
        match host {
            Some(host) => drop(part.hosts.insert(name.clone(), host)),
            None => drop(part.hosts.remove(name)),
        }
    }

    pub(super) fn forget_head(&mut self, route: &str) {
        if let Some(part) = self.0.get_mut(route) {
            part.head = None;
        }
        self.sweep(route);
    }

    pub(super) fn forget_hosts(&mut self, route: &str) {
        if let Some(part) = self.0.get_mut(route) {
            part.hosts.clear();
            part.complete = false;
        }
        self.sweep(route);
    }

    fn sweep(&mut self, route: &str) {
        if self.0.get(route).is_some_and(|part| part.head.is_none() && part.hosts.is_empty() && !part.complete) {
            self.0.remove(route);
        }
    }

    /// The stream has ended: of what no head asks for, and none that is `arriving`, it is not known whether it is
    /// current.
    pub(super) fn keep_known(&mut self, arriving: &BTreeSet<Arc<str>>) {
        self.0.retain(|route, part| part.head.is_some() || arriving.contains(route));
    }
}
