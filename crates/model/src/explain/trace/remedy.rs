//! The nearest change that would make a failing request work.

use super::super::Target;
use super::super::verdict::{Action, Destination, State, Verdict};
use super::super::walk::Connection;
use super::destination::labels;
use super::losers;
use super::route::Decided;
use super::{By, Known, Lost, has_host};
use crate::snapshot::{Service, Snapshot, origin_of, selects};
use crate::translate::NodeKind;
use std::collections::BTreeSet;

/// None where the request works, or where nothing is known that would help.
pub(super) fn of(
    known: &Known<'_>,
    connection: &Connection,
    target: &Target,
    verdict: &Verdict,
    decided: &Decided,
) -> Option<String> {
    let snapshot = known.snapshot?;
    let failing = verdict.destinations.iter().find(|d| d.state != State::Ready);
    match (verdict.action, failing) {
        (Action::Forward, Some(to)) if to.state == State::NoCluster => Some(no_cluster(known, snapshot, to)),
        (Action::Forward, Some(to)) => Some(no_endpoints(snapshot, to)),
        (Action::Respond, _) if verdict.flag.as_deref() == Some("NR") => {
            Some(no_route(known, connection, target, decided))
        }
        (Action::Respond, _) if verdict.flag.as_deref() == Some("FI") => {
            Some("take the fault (http.fault) out of the rule".to_string())
        }
        (Action::Respond, _) if verdict.status == Some(502) && verdict.object.is_none() => Some(format!(
            "the outbound traffic policy is REGISTRY_ONLY: write a ServiceEntry for {}, or let the client see it (its \
             exportTo, the client's Sidecar)",
            target.host
        )),
        (Action::Refuse, _) if decided.secret.is_some() => decided.secret.as_ref().map(|name| secret(known, name)),
        (Action::Refuse, _) => Some(refused(known, snapshot, connection, target)),
        _ => None,
    }
}

fn no_route(known: &Known<'_>, connection: &Connection, target: &Target, decided: &Decided) -> String {
    if decided.has_host {
        let Some(Lost { by, why }) = nearest(&decided.misses) else {
            return format!("write a rule that takes {}", target.path);
        };
        return format!("nearest is {by}, but {why}; send that, or add a rule without a match as the last one");
    }
    let others = losers::virtual_services(known, connection, target, None);
    match others.first() {
        _ if connection.kind == NodeKind::Gateway && !any_server_has(known, target) => gateway_lacks(known, target),
        Some(Lost { by, why }) => format!("{by} has the host, but {why}"),
        None if connection.kind == NodeKind::Gateway => gateway_lacks(known, target),
        None => format!("write a VirtualService or Service for {}", target.host),
    }
}

/// A rule whose path fits lacks least.
fn nearest(misses: &[Lost]) -> Option<&Lost> {
    misses.iter().find(|lost| !lost.why.starts_with("the path")).or(misses.first())
}

fn any_server_has(known: &Known<'_>, target: &Target) -> bool {
    let (Some(snapshot), Some(pod)) = (known.snapshot, known.pod) else { return false };
    let chosen = snapshot.gateways().iter().filter(|g| selects(&g.spec.selector, &pod.labels));
    chosen.flat_map(|gateway| &gateway.spec.servers).any(|server| has_host(server, &target.host))
}

/// No VirtualService has the host at this gateway, and perhaps no server of it has either.
fn gateway_lacks(known: &Known<'_>, target: &Target) -> String {
    let (Some(snapshot), Some(pod)) = (known.snapshot, known.pod) else { return String::new() };
    let chosen = snapshot.gateways().iter().filter(|g| selects(&g.spec.selector, &pod.labels));
    let servers: Vec<_> =
        chosen.flat_map(|gateway| gateway.spec.servers.iter().enumerate().map(move |(i, s)| (gateway, i, s))).collect();
    let with_host = servers.iter().find(|(_, _, server)| has_host(server, &target.host));
    let Some((gateway, index, _)) = with_host.or(servers.first()) else { return String::new() };
    let write = format!(
        "write a VirtualService with hosts: [{}] and gateways: [{}/{}]",
        target.host, gateway.id.namespace, gateway.id.name
    );
    if with_host.is_some() {
        return write;
    }
    let by = By::of(Some(snapshot), &origin_of(&gateway.id, format!("spec.servers[{index}].hosts")));
    format!("add {} to {by}, and {write}", target.host)
}

