//! VirtualServices: their hosts, gateways, TLS and TCP rules. HTTP rules are in `http_route`.

use super::report::Report;
use super::{header, http_route, names};
use crate::host;
use crate::resource::virtual_service::{Destination, L4Match, RouteDestination, TlsMatch};
use crate::resource::{Object, VirtualService};
use crate::yaml::Path;

pub(super) fn check(report: &mut Report<'_>, at: &Path<'_>, service: &VirtualService, object: &Object) {
    let is_delegate = service.hosts.is_empty();
    if is_delegate {
        let fields = [
            ("gateways", service.gateways.is_empty()),
            ("tls", service.tls.is_empty()),
            ("tcp", service.tcp.is_empty()),
        ];
        for (name, _) in fields.iter().filter(|(_, is_empty)| !is_empty) {
            report.error(&at.key(name), format!("a VirtualService without hosts is a delegate, and has no `{name}`"));
        }
    }
    gateway_names(report, at, &service.gateways);
    let only_gateways = is_only_gateways(service);
    claims(report, at, service, only_gateways);
    hosts(report, at, service, only_gateways);
    if service.http.is_empty() && service.tls.is_empty() && service.tcp.is_empty() {
        report.error(at, "a VirtualService needs `http`, `tls` or `tcp`");
    }
    let rules = at.key("http");
    for (index, rule) in service.http.iter().enumerate() {
        http_route::check(report, &rules.index(index), rule, is_delegate);
    }
    let rules = at.key("tls");
    for (index, rule) in service.tls.iter().enumerate() {
        let at = rules.index(index);
        if rule.matches.is_empty() {
            report.error(&at, "a TLS rule needs a match");
        }
        let matches = at.key("match");
        for (index, matched) in rule.matches.iter().enumerate() {
            tls_match(report, &matches.index(index), matched, service);
        }
        destinations(report, &at, &rule.route);
    }
    let rules = at.key("tcp");
    for (index, rule) in service.tcp.iter().enumerate() {
        let at = rules.index(index);
        let matches = at.key("match");
        for (index, matched) in rule.matches.iter().enumerate() {
            l4_match(report, &matches.index(index), matched, service);
        }
        destinations(report, &at, &rule.route);
    }
    names::export_to(report, at, &object.id.namespace, &service.export_to, false);
}

fn is_only_gateways(service: &VirtualService) -> bool {
    !service.gateways.is_empty() && !service.gateways.iter().any(|gateway| gateway == "mesh")
}

/// Claims of JWTs: known at gateways alone, and nobody validates tokens yet.
fn claims(report: &mut Report<'_>, at: &Path<'_>, service: &VirtualService, only_gateways: bool) {
    let rules = at.key("http");
    for (index, rule) in service.http.iter().enumerate() {
        let rule_at = rules.index(index);
        let matches = rule_at.key("match");
        for (index, matched) in rule.matches.iter().enumerate() {
            let at = matches.index(index);
            let never = "yet: no token is validated, so that no request has claims and the match never holds";
            let always = "yet: no token is validated, so that no request has claims and all are without this one";
            let maps = [("headers", &matched.headers, never), ("withoutHeaders", &matched.without_headers, always)];
            for (kind, map, instead) in maps {
                for name in map.keys().filter(|name| header::is_jwt_claim(name)) {
                    if only_gateways {
                        report.no_effect(&at.key(kind).key(name), name, instead);
                    } else {
                        report.key_error(&at.key(kind), name, "routing by a JWT's claims works at gateways alone");
                    }
                }
            }
        }
    }
}

/// What Istio does not look at where connections come to a gateway.
fn at_gateways(
    report: &mut Report<'_>,
    at: &Path<'_>,
    service: &VirtualService,
    of: &[String],
    set: [(&str, bool); 3],
) {
    let gateways = if of.is_empty() { &service.gateways } else { of };
    let Some(gateway) = gateways.iter().find(|gateway| *gateway != "mesh") else { return };
    for (field, _) in set.into_iter().filter(|(_, is_set)| *is_set) {
        let instead = format!("at gateway {gateway}: as in Istio, `port` and `gateways` alone are looked at there");
        report.no_effect(&at.key(field), field, &instead);
    }
}

fn hosts(report: &mut Report<'_>, at: &Path<'_>, service: &VirtualService, only_gateways: bool) {
    let at = at.key("hosts");
    let has_sni = service.tls.iter().flat_map(|rule| &rule.matches).any(|matched| !matched.sni_hosts.is_empty());
    let mut sound = true;
    for (index, name) in service.hosts.iter().enumerate() {
        let result = if only_gateways && has_sni && name.starts_with("outbound_") {
            sni_of_cluster(name)
        } else if names::is_ip(name) {
            Ok(())
        } else if !only_gateways && name == "*" {
            Err("the host * is for gateways alone; in the mesh, name the services".to_owned())
        } else {
            names::wildcard_domain(name)
        };
        sound &= result.is_ok();
        report.result(&at.index(index), result);
    }
    if !sound {
        return;
    }
    for (index, name) in service.hosts.iter().enumerate() {
        if let Some(earlier) = service.hosts[..index].iter().find(|earlier| host::overlaps(earlier, name)) {
            report.error(&at.index(index), format!("\"{name}\" is covered by \"{earlier}\" already"));
        }
    }
}

