//! From Kubernetes' Services and Istio's ServiceEntries to the services of the mesh.
//!
//! Called by `Snapshot::build`; the result is in the order of age.

use super::broken::Broken;
use super::service::{
    Age, ExportTo, Registry, Resolution, Service, ServiceAddress, ServiceKey, ServicePort, TargetPort,
    TrafficDistribution,
};
use super::vip;
use crate::host::service_host;
use crate::protocol::Protocol;
use crate::resource::{self, IntOrString, Kind, MeshConfig, Object, ResourceSet, ServiceEntry, Spec};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The annotation by which a Kubernetes Service says who may see it.
const EXPORT_TO: &str = "networking.istio.io/exportTo";

/// The annotation by which a Service, ServiceEntry or Namespace says which endpoints clients prefer.
const TRAFFIC_DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";

/// All services, the oldest first.
pub(super) fn services(resources: &ResourceSet, mesh: &MeshConfig) -> Vec<Arc<Service>> {
    let mut services = Vec::new();
    let mut vips = vip::Allocator::new(resources);
    for object in resources.of_kind(Kind::Service) {
        if let Spec::Service(service) = &object.spec {
            let of_spec = match service.spec.traffic_distribution.as_str() {
                "PreferClose" | "PreferSameZone" => Some(TrafficDistribution::SameZone),
                "PreferSameNode" => Some(TrafficDistribution::SameNode),
                _ => None,
            };
            let said = of_spec.or_else(|| annotated_distribution(object));
            services.push((from_kubernetes(object, service, mesh, &mut vips), said));
        }
    }
    for object in resources.of_kind(Kind::ServiceEntry) {
        if let Spec::ServiceEntry(entry) = &object.spec {
            let said = annotated_distribution(object);
            let of_entry = from_service_entry(object, entry, mesh, &mut vips).into_iter();
            services.extend(of_entry.map(|service| (service, said)));
        }
    }
    let namespaces: BTreeMap<&str, TrafficDistribution> = resources
        .of_kind(Kind::Namespace)
        .filter_map(|object| Some((&*object.id.name, annotated_distribution(object)?)))
        .collect();
    for (service, said) in &mut services {
        let of_namespace = || namespaces.get(service.namespace.as_str()).copied();
        service.distribution = said.or_else(of_namespace).unwrap_or_default();
    }
    let mut services: Vec<_> = services.into_iter().map(|(service, _)| service).collect();
    services.sort_by(|a, b| a.age.cmp(&b.age));
    set_aliases(&mut services);
    services.into_iter().map(Arc::new).collect()
}

/// What an object's annotation says; a word that is not known is none of the preferences.
fn annotated_distribution(object: &Object) -> Option<TrafficDistribution> {
    let word = object.meta.annotations.get(TRAFFIC_DISTRIBUTION).filter(|word| !word.is_empty())?;
    Some(match word.to_ascii_lowercase().as_str() {
        "preferclose" | "prefersamezone" => TrafficDistribution::SameZone,
        "prefersamenode" => TrafficDistribution::SameNode,
        _ => TrafficDistribution::Any,
    })
}

fn from_kubernetes(
    object: &Object,
    service: &resource::Service,
    mesh: &MeshConfig,
    vips: &mut vip::Allocator,
) -> Service {
    let (name, namespace) = (&*object.id.name, &*object.id.namespace);
    let spec = &service.spec;
    let external = spec.service_type == resource::kube::ServiceType::ExternalName && !spec.external_name.is_empty();
    let headless = spec.cluster_ip == "None";
    let (address, more_addresses) = match spec.cluster_ip.parse::<IpAddr>() {
        Ok(ip) => {
            let more = spec.cluster_ips.iter().filter_map(|a| a.parse().ok()).filter(|a| *a != ip);
            (ServiceAddress::Ip(ip), more.collect())
        }
        // A cluster would have given it one.
        Err(_) if !headless && !external => (ServiceAddress::Ip(vips.service(namespace, name)), Vec::new()),
        Err(_) => (ServiceAddress::Unspecified, Vec::new()),
    };
    let annotated: Vec<String> = match object.meta.annotations.get(EXPORT_TO) {
        Some(list) => list.split(',').map(|n| n.trim().to_string()).filter(|n| !n.is_empty()).collect(),
        None => Vec::new(),
    };
    let export = if annotated.is_empty() { &mesh.default_service_export_to } else { &annotated };
    Service {
        id: object.id.clone(),
        host: service_host(name, namespace),
        name: name.to_string(),
        namespace: namespace.to_string(),
        registry: Registry::Kubernetes,
        age: Age::of(object),
        address,
        more_addresses,
        auto_address: None,
        ports: spec.ports.iter().filter_map(kubernetes_port).collect(),
        resolution: if external {
            Resolution::Alias(spec.external_name.trim_end_matches('.').to_string())
        } else if headless {
            Resolution::Passthrough
        } else {
            Resolution::Static
        },
        mesh_external: external,
        export_to: ExportTo::of(export, namespace),
        labels: object.meta.labels.clone(),
        selector: spec.selector.clone(),
        aliases: Vec::new(),
        publish_not_ready: spec.publish_not_ready_addresses,
        subject_alt_names: Vec::new(),
        distribution: TrafficDistribution::Any,
    }
}

fn kubernetes_port(port: &resource::kube::ServicePort) -> Option<ServicePort> {
    let number = u32::try_from(port.port).ok().filter(|n| (1..=65535).contains(n))?;
    let target = match &port.target_port {
        None | Some(IntOrString::Int(0)) => TargetPort::Number(number),
        Some(IntOrString::Int(n)) => TargetPort::Number(u32::try_from(*n).unwrap_or(number)),
        Some(IntOrString::String(name)) => TargetPort::Name(name.clone()),
    };
    Some(ServicePort {
        name: port.name.clone(),
        number,
        protocol: Protocol::of_service_port(number, &port.name, &port.protocol, port.app_protocol.as_deref()),
        target,
    })
}

