//! Findings that Istio's analyzer has too, by Istio's codes. A file a family; each rule is a function of the `World`.

mod annotation_table;
mod annotation_values;
mod annotations;
mod destination_rule;
mod envoy_filter;
mod gateway;
mod images;
mod injection;
mod installation;
mod policy;
mod selectors;
mod service;
mod service_entry;
mod telemetry;
mod virtual_service;
mod webhook;
mod workload;

pub(super) use injection::{injector_name, injector_values, injects_by_default};
pub(super) use virtual_service::destinations::missing_subsets;

use super::world::World;
use crate::diagnostic::Diagnostic;

/// A rule adds what it finds.
type Rule = fn(&World<'_>, &mut Vec<Diagnostic>);

pub(super) fn find(world: &World<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for rule in RULES {
        rule(world, &mut found);
    }
    found
}

const RULES: &[Rule] = &[
    virtual_service::destinations::hosts,
    virtual_service::destinations::subsets,
    virtual_service::destinations::ingress_subsets,
    virtual_service::gateways::find,
    virtual_service::mesh_hosts::find,
    virtual_service::unreachable::find,
    virtual_service::claims::find,
    destination_rule::verification,
    destination_rule::subsets,
    gateway::workloads::find,
    gateway::certificates::find,
    gateway::conflicts::find,
    gateway::secrets::find,
    service::port_names,
    service_entry::addresses,
    service_entry::protocols,
    selectors::sidecars,
    selectors::telemetries,
    telemetry::providers,
    telemetry::deprecated,
    policy::workloads,
    policy::namespaces,
    policy::selectors,
    policy::key_fetching,
    annotations::find,
    injection::namespaces,
    injection::pods,
    images::mismatches,
    images::automatic,
    workload::users,
    workload::services,
    envoy_filter::find,
    webhook::injectors,
    webhook::external,
    installation::registries,
    installation::definitions,
    installation::conditions,
];
