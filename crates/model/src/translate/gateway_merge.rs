//! The Gateways of one proxy merged: which servers share a port, which routes, and which of them lose.
//!
//! Called by `gateway`; the rules and their order are Istio's (the oldest Gateway first).

use super::{Exclusion, Reason};
use crate::config::Origin;
use crate::host::intersection;
use crate::protocol::Protocol;
use crate::resource::gateway::{Server, ServerTls, ServerTlsMode};
use crate::snapshot::{GatewayObject, origin_of};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One server of a Gateway, on the port where it really listens.
#[derive(Debug, Clone)]
pub(super) struct MergedServer {
    /// `namespace/name` of the Gateway.
    pub gateway: String,
    pub origin: Origin,
    pub spec: Arc<Server>,
    /// `host` or `namespace/host`.
    pub hosts: Vec<String>,
    pub protocol: Protocol,
    /// As the Gateway writes it.
    pub number: u32,
    /// The port of the pod: the target port where a Service of the pod has `number`.
    pub port: u16,
    /// Empty: no routes (TCP, passthrough).
    pub routes: String,
}

impl MergedServer {
    pub(super) fn tls(&self) -> Option<&ServerTls> {
        self.spec.tls.as_ref()
    }

    /// TLS goes through unopened.
    pub(super) fn is_passthrough(&self) -> bool {
        let mode = self.tls().map(|tls| tls.mode);
        matches!(mode, Some(ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough))
    }

    /// As `is_passthrough`, to whom the server name says, by the mesh's own way of writing it.
    pub(super) fn is_auto_passthrough(&self) -> bool {
        self.tls().is_some_and(|tls| tls.mode == ServerTlsMode::AutoPassthrough)
    }

    /// HTTP, or HTTPS that is ended here.
    pub(super) fn is_http(&self) -> bool {
        self.protocol.is_http() || (self.protocol == Protocol::Https && !self.is_passthrough())
    }

    /// HTTPS that is ended here.
    pub(super) fn ends_https(&self) -> bool {
        self.tls().is_some() && self.protocol == Protocol::Https && !self.is_passthrough()
    }

    /// With TLS settings, and no HTTP whose settings ask only for a redirect.
    fn is_tls(&self) -> bool {
        self.tls().is_some() && !self.protocol.is_http()
    }

    pub(super) fn https_redirect(&self) -> bool {
        self.tls().is_some_and(|tls| tls.https_redirect)
    }

    /// The hosts without namespaces, as server names.
    pub(super) fn server_names(&self) -> Vec<String> {
        let bare = |h: &String| h.split_once('/').map_or(h.as_str(), |(_, host)| host).to_string();
        let mut names: Vec<_> = self.hosts.iter().map(bare).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The hosts that VirtualServices of a namespace may have here.
    pub(super) fn hosts_for(&self, namespace: &str) -> Vec<String> {
        self.hosts
            .iter()
            .filter_map(|host| match host.split_once('/') {
                None => Some(host.clone()),
                Some((ns, host)) if ns == namespace || ns == "*" => Some(host.to_string()),
                Some(_) => None,
            })
            .collect()
    }

    /// The hosts that a VirtualService has in common with the server.
    pub(super) fn common_hosts(&self, namespace: &str, hosts: &[String]) -> Vec<String> {
        intersection(&self.hosts_for(namespace), hosts)
    }
}

/// Servers that share a listener's chains.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub port: u16,
    pub protocol: Protocol,
    pub bind: String,
    pub servers: Vec<MergedServer>,
    /// Of plaintext HTTP.
    pub routes: String,
}

#[derive(Debug, Default)]
pub(super) struct Merged {
    /// In the order in which they came.
    pub groups: Vec<Group>,
    pub by_routes: BTreeMap<String, Vec<MergedServer>>,
}

/// `target_port` gives the pod's port for a Gateway's.
pub(super) fn merge(
    gateways: &[&GatewayObject],
    target_port: &dyn Fn(u32) -> Option<u16>,
    exclusions: &mut Vec<Exclusion>,
) -> Merged {
    let mut merging = Merging::default();
    for gateway in gateways {
        for (index, spec) in gateway.spec.servers.iter().enumerate() {
            let origin = origin_of(&gateway.id, format!("spec.servers[{index}]"));
            let server = match server_of(gateway, spec, origin.clone(), target_port) {
                Some(server) if !gateway.broken.contains(&index) => server,
                _ => {
                    exclusions.push(Exclusion { origin, reason: Reason::BrokenServer, winner: None });
                    continue;
                }
            };
            if let Err(lost) = merging.add(server) {
                exclusions.push(Exclusion { origin, reason: lost.reason, winner: lost.winner });
            }
        }
    }
    Merged { groups: merging.groups, by_routes: merging.by_routes }
}

