//! What is in force of a Sidecar with errors, where there is no last good version. Called by `Snapshot::build`.

use super::broken::Broken;
use crate::resource::sidecar::{EgressListener, SidecarOutboundMode, SidecarOutboundPolicy};
use crate::resource::{Object, Sidecar};
use std::sync::Arc;

/// The fields of a Sidecar's spec but for its selector.
const FIELDS: [&str; 4] = ["ingress", "egress", "inboundConnectionPool", "outboundTrafficPolicy"];

/// None: for which workloads it is, is not known. One that is broken otherwise opens nothing to its workloads that
/// it does not surely name.
pub(super) fn effective(object: &Object, spec: &Arc<Sidecar>) -> Option<Arc<Sidecar>> {
    let broken = Broken::of(object);
    let unread = spec.workload_selector.is_none() && broken.at_or_misspelt("spec", "workloadSelector");
    if unread || broken.at("spec.workloadSelector") || broken.has_unknown(&FIELDS) {
        return None;
    }
    if !broken.at("spec") {
        return Some(spec.clone());
    }
    let mut spec = (**spec).clone();
    let closed = SidecarOutboundPolicy { mode: SidecarOutboundMode::RegistryOnly, egress_proxy: None };
    spec.outbound_traffic_policy = Some(closed);
    let mut index = 0;
    spec.egress.retain(|_| {
        index += 1;
        !broken.is("spec.egress") && !broken.at(&format!("spec.egress[{}]", index - 1))
    });
    if spec.egress.is_empty() && broken.at_or_misspelt("spec", "egress") {
        // None at all would mean every service.
        spec.egress.push(EgressListener { hosts: vec!["~/*".to_string()], ..EgressListener::default() });
    }
    Some(Arc::new(spec))
}

#[cfg(test)]
#[path = "sidecar_tests.rs"]
mod tests;
