//! Which VirtualServices the servers of each Gateway have, and where its pods are. Made once, for `effect` and
//! `practices`.

use super::world::World;
use crate::resource::{Map, ResourceId};
use crate::snapshot::Snapshot;
use crate::translate::{Bound, bound};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The VirtualServices of each Gateway, with its servers that have their hosts, and the pods that run it.
pub(in crate::analyze) struct Bindings<'s> {
    by_gateway: BTreeMap<String, Vec<Bound<'s>>>,
    /// The namespaces of the pods that a Gateway chooses; none where the input has no such pod.
    namespaces: BTreeMap<String, BTreeSet<String>>,
}

impl<'s> Bindings<'s> {
    pub(super) fn of(world: &World<'_>, snapshot: &'s Snapshot) -> Self {
        let mut by_gateway = BTreeMap::new();
        let mut namespaces = BTreeMap::new();
        let mut of_selector: HashMap<&Map, BTreeSet<String>> = HashMap::new();
        for gateway in snapshot.gateways() {
            let name = format!("{}/{}", gateway.id.namespace, gateway.id.name);
            by_gateway.insert(name.clone(), bound(snapshot, gateway));
            let pods = || world.pods.matching(&gateway.spec.selector);
            let of_pods = of_selector
                .entry(&gateway.spec.selector)
                .or_insert_with(|| pods().map(|pod| pod.object.id.namespace.to_string()).collect());
            namespaces.insert(name, of_pods.clone());
        }
        Self { by_gateway, namespaces }
    }

    /// Whether a gateway is one of the input.
    pub(super) fn knows(&self, gateway: &str) -> bool {
        self.by_gateway.contains_key(gateway)
    }

    /// Of each gateway, in the order of its servers and the oldest VirtualService first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Bound<'s>> {
        self.by_gateway.values().flatten()
    }

    /// As `all`, of one gateway.
    pub(super) fn of_gateway(&self, gateway: &str) -> &[Bound<'s>] {
        self.by_gateway.get(gateway).map_or(&[], Vec::as_slice)
    }

    /// By VirtualService.
    pub(super) fn by_virtual_service(&self) -> HashMap<&ResourceId, Vec<&Bound<'s>>> {
        let mut found: HashMap<_, Vec<_>> = HashMap::new();
        for bound in self.all() {
            found.entry(&bound.virtual_service.id).or_default().push(bound);
        }
        found
    }

    /// The namespaces in which pods run a gateway, as far as the input has them.
    pub(super) fn namespaces(&self, gateway: &str) -> impl Iterator<Item = &str> {
        self.namespaces.get(gateway).into_iter().flatten().map(String::as_str)
    }
}
