//! The inbound side of a sidecar: the listener that takes what is meant for the pod, with chains for each of its
//! ports, and the clusters of the application behind.
//!
//! `translate` calls it with the pod's own part of the scope.

use super::cluster::passthrough;
use super::hcm::{Side, connection_manager};
use super::l4;
use super::log;
use super::node::{Interception, LocalScope, Target};
use super::outbound::to_cluster_chain;
use super::route::{plain_route, to_cluster};
use super::view::View;
use super::{names, policy};
use crate::config::{
    Cluster, ClusterEndpoints, ClusterService, Direction, Discovery, Endpoint, EndpointAddress, FilterChain,
    FilterChainMatch, LbPolicy, Listener, ListenerFilter, LocalityEndpoints, NetworkFilter, RouteAction, RouteConfig,
    RouteSource, VirtualHost,
};
use crate::protocol::{ListenerProtocol, Protocol};
use crate::resource::sidecar::CaptureMode;
use crate::rule::retry;
use crate::snapshot::{Service, origin_of};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The address that the kernel's redirection leaves alone, so that the sidecar's own connections reach the pod.
const PASSTHROUGH_SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));

/// One port of the pod.
#[derive(Debug, Clone)]
struct Port {
    number: u16,
    protocol: Protocol,
    /// Service and its port, for traces.
    service: String,
    service_port: u32,
    /// Whose DestinationRule has its connection pool, and what metrics call it; None where no service is known.
    behind: Option<Arc<Service>>,
    /// Where the application answers; None: at the address that was dialled.
    application: Option<EndpointAddress>,
    /// A socket of its own is opened there (a Sidecar's captureMode NONE), for nobody redirects to it.
    opened: Option<IpAddr>,
    origin: Option<crate::config::Origin>,
}

pub(super) struct Inbound {
    /// The one for all that is redirected, and those of ports that are not.
    pub listeners: Vec<Listener>,
    pub clusters: Vec<Cluster>,
}

/// `sees`: whether the sidecar's outbound side has that service, without which no DestinationRule of it is known.
pub(super) fn build(view: &View<'_>, local: &LocalScope, sees: &dyn Fn(&Service) -> bool) -> Inbound {
    let ports = ports(view, local);
    let mut clusters: Vec<Cluster> = ports.values().map(|port| cluster_of(view, local, port, sees)).collect();
    if local.place.is_none() {
        let mut all = passthrough(view, names::INBOUND_PASSTHROUGH_CLUSTER);
        all.bind_source = Some(PASSTHROUGH_SOURCE);
        clusters.push(all);
    }
    let (own, redirected): (Vec<_>, Vec<_>) = ports.values().partition(|port| port.opened.is_some());
    let mut listeners = vec![listener(view, local, &redirected)];
    listeners.extend(own.into_iter().filter_map(|port| own_listener(view, port, port.opened?)));
    Inbound { listeners, clusters }
}

