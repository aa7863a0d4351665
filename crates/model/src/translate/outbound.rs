//! The outbound listeners of sidecars: one for each HTTP port, one for each address of a TCP service, and what
//! happens where they want the same address and port.
//!
//! `translate` calls it. None of these binds a socket (but for Sidecar listeners that say so): connections are
//! handed over by original destination.

use super::cluster::{dns_cache, is_dynamic};
use super::egress::{Egress, EgressPort};
use super::hcm::{Side, connection_manager};
use super::l4::{self, L4Chain, L4Listener};
use super::names;
use super::view::{OutboundPolicy, View};
use super::{Exclusion, Reason};
use crate::config::{
    Direction, FilterChain, FilterChainMatch, HttpFilter, Listener, ListenerFilter, NetworkFilter, RouteSource,
    TcpProxy,
};
use crate::protocol::{ListenerProtocol, Protocol};
use crate::snapshot::{
    EndpointHost, Registry, Resolution, Service, ServiceAddress, ServicePort, TargetPort, origin_of,
};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// What the HTTP inspector finds.
const PLAINTEXT_HTTP: [&str; 2] = ["http/1.1", "h2c"];

/// One listener in the making.
struct Entry {
    port: ServicePort,
    bind_to_port: bool,
    /// Made by a Sidecar's listener with a port: nothing is added to it.
    locked: bool,
    chains: Vec<Chain>,
    protocol: Protocol,
    origins: Vec<crate::config::Origin>,
}

#[derive(Debug, Clone)]
struct Chain {
    sni: Vec<String>,
    cidrs: Vec<String>,
    application_protocols: Vec<String>,
    transport: &'static str,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    /// The name of the routes.
    Http(String),
    /// With the port at which the SNI is dialled, for dynamic DNS.
    Tcp(TcpProxy, Option<u16>),
}

/// Where a service's listener goes, and for which port.
struct Want<'a> {
    service: &'a Arc<Service>,
    port: ServicePort,
    /// Chosen already (a Sidecar's `bind`, or a pod of a headless service); None: by the service's address.
    bind: Option<IpAddr>,
    bind_to_port: bool,
}

/// The listeners, and which routes they ask for with the egress listener that these come from.
pub(super) struct Outbound {
    pub listeners: Vec<Listener>,
    /// Route names with the index of their egress listener and the port.
    pub routes: BTreeMap<String, (usize, u32)>,
}

pub(super) fn build(view: &View<'_>, exclusions: &mut Vec<Exclusion>) -> Outbound {
    let mut builder = Builder { view, entries: BTreeMap::new(), routes: BTreeMap::new(), egress: 0, exclusions };
    for (index, egress) in view.egress.iter().enumerate() {
        builder.egress = index;
        builder.add_egress(egress);
    }
    let entries = std::mem::take(&mut builder.entries);
    let routes = std::mem::take(&mut builder.routes);
    let dynamic = dynamic_ports(view);
    let listeners = entries.into_iter().map(|((bind, _), entry)| finish(view, bind, entry, &dynamic)).collect();
    Outbound { listeners, routes }
}

struct Builder<'a> {
    view: &'a View<'a>,
    entries: BTreeMap<(IpAddr, u32), Entry>,
    routes: BTreeMap<String, (usize, u32)>,
    /// The egress listener that is being worked on.
    egress: usize,
    exclusions: &'a mut Vec<Exclusion>,
}

