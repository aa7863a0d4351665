//! Translation: from the snapshot to the configuration of one proxy. Pure functions, one for each resource, over
//! `(&Snapshot, &Scope)`: the same input gives the same configuration, and proxies of equal Scope share it.
//!
//! `control` calls `translate` for its proxies, the tools for the proxies they ask about.

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
pub mod names;
mod node;
mod outbound;
mod policy;
mod route;
mod server_tls;
mod sidecar_routes;
mod view;
mod virtual_outbound;

pub use node::{Interception, LocalPlace, LocalScope, Node, NodeError, NodeKind, Scope, SharedScope, Target};

use crate::config::{
    Cluster, ClusterEndpoints, Discovery, EndpointAddress, Listener, Origin, ProxyConfig, RouteConfig,
};
use crate::snapshot::Snapshot;
use std::collections::BTreeMap;
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
    let shared = translate_shared(snapshot, &scope.shared);
    translate_local(snapshot, scope, &shared)
}

/// What proxies of equal `SharedScope` have in common: outbound listeners, routes, clusters and endpoints.
pub fn translate_shared(snapshot: &Snapshot, scope: &SharedScope) -> Translation {
    let view = View::of(snapshot, scope);
    let mut result = Translation::default();
    for service in &view.services {
        for built in cluster::of_service(&view, service) {
            result.add_cluster(built.cluster, built.endpoints);
        }
    }
    result.add_cluster(cluster::black_hole(&view), None);
    if scope.kind == NodeKind::Gateway {
        return result;
    }
    result.add_cluster(cluster::passthrough(&view, names::PASSTHROUGH_CLUSTER), None);
    let outbound = outbound::build(&view, &mut result.exclusions);
    for listener in outbound.listeners {
        result.add_listener(listener);
    }
    let mut by_port = BTreeMap::new();
    for (name, (egress, port)) in outbound.routes {
        let routes = by_port.entry((egress, port)).or_insert_with(|| {
            sidecar_routes::PortRoutes::build(&view, &view.egress[egress], port, &mut result.exclusions)
        });
        let config = match name.strip_suffix(&format!(":{port}")) {
            Some(host) => routes.of_one(host, port),
            None => routes.shared(&name, &view),
        };
        result.add_routes(config);
    }
    result
}

/// Completes what is shared by what is the pod's own: where its proxy listens, and what is behind it. What is
/// shared stays shared, but for clusters that are bound to the pod's address.
pub fn translate_local(snapshot: &Snapshot, scope: &Scope, shared: &Translation) -> Translation {
    let mut result = shared.clone();
    if let Some(source) = scope.local.bind_source() {
        for (name, cluster) in &mut result.config.clusters {
            if is_on_this_machine(cluster, result.config.endpoints.get(name).map(|e| &**e)) {
                Arc::make_mut(cluster).bind_source = Some(source);
            }
        }
    }
    match scope.shared.kind {
        NodeKind::Gateway => {
            let view = View::of(snapshot, &scope.shared);
            let gateways = gateway::build(&view, scope, &mut result.exclusions);
            gateways.listeners.into_iter().for_each(|l| result.add_listener(l));
            gateways.routes.into_iter().for_each(|r| result.add_routes(r));
            for secret in gateways.secrets {
                result.config.secrets.insert(secret.name().into(), Arc::new(secret));
            }
        }
        NodeKind::Sidecar => {
            let view = View::own(snapshot, &scope.shared, scope.local.targets.iter().map(|t| &t.service));
            // Traffic to itself does not go through its own outbound side.
            for address in &scope.local.addresses {
                result.config.listeners.retain(|_, l| l.address.ip() != *address);
            }
            let inbound = inbound::build(&view, &scope.local);
            result.add_listener(inbound.listener);
            inbound.clusters.into_iter().for_each(|c| result.add_cluster(c, None));
            result.add_listener(virtual_outbound::build(&view, &scope.local));
        }
    }
    result
}

/// Are all of a cluster's endpoints loopback addresses? From those no other network can be reached.
fn is_on_this_machine(cluster: &Cluster, endpoints: Option<&ClusterEndpoints>) -> bool {
    let endpoints = match &cluster.discovery {
        Discovery::Eds(_) => endpoints,
        Discovery::Static(endpoints) => Some(endpoints),
        // Of a headless service clients dial the pods.
        Discovery::OriginalDst { .. } => {
            return cluster.origins.iter().any(|origin| origin.kind == "Service");
        }
        Discovery::StrictDns(_) | Discovery::LogicalDns(_) | Discovery::Opaque(_) => None,
    };
    let mut all = endpoints.into_iter().flat_map(|e| &e.localities).flat_map(|l| &l.endpoints);
    all.all(|e| matches!(&e.address, EndpointAddress::Socket(address) if address.ip().is_loopback()))
        && endpoints.is_some()
}

impl Translation {
    fn add_listener(&mut self, listener: Listener) {
        self.config.listeners.entry(listener.name.as_str().into()).or_insert_with(|| Arc::new(listener));
    }

    fn add_routes(&mut self, routes: RouteConfig) {
        self.config.routes.entry(routes.name.as_str().into()).or_insert_with(|| Arc::new(routes));
    }

    /// Of two clusters of one name the first counts.
    fn add_cluster(&mut self, cluster: Cluster, endpoints: Option<ClusterEndpoints>) {
        let name: Arc<str> = cluster.name.as_str().into();
        if self.config.clusters.contains_key(&name) {
            return;
        }
        if let Some(endpoints) = endpoints {
            self.config.endpoints.insert(name.clone(), Arc::new(endpoints));
        }
        self.config.clusters.insert(name, Arc::new(cluster));
    }
}
