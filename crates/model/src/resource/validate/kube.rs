//! Kubernetes' kinds: the few rules without which a mesh cannot use them. And the rules for names, of all kinds.

use super::names;
use super::report::Report;
use crate::resource::kube::ServiceType;
use crate::resource::{Kind, Object, PodSpec, Service, Workload};
use crate::yaml::Path;

/// The name, the namespace, annotations that users must not set, and a `spec` where one is needed.
pub(super) fn metadata(report: &mut Report<'_>, object: &Object) {
    let at = &Path::ROOT.key("metadata");
    let name = &*object.id.name;
    let is_lower = |name: &str| !name.bytes().any(|byte| byte.is_ascii_uppercase());
    let sound = match object.id.kind {
        Kind::Service | Kind::Namespace => names::is_dns_label(name),
        _ => name.len() <= 253 && name.split('.').all(names::is_dns_label),
    };
    if !sound || !is_lower(name) {
        report
            .error(&at.key("name"), format!("\"{name}\" is no name of a {}: lower case, digits and -", object.id.kind));
    }
    let namespace = &*object.id.namespace;
    let sound = namespace.is_empty() || (names::is_dns_label(namespace) && is_lower(namespace));
    if !sound {
        report.error(&at.key("namespace"), format!("\"{namespace}\" is no name of a namespace"));
    }
    if object.id.kind.is_istio() {
        let annotations = at.key("annotations");
        let forbidden = [
            "internal.istio.io/parents",
            "internal.istio.io/parent-namespace",
            "internal.istio.io/webhook-always-reject",
        ];
        for name in forbidden.iter().filter(|name| object.meta.annotations.contains_key(**name)) {
            report.error(&annotations.key(name), "this annotation is Istio's own");
        }
    }
}

pub(super) fn service(report: &mut Report<'_>, service: &Service) {
    let at = &Path::ROOT.key("spec");
    let spec = &service.spec;
    let list = at.key("ports");
    for (index, port) in spec.ports.iter().enumerate() {
        let at = list.index(index);
        report.result(&at.key("port"), names::port(port.port));
        let earlier = &spec.ports[..index];
        if spec.ports.len() > 1 && port.name.is_empty() {
            report.error(&at, "a port of several needs a `name`");
        }
        let same = |other: &&crate::resource::kube::ServicePort| {
            let protocol = |protocol: &str| if protocol.is_empty() { "TCP".to_owned() } else { protocol.to_owned() };
            other.port == port.port && protocol(&other.protocol) == protocol(&port.protocol)
        };
        if earlier.iter().any(|other| same(&other)) {
            report.error(&at.key("port"), format!("the port {} is there twice", port.port));
        } else if earlier.iter().any(|other| !port.name.is_empty() && other.name == port.name) {
            report.error(&at.key("name"), format!("the port name `{}` is there twice", port.name));
        }
        if !matches!(port.protocol.as_str(), "" | "TCP" | "UDP" | "SCTP") {
            report.error(
                &at.key("protocol"),
                "a Service's protocol is TCP, UDP or SCTP; name HTTP in `appProtocol` or the port's name",
            );
        }
    }
    let addresses = std::iter::once(&spec.cluster_ip).chain(&spec.cluster_ips);
    for address in addresses.filter(|address| !matches!(address.as_str(), "" | "None")) {
        report.result(&at.key("clusterIP"), names::ip(address));
    }
    if spec.service_type == ServiceType::ExternalName && spec.external_name.is_empty() {
        report.error(at, "type ExternalName needs `externalName`");
    }
}

pub(super) fn workload(report: &mut Report<'_>, at: &Path<'_>, workload: &Workload) {
    if workload.replicas.is_some_and(|replicas| replicas < 0) {
        report.error(&at.key("replicas"), "replicas cannot be below 0");
    }
    let template = at.key("template");
    let labels = &workload.template.metadata.labels;
    if !workload.selector.matches(labels) {
        report.error(&at.key("selector"), "the selector does not select the pods of the template");
    }
    pod(report, &template.key("spec"), &workload.template.spec);
}

pub(super) fn pod(report: &mut Report<'_>, at: &Path<'_>, pod: &PodSpec) {
    for (field, containers) in [("containers", &pod.containers), ("initContainers", &pod.init_containers)] {
        let list = at.key(field);
        for (index, container) in containers.iter().enumerate() {
            let container_at = list.index(index);
            let ports = container_at.key("ports");
            for (index, port) in container.ports.iter().enumerate() {
                report.result(&ports.index(index).key("containerPort"), names::port(port.container_port));
            }
        }
    }
}