fn server_of(
    gateway: &GatewayObject,
    spec: &Server,
    origin: Origin,
    target_port: &dyn Fn(u32) -> Option<u16>,
) -> Option<MergedServer> {
    let port = spec.port.as_ref()?;
    let resolved = match target_port(port.number) {
        Some(target) => target,
        None => u16::try_from(port.number).ok().filter(|n| *n > 0)?,
    };
    let mut server = MergedServer {
        gateway: format!("{}/{}", gateway.id.namespace, gateway.id.name),
        origin,
        hosts: sanitize(&spec.hosts, &gateway.id.namespace),
        protocol: Protocol::parse(&port.protocol),
        number: port.number,
        port: resolved,
        routes: String::new(),
        spec: Arc::new(spec.clone()),
    };
    let bind = if spec.bind.is_empty() { String::new() } else { format!(".{}", spec.bind) };
    if server.protocol.is_http() {
        server.routes = format!("http.{resolved}{bind}");
    } else if server.protocol == Protocol::Https && !server.is_passthrough() {
        let id = &gateway.id;
        server.routes = format!("https.{}.{}.{}.{}{bind}", port.number, port.name, id.name, id.namespace);
    }
    Some(server)
}

/// `./host` is the Gateway's own namespace's, `*/host` everybody's.
fn sanitize(hosts: &[String], namespace: &str) -> Vec<String> {
    if hosts.iter().any(|h| h == "*/*") {
        return vec!["*".to_string()];
    }
    hosts
        .iter()
        .map(|host| match host.split_once('/') {
            Some((".", name)) => format!("{namespace}/{name}"),
            Some(("*", name)) => name.to_string(),
            _ => host.clone(),
        })
        .collect()
}

#[derive(Default)]
struct Merging {
    groups: Vec<Group>,
    by_routes: BTreeMap<String, Vec<MergedServer>>,
    /// The plaintext group of a port that was last made.
    plaintext: BTreeMap<u16, usize>,
    /// Hosts of TLS servers by port, with the address they are bound to, and by whom.
    tls_hosts: BTreeMap<u16, BTreeMap<String, (String, Origin)>>,
    ports: std::collections::BTreeSet<u16>,
}

/// Why a server is left out, and what is there in its place.
struct Lost {
    reason: Reason,
    winner: Option<Origin>,
}

impl Merging {
    fn add(&mut self, server: MergedServer) -> Result<(), Box<Lost>> {
        let bind = server.spec.bind.clone();
        if server.tls().is_some() {
            let known = self.tls_hosts.entry(server.port).or_default();
            let taken = |host: &&String| known.get(*host).filter(|(of, _)| *of == bind);
            if let Some((host, (_, by))) = server.hosts.iter().find_map(|host| Some((host, taken(&host)?))) {
                let reason = Reason::HostTaken { host: host.clone() };
                return Err(Box::new(Lost { reason, winner: Some(by.clone()) }));
            }
            known.extend(server.hosts.iter().map(|h| (h.clone(), (bind.clone(), server.origin.clone()))));
        }
        if self.ports.insert(server.port) {
            self.new_group(server);
            return Ok(());
        }
        let first = |groups: &[Group]| {
            let of_port = |group: &&Group| group.port == server.port && group.bind == bind;
            groups.iter().find(of_port)?.servers.first().map(|s| s.origin.clone())
        };
        let taken = |groups: &[Group]| {
            Box::new(Lost { reason: Reason::PortTaken { port: server.number }, winner: first(groups) })
        };
        if let Some(index) = self.plaintext.get(&server.port).copied() {
            let current = &self.groups[index];
            let same_bind = current.bind == bind;
            let mergeable =
                current.protocol.is_http() && (server.protocol.is_http() || server.protocol == current.protocol);
            if same_bind && (!mergeable || server.routes.is_empty()) {
                return Err(taken(&self.groups));
            }
            if same_bind {
                self.by_routes.entry(server.routes.clone()).or_default().push(server.clone());
                self.groups[index].servers.push(server);
            } else {
                self.join_or_new(server);
            }
            return Ok(());
        }
        if !server.is_tls() {
            // Beside TLS servers of the port, as a group of its own.
            self.plaintext.insert(server.port, self.groups.len());
            if server.is_http() {
                self.by_routes.insert(server.routes.clone(), vec![server.clone()]);
            }
            self.groups.push(group_of(server));
            return Ok(());
        }
        if server.is_http() {
            if server.routes.is_empty() || self.by_routes.contains_key(&server.routes) {
                return Err(taken(&self.groups));
            }
            self.by_routes.insert(server.routes.clone(), vec![server.clone()]);
        }
        // TLS servers of one port share the listener whatever they carry.
        match self.groups.iter().position(|g| g.port == server.port && g.bind == bind) {
            Some(index) => self.groups[index].servers.push(server),
            None => self.groups.push(group_of(server)),
        }
        Ok(())
    }

    fn join_or_new(&mut self, server: MergedServer) {
        let same = |g: &Group| g.port == server.port && g.protocol == server.protocol && g.bind == server.spec.bind;
        match self.groups.iter().position(same) {
            None => self.new_group(server),
            Some(index) => {
                self.groups[index].routes.clone_from(&server.routes);
                self.by_routes.entry(server.routes.clone()).or_default().push(server.clone());
                self.groups[index].servers.push(server);
            }
        }
    }

    fn new_group(&mut self, server: MergedServer) {
        if !server.is_tls() {
            self.plaintext.insert(server.port, self.groups.len());
        }
        if server.is_http() {
            self.by_routes.insert(server.routes.clone(), vec![server.clone()]);
        }
        self.groups.push(group_of(server));
    }
}

fn group_of(server: MergedServer) -> Group {
    Group {
        port: server.port,
        protocol: server.protocol,
        bind: server.spec.bind.clone(),
        routes: server.routes.clone(),
        servers: vec![server],
    }
}
