//! The listeners of gateways, and the certificates that they name.
//!
//! `translate` calls it with the Gateways that choose the proxy.

use super::gateway_merge::{Group, Merged, MergedServer, merge};
use super::hcm::{Side, connection_manager};
use super::l4;
use super::node::{Interception, LocalScope, Node, NodeKind, Scope};
use super::view::View;
use super::{Exclusion, Reason, cluster, gateway_routes, names, server_tls};
use crate::config::{
    Direction, FilterChain, FilterChainMatch, Listener, ListenerFilter, NetworkFilter, Origin, RouteConfig,
    RouteSource, Secret, TcpProxy,
};
use crate::host::{overlaps, subset_of};
use crate::resource::MeshConfig;
use crate::resource::virtual_service::TlsRoute;
use crate::snapshot::{Health, Pod, ResolvedVirtualService, Rule, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

#[derive(Default)]
pub(super) struct Gateways {
    pub listeners: Vec<Listener>,
    pub routes: Vec<RouteConfig>,
    pub secrets: Vec<Secret>,
}

pub(super) fn build(view: &View<'_>, scope: &Scope, exclusions: &mut Vec<Exclusion>) -> Gateways {
    let chosen: Vec<_> = scope.local.gateways.iter().filter_map(|i| view.snapshot.gateways().get(*i)).collect();
    let merged = merge(&chosen, &|number| target_port(&scope.local, number), exclusions);
    let mut gateways = Gateways {
        routes: merged.by_routes.iter().map(|(name, servers)| gateway_routes::build(view, name, servers)).collect(),
        ..Gateways::default()
    };
    gateways.listeners = listeners(view, &scope.local, &merged, exclusions);
    let chains = gateways.listeners.iter().flat_map(|listener| &listener.filter_chains);
    gateways.secrets = server_tls::secrets(view, chains.filter_map(|c| c.tls.as_ref()).flat_map(server_tls::names));
    gateways
}

/// The pod's port where a Service of it has the number.
fn target_port(local: &LocalScope, number: u32) -> Option<u16> {
    // In `up` a gateway's port is opened as it is written; there is no Service in front.
    let targets = if local.place.is_some() { &[] } else { local.targets.as_slice() };
    targets.iter().find(|t| t.port == number).map(|t| t.target_port)
}

/// What a gateway with these Gateways leaves out: servers, and `tls` matches for names that are taken.
pub(super) fn conflicts(snapshot: &Snapshot, chosen: &[usize], pod: Option<&Pod>, exclusions: &mut Vec<Exclusion>) {
    let chosen: Vec<_> = chosen.iter().filter_map(|index| snapshot.gateways().get(*index)).collect();
    let scope =
        pod.map(|pod| Scope::of(snapshot, &Node::of_pod(pod, NodeKind::Gateway, Interception::Redirect, false)));
    let port = |number| scope.as_ref().and_then(|scope| target_port(&scope.local, number));
    let merged = merge(&chosen, &port, exclusions);
    let namespace = match (pod, chosen.first()) {
        (Some(pod), _) => pod.namespace.as_str(),
        (None, Some(gateway)) => &*gateway.id.namespace,
        (None, None) => return,
    };
    let mut taken: BTreeMap<u16, Taken> = BTreeMap::new();
    for group in merged.groups.iter().filter(|group| !group.protocol.is_http()) {
        for server in group.servers.iter().filter(|server| server.is_passthrough()) {
            passthrough_rules(snapshot, namespace, server, taken.entry(group.port).or_default(), exclusions);
        }
    }
}

/// One for each address and port; groups of servers that share them share the listener.
fn listeners(view: &View<'_>, local: &LocalScope, merged: &Merged, exclusions: &mut Vec<Exclusion>) -> Vec<Listener> {
    let mut by_address: BTreeMap<(IpAddr, u16), Vec<FilterChain>> = BTreeMap::new();
    let mut taken: BTreeMap<u16, Taken> = BTreeMap::new();
    let mut written: BTreeMap<(IpAddr, u16), u32> = BTreeMap::new();
    for group in &merged.groups {
        let bind = match group.bind.as_str() {
            "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            text => match text.parse() {
                Ok(ip) => ip,
                // A socket file, which is not opened; nor is anything in its place.
                Err(_) => continue,
            },
        };
        let chains = chains_of(view, group, bind, taken.entry(group.port).or_default(), exclusions);
        let key = (bind, group.port);
        if !chains.is_empty() {
            by_address.entry(key).or_default().extend(chains);
            written.entry(key).or_insert(group.servers.first().map_or(0, |s| s.number));
        }
    }
    by_address
        .into_iter()
        .map(|((bind, port), chains)| {
            let addresses = addresses(view, local, bind, port, written.get(&(bind, port)).copied().unwrap_or_default());
            listener(&view.snapshot.mesh, names::listener(bind, port), &addresses, chains)
        })
        .collect()
}