impl Builder<'_> {
    fn add_egress(&mut self, egress: &Egress) {
        let bind = match egress.bind.as_str() {
            "" if egress.bind_to_port => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            "" => None,
            text => match text.parse() {
                Ok(ip) => Some(ip),
                // A socket file: no sidecar of ours serves one yet.
                Err(_) => {
                    let id = self.view.sidecar.map(|s| origin_of(&s.id, format!("spec.egress[{}].bind", self.egress)));
                    self.exclusions.extend(id.map(|origin| Exclusion {
                        origin,
                        reason: Reason::SocketFile,
                        winner: None,
                    }));
                    return;
                }
            },
        };
        let bind_to_port = egress.bind_to_port;
        if let Some(port) = &egress.port {
            let port = of_egress(port);
            for service in &egress.services {
                self.add(egress, &Want { service, port: port.clone(), bind, bind_to_port });
            }
            return;
        }
        for entry in self.entries.values_mut() {
            entry.locked = true;
        }
        for service in &egress.services {
            for port in &service.ports {
                if bind.is_none() && self.is_per_pod(service, port) {
                    for ip in self.pods_of(service, port) {
                        self.add(egress, &Want { service, port: port.clone(), bind: Some(ip), bind_to_port });
                    }
                } else {
                    self.add(egress, &Want { service, port: port.clone(), bind, bind_to_port });
                }
            }
        }
    }

    /// TCP ports of headless services get a listener for each pod. A ServiceEntry without endpoints, that can never
    /// have any, listens on all addresses instead.
    fn is_per_pod(&self, service: &Service, port: &ServicePort) -> bool {
        let headless = service.resolution == Resolution::Passthrough
            && service.address_for(self.view.scope.dns_capture) == ServiceAddress::Unspecified
            && !port.protocol.is_http()
            && port.protocol != Protocol::Udp;
        let may_have_pods = service.registry == Registry::Kubernetes
            || !service.selector.is_empty()
            || !self.view.snapshot.endpoints(service, port.number).is_empty();
        headless && may_have_pods
    }

    fn pods_of(&self, service: &Service, port: &ServicePort) -> BTreeSet<IpAddr> {
        let endpoints = self.view.snapshot.endpoints(service, port.number).iter();
        endpoints
            .filter(|e| e.ready)
            .filter_map(|e| match &e.address {
                EndpointHost::Ip(ip) => Some(*ip),
                EndpointHost::Name(_) | EndpointHost::Unix(_) => None,
            })
            .collect()
    }

    fn add(&mut self, egress: &Egress, want: &Want<'_>) {
        if matches!(want.service.resolution, Resolution::Alias(_)) {
            return;
        }
        let kind = want.port.protocol.listener();
        let mut cidrs = Vec::new();
        let bind = match (kind, want.bind) {
            (ListenerProtocol::Other, _) => return,
            (_, Some(bind)) => bind,
            (ListenerProtocol::Http, None) => ANY,
            (_, None) => match want.service.address_for(self.view.scope.dns_capture) {
                ServiceAddress::Ip(ip) => ip,
                ServiceAddress::Unspecified => ANY,
                ServiceAddress::Cidr(net) => {
                    cidrs.push(net.to_string());
                    ANY
                }
            },
        };
        if self.is_reserved(bind, want.port.number) {
            return;
        }
        let key = (bind, want.port.number);
        if self.entries.get(&key).is_some_and(|e| e.locked) {
            return;
        }
        let existing = self.entries.get(&key).map(|e| e.protocol);
        let mut protocol = want.port.protocol;
        let (chains, merge) = match (kind, existing) {
            _ if protocol == Protocol::HttpProxy => (vec![self.http_chain(want, bind, kind)], Merge::Replace),
            // HTTP, or detected: its routes hold all services.
            (ListenerProtocol::Http, Some(p)) if !p.is_tcp() => return,
            (ListenerProtocol::Http, existing) => {
                let mut chain = self.http_chain(want, bind, kind);
                if bind == ANY {
                    detect(&mut chain);
                    protocol = Protocol::Unspecified;
                }
                (vec![chain], if existing.is_some() { Merge::Detect } else { Merge::Replace })
            }
            (ListenerProtocol::Tcp, existing) => {
                let merge = match existing {
                    None => Merge::Replace,
                    Some(p) if p.is_http() => Merge::Detect,
                    Some(_) => Merge::Add,
                };
                (self.tcp_chains(egress, want, bind, cidrs), merge)
            }
            (_, Some(p)) if !p.is_http() && !p.is_tcp() => (self.tcp_chains(egress, want, bind, cidrs), Merge::Add),
            (_, existing) => {
                let mut chains = self.tcp_chains(egress, want, bind, cidrs);
                let mut http = self.http_chain(want, bind, ListenerProtocol::Auto);
                detect(&mut http);
                chains.push(http);
                let tcp = existing.is_some_and(Protocol::is_tcp);
                (chains, if tcp { Merge::Detect } else { Merge::Replace })
            }
        };
        if let Some(existing) = existing
            && merge != Merge::Replace
            && (want.port.protocol.is_server_first() || existing.is_server_first())
            && want.port.protocol != existing
        {
            // Detection would break servers that speak first.
            self.exclude(want, bind);
            return;
        }
        self.merge(key, want, protocol, chains, merge);
    }

    fn merge(&mut self, key: (IpAddr, u32), want: &Want<'_>, protocol: Protocol, chains: Vec<Chain>, merge: Merge) {
        let origin = origin_of(&want.service.id, "");
        match (merge, self.entries.get_mut(&key)) {
            (Merge::Replace, _) | (_, None) => {
                let entry = Entry {
                    port: want.port.clone(),
                    bind_to_port: want.bind_to_port,
                    locked: false,
                    chains,
                    protocol,
                    origins: vec![origin],
                };
                self.entries.insert(key, entry);
            }
            (merge, Some(entry)) => {
                let mut left_out = false;
                for chain in chains {
                    if entry.chains.iter().any(|known| known.conflicts(&chain)) {
                        left_out = true;
                    } else {
                        entry.chains.push(chain);
                    }
                }
                if !entry.origins.contains(&origin) {
                    entry.origins.push(origin);
                }
                if merge == Merge::Detect {
                    entry.protocol = Protocol::Unspecified;
                }
                if left_out {
                    self.exclude(want, key.0);
                }
            }
        }
    }

    fn exclude(&mut self, want: &Want<'_>, bind: IpAddr) {
        let reason = Reason::ListenerTaken { listener: names::listener(bind, want.port.number) };
        let winner = self.entries.get(&(bind, want.port.number)).and_then(|entry| entry.origins.first().cloned());
        self.exclusions.push(Exclusion { origin: origin_of(&want.service.id, ""), reason, winner });
    }

    /// The sidecar's own ports.
    fn is_reserved(&self, bind: IpAddr, port: u32) -> bool {
        let mesh = &self.view.snapshot.mesh;
        let own = [mesh.proxy_listen_port, mesh.proxy_inbound_listen_port];
        bind == ANY && own.iter().any(|p| u32::try_from(*p) == Ok(port))
    }

    fn http_chain(&mut self, want: &Want<'_>, bind: IpAddr, kind: ListenerProtocol) -> Chain {
        let number = want.port.number;
        let name = if kind == ListenerProtocol::Auto && bind != ANY {
            names::virtual_host(&want.service.host, number)
        } else {
            number.to_string()
        };
        // As in Istio, the routes of a port are those of the first egress listener that has it, even where another
        // one's services make the listener.
        let has_port = |e: &Egress| e.port.as_ref().is_none_or(|p| p.number == number);
        let egress = self.view.egress.iter().position(has_port).unwrap_or(self.egress);
        self.routes.entry(name.clone()).or_insert((egress, number));
        Chain {
            sni: Vec::new(),
            cidrs: Vec::new(),
            application_protocols: Vec::new(),
            transport: "",
            content: Content::Http(name),
        }
    }

    fn tcp_chains(&self, egress: &Egress, want: &Want<'_>, bind: IpAddr, cidrs: Vec<String>) -> Vec<Chain> {
        let at = L4Listener { service: want.service, port: want.port.number, own_address: bind != ANY, cidrs };
        let chains = if want.port.protocol.is_tls() {
            l4::tls_chains(self.view, egress, &at)
        } else {
            l4::tcp_chains(self.view, egress, &at)
        };
        chains.into_iter().map(Chain::from).collect()
    }
}

