//! Memo: what was translated once need not be again: for another scope, or for the next snapshot.
//!
//! Keyed by the parts of the snapshot that a result is made of, which `Snapshot::build_after` keeps the same where
//! they have not changed. What comes out is equal to what is made without one.

use super::cluster;
use super::node::NodeKind;
use super::view::View;
use crate::config::{Cluster, ClusterEndpoints, VirtualHost};
use crate::resource::MeshConfig;
use crate::snapshot::{EndpointsByPort, MergedRule, Service, Snapshot};
use std::collections::HashMap;
use std::sync::Arc;

/// The clusters of a service with their names, and endpoints where these come by EDS.
pub(super) type Clusters = Arc<[(Arc<str>, Arc<Cluster>, Option<Arc<ClusterEndpoints>>)]>;

/// Results of this snapshot and of the one before.
#[derive(Debug, Default)]
pub struct Memo {
    mesh: Option<MeshConfig>,
    now: Results,
    before: Results,
}

#[derive(Debug, Default)]
struct Results {
    clusters: HashMap<Key, (Sources, Clusters)>,
    /// By name.
    hosts: HashMap<String, Vec<Arc<VirtualHost>>>,
}

/// The addresses of the `Sources`, but for the endpoints: of a service there are no two in one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    kind: NodeKind,
    service: usize,
    rule: usize,
}

/// What clusters are made of; kept, so that nothing else takes its address.
type Sources = (Arc<Service>, Option<Arc<MergedRule>>, Option<Arc<EndpointsByPort>>);

fn address<T>(part: Option<&Arc<T>>) -> usize {
    part.map_or(0, |part| Arc::as_ptr(part).addr())
}

impl Memo {
    /// From now on it is asked about all of this snapshot. What was not asked for since the last call is forgotten.
    pub fn begin(&mut self, snapshot: &Snapshot) {
        self.before = std::mem::take(&mut self.now);
        if self.mesh.as_ref() != Some(&snapshot.mesh) {
            *self = Self { mesh: Some(snapshot.mesh.clone()), ..Self::default() };
        }
    }

    pub(super) fn clusters(&mut self, view: &View<'_>, service: &Arc<Service>) -> Clusters {
        let rule = view.rule(&service.host);
        let endpoints = view.snapshot.all_endpoints(service);
        let key = Key { kind: view.scope.kind, service: address(Some(service)), rule: address(rule) };
        let holds = |(sources, _): &&(Sources, Clusters)| address(sources.2.as_ref()) == address(endpoints);
        if let Some((_, known)) = self.now.clusters.get(&key).filter(holds) {
            return known.clone();
        }
        let found = self.before.clusters.remove(&key).filter(|found| holds(&found)).unwrap_or_else(|| {
            let built = cluster::of_service(view, service).into_iter();
            let shared = |built: cluster::Built| {
                (built.cluster.name.as_str().into(), Arc::new(built.cluster), built.endpoints.map(Arc::new))
            };
            ((service.clone(), rule.cloned(), endpoints.cloned()), built.map(shared).collect())
        });
        let clusters = found.1.clone();
        self.now.clusters.insert(key, found);
        clusters
    }

    /// A virtual host in the place of one that is no more.
    pub(super) fn instead(&mut self, old: &Arc<VirtualHost>, new: VirtualHost) -> Arc<VirtualHost> {
        if let Some(of_name) = self.now.hosts.get_mut(&old.name) {
            of_name.retain(|host| !Arc::ptr_eq(host, old));
        }
        self.host(new)
    }

    /// The same virtual host as before, where there was one that is equal.
    pub(super) fn host(&mut self, host: VirtualHost) -> Arc<VirtualHost> {
        let of_name = |results: &Results| results.hosts.get(&host.name)?.iter().find(|h| ***h == host).cloned();
        if let Some(known) = of_name(&self.now) {
            return known;
        }
        let host = of_name(&self.before).unwrap_or_else(|| Arc::new(host));
        match self.now.hosts.get_mut(&host.name) {
            Some(of_name) => of_name.push(host.clone()),
            None => drop(self.now.hosts.insert(host.name.clone(), vec![host.clone()])),
        }
        host
    }
}