/// `outbound_.80_._.host`: what AUTO_PASSTHROUGH gateways see.
fn sni_of_cluster(name: &str) -> Result<(), String> {
    let parts: Vec<&str> = name.split('_').collect();
    let port = parts.get(1).map_or("", |part| part.trim_matches('.'));
    let target = parts.get(3).map_or("", |part| part.trim_matches('.'));
    let sound = port.bytes().any(|byte| byte.is_ascii_digit()) && target.bytes().any(|byte| byte.is_ascii_alphabetic());
    if sound { Ok(()) } else { Err(format!("\"{name}\" is not of the form outbound_.PORT_.SUBSET_.HOST")) }
}

/// `name`, `namespace/name`, or the old `name.namespace.svc.cluster.local`.
pub(super) fn gateway_names(report: &mut Report<'_>, at: &Path<'_>, gateways: &[String]) {
    let at = at.key("gateways");
    for (index, name) in gateways.iter().enumerate() {
        let at = at.index(index);
        match name.split_once('/') {
            Some((namespace, gateway)) => {
                // Istio's own validation refuses `./name`; its translation understands it.
                for part in [namespace, gateway] {
                    report.result(&at, names::dns_label(part));
                }
            }
            None => {
                if let Some((gateway, rest)) = name.split_once('.') {
                    let namespace = rest.split('.').next().unwrap_or(rest);
                    report.warning(&at, format!("the old form of a gateway's name; write {namespace}/{gateway}"));
                }
                report.result(&at, names::fqdn(name));
            }
        }
    }
}

fn tls_match(report: &mut Report<'_>, at: &Path<'_>, matched: &TlsMatch, service: &VirtualService) {
    if matched.sni_hosts.is_empty() {
        report.error(at, "a TLS match needs `sniHosts`");
    }
    let sni = at.key("sniHosts");
    for (index, name) in matched.sni_hosts.iter().enumerate() {
        let at = sni.index(index);
        if names::is_ip(name) {
            report.warning(&at, "an IP address as SNI is against the standard, and hardly any client sends one");
            continue;
        }
        let for_cluster = is_only_gateways(service) && name.starts_with("outbound_");
        let result = if for_cluster { sni_of_cluster(name) } else { names::wildcard_domain(name) };
        if result.is_err() {
            report.result(&at, result);
        } else if !service.hosts.iter().any(|host| host::subset_of(name, host)) {
            report.error(&at, format!("\"{name}\" is not within the VirtualService's hosts"));
        }
    }
    let TlsMatch { sni_hosts: _, destination_subnets, port, source_labels, source_namespace, gateways } =
        matched.clone();
    let matched =
        L4Match { destination_subnets, port, source_labels, source_namespace, gateways, ..L4Match::default() };
    l4_match(report, at, &matched, service);
}

fn l4_match(report: &mut Report<'_>, at: &Path<'_>, matched: &L4Match, service: &VirtualService) {
    subnets(report, at, &matched.destination_subnets);
    if matched.port != 0 {
        report.result(&at.key("port"), names::port(matched.port));
    }
    names::labels(report, &at.key("sourceLabels"), &matched.source_labels);
    gateway_names(report, at, &matched.gateways);
    let set = [
        ("destinationSubnets", !matched.destination_subnets.is_empty()),
        ("sourceLabels", !matched.source_labels.is_empty()),
        ("sourceNamespace", !matched.source_namespace.is_empty()),
    ];
    at_gateways(report, at, service, &matched.gateways, set);
}

fn subnets(report: &mut Report<'_>, at: &Path<'_>, subnets: &[String]) {
    let at = at.key("destinationSubnets");
    for (index, subnet) in subnets.iter().enumerate() {
        report.result(&at.index(index), names::subnet(subnet));
    }
}

fn destinations(report: &mut Report<'_>, at: &Path<'_>, route: &[RouteDestination]) {
    if route.is_empty() {
        report.error(at, "a rule needs a `route`");
    }
    let list = at.key("route");
    for (index, share) in route.iter().enumerate() {
        required_destination(report, &list.index(index), share.destination.as_ref());
    }
    weights(report, &list, route.iter().map(|share| share.weight));
}

/// No weight below 0, and not all 0 where there are several.
pub(super) fn weights(report: &mut Report<'_>, list: &Path<'_>, weights: impl ExactSizeIterator<Item = i32>) {
    let count = weights.len();
    let mut total = 0i64;
    for (index, weight) in weights.enumerate() {
        total += i64::from(weight);
        if weight < 0 {
            report.error(&list.index(index).key("weight"), format!("weight {weight} is below 0"));
        }
    }
    if count > 1 && total == 0 {
        report.error(list, "all weights are 0");
    } else if total > i64::from(i32::MAX) {
        report.error(list, "the weights add up to more than 2147483647");
    }
}

pub(super) fn required_destination(report: &mut Report<'_>, at: &Path<'_>, found: Option<&Destination>) {
    match found {
        Some(found) => destination(report, &at.key("destination"), found),
        None => report.error(at, "`destination` is missing"),
    }
}

pub(super) fn destination(report: &mut Report<'_>, at: &Path<'_>, destination: &Destination) {
    if destination.host == "*" {
        report.error(&at.key("host"), "a destination is one service, not *");
    } else {
        report.result(&at.key("host"), names::wildcard_domain(&destination.host));
    }
    if !destination.subset.is_empty() {
        report.result(&at.key("subset"), names::dns_label(&destination.subset));
    }
    if let Some(port) = &destination.port {
        report.result(&at.key("port").key("number"), names::port(port.number));
    }
}

#[cfg(test)]
#[path = "virtual_service_tests.rs"]
mod tests;