/// How a listener's chains go with those that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Merge {
    /// In their place.
    Replace,
    /// Beside them.
    Add,
    /// Beside them, and from now on the protocol is detected.
    Detect,
}

fn of_egress(port: &EgressPort) -> ServicePort {
    ServicePort {
        name: port.name.clone(),
        number: port.number,
        protocol: port.protocol,
        target: TargetPort::Number(port.number),
    }
}

/// Only what is found to be plaintext HTTP comes to the chain.
fn detect(chain: &mut Chain) {
    chain.application_protocols = PLAINTEXT_HTTP.map(String::from).to_vec();
    chain.transport = "raw_buffer";
}

impl From<L4Chain> for Chain {
    fn from(chain: L4Chain) -> Self {
        Self {
            sni: chain.sni,
            cidrs: chain.cidrs,
            application_protocols: Vec::new(),
            transport: "",
            content: Content::Tcp(chain.proxy, chain.by_sni),
        }
    }
}

impl Chain {
    fn matches_all(&self) -> bool {
        (self.sni.is_empty() || self.sni.iter().any(|s| s == "*"))
            && self.application_protocols.is_empty()
            && self.transport.is_empty()
            && self.cidrs.is_empty()
    }

    /// Would the two take the same connections?
    fn conflicts(&self, other: &Self) -> bool {
        self.transport == other.transport
            && self.application_protocols == other.application_protocols
            && self.sni_set() == other.sni_set()
            && self.networks() == other.networks()
    }

    fn sni_set(&self) -> Option<BTreeSet<&str>> {
        (!self.sni.is_empty()).then(|| self.sni.iter().map(String::as_str).filter(|s| *s != "*").collect())
    }

    fn networks(&self) -> BTreeSet<IpNet> {
        self.cidrs.iter().filter_map(|c| network(c)).collect()
    }

    fn to_match(&self) -> FilterChainMatch {
        let any_name = self.sni.iter().any(|s| s == "*");
        let mut names = if any_name { Vec::new() } else { self.sni.clone() };
        names.sort();
        FilterChainMatch {
            destination_port: None,
            prefix_ranges: self.networks().into_iter().collect(),
            source_prefix_ranges: Vec::new(),
            server_names: names,
            transport_protocol: self.transport.to_string(),
            application_protocols: self.application_protocols.clone(),
        }
    }
}