/// Where a listener opens its port; never empty.
fn addresses(view: &View<'_>, local: &LocalScope, bind: IpAddr, port: u16, written: u32) -> Vec<SocketAddr> {
    match &local.place {
        Some(place) if !place.bind.is_empty() => {
            let opened = u16::try_from(written).ok().and_then(|n| place.bound.get(&n).copied()).unwrap_or(port);
            place.bind.iter().map(|ip| SocketAddr::new(*ip, opened)).collect()
        }
        // Where there is no such port, it stays.
        _ => vec![SocketAddr::new(bind, port.checked_add(view.snapshot.mesh.gateway_port_offset).unwrap_or(port))],
    }
}

fn listener(mesh: &MeshConfig, name: String, addresses: &[SocketAddr], chains: Vec<FilterChain>) -> Listener {
    let inspects = chains.iter().any(|c| !c.matches.server_names.is_empty() || c.tls.is_some());
    let origins: Vec<_> = chains.iter().filter_map(|c| c.origin.clone()).collect();
    let address = addresses.first().copied().unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));
    Listener {
        additional_addresses: addresses.get(1..).unwrap_or_default().to_vec(),
        direction: Direction::Outbound,
        listener_filters: if inspects { vec![ListenerFilter::TlsInspector] } else { Vec::new() },
        filter_chains: chains,
        origins,
        access_log: super::log::of_listener(mesh),
        ..Listener::new(name, address)
    }
}

fn chains_of(
    view: &View<'_>,
    group: &Group,
    bind: IpAddr,
    taken: &mut Taken,
    exclusions: &mut Vec<Exclusion>,
) -> Vec<FilterChain> {
    let name = names::listener(bind, group.port);
    if group.protocol.is_http() {
        let origin = group.servers.first().map(|s| s.origin.clone());
        return vec![http_chain(view, &name, &group.routes, None, origin)];
    }
    let mut chains = Vec::new();
    let mut passed = BTreeSet::new();
    for server in &group.servers {
        if server.ends_https() {
            chains.push(http_chain(view, &name, &server.routes, Some(server), Some(server.origin.clone())));
        } else if server.is_auto_passthrough() {
            chains.extend(auto_passthrough_chains(view, server, &mut passed));
        } else if server.is_passthrough() {
            chains.extend(passthrough_chains(view, server, taken, exclusions));
        } else {
            chains.extend(tcp_chain(view, server));
        }
    }
    chains
}

fn chain(server: Option<&MergedServer>, filter: NetworkFilter, origin: Option<crate::config::Origin>) -> FilterChain {
    let tls = server.and_then(MergedServer::tls);
    let server_names =
        if tls.is_some() { server.map(MergedServer::server_names).unwrap_or_default() } else { Vec::new() };
    let any = server_names.iter().any(|n| n == "*");
    FilterChain {
        matches: FilterChainMatch {
            server_names: if any { Vec::new() } else { server_names },
            ..FilterChainMatch::default()
        },
        tls: tls.map(server_tls::of),
        origin,
        ..FilterChain::new(vec![filter])
    }
}

/// `server`: the one whose TLS is ended; None for plaintext.
fn http_chain(
    view: &View<'_>,
    listener: &str,
    routes: &str,
    server: Option<&MergedServer>,
    origin: Option<crate::config::Origin>,
) -> FilterChain {
    let stat_prefix = match server {
        Some(server) if !server.spec.name.is_empty() => server.spec.name.clone(),
        _ => format!("outbound_{listener};"),
    };
    let source = RouteSource::Rds(routes.to_string());
    let manager = connection_manager(Side::Gateway, stat_prefix, source, &view.snapshot.mesh);
    chain(server, NetworkFilter::Http(Box::new(manager)), origin)
}

/// TCP, and TLS that is ended: by the first `tcp` rule that fits.
fn tcp_chain(view: &View<'_>, server: &MergedServer) -> Option<FilterChain> {
    let mut unknown = None;
    for vs in view.snapshot.virtual_services_for(&view.scope.namespace, &server.gateway) {
        if !shares_host(server, vs) {
            continue;
        }
        for rule in &vs.tcp {
            let broken = rule.health != Health::Sound;
            let fits =
                rule.route.matches.is_empty() || rule.route.matches.iter().any(|m| fits(m.port, &m.gateways, server));
            if (fits && !rule.route.route.is_empty()) || broken {
                let proxy = l4::to_destinations(view, &rule.route.route, server.number, &rule.origin, rule.health);
                let taken = chain(Some(server), NetworkFilter::Tcp(proxy), Some(rule.origin.clone()));
                // One of which it is not known whether it has such rules takes no port from one that has.
                if broken && rule.origin.path == "spec" {
                    unknown.get_or_insert(taken);
                    continue;
                }
                return Some(taken);
            }
        }
    }
    unknown
}

/// SNI hosts of passthrough rules with the address they are bound to, and whose they are.
type Taken = BTreeMap<(String, String), Origin>;

/// The protocols that sidecars offer in the mesh's own TLS, and nobody else.
const MESH_TLS: [&str; 5] = ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"];

