//! Egress: one outbound listener of a Sidecar (or the one that everybody has), with the services and
//! VirtualServices that it lets through.

use super::node::SharedScope;
use super::view::with_port;
use crate::host::{HostIndex, is_wildcard, overlaps, subset_of};
use crate::protocol::Protocol;
use crate::resource::ResourceId;
use crate::resource::sidecar::{CaptureMode, EgressListener, SidecarPort};
use crate::snapshot::{Registry, ResolvedVirtualService, Service, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) struct Egress {
    /// None: all ports that no other listener of the Sidecar has.
    pub port: Option<EgressPort>,
    /// As written; empty where the Sidecar says nothing.
    pub bind: String,
    /// Not captured: the application dials the listener itself.
    pub bind_to_port: bool,
    pub services: Vec<Arc<Service>>,
    /// In the order in which they win.
    pub virtual_services: Vec<Arc<ResolvedVirtualService>>,
    /// Indexes into `virtual_services` by their hosts.
    by_host: HostIndex<Vec<usize>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EgressPort {
    pub number: u32,
    pub protocol: Protocol,
    pub name: String,
}

impl EgressPort {
    fn of(port: &SidecarPort) -> Self {
        Self { number: port.number, protocol: Protocol::parse(&port.protocol), name: port.name.clone() }
    }
}

impl Egress {
    /// The listener of proxies without a Sidecar.
    pub(super) fn everything(snapshot: &Snapshot, scope: &SharedScope) -> Self {
        Self::select(snapshot, scope, &HostFilter::of(&["*/*".to_string()], &scope.namespace), None)
    }

    pub(super) fn of(snapshot: &Snapshot, scope: &SharedScope, listener: &EgressListener, filter: &HostFilter) -> Self {
        let port = listener.port.as_ref().map(EgressPort::of);
        let mut egress = Self::select(snapshot, scope, filter, port);
        egress.bind.clone_from(&listener.bind);
        egress.bind_to_port = listener.capture_mode == CaptureMode::None || listener.bind.starts_with("unix://");
        egress
    }

    /// The port that services must have. A generic HTTP proxy takes all.
    pub(super) fn match_port(&self) -> Option<u32> {
        match_port(self.port.as_ref())
    }

    fn select(snapshot: &Snapshot, scope: &SharedScope, filter: &HostFilter, port: Option<EgressPort>) -> Self {
        let virtual_services: Vec<_> = snapshot
            .virtual_services_for(&scope.namespace, "mesh")
            .into_iter()
            .filter(|vs| filter.virtual_service(vs))
            .cloned()
            .collect();
        let services = filter.services(snapshot, &scope.namespace, match_port(port.as_ref()));
        Self::with(port, services, virtual_services)
    }

    /// The listener of proxies without a Sidecar, for these services alone.
    pub(super) fn among(snapshot: &Snapshot, scope: &SharedScope, services: Vec<Arc<Service>>) -> Self {
        let virtual_services = snapshot.virtual_services_for(&scope.namespace, "mesh").into_iter().cloned().collect();
        Self::with(None, services, virtual_services)
    }

    fn with(
        port: Option<EgressPort>,
        services: Vec<Arc<Service>>,
        virtual_services: Vec<Arc<ResolvedVirtualService>>,
    ) -> Self {
        let mut by_host: HostIndex<Vec<usize>> = HostIndex::default();
        for (index, vs) in virtual_services.iter().enumerate() {
            for host in &vs.hosts {
                by_host.entry(&host.to_ascii_lowercase()).push(index);
            }
        }
        Self { port, bind: String::new(), bind_to_port: false, services, virtual_services, by_host }
    }

    /// The VirtualService whose host means a service most specifically; of several of one host the first.
    pub(super) fn most_specific(&self, host: &str) -> Option<&ResourceId> {
        let index = self.by_host.most_specific(host)?.first()?;
        Some(&self.virtual_services[*index].id)
    }

    /// The VirtualServices with a host that may mean one of these, in order.
    pub(super) fn for_hosts<'a>(
        &'a self,
        hosts: impl IntoIterator<Item = &'a str>,
    ) -> impl Iterator<Item = &'a Arc<ResolvedVirtualService>> {
        let found: BTreeSet<usize> =
            hosts.into_iter().flat_map(|host| self.by_host.overlapping(host)).flatten().copied().collect();
        found.into_iter().map(|index| &self.virtual_services[index])
    }
}

fn match_port(port: Option<&EgressPort>) -> Option<u32> {
    port.filter(|p| p.number != 0 && p.protocol != Protocol::HttpProxy).map(|p| p.number)
}

