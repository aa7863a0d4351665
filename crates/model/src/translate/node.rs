//! Node: what a proxy says that it is; Scope: what of that decides its configuration.
//!
//! `control` makes a Node of what a proxy sends on its stream, and translates once for all nodes of equal Scope.

use crate::config::{DnsFamily, Locality};
use crate::resource::gateway::ServerTlsMode;
use crate::snapshot::locality;
use crate::snapshot::{
    CLUSTER, GatewayObject, Labels, Pod, Resolution, Service, ServiceKey, Snapshot, selects, target_in_pod,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// A proxy, as it introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    pub kind: NodeKind,
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// Of the pod; used where the snapshot does not know the pod.
    pub labels: Labels,
    /// The first is the pod's own; used where the snapshot does not know the pod.
    pub addresses: Vec<IpAddr>,
    pub interception: Interception,
    /// The application resolves names by the mesh's DNS, so that ServiceEntries without addresses get one.
    pub dns_capture: bool,
    /// Where the proxy is, and the Kubernetes Node; used where the snapshot does not know of the pod where it is.
    pub locality: Locality,
    pub host: String,
    /// The proxy itself binds upstream sockets to its pod's address, so that clusters need not say so, and can be
    /// shared by all proxies of a scope.
    pub binds_upstream: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeKind {
    Sidecar,
    /// Istio calls it router.
    Gateway,
}

/// How an application's connections come to its sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interception {
    /// Redirected by the kernel, which knows the original destination.
    Redirect,
    /// With a PROXY header that names the original destination (`amime up`).
    ProxyProtocol,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no node id of the form sidecar~10.0.0.1~pod.namespace~namespace.svc.cluster.local")]
pub struct NodeError(String);

impl Node {
    /// From the node's id (`sidecar~IP~POD.NAMESPACE~DOMAIN`) and its metadata, as Istio's agent sends them.
    pub fn parse(id: &str, metadata: &serde_json::Value) -> Result<Self, NodeError> {
        let error = || NodeError(id.to_string());
        let parts: Vec<_> = id.split('~').collect();
        let [kind, address, pod, _domain] = parts.as_slice() else { return Err(error()) };
        let kind = match *kind {
            "sidecar" => NodeKind::Sidecar,
            "router" => NodeKind::Gateway,
            _ => return Err(error()),
        };
        let (name, namespace) = pod.rsplit_once('.').ok_or_else(error)?;
        let text = |key: &str| metadata.get(key).and_then(|v| v.as_str());
        let mut addresses: Vec<IpAddr> = address.parse().into_iter().collect();
        for ip in text("INSTANCE_IPS").unwrap_or("").split(',').filter_map(|a| a.parse().ok()) {
            if !addresses.contains(&ip) {
                addresses.push(ip);
            }
        }
        let labels = metadata.get("LABELS").and_then(|v| v.as_object());
        let labels: Labels = (labels.into_iter().flatten())
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_string())))
            .collect();
        Ok(Self {
            kind,
            locality: locality::of_label(&labels).unwrap_or_else(|| locality::of_topology(&labels)),
            host: text("NODE_NAME").unwrap_or_default().to_string(),
            namespace: text("NAMESPACE").unwrap_or(namespace).to_string(),
            name: name.to_string(),
            labels,
            addresses,
            interception: match text("INTERCEPTION_MODE") {
                Some("PROXY_PROTOCOL") => Interception::ProxyProtocol,
                _ => Interception::Redirect,
            },
            dns_capture: text("DNS_CAPTURE") == Some("true") && text("DNS_AUTO_ALLOCATE") == Some("true"),
            binds_upstream: text("BINDS_UPSTREAM") == Some("true"),
        })
    }

    /// With what else is known of where it is, unless its labels say so.
    pub fn at(self, locality: &Locality) -> Self {
        match self.locality == Locality::default() {
            true => Self { locality: locality.clone(), ..self },
            false => self,
        }
    }

    /// The id and metadata that `parse` reads back.
    pub fn to_id(&self) -> (String, serde_json::Value) {
        let kind = match self.kind {
            NodeKind::Sidecar => "sidecar",
            NodeKind::Gateway => "router",
        };
        let address = self.addresses.first().map_or_else(|| "0.0.0.0".to_string(), IpAddr::to_string);
        let id = format!("{kind}~{address}~{}.{}~{}.svc.cluster.local", self.name, self.namespace, self.namespace);
        let all: Vec<_> = self.addresses.iter().map(IpAddr::to_string).collect();
        let flag = |on: bool| if on { "true" } else { "false" };
        let metadata = serde_json::json!({
            "NAMESPACE": self.namespace,
            "LABELS": self.labels,
            "INSTANCE_IPS": all.join(","),
            "INTERCEPTION_MODE": match self.interception {
                Interception::Redirect => "REDIRECT",
                Interception::ProxyProtocol => "PROXY_PROTOCOL",
            },
            "DNS_CAPTURE": flag(self.dns_capture),
            "DNS_AUTO_ALLOCATE": flag(self.dns_capture),
            "BINDS_UPSTREAM": flag(self.binds_upstream),
        });
        (id, metadata)
    }

    /// The proxy in front of a pod of the snapshot.
    pub fn of_pod(pod: &Pod, kind: NodeKind, interception: Interception, dns_capture: bool) -> Self {
        Self {
            kind,
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            labels: (*pod.labels).clone(),
            addresses: pod.addresses.clone(),
            interception,
            dns_capture,
            locality: pod.locality.clone(),
            host: pod.pod_spec().node_name.clone(),
            binds_upstream: false,
        }
    }
}

