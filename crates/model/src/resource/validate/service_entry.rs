//! ServiceEntries, WorkloadEntries and WorkloadGroups.

use super::report::Report;
use super::{header, names};
use crate::host;
use crate::protocol::Protocol;
use crate::resource::service_entry::{ReadinessProbe, Resolution};
use crate::resource::{IntOrString, Map, Object, ServiceEntry, WorkloadEntry, WorkloadGroup};
use crate::yaml::Path;

pub(super) fn check(report: &mut Report<'_>, at: &Path<'_>, entry: &ServiceEntry, object: &Object) {
    if let Some(selector) = &entry.workload_selector {
        let at = at.key("workloadSelector");
        names::selector(report, &at.key("labels"), &selector.labels);
        if selector.labels.is_empty() {
            report.warning(&at, "a selector without labels selects all workloads");
        }
        if entry.resolution == Resolution::None {
            report.warning(&at, "without use where `resolution` is NONE");
        }
        if !entry.endpoints.is_empty() {
            report.error(&at, "only one of `workloadSelector` and `endpoints` can be set");
        }
    }
    hosts(report, at, entry);
    let by_address = matches!(entry.resolution, Resolution::None | Resolution::Static);
    let list = at.key("addresses");
    for (index, address) in entry.addresses.iter().enumerate() {
        report.result(&list.index(index), names::subnet(address));
        if address.contains('/') && !by_address {
            report.error(&list.index(index), "CIDR blocks are for resolution NONE and STATIC alone");
        }
    }
    ports(report, at, entry);
    resolution(report, at, entry);
    several_hosts(report, at, entry);
    names::export_to(report, at, &object.id.namespace, &entry.export_to, true);
}

fn hosts(report: &mut Report<'_>, at: &Path<'_>, entry: &ServiceEntry) {
    if entry.hosts.is_empty() {
        report.error(&at.key("hosts"), "a ServiceEntry needs at least one host");
    }
    let list = at.key("hosts");
    for (index, name) in entry.hosts.iter().enumerate() {
        let at = list.index(index);
        if name == "*" {
            report.error(&at, "the host * is for Gateways and VirtualServices at gateways alone");
            continue;
        }
        report.result(&at, names::wildcard_domain(name));
        if entry.resolution != Resolution::DynamicDns
            && let Err(message) = names::no_partial_wildcard(name)
        {
            report.warning(&at, message);
        }
    }
}

fn ports(report: &mut Report<'_>, at: &Path<'_>, entry: &ServiceEntry) {
    let list = at.key("ports");
    for (index, port) in entry.ports.iter().enumerate() {
        let at = list.index(index);
        let earlier = &entry.ports[..index];
        if earlier.iter().any(|other| other.name == port.name) {
            report.error(&at.key("name"), format!("the port name `{}` is there twice", port.name));
        }
        if earlier.iter().any(|other| other.number == port.number) {
            report.error(&at.key("number"), format!("the port {} is there twice", port.number));
        }
        report.result(&at.key("name"), names::dns_label(&port.name));
        report.result(&at.key("number"), names::port(port.number));
        if port.target_port != 0 {
            report.result(&at.key("targetPort"), names::port(port.target_port));
        }
        protocol(report, &at, &port.protocol);
    }
}

/// Known, or none (then it is detected).
pub(super) fn protocol(report: &mut Report<'_>, at: &Path<'_>, protocol: &str) {
    if !protocol.is_empty() && Protocol::parse(protocol) == Protocol::Unspecified {
        report.error(&at.key("protocol"), format!("\"{protocol}\" is no protocol that Istio knows"));
    }
}

fn resolution(report: &mut Report<'_>, at: &Path<'_>, entry: &ServiceEntry) {
    let ports: Vec<&str> = entry.ports.iter().map(|port| port.name.as_str()).collect();
    let list = at.key("endpoints");
    match entry.resolution {
        Resolution::None => {
            if !entry.endpoints.is_empty() {
                report.error(&list, "resolution NONE goes to the address that was dialled: it takes no endpoints");
            }
        }
        Resolution::Static => {
            for (index, endpoint) in entry.endpoints.iter().enumerate() {
                let at = list.index(index);
                workload(report, &at, endpoint, Some(&ports));
            }
        }
        Resolution::Dns | Resolution::DnsRoundRobin => {
            if entry.endpoints.is_empty() {
                let hosts = at.key("hosts");
                for (index, name) in entry.hosts.iter().enumerate().filter(|(_, name)| name.contains('*')) {
                    let message = format!("\"{name}\" cannot be looked up by DNS; give `endpoints`");
                    report.error(&hosts.index(index), message);
                }
            }
            if entry.resolution == Resolution::DnsRoundRobin && entry.endpoints.len() > 1 {
                report.error(&list, "resolution DNS_ROUND_ROBIN takes one endpoint at most");
            }
            for (index, endpoint) in entry.endpoints.iter().enumerate() {
                let at = list.index(index);
                if !names::is_ip(&endpoint.address) {
                    report.result(&at.key("address"), names::fqdn(&endpoint.address));
                }
                names::labels(report, &at.key("labels"), &endpoint.labels);
                endpoint_ports(report, &at, endpoint, Some(&ports));
            }
        }
        Resolution::DynamicDns => dynamic_dns(report, at, entry),
    }
}