/// By the number that clients dial. Of services that share a port the oldest decides its protocol.
fn ports(view: &View<'_>, local: &LocalScope) -> BTreeMap<u16, Port> {
    let mut ports: BTreeMap<u16, Port> = BTreeMap::new();
    let application = |port: u16| {
        let place = local.place.as_ref()?;
        place.applications.get(&port).copied().map(EndpointAddress::Socket)
    };
    let ingress = view.sidecar.map(|s| s.spec.ingress.as_slice()).unwrap_or_default();
    if ingress.is_empty() {
        for target in &local.targets {
            let service = service_of(view, target);
            let Some(port) = service.and_then(|s| s.port(target.port)) else { continue };
            if port.protocol == Protocol::Udp {
                continue;
            }
            ports.entry(target.target_port).or_insert_with(|| Port {
                number: target.target_port,
                protocol: port.protocol,
                service: target.service.host.clone(),
                service_port: target.port,
                behind: service.cloned(),
                application: application(target.target_port),
                opened: None,
                origin: service.map(|s| origin_of(&s.id, "")),
            });
        }
    }
    for (index, listener) in ingress.iter().enumerate() {
        let Some(port) = &listener.port else { continue };
        let Ok(number) = u16::try_from(port.number) else { continue };
        let origin = view.sidecar.map(|s| origin_of(&s.id, format!("spec.ingress[{index}]")));
        ports.entry(number).or_insert_with(|| Port {
            number,
            protocol: Protocol::parse(&port.protocol),
            service: view.sidecar.map(|s| format!("{}.{}", s.id.name, s.id.namespace)).unwrap_or_default(),
            service_port: port.number,
            behind: local.targets.iter().find(|t| t.target_port == number).and_then(|t| service_of(view, t)).cloned(),
            application: endpoint(&listener.default_endpoint, local, &application).or_else(|| application(number)),
            // In `up` the pod's address itself is listened on.
            opened: (listener.capture_mode == CaptureMode::None && local.place.is_none())
                .then(|| listener.bind.parse().unwrap_or_else(|_| wildcard(local))),
            origin,
        });
    }
    // Here the pod's address itself is listened on, so that no port may be left to the kernel.
    for number in local.place.iter().flat_map(|place| place.bound.keys().copied()) {
        ports.entry(number).or_insert_with(|| Port {
            number,
            protocol: Protocol::Unspecified,
            service: String::new(),
            service_port: u32::from(number),
            behind: None,
            application: application(number),
            opened: None,
            origin: None,
        });
    }
    ports
}

fn service_of<'v>(view: &View<'v>, target: &Target) -> Option<&'v Arc<Service>> {
    view.snapshot.services_of_host(&target.service.host)?.get(&target.service.namespace)
}

/// IPv4's, but for pods that have none but IPv6 addresses.
fn wildcard(local: &LocalScope) -> IpAddr {
    let only_v6 = !local.addresses.is_empty() && local.addresses.iter().all(IpAddr::is_ipv6);
    if only_v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
}

/// A Sidecar's `defaultEndpoint`: `127.0.0.1:PORT`, `0.0.0.0:PORT` (the pod's own address), `unix:///PATH`.
fn endpoint(
    text: &str,
    local: &LocalScope,
    application: &dyn Fn(u16) -> Option<EndpointAddress>,
) -> Option<EndpointAddress> {
    if let Some(path) = text.strip_prefix("unix://") {
        return Some(EndpointAddress::Pipe(path.to_owned()));
    }
    let address: SocketAddr = text.parse().ok()?;
    // Where the application has an address of its own, that is meant.
    if let Some(place) = application(address.port()) {
        return Some(place);
    }
    match address.ip() {
        ip if ip.is_unspecified() => {
            let own = local.addresses.iter().find(|a| a.is_ipv4() == ip.is_ipv4())?;
            Some(EndpointAddress::Socket(SocketAddr::new(*own, address.port())))
        }
        _ => Some(EndpointAddress::Socket(address)),
    }
}

fn cluster_of(view: &View<'_>, local: &LocalScope, port: &Port, sees: &dyn Fn(&Service) -> bool) -> Cluster {
    let mesh = &view.snapshot.mesh;
    let name = names::inbound_cluster(port.number);
    let discovery = match &port.application {
        Some(address) => Discovery::Static(ClusterEndpoints {
            cluster: name.clone(),
            localities: vec![LocalityEndpoints {
                endpoints: vec![Endpoint::new(address.clone())],
                ..LocalityEndpoints::default()
            }],
            overprovisioning_factor: None,
        }),
        // What was dialled is the listener itself: there is no application unless defaultEndpoint names one.
        None if port.opened.is_some() => Discovery::Static(ClusterEndpoints {
            cluster: name.clone(),
            localities: Vec::new(),
            overprovisioning_factor: None,
        }),
        None => Discovery::OriginalDst { header: false, port: None },
    };
    let mut cluster = Cluster::new(name, discovery);
    if port.application.is_none() && port.opened.is_none() {
        cluster.lb = LbPolicy::ClusterProvided;
    }
    if dials_own_address(local, port) {
        cluster.bind_source = Some(PASSTHROUGH_SOURCE);
    }
    policy::protocol(&mut cluster, port.protocol, true);
    // The service's rule for all of its clients: one for some of them says nothing about the server.
    let rule = port.behind.as_ref().filter(|service| sees(service)).and_then(|service| view.rule_for_all(service));
    let of_rule = rule.as_ref().and_then(|r| r.rule.traffic_policy.as_deref());
    let of_rule = policy::over_mesh(policy::for_port(of_rule, port.service_port), mesh);
    let of_sidecar = view.sidecar.and_then(|s| {
        let of_listener =
            s.spec.ingress.iter().find(|l| l.port.as_ref().is_some_and(|p| p.number == u32::from(port.number)));
        of_listener.and_then(|l| l.connection_pool.as_ref()).or(s.spec.inbound_connection_pool.as_ref())
    });
    let pool = of_sidecar.or(of_rule.as_ref().and_then(|p| p.connection_pool.as_ref()));
    policy::connection_pool(&mut cluster, pool, of_rule.as_ref().and_then(|p| p.retry_budget.as_ref()), mesh);
    cluster.origins = port.origin.iter().cloned().collect();
    cluster.service = port.behind.as_ref().map(|s| ClusterService {
        host: s.host.clone(),
        name: s.name.clone(),
        namespace: s.namespace.clone(),
        external: false,
    });
    cluster
}