fn no_cluster(known: &Known<'_>, snapshot: &Snapshot, to: &Destination) -> String {
    let Some(service) = snapshot.services_of_host(&to.host).and_then(|of| of.values().next()) else {
        let names = snapshot.services().iter().map(|service| service.host.as_str());
        return match closest(&to.host, names) {
            Some(name) => format!("there is no service {}; is {name} meant?", to.host),
            None => format!("there is no service {}: write a Service or ServiceEntry for it", to.host),
        };
    };
    if service.port(to.port).is_none() {
        let ports: Vec<_> = service.ports.iter().map(|port| port.number.to_string()).collect();
        let by = By::of(Some(snapshot), &origin_of(&service.id, ""));
        return format!("{by} has no port {}; its ports are {}", to.port, ports.join(", "));
    }
    if let Some(scope) = known.scope.filter(|scope| !service.export_to.includes(&scope.shared.namespace)) {
        let by = By::of(Some(snapshot), &origin_of(&service.id, ""));
        return format!("{by} is not exported to namespace {}", scope.shared.namespace);
    }
    match &to.subset {
        Some(subset) => no_subset(snapshot, service, subset),
        None => format!("a Sidecar of the client's namespace leaves {} out: name it in its egress", to.host),
    }
}

fn no_subset(snapshot: &Snapshot, service: &Service, subset: &str) -> String {
    let rules = snapshot.destination_rules.candidates(&service.namespace, service);
    let Some((rule, origin)) = rules.first().and_then(|rule| Some((rule, rule.origins.first()?))) else {
        return format!("write a DestinationRule for {} with a subset {subset}", service.host);
    };
    let known: Vec<_> = rule.rule.subsets.iter().map(|s| s.name.as_str()).collect();
    let by = By::of(Some(snapshot), origin);
    match closest(subset, known.iter().copied()) {
        Some(name) => format!("{by} has no subset {subset}: add it, or is {name} meant?"),
        None => format!("{by} has no subset {subset}: add it; its subsets are {}", known.join(", ")),
    }
}

fn no_endpoints(snapshot: &Snapshot, to: &Destination) -> String {
    let Some(service) = snapshot.services_of_host(&to.host).and_then(|of| of.values().next()) else {
        return format!("{} has no endpoints", to.host);
    };
    let by = By::of(Some(snapshot), &origin_of(&service.id, ""));
    let all = snapshot.endpoints(service, to.port);
    if all.is_empty() {
        return match service.selector.is_empty() {
            true => format!("{by} has no endpoints: give it some"),
            false => format!("no pod has the labels that {by} selects ({})", labels(&service.selector)),
        };
    }
    if let Some(subset) = &to.subset {
        let rules = snapshot.destination_rules.candidates(&service.namespace, service);
        let wanted = rules.iter().flat_map(|rule| &rule.rule.subsets).find(|s| s.name == *subset);
        if let Some(wanted) = wanted {
            let keys: BTreeSet<&String> = wanted.labels.keys().collect();
            let there: BTreeSet<String> = all
                .iter()
                .map(|e| {
                    labels(
                        &e.labels
                            .iter()
                            .filter(|(key, _)| keys.contains(key))
                            .map(|(k, v)| (k.clone(), v.clone()))
                            .collect(),
                    )
                })
                .filter(|text| !text.is_empty())
                .collect();
            if !there.contains(&labels(&wanted.labels)) {
                let there: Vec<_> = there.into_iter().collect();
                return format!(
                    "no pod of {by} has the labels of subset {subset} ({}); there are {}",
                    labels(&wanted.labels),
                    if there.is_empty() { "none with such labels".to_string() } else { there.join("; ") }
                );
            }
        }
    }
    format!("the pods of {by} are not ready")
}

/// A gateway reads the Secrets of its own namespace alone.
fn secret(known: &Known<'_>, name: &str) -> String {
    let namespace = known.pod.map(|pod| pod.namespace.as_str()).unwrap_or_default();
    format!("write Secret {namespace}/{name} (type kubernetes.io/tls), in the namespace of the gateway's pods")
}

fn refused(known: &Known<'_>, snapshot: &Snapshot, connection: &Connection, target: &Target) -> String {
    let port = connection.destination.port();
    match connection.kind {
        NodeKind::Gateway => {
            let open: BTreeSet<String> = known
                .config
                .listeners
                .values()
                .filter_map(|listener| listener.name.rsplit_once('_').map(|(_, port)| port.to_string()))
                .collect();
            let open: Vec<_> = open.into_iter().collect();
            let own = |labels| snapshot.gateways().iter().find(|g| selects(&g.spec.selector, labels));
            let gateway = known.pod.and_then(|pod| own(&pod.labels));
            let by = gateway.map(|g| format!(" to {}", By::of(Some(snapshot), &origin_of(&g.id, "spec.servers"))));
            let scheme =
                if open.contains(&port.to_string()) { ", with the protocol and host of the request" } else { "" };
            format!("add a server for port {port}{scheme}{}; its ports are {}", by.unwrap_or_default(), open.join(", "))
        }
        NodeKind::Sidecar => {
            let id = |service: &Service| By::of(Some(snapshot), &origin_of(&service.id, ""));
            let service = snapshot.services().iter().find(|service| service.host == target.host);
            match service {
                Some(service) => format!("{} has no port {port} of that protocol", id(service)),
                None => format!("write a ServiceEntry for {} with port {port}", target.host),
            }
        }
    }
}

/// A name that differs in a letter or two.
fn closest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    crate::resource::closest(wanted, names)
}
