//! Translation: from the snapshot to the configuration of one proxy. Pure functions, one for each resource, over
//! `(&Snapshot, &Scope)`: the same input gives the same configuration, and proxies of equal Scope share it.
//!
//! `control` calls `translate` for its proxies, the tools for the proxies they ask about.

mod bound;
mod client_tls;
mod cluster;
mod domains;
mod egress;
mod endpoints;
mod gateway;
mod gateway_merge;
mod gateway_routes;
mod hcm;
mod inbound;
mod l4;
mod locality;
mod log;
mod memo;
pub mod names;
mod node;
mod outbound;
mod own;
mod policy;
mod reroute;
mod route;
mod server_tls;
mod sidecar_routes;
mod view;
mod virtual_outbound;

pub(crate) use bound::{Bound, Carries, bound};
pub(crate) use egress::lets_through;
pub use memo::Memo;
pub use node::{Interception, LocalPlace, LocalScope, Node, NodeError, NodeKind, Place, Scope, SharedScope, Target};
pub use own::{Outline, Own, translate_own};
pub(crate) use policy::{for_port, for_subset};
pub use reroute::Routing;
pub(crate) use route::{mismatch, takes_all};

use crate::config::{Cluster, ClusterEndpoints, DnsFamily, Listener, Origin, ProxyConfig, RouteConfig};
use crate::snapshot::{Labels, Pod, Service, ServiceKey, Snapshot};
use egress::Egress;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use view::View;

/// A proxy's configuration, and what is not in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Translation {
    pub config: ProxyConfig,
    pub exclusions: Vec<Exclusion>,
}

/// Something that was written but left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    pub origin: Origin,
    pub reason: Reason,
    /// What is there in its place.
    pub winner: Option<Origin>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// An earlier object has the host.
    HostTaken { host: String },
    /// An earlier server has the port, with another protocol.
    PortTaken { port: u32 },
    /// An earlier service has the address and port.
    ListenerTaken { listener: String },
    /// The server has an error, or no port.
    BrokenServer,
    /// Sidecars listen on no socket files.
    SocketFile,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostTaken { host } => write!(f, "an earlier object has the host {host}"),
            Self::PortTaken { port } => write!(f, "an earlier server has port {port}, with another protocol"),
            Self::ListenerTaken { listener } => write!(f, "an earlier service has the listener {listener}"),
            Self::BrokenServer => f.write_str("the server has an error"),
            Self::SocketFile => f.write_str("sidecars listen on no socket files"),
        }
    }
}

/// The whole configuration of a proxy.
pub fn translate(snapshot: &Snapshot, scope: &Scope) -> Translation {
    let mut shared = translate_shared(snapshot, &scope.shared);
    if let Some(place) = &scope.place {
        shared.put(translate_placed(snapshot, &scope.shared, place, &mut Memo::default()));
    }
    translate_local(snapshot, scope, &shared)
}

/// What proxies of equal `SharedScope` have in common: outbound listeners, routes, clusters and endpoints.
pub fn translate_shared(snapshot: &Snapshot, scope: &SharedScope) -> Translation {
    translate_shared_with(snapshot, scope, &mut Memo::default()).0
}

/// As `translate_shared`, without making again what `memo` knows: of other scopes, and of the snapshot before. With
/// it what has to be known to make some of its virtual hosts again.
pub fn translate_shared_with(snapshot: &Snapshot, scope: &SharedScope, memo: &mut Memo) -> (Translation, Routing) {
    let view = View::of(snapshot, scope);
    let mut result = Translation::default();
    for service in &view.services {
        for built in memo.clusters(&view, service).iter() {
            result.add_cluster(&built.name, &built.cluster, built.endpoints.as_ref());
        }
    }
    let tls = result.config.clusters.values().filter_map(|cluster| cluster.tls.as_ref());
    for secret in server_tls::secrets(&view, tls.flat_map(client_tls::names)) {
        result.config.secrets.insert(secret.name().into(), Arc::new(secret));
    }
    result.add_one_cluster(cluster::black_hole(&view));
    if scope.kind == NodeKind::Gateway {
        return (result, Routing::default());
    }
    result.add_one_cluster(cluster::passthrough(&view, names::PASSTHROUGH_CLUSTER));
    let outbound = outbound::build(&view, &mut result.exclusions);
    for listener in outbound.listeners {
        result.add_listener(listener);
    }
    let mut routing = Routing::of(&view);
    let mut by_port = BTreeMap::new();
    for (name, (egress, port)) in outbound.routes {
        let routes = by_port.entry((egress, port)).or_insert_with(|| {
            sidecar_routes::PortRoutes::build(&view, &view.egress[egress], port, memo, &mut result.exclusions)
        });
        let config = match name.strip_suffix(&format!(":{port}")) {
            Some(host) => routes.of_one(host, port),
            None => routes.shared(&name, &view),
        };
        routing.add(&config, egress, sidecar_routes::port_of(&view.egress[egress], port));
        result.add_routes(config);
    }
    (result, routing)
}

/// What of a shared translation is not the same for clients of a place.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Placed {
    /// Those whose endpoints come with them.
    pub clusters: Vec<Arc<Cluster>>,
    pub endpoints: Vec<Arc<ClusterEndpoints>>,
}