/// Whether an egress listener with these hosts lets clients of a namespace see any service or VirtualService.
pub(crate) fn lets_through(snapshot: &Snapshot, namespace: &str, listener: &EgressListener, hosts: &[String]) -> bool {
    let filter = HostFilter::of(hosts, namespace);
    let port = match_port(listener.port.as_ref().map(EgressPort::of).as_ref());
    let virtual_service = |vs: &&Arc<ResolvedVirtualService>| filter.virtual_service(vs);
    !filter.services(snapshot, namespace, port).is_empty()
        || snapshot.virtual_services_for(namespace, "mesh").iter().any(virtual_service)
}

/// The `namespace/host` entries of one egress listener, by namespace.
pub(super) struct HostFilter {
    by_namespace: BTreeMap<String, Hosts>,
}

#[derive(Default)]
struct Hosts {
    included: Vec<String>,
    excluded: Vec<String>,
}

impl HostFilter {
    /// Entries that are not of the form `namespace/host` count for nothing.
    pub(super) fn of(hosts: &[String], own_namespace: &str) -> Self {
        let mut by_namespace: BTreeMap<String, Hosts> = BTreeMap::new();
        for entry in hosts {
            let Some((namespace, host)) = entry.split_once('/').filter(|(_, host)| !host.contains('/')) else {
                continue;
            };
            let (excluded, namespace) = match namespace.strip_prefix('~') {
                Some("") => (true, "*"),
                Some(rest) => (true, rest),
                None => (false, namespace),
            };
            let namespace = if namespace == "." { own_namespace } else { namespace };
            let of = by_namespace.entry(namespace.to_string()).or_default();
            if excluded { &mut of.excluded } else { &mut of.included }.push(host.to_string());
        }
        Self { by_namespace }
    }

    /// The entries for a namespace, then those for all.
    fn entries(&self, namespace: &str) -> impl Iterator<Item = &Hosts> {
        self.by_namespace.get(namespace).into_iter().chain(self.by_namespace.get("*"))
    }

    fn excludes(&self, namespace: &str, host: &str) -> bool {
        self.entries(namespace).any(|e| e.excluded.iter().any(|x| subset_of(host, x)))
    }

    /// A VirtualService comes in by any of its hosts, and a wildcard on either side may mean the other.
    fn virtual_service(&self, vs: &ResolvedVirtualService) -> bool {
        let namespace = &*vs.id.namespace;
        self.entries(namespace).any(|entries| {
            vs.hosts.iter().any(|host| {
                let meant = entries
                    .included
                    .iter()
                    .any(|i| if is_wildcard(host) || is_wildcard(i) { overlaps(host, i) } else { host == i });
                meant && !self.excludes(namespace, host)
            })
        })
    }

    fn services(&self, snapshot: &Snapshot, own_namespace: &str, port: Option<u32>) -> Vec<Arc<Service>> {
        let mut imported: Vec<Arc<Service>> = Vec::new();
        for service in snapshot.services_for(own_namespace) {
            if self.excludes(&service.namespace, &service.host) {
                continue;
            }
            let found = self.entries(&service.namespace).find_map(|entries| {
                let matches = |host: &str| {
                    entries
                        .included
                        .iter()
                        .any(|i| if is_wildcard(host) || is_wildcard(i) { subset_of(host, i) } else { host == i })
                };
                if !matches(&service.host) {
                    return None;
                }
                let service = match port {
                    Some(number) => with_port(service, number)?,
                    None => service.clone(),
                };
                let aliases: Vec<_> = service.aliases.iter().filter(|a| matches(a)).cloned().collect();
                Some(if aliases.len() == service.aliases.len() {
                    service
                } else {
                    Arc::new(Service { aliases, ..(*service).clone() })
                })
            });
            imported.extend(found);
        }
        keep_one_namespace(imported, own_namespace)
    }
}

/// Of services of one host name those of one namespace count: the proxy's own, else the first found, a Kubernetes
/// Service before a ServiceEntry.
fn keep_one_namespace(mut services: Vec<Arc<Service>>, own_namespace: &str) -> Vec<Arc<Service>> {
    let mut chosen: BTreeMap<String, (String, bool)> = BTreeMap::new();
    for service in &services {
        let kubernetes = service.registry == Registry::Kubernetes;
        let this = (service.namespace.clone(), kubernetes);
        match chosen.get(&service.host) {
            None => {
                chosen.insert(service.host.clone(), this);
            }
            Some((namespace, known_kubernetes)) => {
                let better = !known_kubernetes && kubernetes && namespace != own_namespace;
                if service.namespace == own_namespace || better {
                    chosen.insert(service.host.clone(), this);
                }
            }
        }
    }
    services.retain(|service| chosen.get(&service.host).is_some_and(|(ns, _)| *ns == service.namespace));
    services
}
