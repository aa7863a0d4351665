//! Reroute: the virtual hosts that changed rules of VirtualServices concern, without a look at all others.
//!
//! While hosts, services and all else stay, so do names and domains of virtual hosts; their routes alone are new.
//! `control` asks for it where `Snapshot::rules_changed_since` says so.

use super::memo::Memo;
use super::node::SharedScope;
use super::own::Outline;
use super::route::{RouteContext, routes_of};
use super::sidecar_routes::on_port;
use super::view::View;
use crate::config::{RouteConfig, VirtualHost};
use crate::resource::Kind;
use crate::snapshot::{ResolvedVirtualService, RulesChange, Service, Snapshot};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What the virtual hosts of a view were made of, as far as it is needed to make some of them again.
#[derive(Debug, Clone, Default)]
pub struct Routing {
    /// All of the view.
    services: Vec<Arc<Service>>,
    /// Those that each of its egress listeners lets through.
    of_egress: Vec<Vec<Arc<Service>>>,
    configs: Vec<Config>,
}

/// A route configuration.
#[derive(Debug, Clone)]
struct Config {
    name: Arc<str>,
    egress: usize,
    /// 0: all.
    port: u32,
    /// The virtual hosts of each VirtualService, by its namespace and name.
    hosts: HashMap<(String, String), Vec<Arc<VirtualHost>>>,
}

impl Routing {
    pub(super) fn of(view: &View<'_>) -> Self {
        let of_egress = view.egress.iter().map(|egress| egress.services.clone()).collect();
        Self { services: view.services.clone(), of_egress, configs: Vec::new() }
    }

    pub(super) fn add(&mut self, routes: &RouteConfig, egress: usize, port: u32) {
        let mut hosts: HashMap<_, Vec<_>> = HashMap::new();
        for host in &routes.virtual_hosts {
            let origin = host.origin.as_ref().filter(|origin| origin.kind == Kind::VirtualService.as_str());
            if let Some(origin) = origin {
                hosts.entry((origin.namespace.clone(), origin.name.clone())).or_default().push(host.clone());
            }
        }
        self.configs.push(Config { name: routes.name.as_str().into(), egress, port, hosts });
    }

    /// The virtual hosts that are new, with the names of their route configurations, in the order of these. None:
    /// more than their routes may be; then this is of no use any more.
    pub fn reroute(
        &mut self,
        snapshot: &Snapshot,
        scope: &SharedScope,
        changes: &[RulesChange],
        outline: &Outline,
        memo: &mut Memo,
    ) -> Option<Vec<(Arc<str>, Arc<VirtualHost>)>> {
        let mut named: BTreeSet<&str> = BTreeSet::new();
        for change in changes {
            named.extend(change.before.destinations().chain(change.now.destinations()).map(|d| d.host.as_str()));
        }
        let among = self.services.iter().filter(|service| named.contains(service.host.as_str()));
        let view = View::among(snapshot, scope, among.cloned());
        let mut new = Vec::new();
        for config in &mut self.configs {
            let services = &self.of_egress[config.egress];
            let lookup = |host: &str| {
                let of_host = services.iter().rev().filter(|service| service.host.eq_ignore_ascii_case(host));
                let mut found = of_host.filter_map(|service| on_port(service, config.port));
                found.find(|(known, _)| known == host).map(|(_, service)| service)
            };
            let context =
                RouteContext { view: &view, port: config.port, gateway: "mesh", tls: false, service: &lookup };
            for RulesChange { before, now } in changes {
                let routes = routes_of(now, &context);
                if routes.is_empty() != routes_of(before, &context).is_empty() {
                    // Another object takes the hosts up, or leaves them.
                    return None;
                }
                for host in config.hosts.get_mut(&key(now)).into_iter().flatten() {
                    let rerouted = VirtualHost { routes: routes.clone(), ..(**host).clone() };
                    if outline.has_clusters_of(host) != outline.has_clusters_of(&rerouted) {
                        return None;
                    }
                    if rerouted == **host {
                        continue;
                    }
                    *host = memo.instead(host, rerouted);
                    new.push((config.name.clone(), host.clone()));
                }
            }
        }
        Some(new)
    }
}

fn key(vs: &ResolvedVirtualService) -> (String, String) {
    (vs.id.namespace.to_string(), vs.id.name.to_string())
}