/// What clients of a place have in the place of what all clients of a scope have in common.
pub fn translate_placed(snapshot: &Snapshot, scope: &SharedScope, place: &Place, memo: &mut Memo) -> Placed {
    let view = View::of(snapshot, scope);
    let mut result = Placed::default();
    let mut names = BTreeSet::new();
    for service in &view.services {
        let general = memo.clusters(&view, service);
        let placed = memo.placed(&view, service, place);
        for (general, placed) in general.iter().zip(placed.iter()) {
            // Of two clusters of one name the first counts.
            if !names.insert(general.name.clone()) {
                continue;
            }
            if !Arc::ptr_eq(&general.cluster, &placed.cluster) {
                result.clusters.push(placed.cluster.clone());
            }
            match (&general.endpoints, &placed.endpoints) {
                (Some(general), Some(placed)) if !Arc::ptr_eq(general, placed) => result.endpoints.push(placed.clone()),
                _ => {}
            }
        }
    }
    result
}

/// The endpoints of the clusters that these services have for a scope, and for a place where one is asked for. For what
/// [`Snapshot::endpoints_changed_since`] names: of an earlier translation that has clusters of these names, the rest
/// still holds.
pub fn translate_endpoints(
    snapshot: &Snapshot,
    scope: &SharedScope,
    place: Option<&Place>,
    services: &[ServiceKey],
    memo: &mut Memo,
) -> Vec<Arc<ClusterEndpoints>> {
    let view = View::own(snapshot, scope, services);
    let mut found = Vec::new();
    for service in &view.services {
        let clusters = match place {
            Some(place) => memo.placed(&view, service, place),
            None => memo.clusters(&view, service),
        };
        found.extend(clusters.iter().filter_map(|built| built.endpoints.clone()));
    }
    found
}

/// What sidecars of a namespace leave out of listeners for these services, as far as they are one another's rivals.
pub(crate) fn listener_exclusions(
    snapshot: &Snapshot,
    namespace: &str,
    dns_capture: bool,
    services: Vec<Arc<Service>>,
) -> Vec<Exclusion> {
    let scope = SharedScope {
        kind: NodeKind::Sidecar,
        namespace: namespace.to_string(),
        labels: Labels::new(),
        dns_capture,
        dns_family: DnsFamily::V4Only,
        passes_tls: false,
    };
    let mut view = View::among(snapshot, &scope, services.iter().cloned());
    view.egress.push(Egress::among(snapshot, &scope, services));
    let mut exclusions = Vec::new();
    outbound::build(&view, &mut exclusions);
    exclusions
}

/// What a gateway that these Gateways choose (by index, the oldest first) leaves out; without a pod one that has the
/// ports as they are written.
pub(crate) fn gateway_exclusions(snapshot: &Snapshot, chosen: &[usize], pod: Option<&Pod>) -> Vec<Exclusion> {
    let mut exclusions = Vec::new();
    gateway::conflicts(snapshot, chosen, pod, &mut exclusions);
    exclusions
}

/// Completes what is shared by what is the pod's own: where its proxy listens, and what is behind it.
pub fn translate_local(snapshot: &Snapshot, scope: &Scope, shared: &Translation) -> Translation {
    translate_own(snapshot, scope, &Outline::of(shared)).over(shared)
}

impl Translation {
    fn add_listener(&mut self, listener: Listener) {
        self.config.listeners.entry(listener.name.as_str().into()).or_insert_with(|| Arc::new(listener));
    }

    /// The clusters are there already.
    fn add_routes(&mut self, routes: RouteConfig) {
        let routes = checked(routes, |cluster| self.config.clusters.contains_key(cluster));
        self.config.routes.entry(routes.name.as_str().into()).or_insert_with(|| Arc::new(routes));
    }

    /// Of two clusters of one name the first counts.
    fn add_cluster(&mut self, name: &Arc<str>, cluster: &Arc<Cluster>, endpoints: Option<&Arc<ClusterEndpoints>>) {
        if self.config.clusters.contains_key(name) {
            return;
        }
        if let Some(endpoints) = endpoints {
            self.config.endpoints.insert(name.clone(), endpoints.clone());
        }
        self.config.clusters.insert(name.clone(), cluster.clone());
    }

    /// What is placed is put in the place of what is common.
    pub fn put(&mut self, placed: Placed) {
        for cluster in placed.clusters {
            self.config.clusters.insert(cluster.name.as_str().into(), cluster);
        }
        for endpoints in placed.endpoints {
            self.config.endpoints.insert(endpoints.cluster.as_str().into(), endpoints);
        }
    }

    fn add_one_cluster(&mut self, cluster: Cluster) {
        self.add_cluster(&cluster.name.as_str().into(), &Arc::new(cluster), None);
    }
}

/// The client is to refuse a route configuration whose clusters it lacks, wherever all of them are there: a second
/// guard against changes that come in the wrong order. With one share's cluster missing it would refuse the whole.
fn checked(routes: RouteConfig, is_there: impl Fn(&str) -> bool) -> RouteConfig {
    let validate_clusters = routes.clusters().all(is_there);
    RouteConfig { validate_clusters, ..routes }
}