/// An address or a CIDR block; the unspecified address is none.
fn network(text: &str) -> Option<IpNet> {
    let net = match text.parse::<IpAddr>() {
        Ok(ip) => IpNet::from(ip),
        Err(_) => text.parse::<IpNet>().ok()?.trunc(),
    };
    (!net.addr().is_unspecified()).then_some(net)
}

/// The ports whose requests may go to names that are looked up when they come.
fn dynamic_ports(view: &View<'_>) -> BTreeSet<u32> {
    let services = view.egress.iter().flat_map(|egress| &egress.services);
    let ports = services.flat_map(|service| service.ports.iter().filter(|port| is_dynamic(service, port)));
    ports.filter(|port| port.protocol.is_http()).map(|port| port.number).collect()
}

fn finish(view: &View<'_>, bind: IpAddr, entry: Entry, dynamic: &BTreeSet<u32>) -> Listener {
    let name = names::listener(bind, entry.port.number);
    let mesh = &view.snapshot.mesh;
    let needs_names = entry.chains.iter().any(|c| !c.sni.is_empty());
    let needs_detection = entry.chains.iter().any(|c| !c.application_protocols.is_empty());
    let mut listener_filters = Vec::new();
    if needs_names {
        listener_filters.push(ListenerFilter::TlsInspector);
    }
    if needs_detection {
        listener_filters.push(ListenerFilter::HttpInspector { disabled_ports: Vec::new() });
    }
    let mut filter_chains = Vec::new();
    let mut default_filter_chain = None;
    for chain in &entry.chains {
        let filters = match &chain.content {
            Content::Http(routes) => {
                let mut manager = connection_manager(
                    Side::Outbound,
                    format!("outbound_{name};"),
                    RouteSource::Rds(routes.clone()),
                    mesh,
                );
                let of_all_ports = entry.protocol == Protocol::HttpProxy && !dynamic.is_empty();
                if of_all_ports || dynamic.contains(&entry.port.number) {
                    // The router comes last.
                    let at = manager.http_filters.len().saturating_sub(1);
                    manager.http_filters.insert(at, HttpFilter::DynamicForwardProxy(dns_cache(view)));
                }
                vec![NetworkFilter::Http(Box::new(manager))]
            }
            Content::Tcp(proxy, None) => vec![NetworkFilter::Tcp(proxy.clone())],
            Content::Tcp(proxy, Some(port)) => vec![
                NetworkFilter::SniDynamicForwardProxy { cache: dns_cache(view), port: *port },
                NetworkFilter::Tcp(proxy.clone()),
            ],
        };
        let origin = match &chain.content {
            Content::Tcp(proxy, _) => proxy.origin.clone(),
            Content::Http(_) => None,
        };
        let built = FilterChain { matches: chain.to_match(), origin, ..FilterChain::new(filters) };
        if chain.matches_all() {
            default_filter_chain = Some(Box::new(built));
        } else {
            filter_chains.push(built);
        }
    }
    match default_filter_chain {
        Some(only) if filter_chains.is_empty() => {
            filter_chains.push(*only);
            default_filter_chain = None;
        }
        None => default_filter_chain = Some(Box::new(catch_all(view, "PassthroughFilterChain"))),
        Some(_) => {}
    }
    // A port above 65535 is no port: the registry leaves it out.
    let address = SocketAddr::new(bind, u16::try_from(entry.port.number).unwrap_or_default());
    Listener {
        bind_to_port: entry.bind_to_port,
        direction: Direction::Outbound,
        listener_filters,
        listener_filters_timeout: Some(if needs_detection {
            mesh.protocol_detection_timeout.into()
        } else {
            Duration::ZERO
        }),
        continue_on_timeout: true,
        filter_chains,
        default_filter_chain,
        origins: entry.origins,
        access_log: super::log::of_listener(mesh),
        ..Listener::new(name, address)
    }
}

/// What happens to connections to nobody that the mesh knows.
pub(super) fn catch_all(view: &View<'_>, name: &str) -> FilterChain {
    let cluster = match &view.outbound {
        OutboundPolicy::AllowAny => names::PASSTHROUGH_CLUSTER.to_string(),
        OutboundPolicy::Proxy(destination) => super::route::cluster_name(destination, None, 0),
        OutboundPolicy::RegistryOnly => names::BLACK_HOLE_CLUSTER.to_string(),
    };
    to_cluster_chain(view, name, cluster, None)
}

/// A chain that sends all to one cluster.
pub(super) fn to_cluster_chain(view: &View<'_>, name: &str, cluster: String, port: Option<u16>) -> FilterChain {
    FilterChain {
        name: name.to_string(),
        matches: FilterChainMatch { destination_port: port, ..FilterChainMatch::default() },
        ..FilterChain::new(vec![NetworkFilter::Tcp(l4::to_one(view, cluster, "", None))])
    }
}
