//! Services as the mesh knows them: one shape for Kubernetes' Services and Istio's ServiceEntries.
//!
//! `registry` makes them, every part of `translate` reads them.

use super::locality;
use crate::config::{Locality, WorkloadIdentity};
use crate::protocol::Protocol;
use crate::resource::{Object, ResourceId, Timestamp};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

pub type Labels = BTreeMap<String, String>;

/// Does `labels` have all that `selector` asks for?
pub fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// One service under one host name. A ServiceEntry makes one for each of its hosts and addresses.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// The object that it comes from.
    pub id: ResourceId,
    /// Fully qualified, or the ServiceEntry's host as written.
    pub host: String,
    /// The Service's name; the host of a ServiceEntry's.
    pub name: String,
    pub namespace: String,
    pub registry: Registry,
    /// For the order of age: creation time, then name, then namespace.
    pub age: Age,
    /// The virtual address; the unspecified one where there is none (headless, ServiceEntries without addresses).
    pub address: ServiceAddress,
    /// Further addresses that the same service answers at (dual stack).
    pub more_addresses: Vec<IpAddr>,
    /// The address that the mesh's DNS made up for a ServiceEntry without one.
    pub auto_address: Option<IpAddr>,
    pub ports: Vec<ServicePort>,
    pub resolution: Resolution,
    pub mesh_external: bool,
    pub export_to: ExportTo,
    pub labels: Labels,
    /// Of pods and WorkloadEntries; empty selects none.
    pub selector: Labels,
    /// Other host names under which it is known (ExternalName Services that point here).
    pub aliases: Vec<String>,
    /// Unready endpoints take traffic too.
    pub publish_not_ready: bool,
    pub subject_alt_names: Vec<String>,
    pub distribution: TrafficDistribution,
}

/// Creation time (an object that tells none is older than all that do), then name, then namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Age(pub Option<Timestamp>, pub Arc<str>, pub Arc<str>);

impl Age {
    pub fn of(object: &Object) -> Self {
        Self(object.meta.creation_timestamp, object.id.name.clone(), object.id.namespace.clone())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Registry {
    Kubernetes,
    ServiceEntry,
}

/// Which endpoints a service asks its clients to prefer (`spec.trafficDistribution`, or an annotation).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum TrafficDistribution {
    #[default]
    Any,
    /// Also `PreferClose`, the older name.
    SameZone,
    SameNode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceAddress {
    /// None: it listens on the wildcard address.
    Unspecified,
    Ip(IpAddr),
    Cidr(IpNet),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServicePort {
    pub name: String,
    pub number: u32,
    pub protocol: Protocol,
    /// What `targetPort` says; the number itself where it says nothing.
    pub target: TargetPort,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TargetPort {
    Number(u32),
    /// The container port of that name.
    Name(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// By EDS.
    Static,
    /// To the address that was dialled: headless Services, ServiceEntries with resolution NONE.
    Passthrough,
    Dns,
    DnsRoundRobin,
    DynamicDns,
    /// Another name for the host (ExternalName).
    Alias(String),
}

/// Who may see an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportTo {
    Everyone,
    /// These namespaces, its own written out.
    Namespaces(BTreeSet<String>),
}

impl ExportTo {
    /// From a list of `*`, `.`, `~` and namespaces: `*` is everyone whatever else stands there, `~` no one.
    pub fn of(list: &[String], own_namespace: &str) -> Self {
        if list.iter().any(|e| e == "*") {
            return Self::Everyone;
        }
        if list.iter().any(|e| e == "~") {
            return Self::Namespaces(BTreeSet::new());
        }
        Self::Namespaces(list.iter().map(|e| if e == "." { own_namespace } else { e }.to_string()).collect())
    }

    pub fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::Everyone => true,
            Self::Namespaces(set) => set.contains(namespace),
        }
    }
}

impl Service {
    pub fn port(&self, number: u32) -> Option<&ServicePort> {
        self.ports.iter().find(|p| p.number == number)
    }

    /// The address that a client with (`auto`) or without the mesh's DNS dials.
    pub fn address_for(&self, auto: bool) -> ServiceAddress {
        match (self.address, self.auto_address) {
            (ServiceAddress::Unspecified, Some(ip)) if auto => ServiceAddress::Ip(ip),
            (address, _) => address,
        }
    }

    /// The same service with these ports only.
    pub fn with_ports(self: &Arc<Self>, ports: Vec<ServicePort>) -> Arc<Self> {
        if ports.len() == self.ports.len() {
            return self.clone();
        }
        Arc::new(Self { ports, ..(**self).clone() })
    }

    pub fn key(&self) -> ServiceKey {
        ServiceKey { host: self.host.clone(), namespace: self.namespace.clone() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    pub host: String,
    pub namespace: String,
}

/// One place where a service port is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceEndpoint {
    pub address: EndpointHost,
    /// The port that the workload has.
    pub port: u16,
    /// Where it is really opened (`amime up` maps what it cannot bind); else `port`.
    pub bound_port: u16,
    pub labels: Arc<Labels>,
    pub ready: bool,
    /// 0 is 1.
    pub weight: u32,
    pub locality: Locality,
    /// The Kubernetes Node; empty where it is not known.
    pub node: String,
    pub workload: WorkloadIdentity,
    pub hostname: String,
}

impl ServiceEndpoint {
    /// The value of a label, among them those that say where the endpoint is; empty where it has none.
    pub(crate) fn label(&self, key: &str) -> &str {
        let of_place = || locality::label(&self.locality, &self.node, key);
        let written = self.labels.get(key).map(String::as_str);
        match key {
            locality::CLUSTER => Some(self.workload.cluster.as_str()),
            locality::NETWORK => written.or(Some(&self.workload.network)),
            _ => of_place().or(written),
        }
        .unwrap_or_default()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointHost {
    Ip(IpAddr),
    Name(String),
    Unix(String),
}

/// The endpoints of one service by service port number.
pub type EndpointsByPort = BTreeMap<u32, Vec<ServiceEndpoint>>;
