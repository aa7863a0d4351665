//! Gateways: servers, their ports, hosts and TLS.

use super::names;
use super::report::Report;
use crate::protocol::Protocol;
use crate::resource::gateway::{Port, Server, ServerTls, ServerTlsMode, TlsProtocol};
use crate::resource::tls_names::{CIPHER_SUITES, CURVES, SPOKEN, SPOKEN_CURVES, is_cipher_suite, is_curve};
use crate::resource::{Gateway, Object};
use crate::yaml::Path;

pub(super) fn check(report: &mut Report<'_>, at: &Path<'_>, gateway: &Gateway, object: &Object) {
    if !names::is_dns_label(&object.id.name) {
        let name = Path::ROOT.key("metadata");
        report.result(&name.key("name"), names::dns_label(&object.id.name));
    }
    if gateway.servers.is_empty() {
        report.error(at, "a Gateway needs at least one server");
    }
    let list = at.key("servers");
    for (index, found) in gateway.servers.iter().enumerate() {
        let at = list.index(index);
        server(report, &at, found);
        let name = found.port.as_ref().map(|port| &port.name);
        let earlier = gateway.servers[..index].iter().filter_map(|server| server.port.as_ref());
        if name.is_some_and(|name| !name.is_empty() && earlier.clone().any(|port| port.name == *name)) {
            report.error(&at.key("port").key("name"), "the names of a Gateway's ports must differ");
        }
    }
}

fn server(report: &mut Report<'_>, at: &Path<'_>, server: &Server) {
    if server.hosts.is_empty() {
        report.error(at, "a server needs at least one host");
    }
    let list = at.key("hosts");
    for (index, host) in server.hosts.iter().enumerate() {
        report.result(&list.index(index), gateway_host(host));
    }
    bind(report, at, server);
    if let Some(tls) = &server.tls {
        server_tls(report, &at.key("tls"), tls);
    }
    let Some(found) = &server.port else { return report.error(at, "`port` is missing") };
    let protocol = port(report, &at.key("port"), found, server.bind.starts_with("unix://"));
    let Some(protocol) = protocol else { return };
    let tls_at = at.key("tls");
    match &server.tls {
        None if protocol.is_tls() => report.error(at, format!("protocol {} needs `tls`", found.protocol)),
        Some(tls) if !protocol.is_tls() => {
            let passes = matches!(tls.mode, ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough);
            let files = [&tls.ca_certificates, &tls.private_key, &tls.server_certificate];
            if !protocol.is_http() {
                report.error(&tls_at, format!("protocol {} knows no `tls`", found.protocol));
            } else if !passes || files.iter().any(|file| !file.is_empty()) {
                report.error(&tls_at, "of a plain HTTP port's `tls` only httpsRedirect can be used");
            }
        }
        _ => {}
    }
    if !protocol.is_http() && server.tls.as_ref().is_some_and(|tls| tls.https_redirect) {
        report.warning(&tls_at.key("httpsRedirect"), "only HTTP servers can redirect to https");
    }
}

/// `host`, `namespace/host`, `./host`, `*/host`.
fn gateway_host(host: &str) -> Result<(), String> {
    let Some((namespace, name)) = host.split_once('/') else { return names::listener_host(host, true) };
    if !matches!(namespace, "*" | ".") && !names::is_dns_label(namespace) {
        return Err(format!("\"{namespace}\" is neither * nor . nor the name of a namespace"));
    }
    names::listener_host(name, true)
}

/// The port's protocol, where it is one.
fn port(report: &mut Report<'_>, at: &Path<'_>, port: &Port, on_socket: bool) -> Option<Protocol> {
    let protocol = Protocol::parse(&port.protocol);
    let is_known = protocol != Protocol::Unspecified;
    if !is_known {
        let message = format!(
            "\"{}\" is no protocol of a Gateway: HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, MONGO, REDIS, MYSQL, TCP, TLS",
            port.protocol
        );
        report.error(&at.key("protocol"), message);
    }
    if port.number > 0 || !on_socket {
        report.result(&at.key("number"), names::port(port.number));
    }
    if on_socket && port.number != 0 {
        report.error(&at.key("number"), "on a Unix socket the port is 0");
    }
    if port.target_port > 0 {
        report.error(&at.key("targetPort"), "targetPort means nothing in a Gateway");
    }
    if port.name.is_empty() {
        report.error(at, "a port needs a `name`");
    }
    is_known.then_some(protocol)
}

fn bind(report: &mut Report<'_>, at: &Path<'_>, server: &Server) {
    match server.bind.strip_prefix("unix://") {
        Some(path) => report.result(&at.key("bind"), names::unix_path(path)),
        None if !server.bind.is_empty() => report.result(&at.key("bind"), names::ip(&server.bind)),
        None => {}
    }
}

