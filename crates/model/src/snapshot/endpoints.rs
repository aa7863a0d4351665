//! Who answers for each service: from EndpointSlices and Endpoints where there are any, else from the pods and
//! WorkloadEntries that a service selects, and from what ServiceEntries write.
//!
//! Called by `Snapshot::build`.

use super::broken::Broken;
use super::locality;
use super::pod::{self, Entry, Pod};
use super::service::{
    EndpointHost, EndpointsByPort, Labels, Registry, Resolution, Service, ServiceEndpoint, ServiceKey, ServicePort,
    TargetPort, selects,
};
use crate::config::Locality;
use crate::resource::kube::{EndpointPort, ObjectReference};
use crate::resource::{Kind, ResourceSet, ServiceEntry, Spec, WorkloadEntry};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The label of an EndpointSlice that names its service.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What endpoints are found among.
pub(super) struct Sources<'a> {
    resources: &'a ResourceSet,
    pods: &'a BTreeMap<(String, String), Arc<Pod>>,
    entries: &'a [Entry],
    by_address: BTreeMap<IpAddr, &'a Arc<Pod>>,
    by_namespace: BTreeMap<&'a str, Vec<&'a Arc<Pod>>>,
    /// EndpointSlices by namespace and service.
    slices: BTreeMap<(&'a str, &'a str), Vec<&'a crate::resource::EndpointSlice>>,
    /// The mesh of `amime up`.
    placed: bool,
}

impl<'a> Sources<'a> {
    pub(super) fn new(
        resources: &'a ResourceSet,
        pods: &'a BTreeMap<(String, String), Arc<Pod>>,
        entries: &'a [Entry],
    ) -> Self {
        let mut by_address = BTreeMap::new();
        let mut by_namespace: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for pod in pods.values() {
            // An object that tells a pod's address knows the one that it had where it was exported.
            by_address.extend(pod.spec.status.pod_ip.parse::<IpAddr>().map(|ip| (ip, pod)));
            by_address.extend(pod.addresses.iter().map(|ip| (*ip, pod)));
            by_namespace.entry(pod.namespace.as_str()).or_default().push(pod);
        }
        let mut slices: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for object in resources.of_kind(Kind::EndpointSlice) {
            if let (Spec::EndpointSlice(slice), Some(name)) = (&object.spec, object.meta.labels.get(SERVICE_NAME)) {
                slices.entry((&*object.id.namespace, name.as_str())).or_default().push(&**slice);
            }
        }
        let placed = pods.values().any(|pod| pod.placement().is_some());
        Self { resources, pods, entries, by_address, by_namespace, slices, placed }
    }

    /// The endpoints of all services. Services of one host and namespace share theirs.
    pub(super) fn all(&self, services: &[Arc<Service>]) -> super::Endpoints {
        let mut all: BTreeMap<ServiceKey, EndpointsByPort> = BTreeMap::new();
        let mut seen = std::collections::BTreeSet::new();
        for service in services {
            // A ServiceEntry with several addresses has its endpoints once.
            if !seen.insert((service.key(), service.id.clone())) {
                continue;
            }
            let found = all.entry(service.key()).or_default();
            for (port, endpoints) in self.of_service(service) {
                found.entry(port).or_default().extend(endpoints);
            }
        }
        all.into_iter().map(|(key, endpoints)| (key, Arc::new(endpoints))).collect()
    }

    pub(super) fn of_service(&self, service: &Service) -> EndpointsByPort {
        match service.registry {
            Registry::Kubernetes => self.of_kubernetes(service),
            Registry::ServiceEntry => match self.resources.get(&service.id) {
                Some(object) => match &object.spec {
                    Spec::ServiceEntry(entry) => self.of_entry(service, entry, &Broken::of(object)),
                    _ => EndpointsByPort::new(),
                },
                None => EndpointsByPort::new(),
            },
        }
    }

    fn of_kubernetes(&self, service: &Service) -> EndpointsByPort {
        if matches!(service.resolution, Resolution::Alias(_)) {
            return EndpointsByPort::new();
        }
        let name = (service.namespace.as_str(), service.name.as_str());
        if self.placed && !service.selector.is_empty() {
            // The pods were made up, so that written slices name others.
            return self.of_selector(service);
        }
        if let Some(slices) = self.slices.get(&name) {
            return self.of_slices(service, slices);
        }
        let id = crate::resource::ResourceId::new(Kind::Endpoints, name.0, name.1);
        if let Some(Spec::Endpoints(endpoints)) = self.resources.get(&id).map(|o| &o.spec) {
            return self.of_endpoints(service, endpoints);
        }
        self.of_selector(service)
    }

