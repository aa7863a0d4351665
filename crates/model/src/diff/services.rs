//! What requests do not show of services: which are there, who sees them, and who answers for them.

use super::clients::Client;
use super::words::short;
use super::{ServiceChange, ServiceWhat, Side};
use crate::config::ProxyConfig;
use crate::snapshot::{EndpointHost, ServiceEndpoint, Snapshot};
use crate::translate::names::parse_outbound;
use std::collections::{BTreeMap, BTreeSet};

/// Hosts, and the namespaces that have a client with a cluster of them, before and after.
#[derive(Default)]
pub(super) struct Visible {
    before: BTreeMap<String, BTreeSet<String>>,
    after: BTreeMap<String, BTreeSet<String>>,
}

impl Visible {
    pub(super) fn note(&mut self, client: &Client, before: &ProxyConfig, after: &ProxyConfig) {
        for (config, seen) in [(before, &mut self.before), (after, &mut self.after)] {
            let hosts: BTreeSet<_> = config.clusters.keys().filter_map(|name| Some(parse_outbound(name)?.2)).collect();
            for host in hosts {
                seen.entry(host.to_owned()).or_default().extend(client.namespaces.iter().cloned());
            }
        }
    }
}

pub(super) fn changes(before: &Side<'_>, after: &Side<'_>, visible: Visible) -> Vec<ServiceChange> {
    let hosts =
        |snapshot: &Snapshot| snapshot.services().iter().map(|service| service.host.clone()).collect::<BTreeSet<_>>();
    let (one, other) = (hosts(before.snapshot), hosts(after.snapshot));
    let all_ready = !before.has_workloads || !after.has_workloads;
    let mut changes = Vec::new();
    for host in one.union(&other) {
        let mut add = |what: ServiceWhat| changes.push(ServiceChange { host: host.clone(), name: short(host), what });
        match (one.contains(host), other.contains(host)) {
            (true, false) => add(ServiceWhat::Removed),
            (false, true) => add(ServiceWhat::Added),
            _ => {
                let none = BTreeSet::new();
                let (was, is) = (visible.before.get(host).unwrap_or(&none), visible.after.get(host).unwrap_or(&none));
                if was != is {
                    add(ServiceWhat::Visible {
                        added: is.difference(was).cloned().collect(),
                        removed: was.difference(is).cloned().collect(),
                    });
                }
                let (was, is) = (endpoints(before.snapshot, host), endpoints(after.snapshot, host));
                let ports: BTreeSet<_> = was.keys().chain(is.keys()).copied().filter(|_| !all_ready).collect();
                let mut told: Vec<(u32, String, String)> = Vec::new();
                for port in ports {
                    let words = |all: &BTreeMap<u32, Answering>| {
                        all.get(&port).map_or_else(|| "no such port".to_owned(), in_words)
                    };
                    let (before, after) = (words(&was), words(&is));
                    // Ports of one service have the same pods.
                    let known = told.iter().any(|(_, b, a)| *b == before && *a == after);
                    if before != after && !known {
                        told.push((port, before, after));
                    }
                }
                told.into_iter().for_each(|(port, before, after)| add(ServiceWhat::Endpoints { port, before, after }));
            }
        }
    }
    changes
}

/// How many endpoints each workload, or place outside, has; with those that are not ready apart.
type Answering = BTreeMap<String, (usize, usize)>;

fn endpoints(snapshot: &Snapshot, host: &str) -> BTreeMap<u32, Answering> {
    let mut by_port: BTreeMap<u32, Answering> = BTreeMap::new();
    for service in snapshot.services_of_host(host).into_iter().flat_map(BTreeMap::values) {
        for port in &service.ports {
            let answering = by_port.entry(port.number).or_default();
            for endpoint in snapshot.endpoints(service, port.number) {
                let count = answering.entry(who(endpoint)).or_default();
                *(if endpoint.ready { &mut count.0 } else { &mut count.1 }) += 1;
            }
        }
    }
    by_port
}

fn who(endpoint: &ServiceEndpoint) -> String {
    let port = endpoint.port;
    if !endpoint.workload.workload.is_empty() {
        return format!("{}/{} port {port}", endpoint.workload.namespace, endpoint.workload.workload);
    }
    match &endpoint.address {
        EndpointHost::Ip(ip) => std::net::SocketAddr::new(*ip, port).to_string(),
        EndpointHost::Name(name) => format!("{name}:{port}"),
        EndpointHost::Unix(path) => path.clone(),
    }
}

fn in_words(answering: &Answering) -> String {
    if answering.is_empty() {
        return "no endpoints".to_owned();
    }
    let one = |(who, (ready, not)): (&String, &(usize, usize))| match not {
        0 => format!("{ready} of {who}"),
        not => format!("{ready} of {who} ({not} not ready)"),
    };
    answering.iter().map(one).collect::<Vec<_>>().join(", ")
}