/// One service for each host and address. Of addresses that are neither an IP nor a CIDR nothing is made.
fn from_service_entry(
    object: &Object,
    entry: &ServiceEntry,
    mesh: &MeshConfig,
    vips: &mut vip::Allocator,
) -> Vec<Service> {
    let namespace = &*object.id.namespace;
    let broken = Broken::of(object);
    let private = [".".to_string()];
    let export = match entry.export_to.as_slice() {
        _ if broken.at("spec.exportTo") => private.as_slice(),
        [] => mesh.default_service_export_to.as_slice(),
        list => list,
    };
    let resolution = match entry.resolution {
        // How endpoints are found is not known: it has none, and requests get 503.
        _ if broken.at("spec.resolution") || broken.at("spec.workloadSelector") => Resolution::Static,
        resource::service_entry::Resolution::None => Resolution::Passthrough,
        resource::service_entry::Resolution::Static => Resolution::Static,
        resource::service_entry::Resolution::Dns => Resolution::Dns,
        resource::service_entry::Resolution::DnsRoundRobin => Resolution::DnsRoundRobin,
        resource::service_entry::Resolution::DynamicDns => Resolution::DynamicDns,
    };
    let mut ports: Vec<ServicePort> = Vec::new();
    let (sound, bad): (Vec<_>, Vec<_>) =
        entry.ports.iter().enumerate().partition(|(index, _)| !broken.at(&format!("spec.ports[{index}]")));
    ports.extend(sound.into_iter().filter_map(|(_, port)| entry_port(port)));
    // A broken one whose number is known is there, without endpoints: what is sent to it is refused, not let out.
    for (index, port) in bad {
        let known = !broken.at(&format!("spec.ports[{index}].number"));
        if known && ports.iter().all(|p| p.number != port.number) {
            ports.extend(entry_port(port));
        }
    }
    let mut services = Vec::new();
    for host in entry.hosts.iter().filter(|h| !h.is_empty()) {
        let addresses: Vec<ServiceAddress> = if entry.addresses.is_empty() {
            vec![ServiceAddress::Unspecified]
        } else {
            let sound = |index: &usize| !broken.at(&format!("spec.addresses[{index}]"));
            let written = entry.addresses.iter().enumerate().filter(|(index, _)| sound(index));
            written.filter_map(|(_, address)| parse_address(address)).collect()
        };
        for address in addresses {
            // A name with a wildcard stands for one address where nobody needs to tell its names apart by it.
            let one = !host.starts_with('*') || resolution == Resolution::DynamicDns;
            let made_up = entry.addresses.is_empty() && resolution != Resolution::Passthrough && one;
            services.push(Service {
                id: object.id.clone(),
                host: host.clone(),
                name: host.clone(),
                namespace: namespace.to_string(),
                registry: Registry::ServiceEntry,
                age: Age(object.meta.creation_timestamp, host.as_str().into(), object.id.namespace.clone()),
                address,
                more_addresses: Vec::new(),
                auto_address: made_up.then(|| vips.entry(namespace, host)),
                ports: ports.clone(),
                resolution: resolution.clone(),
                mesh_external: entry.location == resource::service_entry::Location::MeshExternal,
                export_to: ExportTo::of(export, namespace),
                labels: object.meta.labels.clone(),
                selector: entry.workload_selector.as_ref().map(|s| s.labels.clone()).unwrap_or_default(),
                aliases: Vec::new(),
                publish_not_ready: false,
                subject_alt_names: entry.subject_alt_names.clone(),
                distribution: TrafficDistribution::Any,
            });
        }
    }
    services
}

fn entry_port(port: &resource::service_entry::ServicePort) -> Option<ServicePort> {
    (1..=65535).contains(&port.number).then(|| ServicePort {
        name: port.name.clone(),
        number: port.number,
        protocol: Protocol::parse(&port.protocol),
        target: TargetPort::Number(if port.target_port == 0 { port.number } else { port.target_port }),
    })
}

fn parse_address(text: &str) -> Option<ServiceAddress> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ServiceAddress::Ip(ip));
    }
    let net: ipnet::IpNet = text.parse().ok()?;
    Some(if net.prefix_len() == net.max_prefix_len() {
        ServiceAddress::Ip(net.addr())
    } else {
        ServiceAddress::Cidr(net)
    })
}

/// ExternalName Services are further names of the service they come to in the end; one that comes back to
/// itself is none.
fn set_aliases(services: &mut [Service]) {
    let targets: BTreeMap<String, String> = services
        .iter()
        .filter_map(|s| match &s.resolution {
            Resolution::Alias(target) => Some((s.host.clone(), target.clone())),
            _ => None,
        })
        .collect();
    let mut aliases: BTreeMap<String, BTreeSet<ServiceKey>> = BTreeMap::new();
    for service in services.iter().filter(|s| matches!(s.resolution, Resolution::Alias(_))) {
        let mut seen = BTreeSet::from([service.host.as_str()]);
        let mut at = targets[&service.host].as_str();
        while let Some(next) = targets.get(at) {
            if !seen.insert(at) {
                break;
            }
            at = next;
        }
        if !targets.contains_key(at) {
            // Ordered by namespace, then host.
            let key = ServiceKey { host: service.namespace.clone(), namespace: service.host.clone() };
            aliases.entry(at.to_string()).or_default().insert(key);
        }
    }
    for service in services {
        if let Some(found) = aliases.get(&service.host) {
            service.aliases = found.iter().map(|key| key.namespace.clone()).collect();
        }
    }
}