fn dynamic_dns(report: &mut Report<'_>, at: &Path<'_>, entry: &ServiceEntry) {
    let hosts = at.key("hosts");
    for (index, _) in entry.hosts.iter().enumerate().filter(|(_, name)| !host::is_wildcard(name)) {
        report.error(&hosts.index(index), "resolution DYNAMIC_DNS is for hosts with a wildcard");
    }
    for (name, is_empty) in [("addresses", entry.addresses.is_empty()), ("endpoints", entry.endpoints.is_empty())] {
        if !is_empty {
            report.error(&at.key(name), format!("resolution DYNAMIC_DNS takes no `{name}`"));
        }
    }
    let list = at.key("ports");
    for (index, port) in entry.ports.iter().enumerate() {
        let known = [Protocol::Http, Protocol::Tls, Protocol::Grpc, Protocol::Http2];
        if !known.contains(&Protocol::parse(&port.protocol)) {
            let at = list.index(index);
            report.error(&at.key("protocol"), "resolution DYNAMIC_DNS is for HTTP, HTTP2, GRPC and TLS");
        }
    }
}

/// Hosts of one entry are told apart by what the client says; plain TCP says nothing.
fn several_hosts(report: &mut Report<'_>, at: &Path<'_>, entry: &ServiceEntry) {
    if entry.resolution == Resolution::None || entry.hosts.len() < 2 {
        return;
    }
    let untold = entry.ports.iter().position(|port| {
        let protocol = Protocol::parse(&port.protocol);
        !protocol.is_http() && !protocol.is_tls()
    });
    if let Some(index) = untold {
        let message = "several hosts need ports of HTTP or TLS: nothing else says which host is meant";
        report.error(&at.key("ports").index(index), message);
    }
}

/// A WorkloadEntry, or an endpoint of a ServiceEntry of resolution STATIC (whose port names are then given).
pub(super) fn workload(report: &mut Report<'_>, at: &Path<'_>, entry: &WorkloadEntry, ports: Option<&[&str]>) {
    let address = at.key("address");
    match entry.address.strip_prefix("unix://") {
        Some(path) => {
            report.result(&address, names::unix_path(path));
            if !entry.ports.is_empty() {
                report.error(&at.key("ports"), "a Unix socket has no ports");
            }
            if ports.is_some_and(|ports| ports.len() != 1) {
                report.error(&address, "a Unix socket needs a service of exactly one port");
            }
        }
        None if entry.address.is_empty() && entry.network.is_empty() => {
            report.error(&address, "an `address` is needed (or a `network`, whose gateway then takes the traffic)");
        }
        None if entry.address.is_empty() => {
            report.warning(&address, "no address: nothing is sent here, for gateways of networks are not looked up");
        }
        None if names::is_ip(&entry.address) => {}
        None if ports.is_some() => report.result(&address, names::ip(&entry.address)),
        None => report.result(&address, names::fqdn(&entry.address)),
    }
    names::labels(report, &at.key("labels"), &entry.labels);
    endpoint_ports(report, at, entry, ports);
}

fn endpoint_ports(report: &mut Report<'_>, at: &Path<'_>, entry: &WorkloadEntry, known: Option<&[&str]>) {
    let ports = at.key("ports");
    for (name, number) in &entry.ports {
        let at = ports.key(name);
        if known.is_some_and(|known| !known.contains(&name.as_str())) {
            report.error(&at, format!("the ServiceEntry has no port `{name}`"));
        }
        report.result(&at, names::dns_label(name));
        report.result(&at, names::port(*number));
    }
}

pub(super) fn group(report: &mut Report<'_>, at: &Path<'_>, group: &WorkloadGroup) {
    let Some(template) = &group.template else { return report.error(at, "`template` is missing") };
    let template_at = at.key("template");
    endpoint_ports(report, &template_at, template, None);
    names::labels(report, &template_at.key("labels"), &template.labels);
    if let Some(metadata) = &group.metadata {
        let labels: &Map = &metadata.labels;
        names::labels(report, &at.key("metadata").key("labels"), labels);
    }
    if let Some(found) = &group.probe {
        probe(report, &at.key("probe"), found);
    }
}

fn probe(report: &mut Report<'_>, at: &Path<'_>, probe: &ReadinessProbe) {
    let times = [
        ("periodSeconds", probe.period_seconds),
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ];
    for (name, _) in times.iter().filter(|(_, number)| *number < 0) {
        report.error(&at.key(name), "this cannot be below 0");
    }
    let ways = [
        ("httpGet", probe.http_get.is_some()),
        ("tcpSocket", probe.tcp_socket.is_some()),
        ("exec", probe.exec.is_some()),
        ("grpc", probe.grpc.is_some()),
    ];
    report.at_most_one(at, &ways);
    if ways.iter().all(|(_, is_set)| !is_set) {
        report.error(at, "a probe needs `httpGet`, `tcpSocket`, `exec` or `grpc`");
    }
    if let Some(http) = &probe.http_get {
        let at = at.key("httpGet");
        report.result(&at.key("port"), probe_port(&http.port));
        if !matches!(http.scheme.as_str(), "" | "HTTP" | "HTTPS") {
            report.error(&at.key("scheme"), "a probe's scheme is HTTP or HTTPS");
        }
        let list = at.key("httpHeaders");
        for (index, found) in http.http_headers.iter().enumerate() {
            if !header::is_header_name(&found.name) {
                report.error(&list.index(index).key("name"), format!("\"{}\" is no name of a header", found.name));
            }
        }
    }
    if let Some(tcp) = &probe.tcp_socket {
        report.result(&at.key("tcpSocket").key("port"), probe_port(&tcp.port));
    }
    if let Some(grpc) = &probe.grpc {
        report.result(&at.key("grpc").key("port"), names::port(grpc.port));
    }
    if probe.exec.as_ref().is_some_and(|exec| exec.command.is_empty()) {
        report.error(&at.key("exec"), "`command` is missing");
    }
}

fn probe_port(port: &IntOrString) -> Result<(), String> {
    match port {
        IntOrString::Int(number) => names::port(*number),
        IntOrString::String(name) => Err(format!("\"{name}\": the port of this probe is a number")),
    }
}
