//! Sidecars, and the resource ProxyConfig.

use super::report::Report;
use super::{connection, gateway, names, service_entry, virtual_service};
use crate::protocol::Protocol;
use crate::resource::gateway::ServerTlsMode;
use crate::resource::sidecar::*;
use crate::resource::{Object, ProxyConfigResource, Sidecar};
use crate::yaml::Path;

pub(super) fn check(report: &mut Report<'_>, at: &Path<'_>, sidecar: &Sidecar, object: &Object) {
    if let Some(selector) = &sidecar.workload_selector {
        let at = at.key("workloadSelector");
        names::selector(report, &at.key("labels"), &selector.labels);
        if selector.labels.is_empty() {
            report.warning(&at, "a selector without labels selects all workloads of the namespace");
        }
    }
    let nothing = sidecar.egress.is_empty() && sidecar.ingress.is_empty();
    if nothing && sidecar.outbound_traffic_policy.is_none() && sidecar.inbound_connection_pool.is_none() {
        return report.error(at, "an empty Sidecar: give `egress`, `ingress` or `outboundTrafficPolicy`");
    }
    let list = at.key("ingress");
    for (index, listener) in sidecar.ingress.iter().enumerate() {
        let at = list.index(index);
        ingress(report, &at, listener);
        let number = |listener: &IngressListener| listener.port.as_ref().map(|port| port.number);
        let own = number(listener);
        if own.is_some() && sidecar.ingress[..index].iter().any(|earlier| number(earlier) == own) {
            report.error(&at.key("port").key("number"), "two listeners have this port");
        }
    }
    if let Some(pool) = &sidecar.inbound_connection_pool {
        connection::pool(report, &at.key("inboundConnectionPool"), pool);
    }
    let list = at.key("egress");
    for (index, listener) in sidecar.egress.iter().enumerate() {
        let listeners = (sidecar.egress.as_slice(), index);
        egress(report, &list.index(index), listener, listeners, &object.id.namespace);
    }
    if let Some(policy) = &sidecar.outbound_traffic_policy {
        outbound_policy(report, &at.key("outboundTrafficPolicy"), policy);
    }
}

fn port_and_bind(report: &mut Report<'_>, at: &Path<'_>, port: &SidecarPort, bind: &str) {
    let port_at = at.key("port");
    if !port.name.is_empty() {
        report.result(&port_at.key("name"), names::dns_label(&port.name));
    }
    service_entry::protocol(report, &port_at, &port.protocol);
    if port.target_port > 0 {
        report.error(&port_at.key("targetPort"), "targetPort means nothing in a Sidecar");
    }
    if port.number != 0 {
        report.result(&port_at.key("number"), names::port(port.number));
        if !bind.is_empty() {
            report.result(&at.key("bind"), names::ip(bind));
        }
    }
}

fn ingress(report: &mut Report<'_>, at: &Path<'_>, listener: &IngressListener) {
    let Some(port) = &listener.port else { return report.error(at, "`port` is missing") };
    port_and_bind(report, at, port, &listener.bind);
    if port.number == 0 {
        report.result(&at.key("port").key("number"), names::port(port.number));
    }
    if listener.capture_mode == CaptureMode::None && listener.default_endpoint.is_empty() {
        report.warning(
            at,
            "captureMode NONE needs `defaultEndpoint`: what was dialled is the sidecar, so that requests get 503",
        );
    }
    if !listener.default_endpoint.is_empty() {
        report.result(&at.key("defaultEndpoint"), default_endpoint(&listener.default_endpoint));
    }
    let protocol = Protocol::parse(&port.protocol);
    if let Some(tls) = &listener.tls {
        let at = at.key("tls");
        let against = [
            ("subjectAltNames", !tls.subject_alt_names.is_empty()),
            ("httpsRedirect", tls.https_redirect),
            ("credentialName", !tls.credential_name.is_empty()),
            ("credentialNames", !tls.credential_names.is_empty()),
            ("tlsCertificates", !tls.tls_certificates.is_empty()),
        ];
        for (name, _) in against.iter().filter(|(_, is_set)| *is_set) {
            report.error(&at.key(name), "not in a Sidecar's ingress");
        }
        if matches!(tls.mode, ServerTlsMode::IstioMutual | ServerTlsMode::AutoPassthrough) {
            report.error(&at.key("mode"), "not in a Sidecar's ingress");
        }
        if !protocol.is_tls() {
            report.error(&at, "`tls` needs a port of protocol HTTPS or TLS");
        }
        gateway::server_tls(report, &at, tls);
    }
    if let Some(pool) = &listener.connection_pool {
        connection::pool(report, &at.key("connectionPool"), pool);
        if pool.http.is_some() && !protocol.is_http() {
            report.warning(&at.key("connectionPool").key("http"), "without use: the port's protocol is not HTTP");
        }
    }
}

