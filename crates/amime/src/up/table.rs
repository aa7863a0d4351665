//! What `up` prints first: the gateways and where they are opened, the hosts with a curl line that works, the
//! workloads. Made from the snapshot alone; `run` prints it, and again after a change of it.

use amime_model::host::overlaps;
use amime_model::resource::gateway::Server;
use amime_model::resource::virtual_service::HttpRoute;
use amime_model::snapshot::{GatewayObject, Pod, ResolvedVirtualService, Snapshot, selects};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

const BOLD: anstyle::Style = anstyle::Style::new().bold();

/// The rows, in the order in which they are shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Table {
    gateways: Vec<[String; 4]>,
    hosts: Vec<[String; 3]>,
    workloads: Vec<[String; 4]>,
}

impl Table {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let mut table = Self::default();
        for pod in snapshot.pods() {
            let Some(placement) = pod.placement().filter(|placement| !placement.bind.is_empty()) else { continue };
            for gateway in snapshot.gateways().iter().filter(|g| selects(&g.spec.selector, &pod.labels)) {
                for (index, server) in gateway.spec.servers.iter().enumerate() {
                    let port = server.port.as_ref().and_then(|port| u16::try_from(port.number).ok());
                    let opened = port.and_then(|port| placement.ports.get(&port)).copied();
                    let (Some(port), Some(opened)) = (port, opened) else { continue };
                    if gateway.broken.contains(&index) {
                        continue;
                    }
                    table.add_server(snapshot, pod, gateway, server, port, opened);
                }
            }
        }
        table.gateways.dedup();
        let mut seen = BTreeSet::new();
        table.hosts.retain(|row| seen.insert(row.clone()));
        table.workloads = workloads(snapshot);
        table
    }

    /// A line for each row that is new or gone.
    pub(super) fn changes_from(&self, before: &Self) -> Vec<String> {
        fn rows<const N: usize>(list: &[[String; N]]) -> impl Iterator<Item = String> + '_ {
            list.iter().map(|row| row.join("  "))
        }
        let all = |table: &Self| -> Vec<String> {
            rows(&table.gateways).chain(rows(&table.hosts)).chain(rows(&table.workloads)).collect()
        };
        let (old, new) = (all(before), all(self));
        let gone = old.iter().filter(|row| !new.contains(row)).map(|row| format!("- {row}"));
        let come = new.iter().filter(|row| !old.contains(row)).map(|row| format!("+ {row}"));
        gone.chain(come).collect()
    }

    fn add_server(
        &mut self,
        snapshot: &Snapshot,
        pod: &Pod,
        gateway: &GatewayObject,
        server: &Server,
        port: u16,
        opened: u16,
    ) {
        let protocol = server.port.as_ref().map_or("", |port| port.protocol.as_str()).to_ascii_uppercase();
        self.gateways.push([
            format!("{}/{}", pod.namespace, pod.workload.workload),
            format!("{}/{}", gateway.id.namespace, gateway.id.name),
            format!("{port} {protocol}"),
            format!("localhost:{opened}"),
        ]);
        let name = format!("{}/{}", gateway.id.namespace, gateway.id.name);
        for service in snapshot.virtual_services_for(&pod.namespace, &name) {
            let has_rules = match speaks_http(&protocol) {
                true => !service.http.is_empty(),
                false => !service.tcp.is_empty() || !service.tls.is_empty(),
            };
            if !has_rules {
                continue;
            }
            for host in service.hosts.iter().filter(|host| serves(server, &gateway.id.namespace, service, host)) {
                let rule = format!("VirtualService {}/{}", service.id.namespace, service.id.name);
                let try_it = try_line(&protocol, server.tls.is_some(), host, opened, &service.http);
                self.hosts.push([host.clone(), rule, try_it]);
            }
        }
    }
}