/// What decides a proxy's configuration. `shared` alone decides what does not concern the pod itself, so
/// proxies of equal `shared` have outbound listeners, routes and endpoints in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    pub shared: SharedScope,
    /// None where no place decides anything.
    pub place: Option<Place>,
    pub local: LocalScope,
}

/// The view of a group of proxies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SharedScope {
    pub kind: NodeKind,
    pub namespace: String,
    /// Only the labels that some selector looks at.
    pub labels: Labels,
    pub dns_capture: bool,
    /// Of which addresses of looked-up names these proxies dial; that of IPv4 where nothing is looked up, so that views
    /// without such names are not told apart by it.
    pub dns_family: DnsFamily,
    /// A gateway with servers of mode `AUTO_PASSTHROUGH`.
    pub passes_tls: bool,
}

/// Where a client is: what decides which endpoints are near. A few of these come to each `SharedScope`, of which the
/// endpoints of some clusters alone depend on them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Place {
    pub locality: Locality,
    /// Those of the client's labels that decide something.
    pub labels: Labels,
}

/// The pod itself: where its proxy listens and what is behind it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LocalScope {
    pub interception: Interception,
    pub binds_upstream: bool,
    pub addresses: Vec<IpAddr>,
    /// What services say of the pod's ports, in the order of the services' age.
    pub targets: Vec<Target>,
    /// `amime up` only.
    pub place: Option<LocalPlace>,
    /// Indexes of the Gateways that choose this proxy; the order is that of age.
    pub gateways: Vec<usize>,
}

/// A service port that a pod answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    pub service: ServiceKey,
    pub port: u32,
    pub target_port: u16,
}

/// Where a pod of `amime up` listens, and its application.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LocalPlace {
    pub pod_ip: IpAddr,
    /// Each port of the pod (of the gateway), and the port that is opened for it.
    pub bound: BTreeMap<u16, u16>,
    /// Where the application answers for each port.
    pub applications: BTreeMap<u16, SocketAddr>,
    /// Gateways: where their ports are opened; never empty for them.
    pub bind: Vec<IpAddr>,
}