/// Whether connections to the application go to an address whose connections are redirected to the proxy again.
fn dials_own_address(local: &LocalScope, port: &Port) -> bool {
    local.place.is_none()
        && match &port.application {
            Some(EndpointAddress::Socket(address)) => !address.ip().is_loopback(),
            Some(_) => false,
            None => port.opened.is_none(),
        }
}

/// The chains of a port, for connections to the port that is opened for it; false: its protocol is told, not detected.
fn chains_of(view: &View<'_>, port: &Port, name: &str, opened: u16) -> (Vec<FilterChain>, bool) {
    match port.protocol.listener() {
        ListenerProtocol::Http => (vec![http_chain(view, port, name, Some(opened), false)], false),
        ListenerProtocol::Tcp => (vec![tcp_chain(view, port, name, Some(opened))], false),
        ListenerProtocol::Auto => {
            (vec![http_chain(view, port, name, Some(opened), true), tcp_chain(view, port, name, Some(opened))], true)
        }
        ListenerProtocol::Other => (Vec::new(), true),
    }
}

/// A listener with a socket of its own; None where it would have nothing to do.
fn own_listener(view: &View<'_>, port: &Port, bind: IpAddr) -> Option<Listener> {
    let mesh = &view.snapshot.mesh;
    let name = names::listener(bind, port.number);
    let (filter_chains, detected) = chains_of(view, port, &name, port.number);
    let inspector = ListenerFilter::HttpInspector { disabled_ports: Vec::new() };
    (!filter_chains.is_empty()).then(|| Listener {
        direction: Direction::Inbound,
        listener_filters: if detected { vec![inspector] } else { Vec::new() },
        listener_filters_timeout: Some(mesh.protocol_detection_timeout.into()),
        continue_on_timeout: true,
        filter_chains,
        origins: port.origin.iter().cloned().collect(),
        access_log: log::of_listener(mesh),
        ..Listener::new(name, SocketAddr::new(bind, port.number))
    })
}

