//! Where a match is in force, and for whom, as far as that is decided before there is a request.

use crate::snapshot::{Labels, ResolvedVirtualService, selects};

#[derive(Debug, Clone)]
pub(super) struct Reach<'a> {
    /// 0: every port.
    port: u32,
    /// Of those that the VirtualService is bound to.
    pub(super) gateways: Vec<&'a str>,
    /// Labels and namespace of clients; empty: all.
    labels: Option<&'a Labels>,
    namespace: &'a str,
}

impl<'a> Reach<'a> {
    /// Of a rule without a match.
    pub(super) fn everywhere(vs: &'a ResolvedVirtualService) -> Self {
        Self { port: 0, gateways: vs.gateways.iter().map(String::as_str).collect(), labels: None, namespace: "" }
    }

    /// Of a match; `gateways` as it names them.
    pub(super) fn of(
        vs: &'a ResolvedVirtualService,
        gateways: &'a [String],
        port: u32,
        labels: &'a Labels,
        namespace: &'a str,
    ) -> Self {
        let named = |gateway: &&str| gateways.is_empty() || gateways.iter().any(|name| name == gateway);
        let bound = vs.gateways.iter().map(String::as_str).filter(named).collect();
        Self { port, gateways: bound, labels: Some(labels).filter(|labels| !labels.is_empty()), namespace }
    }

    /// For whatever client: what a match of HTTP means that names gateways.
    pub(super) fn of_all_clients(self) -> Self {
        Self { labels: None, namespace: "", ..self }
    }

    pub(super) fn in_mesh(&self) -> bool {
        self.gateways.contains(&"mesh")
    }

    pub(super) fn at(&self, gateway: &str, port: u32) -> bool {
        (self.port == 0 || self.port == port) && self.gateways.contains(&gateway)
    }

    /// Wherever this is in force, so is `wide`, but for clients.
    pub(super) fn places_within(&self, wide: &Self) -> bool {
        (wide.port == 0 || wide.port == self.port) && self.gateways.iter().all(|name| wide.gateways.contains(name))
    }

    /// `wide` is for all of this one's clients.
    pub(super) fn clients_within(&self, wide: &Self) -> bool {
        let labels = match (wide.labels, self.labels) {
            (None, _) => true,
            (Some(wide), Some(narrow)) => selects(wide, narrow),
            (Some(_), None) => false,
        };
        labels && (wide.namespace.is_empty() || wide.namespace == self.namespace)
    }
}