impl Scope {
    pub fn of(snapshot: &Snapshot, node: &Node) -> Self {
        let pod = snapshot.pod(&node.namespace, &node.name);
        let labels = pod.map_or(&node.labels, |pod| &*pod.labels);
        let locality = pod.map(|pod| &pod.locality).filter(|l| **l != Locality::default()).unwrap_or(&node.locality);
        let host = pod.map(|pod| pod.pod_spec().node_name.as_str()).filter(|host| !host.is_empty());
        let addresses = pod.map_or(&node.addresses, |pod| &pod.addresses);
        let label = |key: &String| {
            let value = match key.as_str() {
                locality::CLUSTER => Some(CLUSTER),
                key => locality::label(locality, host.unwrap_or(&node.host), key),
            };
            Some((key.clone(), value.or_else(|| labels.get(key).map(String::as_str))?.to_string()))
        };
        let relevant = snapshot.label_keys().iter().filter_map(label).collect();
        let place = snapshot
            .place_keys()
            .map(|keys| Place { locality: locality.clone(), labels: keys.iter().filter_map(label).collect() });
        let gateways: Vec<usize> = match node.kind {
            NodeKind::Sidecar => Vec::new(),
            NodeKind::Gateway => (snapshot.gateways().iter().enumerate())
                .filter(|(_, gateway)| selects(&gateway.spec.selector, labels))
                .map(|(index, _)| index)
                .collect(),
        };
        Self {
            shared: SharedScope {
                kind: node.kind,
                namespace: node.namespace.clone(),
                labels: relevant,
                dns_capture: node.dns_capture,
                dns_family: match snapshot.services().iter().any(|service| looks_up(service)) {
                    true => dns_family(addresses),
                    false => DnsFamily::V4Only,
                },
                passes_tls: gateways.iter().filter_map(|index| snapshot.gateways().get(*index)).any(passes_tls),
            },
            place,
            local: LocalScope {
                interception: node.interception,
                binds_upstream: node.binds_upstream,
                addresses: addresses.clone(),
                targets: pod.map(|pod| targets(snapshot, pod)).unwrap_or_default(),
                place: pod.and_then(|pod| local_place(pod)),
                gateways,
            },
        }
    }
}

fn passes_tls(gateway: &GatewayObject) -> bool {
    let modes = gateway.spec.servers.iter().filter_map(|server| server.tls.as_ref());
    modes.into_iter().any(|tls| tls.mode == ServerTlsMode::AutoPassthrough)
}

/// Whether proxies look up names to reach a service.
pub(super) fn looks_up(service: &Service) -> bool {
    matches!(service.resolution, Resolution::Dns | Resolution::DnsRoundRobin | Resolution::DynamicDns)
}

/// What a proxy of these addresses can reach, as Istio's SelectDNSLookupFamily has it; IPv4 where none is known.
fn dns_family(addresses: &[IpAddr]) -> DnsFamily {
    match (addresses.iter().any(IpAddr::is_ipv4), addresses.iter().any(IpAddr::is_ipv6)) {
        (_, false) => DnsFamily::V4Only,
        (false, true) => DnsFamily::V6Only,
        (true, true) => DnsFamily::All,
    }
}

/// The service ports that a pod answers: by selector, or because an EndpointSlice or ServiceEntry names it.
fn targets(snapshot: &Snapshot, pod: &Pod) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for service in snapshot.services().iter().filter(|s| s.namespace == pod.namespace) {
        let selected = !service.selector.is_empty() && selects(&service.selector, &pod.labels);
        for port in &service.ports {
            let named = || {
                let host = pod.addresses.first().map(|ip| crate::snapshot::EndpointHost::Ip(*ip));
                let endpoints = snapshot.endpoints(service, port.number).iter();
                endpoints.filter(|e| Some(&e.address) == host.as_ref()).map(|e| e.port).next()
            };
            let number = match selected {
                true => target_in_pod(pod, &port.target),
                false if service.selector.is_empty() => named(),
                false => None,
            };
            let Some(target_port) = number else { continue };
            let target = Target { service: service.key(), port: port.number, target_port };
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
    }
    targets
}

fn local_place(pod: &Pod) -> Option<LocalPlace> {
    let placement = pod.placement()?;
    Some(LocalPlace {
        pod_ip: placement.pod_ip,
        bound: placement.ports.clone(),
        applications: placement.ports.keys().map(|port| (*port, placement.application(*port))).collect(),
        bind: placement.bind.clone(),
    })
}

impl LocalScope {
    /// The address that upstream sockets are bound to: the pod's, where the proxy is not in its pod.
    pub fn bind_source(&self) -> Option<IpAddr> {
        match self.interception {
            Interception::ProxyProtocol if self.binds_upstream => None,
            Interception::ProxyProtocol => self.place.as_ref().map(|place| place.pod_ip),
            Interception::Redirect => None,
        }
    }
}