fn listener(view: &View<'_>, local: &LocalScope, ports: &[&Port]) -> Listener {
    let mesh = &view.snapshot.mesh;
    let own_port = u16::try_from(mesh.proxy_inbound_listen_port).unwrap_or(15006);
    let bound = |port: u16| local.place.as_ref().and_then(|p| p.bound.get(&port).copied()).unwrap_or(port);
    let mut filter_chains =
        vec![to_cluster_chain(view, "virtualInbound-blackhole", names::BLACK_HOLE_CLUSTER.to_string(), Some(own_port))];
    let mut undetected = Vec::new();
    for port in ports {
        let opened = bound(port.number);
        let (chains, detected) = chains_of(view, port, &names::listener("0.0.0.0", port.number), opened);
        filter_chains.extend(chains);
        if !detected {
            undetected.push(opened);
        }
    }
    let mut additional_addresses = Vec::new();
    let (address, filter) = match (local.interception, &local.place) {
        (Interception::ProxyProtocol, Some(place)) => {
            let mut opened: Vec<u16> = ports.iter().map(|p| bound(p.number)).filter(|p| *p != own_port).collect();
            opened.sort_unstable();
            additional_addresses = opened.into_iter().map(|port| SocketAddr::new(place.pod_ip, port)).collect();
            (SocketAddr::new(place.pod_ip, own_port), None)
        }
        _ => {
            let everything = Port {
                number: 0,
                protocol: Protocol::Unspecified,
                service: String::new(),
                service_port: 0,
                behind: None,
                application: None,
                opened: None,
                origin: None,
            };
            filter_chains.push(http_chain(view, &everything, "virtualInbound-catchall-http", None, true));
            filter_chains.push(tcp_chain(view, &everything, names::VIRTUAL_INBOUND, None));
            (SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), own_port), Some(ListenerFilter::OriginalDst))
        }
    };
    let mut listener_filters: Vec<ListenerFilter> = filter.into_iter().collect();
    undetected.push(own_port);
    undetected.sort_unstable();
    listener_filters.push(ListenerFilter::HttpInspector { disabled_ports: undetected });
    Listener {
        additional_addresses,
        direction: Direction::Inbound,
        listener_filters,
        listener_filters_timeout: Some(mesh.protocol_detection_timeout.into()),
        continue_on_timeout: true,
        filter_chains,
        access_log: log::of_listener(mesh),
        ..Listener::new(names::VIRTUAL_INBOUND, address)
    }
}

/// The cluster of a port; port 0 is what no service names.
fn cluster_name(port: &Port) -> String {
    if port.number == 0 { names::INBOUND_PASSTHROUGH_CLUSTER.to_string() } else { names::inbound_cluster(port.number) }
}

fn chain(name: &str, opened: Option<u16>, filter: NetworkFilter) -> FilterChain {
    FilterChain {
        name: name.to_string(),
        matches: FilterChainMatch {
            destination_port: opened,
            transport_protocol: "raw_buffer".to_string(),
            ..FilterChainMatch::default()
        },
        ..FilterChain::new(vec![filter])
    }
}

fn tcp_chain(view: &View<'_>, port: &Port, name: &str, opened: Option<u16>) -> FilterChain {
    let proxy = l4::to_one(view, cluster_name(port), "", None);
    let mut chain = chain(name, opened, NetworkFilter::Tcp(proxy));
    chain.origin.clone_from(&port.origin);
    // Unlike an HTTP chain it takes TLS too, which nobody ends here.
    chain.matches.transport_protocol = String::new();
    chain
}

fn http_chain(view: &View<'_>, port: &Port, name: &str, opened: Option<u16>, detected: bool) -> FilterChain {
    let cluster = cluster_name(port);
    let mut action = to_cluster(cluster.clone());
    if let RouteAction::Forward(forward) = &mut action {
        forward.max_grpc_timeout = None;
        forward.grpc_timeout_max = Some(Duration::ZERO);
        if !port.protocol.is_grpc() {
            forward.retry = retry::inbound_policy(view.snapshot.mesh.default_inbound_http_retry_policy.as_ref());
        }
    }
    let routes = RouteConfig {
        name: cluster,
        virtual_hosts: vec![Arc::new(VirtualHost {
            name: format!("inbound|http|{}", port.service_port),
            domains: vec!["*".to_string()],
            routes: vec![plain_route("default", action, format!("{}:{}/*", port.service, port.service_port))],
            ..VirtualHost::default()
        })],
        ..RouteConfig::default()
    };
    let stat_prefix = format!("inbound_{name};");
    let manager =
        connection_manager(Side::Inbound, stat_prefix, RouteSource::Inline(Arc::new(routes)), &view.snapshot.mesh);
    let mut chain = chain(name, opened, NetworkFilter::Http(Box::new(manager)));
    chain.origin.clone_from(&port.origin);
    if detected {
        chain.matches.application_protocols = vec!["http/1.1".to_string(), "h2c".to_string()];
    }
    chain
}
