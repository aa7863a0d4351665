//! What is wrong with one object beyond its types, by the rules of Istio's webhook and CRDs: what a cluster
//! would refuse is an error here, what it would warn of is a warning.
//!
//! `load` calls it for each object. Rules that look at several objects belong to `snapshot` and to `check`.

mod connection;
mod destination_rule;
mod gateway;
mod header;
mod http_route;
mod kube;
mod load_balancer;
mod mesh_config;
mod names;
mod policy;
mod report;
mod secret;
mod service_entry;
mod sidecar;
mod virtual_service;

pub(super) use mesh_config::mesh_config;
use report::Report;

use super::{Kind, Object, Spec};
use crate::diagnostic::Diagnostic;
use crate::yaml::Path;

/// Judges one object by itself. Each finding has the path and, where the object was read from text, the place.
pub fn validate(object: &Object) -> Vec<Diagnostic> {
    let mut report = Report::new(object);
    let spec = &Path::ROOT.key("spec");
    kube::metadata(&mut report, object);
    if needs_spec(object.id.kind) && lacks_spec(object) {
        report.error(spec, "`spec` is missing");
        return report.into_findings();
    }
    match &object.spec {
        Spec::VirtualService(it) => virtual_service::check(&mut report, spec, it, object),
        Spec::DestinationRule(it) => destination_rule::check(&mut report, spec, it, object),
        Spec::Gateway(it) => gateway::check(&mut report, spec, it, object),
        Spec::ServiceEntry(it) => service_entry::check(&mut report, spec, it, object),
        Spec::WorkloadEntry(it) => service_entry::workload(&mut report, spec, it, None),
        Spec::WorkloadGroup(it) => service_entry::group(&mut report, spec, it),
        Spec::Sidecar(it) => sidecar::check(&mut report, spec, it, object),
        Spec::ProxyConfig(it) => sidecar::proxy_config(&mut report, spec, it),
        Spec::AuthorizationPolicy(it) => policy::authorization(&mut report, spec, it),
        Spec::PeerAuthentication(it) => policy::peer(&mut report, spec, it),
        Spec::RequestAuthentication(it) => policy::request(&mut report, spec, it),
        Spec::Secret(it) => secret::check(&mut report, it),
        Spec::Service(it) => kube::service(&mut report, it),
        Spec::Pod(it) => kube::pod(&mut report, spec, &it.spec),
        Spec::Deployment(it) | Spec::StatefulSet(it) | Spec::DaemonSet(it) | Spec::ReplicaSet(it) | Spec::Job(it) => {
            kube::workload(&mut report, spec, it)
        }
        Spec::CronJob(it) => {
            let template = spec.key("jobTemplate");
            kube::workload(&mut report, &template.key("spec"), &it.job_template.spec);
        }
        Spec::Namespace(_)
        | Spec::Node(_)
        | Spec::Endpoints(_)
        | Spec::EndpointSlice(_)
        | Spec::ServiceAccount(_)
        | Spec::ConfigMap(_)
        | Spec::Untyped => {}
    }
    report.into_findings()
}

/// Kinds whose CRD asks for a `spec`.
fn needs_spec(kind: Kind) -> bool {
    matches!(kind, Kind::ServiceEntry | Kind::WorkloadEntry | Kind::WorkloadGroup)
}

fn lacks_spec(object: &Object) -> bool {
    let spec = object.source.as_ref().map(|source| source.root().get("spec"));
    spec.is_some_and(|spec| spec.is_none_or(|spec| spec.is_null()))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
