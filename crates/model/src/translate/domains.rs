//! The host names under which a service is known to a client: the domains of its virtual host.
//!
//! Ports are not written, for sidecars and gateways ignore the port in a request's host.

use super::node::SharedScope;
use crate::host::CLUSTER_DOMAIN;
use crate::snapshot::{Registry, Resolution, Service, ServiceAddress};
use std::net::IpAddr;

/// All domains of a service, and those among them that are short for its name: these give way to a service that is
/// really called so.
pub(super) struct Domains {
    pub all: Vec<String>,
    pub short: Vec<String>,
}

impl Domains {
    pub(super) fn of(service: &Service, scope: &SharedScope) -> Self {
        let mut all = Vec::new();
        let mut short = Vec::new();
        for host in std::iter::once(&service.host).chain(&service.aliases) {
            all.push(bracketed(host));
            let forms = short_forms(host, &scope.namespace);
            all.extend(forms.iter().cloned());
            short.extend(forms);
        }
        if service.resolution == Resolution::Passthrough && service.registry == Registry::Kubernetes {
            // The pods of a headless service have names below its own.
            let below: Vec<_> = all.iter().map(|domain| format!("*.{domain}")).collect();
            all.extend(below);
        }
        if let ServiceAddress::Ip(ip) = service.address_for(scope.dns_capture) {
            all.push(bracketed(&ip.to_string()));
        }
        all.extend(service.more_addresses.iter().map(|ip| bracketed(&ip.to_string())));
        Self { all, short }
    }
}

/// IPv6 addresses stand in brackets in a request's host.
pub(super) fn bracketed(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => host.to_string(),
    }
}

/// What a client in a namespace may write for a host name: with a dot at the end, and for services of the cluster
/// without the domain, without `svc`, and in their own namespace without the namespace.
fn short_forms(host: &str, client_namespace: &str) -> Vec<String> {
    if host.parse::<IpAddr>().is_ok() {
        return Vec::new();
    }
    let mut forms = vec![format!("{host}.")];
    if let Some(qualified) = host.strip_suffix(&format!(".svc.{CLUSTER_DOMAIN}"))
        && let Some((name, namespace)) = qualified.split_once('.')
    {
        if namespace == client_namespace {
            forms.push(name.to_string());
        }
        forms.push(qualified.to_string());
        forms.push(format!("{qualified}.svc"));
    }
    forms
}
