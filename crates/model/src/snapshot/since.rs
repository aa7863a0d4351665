//! What a snapshot has changed of an earlier one, where it is so little that not everything has to be translated again.
//!
//! `control` asks before it makes its proxies' configurations anew.

use super::virtual_service::http_destinations;
use super::{EndpointsByPort, Parts, ResolvedVirtualService, Rule, ServiceKey, Snapshot};
use crate::resource::virtual_service::HttpRoute;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A VirtualService of which nothing but the HTTP rules is new.
#[derive(Debug, Clone)]
pub struct RulesChange {
    pub before: Arc<ResolvedVirtualService>,
    pub now: Arc<ResolvedVirtualService>,
}

impl Snapshot {
    /// The services whose endpoints are others than in an earlier snapshot, where nothing but endpoints of services
    /// with virtual addresses is; else None, as always where a look at everything is due.
    pub fn endpoints_changed_since(&self, earlier: &Self) -> Option<Vec<ServiceKey>> {
        if !Arc::ptr_eq(&self.parts, &earlier.parts) {
            return None;
        }
        let differs = |(key, now): &(&ServiceKey, &Arc<EndpointsByPort>)| {
            earlier.endpoints.get(*key).is_none_or(|before| !Arc::ptr_eq(before, now))
        };
        Some(self.endpoints.iter().filter(differs).map(|(key, _)| key.clone()).collect())
    }

    /// The VirtualServices whose HTTP rules are others than in an earlier snapshot, where nothing else is: the same
    /// hosts, and destinations among the same services. Else None, as always where a look at everything is due.
    pub fn rules_changed_since(&self, earlier: &Self) -> Option<Vec<RulesChange>> {
        let same_endpoints = self.endpoints.len() == earlier.endpoints.len()
            && self
                .endpoints
                .iter()
                .zip(&earlier.endpoints)
                .all(|(now, was)| now.0 == was.0 && Arc::ptr_eq(now.1, was.1));
        if !same_endpoints {
            return None;
        }
        // Each field by its name, so that none that comes later is forgotten.
        let Parts {
            mesh,
            services,
            by_host: _, // of the services
            pods,
            virtual_services,
            by_gateway: _, // of the VirtualServices
            destination_rules,
            gateways,
            sidecars,
            secrets,
            in_place: _, // what comes of it is looked at
            pending: _,  // as above
            label_keys,
            place_keys: _, // of the rules, services and mesh
            left: _,       // as above
        } = &*self.parts;
        let was = &earlier.parts;
        let same_services =
            services.len() == was.services.len() && services.iter().zip(&was.services).all(|(a, b)| Arc::ptr_eq(a, b));
        let same = same_services
            && virtual_services.len() == was.virtual_services.len()
            && *mesh == was.mesh
            && *pods == was.pods
            && *destination_rules == was.destination_rules
            && *gateways == was.gateways
            && *sidecars == was.sidecars
            && *secrets == was.secrets
            && *label_keys == was.label_keys;
        if !same {
            return None;
        }
        let mut changes = Vec::new();
        for (now, before) in virtual_services.iter().zip(&was.virtual_services) {
            if now == before {
                continue;
            }
            let same = now.id == before.id
                && now.age == before.age
                && now.hosts == before.hosts
                && now.gateways == before.gateways
                && now.export_to == before.export_to
                && now.tls == before.tls
                && now.tcp == before.tcp
                && reach(&now.http) == reach(&before.http);
            if !same {
                return None;
            }
            changes.push(RulesChange { before: before.clone(), now: now.clone() });
        }
        Some(changes)
    }
}

/// What rules may send to, and for which namespaces' clients: what decides which services these see.
fn reach(rules: &[Rule<HttpRoute>]) -> BTreeSet<(Vec<&str>, &str, u32)> {
    let mut found = BTreeSet::new();
    for rule in rules {
        let named = rule.route.matches.iter().map(|m| m.source_namespace.as_str());
        let namespaces: Vec<_> = named.filter(|namespace| !namespace.is_empty()).collect();
        for destination in http_destinations(&rule.route) {
            let port = destination.port.as_ref().map_or(0, |port| port.number);
            found.insert((namespaces.clone(), destination.host.as_str(), port));
        }
    }
    found
}
