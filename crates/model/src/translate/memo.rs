//! Memo: what was translated once need not be again: for another scope, or for the next snapshot.
//!
//! Keyed by the parts of the snapshot that a result is made of, which `Snapshot::build_after` keeps the same where
//! they have not changed. What comes out is equal to what is made without one.

use super::cluster::{self, Built};
use super::locality::Balance;
use super::node::{NodeKind, Place, looks_up};
use super::view::View;
use crate::config::{DnsFamily, VirtualHost};
use crate::resource::MeshConfig;
use crate::snapshot::{EndpointsByPort, MergedRule, Service, Snapshot};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The clusters of a service.
pub(super) type Clusters = Arc<[Built]>;

/// Results of this snapshot and of the one before.
#[derive(Debug, Default)]
pub struct Memo {
    mesh: Option<MeshConfig>,
    now: Results,
    before: Results,
}

#[derive(Debug, Default)]
struct Results {
    clusters: HashMap<Key, Known>,
    /// By name.
    hosts: HashMap<String, Vec<Arc<VirtualHost>>>,
}

/// The addresses of the `Sources`, but for the endpoints: of a service there are no two in one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    kind: NodeKind,
    service: usize,
    rule: usize,
    /// The default for services that are reached without looking up names.
    dns_family: DnsFamily,
    passes_tls: bool,
}

/// The clusters of a service.
#[derive(Debug)]
struct Known {
    sources: Sources,
    clusters: Clusters,
    /// Those of clients of a place, where some are balanced by locality.
    placed: HashMap<Place, Clusters>,
    /// As `placed`, of the snapshot before.
    placed_before: HashMap<Place, Clusters>,
}

/// What clusters are made of; kept, so that nothing else takes its address.
type Sources = (Arc<Service>, Option<Arc<MergedRule>>, Option<Arc<EndpointsByPort>>);

fn address<T>(part: Option<&Arc<T>>) -> usize {
    part.map_or(0, |part| Arc::as_ptr(part).addr())
}

impl Known {
    fn of_place(&mut self, view: &View<'_>, service: &Service, place: &Place) -> Clusters {
        let balances = || self.clusters.iter().filter_map(|built| built.placing.as_ref()).map(|p| &p.balance);
        if balances().next().is_none() {
            return self.clusters.clone();
        }
        // What others of its labels say makes no difference here.
        let keys = balances().flat_map(Balance::label_keys).collect::<BTreeSet<_>>();
        let own = |key: &str| Some((key.to_string(), place.labels.get(key)?.clone()));
        let place = Place { locality: place.locality.clone(), labels: keys.into_iter().filter_map(own).collect() };
        if let Some(known) = self.placed.get(&place) {
            return known.clone();
        }
        let placed = self
            .placed_before
            .remove(&place)
            .unwrap_or_else(|| self.clusters.iter().map(|built| built.placed(view, service, &place)).collect());
        self.placed.insert(place, placed.clone());
        placed
    }
}

impl Memo {
    /// From now on it is asked about all of this snapshot. What was not asked for since the last call is forgotten.
    pub fn begin(&mut self, snapshot: &Snapshot) {
        self.before = std::mem::take(&mut self.now);
        if self.mesh.as_ref() != Some(&snapshot.mesh) {
            *self = Self { mesh: Some(snapshot.mesh.clone()), ..Self::default() };
        }
    }

    /// The clusters of a service, as they are for clients anywhere.
    pub(super) fn clusters(&mut self, view: &View<'_>, service: &Arc<Service>) -> Clusters {
        self.known(view, service).map(|known| known.clusters.clone()).unwrap_or_default()
    }

    /// As they are for clients of a place.
    pub(super) fn placed(&mut self, view: &View<'_>, service: &Arc<Service>, place: &Place) -> Clusters {
        self.known(view, service).map(|known| known.of_place(view, service, place)).unwrap_or_default()
    }

    /// It is always there.
    fn known(&mut self, view: &View<'_>, service: &Arc<Service>) -> Option<&mut Known> {
        let rule = view.rule(&service.host);
        let endpoints = view.snapshot.all_endpoints(service);
        let dns_family = if looks_up(service) { view.scope.dns_family } else { DnsFamily::default() };
        let key = Key {
            kind: view.scope.kind,
            service: address(Some(service)),
            rule: address(rule),
            dns_family,
            passes_tls: view.scope.passes_tls,
        };
        let holds = |known: &Known| address(known.sources.2.as_ref()) == address(endpoints);
        if !self.now.clusters.get(&key).is_some_and(holds) {
            let found = match self.before.clusters.remove(&key).filter(holds) {
                Some(known) => Known { placed: HashMap::new(), placed_before: known.placed, ..known },
                None => Known {
                    sources: (service.clone(), rule.cloned(), endpoints.cloned()),
                    clusters: cluster::of_service(view, service).into(),
                    placed: HashMap::new(),
                    placed_before: HashMap::new(),
                },
            };
            self.now.clusters.insert(key, found);
        }
        // It was put there just now, or earlier.
        self.now.clusters.get_mut(&key)
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