    fn of_selector(&self, service: &Service) -> EndpointsByPort {
        if service.selector.is_empty() {
            return EndpointsByPort::new();
        }
        service.ports.iter().map(|port| (port.number, self.selected(service, port))).collect()
    }

    /// Pods and WorkloadEntries of the service's namespace that it selects.
    fn selected(&self, service: &Service, port: &ServicePort) -> Vec<ServiceEndpoint> {
        let mut found = Vec::new();
        for pod in self.by_namespace.get(service.namespace.as_str()).into_iter().flatten() {
            if selects(&service.selector, &pod.labels)
                && let Some(number) = target_in_pod(pod, &port.target)
            {
                found.extend(pod_endpoint(pod, number, pod.ready || service.publish_not_ready));
            }
        }
        for entry in self.entries {
            if entry.namespace == service.namespace && selects(&service.selector, &entry.labels) {
                let number = entry.spec.ports.get(&port.name).copied().or(match &port.target {
                    TargetPort::Number(n) => Some(*n),
                    TargetPort::Name(name) => entry.spec.ports.get(name).copied(),
                });
                found.extend(
                    number.and_then(|n| entry_endpoint(&entry.spec, &entry.labels, n, &entry.name, &entry.namespace)),
                );
            }
        }
        found
    }

    fn of_slices(&self, service: &Service, slices: &[&crate::resource::EndpointSlice]) -> EndpointsByPort {
        let mut all = EndpointsByPort::new();
        for slice in slices {
            for (number, target) in ports_of(service, &slice.ports) {
                let endpoints = all.entry(number).or_default();
                for endpoint in &slice.endpoints {
                    let ready = endpoint.conditions.ready.unwrap_or(true) || service.publish_not_ready;
                    for address in endpoint.addresses.iter().filter_map(|a| a.parse::<IpAddr>().ok()) {
                        let pod = self.pod_of(endpoint.target_ref.as_ref(), address);
                        endpoints.push(address_endpoint(address, target, pod, ready, &endpoint.hostname));
                    }
                }
            }
        }
        all
    }

    fn of_endpoints(&self, service: &Service, endpoints: &crate::resource::Endpoints) -> EndpointsByPort {
        let mut all = EndpointsByPort::new();
        for subset in &endpoints.subsets {
            for (number, target) in ports_of(service, &subset.ports) {
                let list = all.entry(number).or_default();
                let ready = subset.addresses.iter().map(|a| (a, true));
                let unready = subset.not_ready_addresses.iter().map(|a| (a, service.publish_not_ready));
                for (address, ready) in ready.chain(unready) {
                    if let Ok(ip) = address.ip.parse::<IpAddr>() {
                        let pod = self.pod_of(address.target_ref.as_ref(), ip);
                        list.push(address_endpoint(ip, target, pod, ready, &address.hostname));
                    }
                }
            }
        }
        all
    }

    fn pod_of(&self, reference: Option<&ObjectReference>, address: IpAddr) -> Option<&'a Arc<Pod>> {
        reference
            .filter(|r| r.kind == "Pod")
            .and_then(|r| self.pods.get(&(r.namespace.clone(), r.name.clone())))
            .or_else(|| self.by_address.get(&address).copied())
    }

    fn of_entry(&self, service: &Service, entry: &ServiceEntry, broken: &Broken<'_>) -> EndpointsByPort {
        let mut all = EndpointsByPort::new();
        if ["spec.resolution", "spec.workloadSelector", "spec.endpoints"].iter().any(|field| broken.is(field)) {
            return all;
        }
        for port in &service.ports {
            let target = match port.target {
                TargetPort::Number(n) => n,
                TargetPort::Name(_) => port.number,
            };
            let list = all.entry(port.number).or_default();
            let written = entry.ports.iter().position(|p| p.number == port.number && p.name == port.name);
            if written.is_some_and(|index| broken.at(&format!("spec.ports[{index}]"))) {
                continue;
            }
            if entry.endpoints.is_empty() && entry.workload_selector.is_none() {
                if is_dns(service) {
                    list.extend(named_endpoint(service, target));
                }
                continue;
            }
            for (index, endpoint) in entry.endpoints.iter().enumerate() {
                if broken.at(&format!("spec.endpoints[{index}]")) {
                    continue;
                }
                let number = endpoint.ports.get(&port.name).copied().filter(|n| *n > 0).unwrap_or(target);
                let name = format!("{}-{index}", service.id.name);
                let labels = Arc::new(endpoint.labels.clone());
                list.extend(entry_endpoint(endpoint, &labels, number, &name, &service.namespace));
            }
            if !service.selector.is_empty() {
                for pod in self.by_namespace.get(service.namespace.as_str()).into_iter().flatten() {
                    if selects(&service.selector, &pod.labels) {
                        list.extend(u16::try_from(target).ok().and_then(|n| pod_endpoint(pod, n, pod.ready)));
                    }
                }
                for entry in self.entries {
                    if entry.namespace == service.namespace && selects(&service.selector, &entry.labels) {
                        let number = entry.spec.ports.get(&port.name).copied().filter(|n| *n > 0).unwrap_or(target);
                        list.extend(entry_endpoint(&entry.spec, &entry.labels, number, &entry.name, &entry.namespace));
                    }
                }
            }
        }
        all
    }
}