/// The mesh's own TLS for the services of a server's hosts, a chain for each port and subset: the client has chosen the
/// cluster, and its sidecar names that as the server.
fn auto_passthrough_chains(view: &View<'_>, server: &MergedServer, known: &mut BTreeSet<String>) -> Vec<FilterChain> {
    let hosts = server.server_names();
    let mut chains = Vec::new();
    for service in view.services.iter().filter(|service| hosts.iter().any(|host| subset_of(&service.host, host))) {
        let rule = view.rule(&service.host).map(|merged| &merged.rule);
        let subsets = rule.into_iter().flat_map(|rule| &rule.subsets).map(|subset| subset.name.as_str());
        let subsets: Vec<_> = std::iter::once("").chain(subsets).collect();
        for port in service.ports.iter().filter(|port| cluster::passes(view, service, port)) {
            for subset in &subsets {
                let name = names::passed_cluster(port.number, subset, &service.host);
                // Another server of the port passes to the same.
                if !known.insert(name.clone()) {
                    continue;
                }
                let mut proxy = l4::to_one(view, name.clone(), subset, rule);
                proxy.tunnel = None;
                let mut chain = sni_chain(vec![name], proxy, &server.origin);
                chain.matches.application_protocols = MESH_TLS.map(str::to_owned).to_vec();
                chains.push(chain);
            }
        }
    }
    chains
}

/// A `tls` rule in force at a server, and the names that come to it.
struct SniRule<'s> {
    names: Vec<String>,
    rule: &'s Rule<TlsRoute>,
    health: Health,
}

/// TLS that is not ended: a chain for each `tls` match, by SNI.
fn passthrough_chains(
    view: &View<'_>,
    server: &MergedServer,
    taken: &mut Taken,
    exclusions: &mut Vec<Exclusion>,
) -> Vec<FilterChain> {
    let to_chain = |found: SniRule<'_>| {
        let sound = found.health == Health::Sound;
        let routes = if sound { found.rule.route.route.as_slice() } else { &[] };
        let proxy = l4::to_destinations(view, routes, server.number, &found.rule.origin, found.health);
        sni_chain(found.names, proxy, &found.rule.origin)
    };
    let rules = passthrough_rules(view.snapshot, &view.scope.namespace, server, taken, exclusions);
    rules.into_iter().map(to_chain).collect()
}

/// The `tls` matches at a server, in order; a match with a name that another has already is left out as a whole.
fn passthrough_rules<'s>(
    snapshot: &'s Snapshot,
    namespace: &str,
    server: &MergedServer,
    taken: &mut Taken,
    exclusions: &mut Vec<Exclusion>,
) -> Vec<SniRule<'s>> {
    let mut found = Vec::new();
    if server.is_auto_passthrough() {
        return found;
    }
    let key = |host: &String| (host.clone(), server.spec.bind.clone());
    for vs in snapshot.virtual_services_for(namespace, &server.gateway) {
        if !shares_host(server, vs) {
            continue;
        }
        for rule in vs.tls.iter().filter(|r| !r.route.route.is_empty() || r.health != Health::Sound) {
            if rule.health == Health::BrokenMatch {
                // Whatever of its hosts no rule above it takes.
                let names: Vec<_> = vs.hosts.iter().filter(|host| !taken.contains_key(&key(host))).cloned().collect();
                taken.extend(names.iter().map(|host| (key(host), rule.origin.clone())));
                if !names.is_empty() {
                    found.push(SniRule { names, rule, health: Health::BrokenAction });
                }
                break;
            }
            for (index, m) in rule.route.matches.iter().enumerate() {
                if !fits(m.port, &m.gateways, server) {
                    continue;
                }
                let by = m.sni_hosts.iter().find_map(|host| Some((host, taken.get(&key(host))?)));
                if let Some((host, by)) = by {
                    let origin = Origin { path: format!("{}.match[{index}]", rule.origin.path), ..rule.origin.clone() };
                    let reason = Reason::HostTaken { host: host.clone() };
                    exclusions.push(Exclusion { origin, reason, winner: Some(by.clone()) });
                    continue;
                }
                let of = Origin { path: format!("{}.match[{index}]", rule.origin.path), ..rule.origin.clone() };
                taken.extend(m.sni_hosts.iter().map(|host| (key(host), of.clone())));
                found.push(SniRule { names: m.sni_hosts.clone(), rule, health: rule.health });
            }
        }
    }
    found
}

/// For clients that ask for one of these names.
fn sni_chain(mut names: Vec<String>, proxy: TcpProxy, origin: &Origin) -> FilterChain {
    names.sort();
    let mut chain = chain(None, NetworkFilter::Tcp(proxy), Some(origin.clone()));
    if !names.iter().any(|n| n == "*") {
        chain.matches.server_names = names;
    }
    chain
}

fn shares_host(server: &MergedServer, vs: &ResolvedVirtualService) -> bool {
    let of_namespace = server.hosts_for(&vs.id.namespace);
    vs.hosts.iter().any(|host| of_namespace.iter().any(|h| overlaps(h, host)))
}

fn fits(port: u32, gateways: &[String], server: &MergedServer) -> bool {
    (port == 0 || port == server.number) && (gateways.is_empty() || gateways.contains(&server.gateway))
}