/// Whether a server's hosts (`host`, `namespace/host`) let this host of a VirtualService in.
fn serves(server: &Server, own_namespace: &str, service: &ResolvedVirtualService, host: &str) -> bool {
    server.hosts.iter().any(|entry| {
        let (namespace, pattern) = entry.split_once('/').unwrap_or(("*", entry));
        let namespace = if namespace == "." { own_namespace } else { namespace };
        (namespace == "*" || namespace == &*service.id.namespace) && overlaps(pattern, host)
    })
}

fn speaks_http(protocol: &str) -> bool {
    matches!(protocol, "HTTP" | "HTTP2" | "HTTPS" | "GRPC" | "GRPC-WEB")
}

/// A command that gets an answer, ready to be pasted.
fn try_line(
    protocol: &str,
    tls: bool,
    host: &str,
    port: u16,
    rules: &[amime_model::snapshot::Rule<HttpRoute>],
) -> String {
    if !speaks_http(protocol) {
        return format!("nc localhost {port}");
    }
    let path = path_of(rules.iter().map(|rule| &*rule.route));
    let name = host.replacen('*', "any", 1);
    if tls {
        return format!("curl -k --connect-to {name}:{port}:localhost: https://{name}:{port}{path}");
    }
    if host == "*" {
        return format!("curl http://localhost:{port}{path}");
    }
    format!("curl -H 'Host: {name}' http://localhost:{port}{path}")
}

/// `/` where a rule takes every path, else the first path that one names.
fn path_of<'a>(rules: impl Iterator<Item = &'a HttpRoute> + Clone) -> String {
    let takes_all = |rule: &HttpRoute| {
        let any = |uri: &amime_model::resource::virtual_service::StringMatch| uri.prefix.as_deref() == Some("/");
        rule.matches.is_empty() || rule.matches.iter().any(|m| m.uri.as_ref().is_none_or(any))
    };
    if rules.clone().any(takes_all) {
        return "/".into();
    }
    let uris = rules.flat_map(|rule| &rule.matches).filter_map(|m| m.uri.as_ref());
    uris.filter_map(|uri| uri.exact.clone().or(uri.prefix.clone()))
        .find(|path| path.starts_with('/'))
        .unwrap_or_else(|| "/".into())
}

fn workloads(snapshot: &Snapshot) -> Vec<[String; 4]> {
    let mut groups: BTreeMap<(&str, &str), Vec<&Pod>> = BTreeMap::new();
    for pod in snapshot.pods().filter(|pod| pod.placement().is_some_and(|placement| placement.bind.is_empty())) {
        groups.entry((&pod.namespace, &pod.workload.workload)).or_default().push(pod);
    }
    let row = |((namespace, workload), pods): ((&str, &str), Vec<&Pod>)| {
        let placements = || pods.iter().filter_map(|pod| pod.placement());
        let ports: BTreeSet<u16> = placements().flat_map(|placement| placement.ports.keys().copied()).collect();
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        let replaced = placements().flat_map(|placement| &placement.replaced).next();
        let answers = match replaced {
            Some((port, address)) => format!("port {port}: your process at {address}"),
            None => "stand-in".to_owned(),
        };
        [format!("{namespace}/{workload}"), pods.len().to_string(), ports.join(" "), answers]
    };
    groups.into_iter().map(row).collect()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.gateways.is_empty() {
            parts.push(grid(["PROXY", "GATEWAY", "PORT", "OPENED AT"], &self.gateways));
        }
        if !self.hosts.is_empty() {
            parts.push(grid(["HOST", "RULE", "TRY"], &self.hosts));
        }
        if !self.workloads.is_empty() {
            parts.push(grid(["WORKLOAD", "PODS", "PORTS", "ANSWERED BY"], &self.workloads));
        }
        f.write_str(&parts.join("\n\n"))
    }
}

/// Columns as wide as their longest cell, two spaces apart.
fn grid<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or_default()
    };
    let line = |cells: [&str; N]| {
        let padded: Vec<String> = (0..N).map(|column| format!("{:<1$}", cells[column], width(column))).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![format!("{BOLD}{}{BOLD:#}", line(head))];
    lines.extend(rows.iter().map(|row| line(row.each_ref().map(String::as_str))));
    lines.join("\n")
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
