//! Which hosts and ports are asked for: those of the services and of the virtual hosts and filter chains on both sides,
//! and one that nobody knows.

use super::clients::{Client, INTERNET};
use crate::config::{FilterChain, Listener, ProxyConfig};
use crate::protocol::{ListenerProtocol, Protocol};
use crate::snapshot::Snapshot;
use crate::translate::{NodeKind, Translation, names};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub host: String,
    pub port: u16,
    /// The likeliest first; the next is asked where that one tells no difference.
    pub schemes: Vec<&'static str>,
}

/// A host that nothing is written about.
const UNKNOWN: &str = "unknown.example";

type Both = (Option<Arc<Translation>>, Option<Arc<Translation>>);

pub(super) fn of(client: &Client, before: &Snapshot, after: &Snapshot, translations: &Both) -> Vec<Target> {
    let mut found = Targets::default();
    match client.kind {
        NodeKind::Gateway => {
            for snapshot in [before, after] {
                found.servers(snapshot);
            }
        }
        NodeKind::Sidecar => {
            found.services(before);
            found.services(after);
            found.add(UNKNOWN, 80, &["http", "tcp"]);
        }
    }
    for translation in [&translations.0, &translations.1].into_iter().flatten() {
        found.config(&translation.config, client.kind);
    }
    if client.from == INTERNET {
        found.dialled_from_outside();
    }
    found.all.into_iter().map(|((host, port), schemes)| Target { host, port, schemes }).collect()
}

#[derive(Default)]
struct Targets {
    all: BTreeMap<(String, u16), Vec<&'static str>>,
}

impl Targets {
    fn add(&mut self, host: &str, port: u16, schemes: &[&'static str]) {
        let host = match host.strip_prefix("*.") {
            Some(domain) => format!("x.{domain}"),
            None if host == "*" => UNKNOWN.to_owned(),
            None => host.to_ascii_lowercase(),
        };
        if host.is_empty() || port == 0 || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b)) {
            return;
        }
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
        let known = self.all.entry((host, port)).or_default();
        known.extend(schemes.iter().filter(|scheme| !known.contains(scheme)).copied().collect::<Vec<_>>());
    }

    fn services(&mut self, snapshot: &Snapshot) {
        for service in snapshot.services() {
            for port in &service.ports {
                let Ok(number) = u16::try_from(port.number) else { continue };
                self.add(&service.host, number, schemes(port.protocol));
            }
        }
    }

    /// Of Gateways.
    fn servers(&mut self, snapshot: &Snapshot) {
        for server in snapshot.gateways().iter().flat_map(|gateway| &gateway.spec.servers) {
            let Some(port) = &server.port else { continue };
            let Ok(number) = u16::try_from(port.number) else { continue };
            for host in &server.hosts {
                let host = host.split_once('/').map_or(host.as_str(), |(_, host)| host);
                self.add(host, number, schemes(Protocol::parse(&port.protocol)));
            }
        }
    }

    fn config(&mut self, config: &ProxyConfig, kind: NodeKind) {
        for routes in config.routes.values() {
            let (port, schemes): (_, &[&'static str]) =
                match (kind, routes.name.split('.').collect::<Vec<_>>().as_slice()) {
                    (NodeKind::Gateway, ["http", port, ..]) => ((*port).to_owned(), &["http"]),
                    (NodeKind::Gateway, ["https", port, ..]) => ((*port).to_owned(), &["https"]),
                    _ => (routes.name.rsplit(':').next().unwrap_or_default().to_owned(), &["http"]),
                };
            let Ok(port) = port.parse() else { continue };
            for host in &routes.virtual_hosts {
                let name = crate::route::table::without_port(&host.name);
                match name {
                    names::ALLOW_ANY | names::BLOCK_ALL | "blackhole" => self.add(UNKNOWN, port, schemes),
                    // One that stands for several rules' hosts may have more names than its own.
                    _ => self.add(name, port, schemes),
                }
                let own = |domain: &&String| !is_form_of(domain, name);
                for domain in host.domains.iter().filter(|_| kind == NodeKind::Gateway).filter(own) {
                    self.add(crate::route::table::without_port(domain), port, schemes);
                }
            }
        }
        for listener in config.listeners.values() {
            let inbound = listener.name == names::VIRTUAL_INBOUND || listener.name == names::VIRTUAL_OUTBOUND;
            if !inbound {
                self.chains(listener, kind);
            }
        }
    }

    /// Names of TLS, and addresses that a chain is for.
    fn chains(&mut self, listener: &Listener, kind: NodeKind) {
        let written = listener.name.rsplit('_').next().and_then(|port| port.parse().ok());
        let port = written.unwrap_or(listener.address.port());
        let chains = listener.filter_chains.iter().chain(listener.default_filter_chain.as_deref());
        for FilterChain { matches, .. } in chains {
            for name in &matches.server_names {
                self.add(name, port, &["https"]);
            }
            let single: BTreeSet<IpAddr> = matches.prefix_ranges.iter().map(ipnet::IpNet::addr).collect();
            for address in single {
                self.add(&address.to_string(), port, &["tcp", "http"]);
            }
        }
        let address = listener.address.ip();
        if kind == NodeKind::Sidecar
            && !address.is_unspecified()
            && listener.direction == crate::config::Direction::Outbound
        {
            self.add(&address.to_string(), port, &["tcp"]);
        }
    }

    /// The ports that clients dial where they write none.
    fn dialled_from_outside(&mut self) {
        let all: Vec<_> = self.all.iter().map(|((host, _), schemes)| (host.clone(), schemes.clone())).collect();
        for (host, schemes) in all {
            for scheme in schemes {
                match scheme {
                    "http" => self.add(&host, 80, &["http"]),
                    "https" => self.add(&host, 443, &["https"]),
                    _ => {}
                }
            }
        }
    }
}

/// A shorter or longer way of writing it, or with a port.
fn is_form_of(domain: &str, name: &str) -> bool {
    let domain = crate::route::table::without_port(domain);
    domain == name || name.strip_prefix(domain).is_some_and(|rest| rest.starts_with('.'))
}

fn schemes(protocol: Protocol) -> &'static [&'static str] {
    match (protocol, protocol.listener()) {
        (Protocol::Https | Protocol::Tls, _) => &["https", "tcp"],
        (_, ListenerProtocol::Http) => &["http"],
        (_, ListenerProtocol::Tcp) => &["tcp", "https"],
        (_, ListenerProtocol::Auto) => &["http", "tcp", "https"],
        (_, ListenerProtocol::Other) => &["tcp"],
    }
}
