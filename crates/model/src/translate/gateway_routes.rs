//! The routes of gateways: the VirtualServices that are bound to a server's Gateway, for the hosts they share with it.
//!
//! `gateway` calls it for each route name. VirtualServices of one host merge: all routes of the older first, and what
//! takes everything last.

use super::gateway_merge::MergedServer;
use super::names;
use super::route::{RouteContext, routes_of, takes_all};
use super::sidecar_routes::configuration;
use super::view::View;
use crate::config::{Origin, RequireTls, Route, RouteConfig, VirtualHost};
use crate::host::specificity;
use crate::snapshot::{ResolvedVirtualService, Service, origin_of};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A virtual host in the making.
#[derive(Default)]
struct Host {
    port: u32,
    /// Indexes into the route lists.
    lists: Vec<usize>,
    require_tls: bool,
    origin: Option<Origin>,
}

/// The configuration of a route name, for the servers that share it.
pub(super) fn build(view: &View<'_>, name: &str, servers: &[MergedServer]) -> RouteConfig {
    let mut lists: Vec<Vec<Route>> = Vec::new();
    let mut made: BTreeMap<(String, crate::resource::ResourceId), usize> = BTreeMap::new();
    let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
    for server in servers {
        let redirect = server.https_redirect();
        for vs in view.snapshot.virtual_services_for(&view.scope.namespace, &server.gateway) {
            let common = server.common_hosts(&vs.id.namespace, &vs.hosts);
            if common.is_empty() {
                continue;
            }
            let key = (server.gateway.clone(), vs.id.clone());
            let list = match made.get(&key) {
                Some(index) => *index,
                None => {
                    let routes = routes_for(view, server, vs);
                    if routes.is_empty() {
                        continue;
                    }
                    lists.push(routes);
                    made.insert(key, lists.len() - 1);
                    lists.len() - 1
                }
            };
            for host in common {
                let host = hosts.entry(host.to_ascii_lowercase()).or_insert_with(|| Host {
                    port: server.number,
                    origin: Some(origin_of(&vs.id, "")),
                    ..Host::default()
                });
                host.lists.push(list);
                host.require_tls |= redirect;
            }
        }
        if redirect {
            // A host of one namespace alone is none that a request could name.
            for host in server.hosts.iter().filter(|h| !h.contains('/')) {
                let host = hosts.entry(host.to_ascii_lowercase());
                host.or_insert_with(|| Host { port: server.number, ..Host::default() }).require_tls = true;
            }
        }
    }
    if hosts.is_empty() {
        // Without routes everything gets 404.
        let port = servers.first().map_or(0, |s| s.number);
        let nothing = VirtualHost {
            name: names::virtual_host("blackhole", port),
            domains: vec!["*".to_string()],
            ..VirtualHost::default()
        };
        return configuration(name, vec![Arc::new(nothing)]);
    }
    configuration(name, virtual_hosts(hosts, &lists).into_iter().map(Arc::new).collect())
}

fn routes_for(view: &View<'_>, server: &MergedServer, vs: &ResolvedVirtualService) -> Vec<Route> {
    let lookup = |host: &str| service_for(view, vs, host);
    let context = RouteContext {
        view,
        port: server.number,
        gateway: &server.gateway,
        tls: server.tls().is_some(),
        service: &lookup,
    };
    routes_of(vs, &context)
}

/// The service that a destination means: of the VirtualService's own namespace, where the gateway sees that.
fn service_for(view: &View<'_>, vs: &ResolvedVirtualService, host: &str) -> Option<Arc<Service>> {
    let own = view.snapshot.services_of_host(host).and_then(|by_namespace| by_namespace.get(&*vs.id.namespace));
    own.filter(|service| view.sees(service)).or_else(|| view.service(host)).cloned()
}

/// Hosts with the same routes share a virtual host, named after the most specific of them.
fn virtual_hosts(hosts: BTreeMap<String, Host>, lists: &[Vec<Route>]) -> Vec<VirtualHost> {
    let mut sorted: Vec<_> = hosts.into_iter().collect();
    sorted.sort_by(|(a, _), (b, _)| specificity(a, b));
    let mut made: Vec<VirtualHost> = Vec::new();
    let mut known: BTreeMap<(Vec<usize>, bool), usize> = BTreeMap::new();
    for (domain, host) in sorted {
        let key = (host.lists.clone(), host.require_tls);
        if let Some(index) = known.get(&key) {
            made[*index].domains.push(domain);
            continue;
        }
        known.insert(key, made.len());
        let all = host.lists.iter().flat_map(|list| lists[*list].iter().cloned());
        let (last, mut routes): (Vec<_>, Vec<_>) = all.partition(|route| takes_all(&route.matches));
        routes.extend(last);
        made.push(VirtualHost {
            name: names::virtual_host(&domain, host.port),
            domains: vec![domain],
            routes,
            require_tls: if host.require_tls { RequireTls::All } else { RequireTls::None },
            include_request_attempt_count: true,
            origin: host.origin,
            ..VirtualHost::default()
        });
    }
    made.sort_by(|a, b| a.name.cmp(&b.name));
    made
}