/// `127.0.0.1:PORT`, `0.0.0.0:PORT`, `[::1]:PORT`, `[::]:PORT`, `:PORT`, `unix:///path`.
fn default_endpoint(endpoint: &str) -> Result<(), String> {
    if let Some(path) = endpoint.strip_prefix("unix://") {
        return names::unix_path(path);
    }
    let form =
        || Err("defaultEndpoint is 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix:///PATH".to_owned());
    let Some((address, port)) = endpoint.rsplit_once(':') else { return form() };
    if !matches!(address, "" | "127.0.0.1" | "0.0.0.0" | "[::1]" | "[::]") {
        return form();
    }
    port.parse::<u32>().map_or_else(|_| form(), names::port)
}

/// Whether one of two hosts of a listener, the first before the second, says nothing of its own: the same ones, one
/// beside all of its namespace, or all of a namespace after some of it.
fn overlap(first: &str, second: &str, own: &str) -> bool {
    let parts = |host: &str| {
        let (namespace, name) = host.split_once('/')?;
        let namespace = if namespace == "." { own } else { namespace };
        (!namespace.starts_with('~')).then(|| (namespace.to_owned(), name.to_owned()))
    };
    let (Some((in_first, first)), Some((in_second, second))) = (parts(first), parts(second)) else { return false };
    in_first == in_second && (first == second || first == "*" || second == "*")
}

fn egress(
    report: &mut Report<'_>,
    at: &Path<'_>,
    listener: &EgressListener,
    (all, index): (&[EgressListener], usize),
    namespace: &str,
) {
    match &listener.port {
        None if index + 1 < all.len() => {
            report.error(at, "the listener without a port takes what is left: it stands last, and once");
        }
        None => {}
        Some(port) => {
            port_and_bind(report, at, port, &listener.bind);
            let on_socket = listener.bind.strip_prefix("unix://");
            if port.number == 0 {
                match on_socket {
                    Some(path) => report.result(&at.key("bind"), names::unix_path(path)),
                    None => {
                        report.error(&at.key("port").key("number"), "port 0 needs a `bind` of the form unix:///PATH")
                    }
                }
                if listener.capture_mode == CaptureMode::Iptables {
                    report.error(&at.key("captureMode"), "a Unix socket cannot be captured by iptables");
                }
            }
            let same = |earlier: &&EgressListener| match &earlier.port {
                Some(other) if other.number == 0 => port.number == 0 && earlier.bind == listener.bind,
                Some(other) => other.number == port.number,
                None => false,
            };
            if all[..index].iter().any(|earlier| same(&earlier)) {
                report.error(&at.key("port").key("number"), "two listeners have this port or socket");
            }
        }
    }
    if listener.hosts.is_empty() {
        report.error(at, "a listener needs at least one host");
    }
    let list = at.key("hosts");
    for (index, host) in listener.hosts.iter().enumerate() {
        let at = list.index(index);
        report.result(&at, egress_host(host));
        let everything = listener.hosts.iter().any(|other| other == "*/*");
        let within = everything && host != "*/*" && !host.starts_with('~');
        if within || listener.hosts[..index].iter().any(|earlier| overlap(earlier, host, namespace)) {
            report.warning(&at, format!("\"{host}\" is within another host of this listener"));
        }
    }
}

/// `namespace/host`, the namespace `*`, `.` or `~`, or a name, with `~` before it to leave it out.
fn egress_host(host: &str) -> Result<(), String> {
    let Some((namespace, name)) = host.split_once('/') else {
        return Err(format!("\"{host}\" is not of the form NAMESPACE/HOST"));
    };
    if namespace.is_empty() || name.is_empty() {
        return Err(format!("\"{host}\" is not of the form NAMESPACE/HOST"));
    }
    let bare = namespace.strip_prefix('~').unwrap_or(namespace);
    if !matches!(bare, "" | "*" | ".") && !names::is_dns_label(bare) {
        return Err(format!("\"{namespace}\" is neither * nor . nor ~ nor the name of a namespace"));
    }
    names::listener_host(name, false)
}

fn outbound_policy(report: &mut Report<'_>, at: &Path<'_>, policy: &SidecarOutboundPolicy) {
    let Some(proxy) = &policy.egress_proxy else { return };
    let at = at.key("egressProxy");
    if policy.mode != SidecarOutboundMode::AllowAny {
        return report.error(&at, "egressProxy is for mode ALLOW_ANY");
    }
    report.result(&at.key("host"), names::fqdn(&proxy.host));
    if proxy.port.is_none() {
        return report.error(&at, "`port` is missing");
    }
    virtual_service::destination(report, &at, proxy);
}

pub(super) fn proxy_config(report: &mut Report<'_>, at: &Path<'_>, config: &ProxyConfigResource) {
    if let Some(selector) = &config.selector {
        names::selector(report, &at.key("selector").key("matchLabels"), &selector.match_labels);
    }
    if config.concurrency.is_some_and(|workers| workers < 0) {
        report.error(&at.key("concurrency"), "concurrency cannot be below 0");
    }
}