pub fn is_dns(service: &Service) -> bool {
    matches!(service.resolution, Resolution::Dns | Resolution::DnsRoundRobin)
}

/// The number that a service's target port has in a pod.
pub fn target_in_pod(pod: &Pod, target: &TargetPort) -> Option<u16> {
    match target {
        TargetPort::Number(number) => u16::try_from(*number).ok(),
        TargetPort::Name(name) => pod.pod_spec().port_named(name),
    }
}

/// Service port numbers with the endpoint port of the same name.
fn ports_of<'a>(service: &'a Service, ports: &'a [EndpointPort]) -> impl Iterator<Item = (u32, u16)> + 'a {
    service.ports.iter().flat_map(move |port| {
        ports.iter().filter(move |p| p.name == port.name).filter_map(move |p| {
            // A slice's port without a number means all ports.
            let number = if p.port == 0 { i64::from(port.number) } else { i64::from(p.port) };
            u16::try_from(number).ok().map(|n| (port.number, n))
        })
    })
}

fn pod_endpoint(pod: &Arc<Pod>, port: u16, ready: bool) -> Option<ServiceEndpoint> {
    let address = *pod.addresses.first()?;
    Some(address_endpoint(address, port, Some(pod), ready, &pod.pod_spec().hostname))
}

fn address_endpoint(
    address: IpAddr,
    port: u16,
    pod: Option<&Arc<Pod>>,
    ready: bool,
    hostname: &str,
) -> ServiceEndpoint {
    let moved = pod.and_then(|pod| pod.placement()).map(|placement| placement.pod_ip);
    ServiceEndpoint {
        address: EndpointHost::Ip(moved.unwrap_or(address)),
        port,
        bound_port: pod.map_or(port, |pod| pod.bound(port)),
        labels: pod.map(|pod| pod.labels.clone()).unwrap_or_default(),
        ready,
        weight: 0,
        locality: pod.map(|pod| pod.locality.clone()).unwrap_or_default(),
        node: pod.map(|pod| pod.pod_spec().node_name.clone()).unwrap_or_default(),
        workload: pod.map(|pod| pod.workload.clone()).unwrap_or_default(),
        hostname: hostname.to_string(),
    }
}

/// The host of a DNS ServiceEntry without endpoints is its own endpoint, without labels.
fn named_endpoint(service: &Service, port: u32) -> Option<ServiceEndpoint> {
    let port = u16::try_from(port).ok()?;
    Some(ServiceEndpoint {
        address: EndpointHost::Name(service.host.clone()),
        port,
        bound_port: port,
        labels: Arc::default(),
        ready: true,
        weight: 0,
        locality: Locality::default(),
        node: String::new(),
        workload: pod::identity(&Labels::new(), &service.id.name, &service.namespace),
        hostname: String::new(),
    })
}

fn entry_endpoint(
    entry: &WorkloadEntry,
    labels: &Arc<Labels>,
    port: u32,
    name: &str,
    namespace: &str,
) -> Option<ServiceEndpoint> {
    let address = match entry.address.strip_prefix("unix://") {
        Some(path) => EndpointHost::Unix(path.to_string()),
        None if entry.address.is_empty() => return None,
        None => match entry.address.parse::<IpAddr>() {
            Ok(ip) => EndpointHost::Ip(ip),
            Err(_) => EndpointHost::Name(entry.address.clone()),
        },
    };
    let port = u16::try_from(port).ok()?;
    Some(ServiceEndpoint {
        address,
        port,
        bound_port: port,
        labels: labels.clone(),
        ready: true,
        weight: entry.weight,
        locality: match entry.locality.as_str() {
            "" => locality::of_label(labels).unwrap_or_default(),
            written => locality::parse(written),
        },
        node: String::new(),
        workload: pod::identity(labels, name, namespace),
        hostname: String::new(),
    })
}