/// TLS of servers; Sidecars' ingress listeners have it too.
pub(super) fn server_tls(report: &mut Report<'_>, at: &Path<'_>, tls: &ServerTls) {
    let old = matches!(tls.min_protocol_version, TlsProtocol::V1_0 | TlsProtocol::V1_1);
    if old && tls.cipher_suites.is_empty() {
        report.warning(&at.key("minProtocolVersion"), "TLS below 1.2 needs `cipherSuites` that allow it");
    }
    if matches!(tls.max_protocol_version, TlsProtocol::V1_0 | TlsProtocol::V1_1) {
        let message = "Amime's own gateway speaks TLS 1.2 and 1.3 alone: no client can connect";
        report.warning(&at.key("maxProtocolVersion"), message);
    } else if old {
        let message = "Amime's own gateway speaks TLS 1.2 and 1.3 alone: older clients cannot connect";
        report.warning(&at.key("minProtocolVersion"), message);
    }
    cipher_suites(report, at, tls);
    curves(report, at, tls);
    let sources = [
        ("serverCertificate", !tls.server_certificate.is_empty()),
        ("privateKey", !tls.private_key.is_empty()),
        ("caCertificates", !tls.ca_certificates.is_empty()),
        ("tlsCertificates", !tls.tls_certificates.is_empty()),
        ("credentialName", !tls.credential_name.is_empty()),
        ("credentialNames", !tls.credential_names.is_empty()),
    ];
    let given = || sources.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name);
    match tls.mode {
        ServerTlsMode::IstioMutual => {
            for name in given() {
                report.error(&at.key(name), "mode ISTIO_MUTUAL brings its own certificates");
            }
            return;
        }
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => {
            for name in given().chain((!tls.ca_crl.is_empty()).then_some("caCrl")) {
                report.warning(&at.key(name), "without use: this mode does not end TLS");
            }
        }
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {}
    }
    report.at_most_one(
        at,
        &[
            ("serverCertificate", !tls.server_certificate.is_empty() && !tls.private_key.is_empty()),
            ("credentialName", !tls.credential_name.is_empty()),
            ("credentialNames", !tls.credential_names.is_empty()),
            ("tlsCertificates", !tls.tls_certificates.is_empty()),
        ],
    );
    if !tls.ca_crl.is_empty() && (!tls.credential_name.is_empty() || tls.mode == ServerTlsMode::Simple) {
        report.error(&at.key("caCrl"), "a CRL is for mode MUTUAL with certificates from files");
    }
    let ends = matches!(tls.mode, ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
    if ends && tls.credential_name.is_empty() && tls.credential_names.is_empty() {
        files(report, at, tls);
    }
}

/// The certificates that a mode needs where no credential is named.
fn files(report: &mut Report<'_>, at: &Path<'_>, tls: &ServerTls) {
    if tls.mode != ServerTlsMode::Simple && tls.ca_certificates.is_empty() {
        report.error(at, "this mode needs `caCertificates`, or `credentialName`");
    }
    let mut pair = |at: &Path<'_>, certificate: &str, key: &str| {
        for (name, value) in [("serverCertificate", certificate), ("privateKey", key)] {
            if value.is_empty() {
                report.error(at, format!("this mode needs `{name}`, or `credentialName`"));
            }
        }
    };
    if tls.tls_certificates.is_empty() {
        return pair(at, &tls.server_certificate, &tls.private_key);
    }
    let list = at.key("tlsCertificates");
    for (index, certificate) in tls.tls_certificates.iter().enumerate() {
        pair(&list.index(index), &certificate.server_certificate, &certificate.private_key);
    }
    if tls.tls_certificates.len() > 2 {
        report.error(&list, "at most two certificates (one RSA, one ECDSA)");
    }
}

fn cipher_suites(report: &mut Report<'_>, at: &Path<'_>, tls: &ServerTls) {
    let list = at.key("cipherSuites");
    for (index, suite) in tls.cipher_suites.iter().enumerate() {
        if !is_cipher_suite(suite) {
            report.warning(&list.index(index), format!("\"{suite}\" is no cipher suite, and left out"));
        } else if CIPHER_SUITES[SPOKEN..].contains(&suite.as_str()) {
            let message = format!("\"{suite}\" is not spoken by Amime's own gateway, and left out; an Envoy speaks it");
            report.warning(&list.index(index), message);
        } else if tls.cipher_suites[..index].contains(suite) {
            report.warning(&list.index(index), format!("\"{suite}\" is there twice"));
        }
    }
}

fn curves(report: &mut Report<'_>, at: &Path<'_>, tls: &ServerTls) {
    let list = at.key("ecdhCurves");
    for (index, curve) in tls.ecdh_curves.iter().enumerate() {
        let message = if !is_curve(curve) {
            format!("\"{curve}\" is no curve that is spoken, and left out (one of {})", CURVES.join(", "))
        } else if CURVES[SPOKEN_CURVES..].contains(&curve.as_str()) {
            format!("\"{curve}\" is not spoken by Amime's own gateway, and left out; an Envoy speaks it")
        } else if tls.ecdh_curves[..index].contains(curve) {
            format!("\"{curve}\" is there twice")
        } else {
            continue;
        };
        report.warning(&list.index(index), message);
    }
}
