//! The hosts of Services and ServiceEntries, found as a namespace sees them. Made once for the `World`.

use super::world::scopes;
use crate::host::{is_wildcard, resolve_short, service_host};
use crate::resource::{Kind, Map, Object, ResourceSet, Spec};
use std::collections::HashMap;
use std::sync::Arc;

/// What has a host.
#[derive(Debug, Clone)]
pub(in crate::analyze) struct Destination<'a> {
    pub(super) ports: Vec<u32>,
    /// Of a ServiceEntry that selects pods.
    pub(super) selector: Option<&'a Map>,
}

/// By host, then by the namespace that sees it; `*` is every one.
#[derive(Debug, Default)]
pub(in crate::analyze) struct Hosts<'a> {
    exact: HashMap<String, HashMap<String, Arc<Destination<'a>>>>,
    wildcards: Vec<(String, String, Arc<Destination<'a>>)>,
}

impl<'a> Hosts<'a> {
    pub(super) fn of(resources: &'a ResourceSet) -> Self {
        let mut hosts = Self::default();
        for object in resources.of_kind(Kind::ServiceEntry) {
            hosts.add_entry(object);
        }
        // A service goes before an entry of its name.
        for object in resources.of_kind(Kind::Service) {
            hosts.add_service(object);
        }
        hosts
    }

    fn add_entry(&mut self, object: &'a Object) {
        let Spec::ServiceEntry(entry) = &object.spec else { return };
        let ports = entry.ports.iter().map(|port| port.number).collect();
        let selector = entry.workload_selector.as_ref().map(|selector| &selector.labels);
        let destination = Arc::new(Destination { ports, selector });
        for host in &entry.hosts {
            let host = resolve_short(host, &object.id.namespace);
            for scope in scopes(&entry.export_to, &object.id.namespace) {
                if is_wildcard(&host) {
                    self.wildcards.push((host.clone(), scope.clone(), destination.clone()));
                }
                self.exact.entry(host.clone()).or_default().insert(scope, destination.clone());
            }
        }
    }

    fn add_service(&mut self, object: &'a Object) {
        let Spec::Service(service) = &object.spec else { return };
        let ports = service.spec.ports.iter().filter_map(|port| u32::try_from(port.port).ok()).collect();
        let destination = Arc::new(Destination { ports, selector: None });
        let written = object.meta.annotations.get("networking.istio.io/exportTo").map_or("", String::as_str);
        let export_to: Vec<String> =
            written.split(',').map(|to| to.trim().to_owned()).filter(|to| !to.is_empty()).collect();
        let by_scope = self.exact.entry(service_host(&object.id.name, &object.id.namespace)).or_default();
        for scope in scopes(&export_to, &object.id.namespace) {
            by_scope.insert(scope, destination.clone());
        }
    }

    /// What an object in that namespace, exported so, means by a host.
    pub(super) fn find(&self, namespace: &str, export_to: &[String], host: &str) -> Option<&Destination<'a>> {
        let own = [namespace.to_owned()];
        let seen_by = if export_to.is_empty() { &own } else { export_to };
        let by_scope = self.exact.get(&resolve_short(host, namespace));
        let of_scope = |scope: &str| by_scope.and_then(|by_scope| by_scope.get(scope));
        let named = || seen_by.iter().find_map(|scope| of_scope(if scope == "." { namespace } else { scope }));
        of_scope("*").or_else(named).or_else(|| self.wildcard(namespace, host)).map(|destination| &**destination)
    }

    /// Whether the input has no service at all: then each may well be elsewhere.
    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty()
    }

    /// Whether anybody sees exactly this host.
    pub(super) fn has(&self, host: &str) -> bool {
        self.exact.contains_key(host)
    }

    fn wildcard(&self, namespace: &str, host: &str) -> Option<&Arc<Destination<'a>>> {
        let bare = host.strip_prefix('*').unwrap_or(host);
        let holds = |wildcard: &str, scope: &str| {
            (scope == "*" || scope == namespace) && bare.ends_with(wildcard.strip_prefix('*').unwrap_or(wildcard))
        };
        self.wildcards.iter().find(|(wildcard, scope, _)| holds(wildcard, scope)).map(|(.., destination)| destination)
    }
}
