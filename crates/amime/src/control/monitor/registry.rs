//! `/debug/registryz` and `/debug/endpointz`: the services of the mesh, and who answers for them.

use super::view::{Asked, View};
use crate::serve::{Answer, json};
use amime_model::config::Locality;
use amime_model::snapshot::{
    EndpointHost, ExportTo, Labels, Registry, Resolution, Service, ServiceAddress, ServiceEndpoint, TargetPort,
};
use serde::Serialize;
use std::sync::Arc;

pub(super) fn services(view: &View, asked: &Asked) -> Answer {
    json(&wanted(view, asked).map(|service| describe(view, service)).collect::<Vec<_>>())
}

pub(super) fn endpoints(view: &View, asked: &Asked) -> Answer {
    json(&wanted(view, asked).flat_map(|service| of_service(view, service)).collect::<Vec<_>>())
}

fn wanted<'a>(view: &'a View, asked: &'a Asked) -> impl Iterator<Item = &'a Arc<Service>> {
    let all = view.snapshot().services().iter();
    all.filter(|s| asked.wants("service", &s.host) && asked.wants("namespace", &s.namespace))
}

#[derive(Debug, Serialize)]
struct Described<'a> {
    host: &'a str,
    namespace: &'a str,
    /// `Service shop/web`, and where it was written.
    object: String,
    place: Option<String>,
    registry: &'static str,
    address: Option<String>,
    more_addresses: &'a [std::net::IpAddr],
    /// What the mesh's DNS answers where none was written.
    auto_address: Option<std::net::IpAddr>,
    resolution: &'static str,
    mesh_external: bool,
    export_to: Vec<&'a str>,
    aliases: &'a [String],
    selector: &'a Labels,
    ports: Vec<Port<'a>>,
}

#[derive(Debug, Serialize)]
struct Port<'a> {
    name: &'a str,
    number: u32,
    protocol: String,
    target: String,
    endpoints: usize,
    ready: usize,
}

fn describe<'a>(view: &'a View, service: &'a Service) -> Described<'a> {
    let ports = service.ports.iter().map(|port| {
        let endpoints = view.snapshot().endpoints(service, port.number);
        Port {
            name: &port.name,
            number: port.number,
            protocol: format!("{:?}", port.protocol).to_uppercase(),
            target: match &port.target {
                TargetPort::Number(number) => number.to_string(),
                TargetPort::Name(name) => name.clone(),
            },
            endpoints: endpoints.len(),
            ready: endpoints.iter().filter(|endpoint| endpoint.ready).count(),
        }
    });
    let place = view.snapshot().object(&service.id).and_then(|object| object.place(""));
    Described {
        host: &service.host,
        namespace: &service.namespace,
        object: service.id.to_string(),
        place: place.map(|place| place.to_string()),
        registry: match service.registry {
            Registry::Kubernetes => "Kubernetes",
            Registry::ServiceEntry => "External",
        },
        address: match service.address {
            ServiceAddress::Unspecified => None,
            ServiceAddress::Ip(ip) => Some(ip.to_string()),
            ServiceAddress::Cidr(net) => Some(net.to_string()),
        },
        more_addresses: &service.more_addresses,
        auto_address: service.auto_address,
        resolution: match service.resolution {
            Resolution::Static => "STATIC",
            Resolution::Passthrough => "NONE",
            Resolution::Dns => "DNS",
            Resolution::DnsRoundRobin => "DNS_ROUND_ROBIN",
            Resolution::DynamicDns => "DYNAMIC_DNS",
            Resolution::Alias(_) => "ALIAS",
        },
        mesh_external: service.mesh_external,
        export_to: match &service.export_to {
            ExportTo::Everyone => vec!["*"],
            ExportTo::Namespaces(namespaces) if namespaces.is_empty() => vec!["~"],
            ExportTo::Namespaces(namespaces) => namespaces.iter().map(String::as_str).collect(),
        },
        aliases: &service.aliases,
        selector: &service.selector,
        ports: ports.collect(),
    }
}

#[derive(Debug, Serialize)]
struct PortEndpoints<'a> {
    service: &'a str,
    namespace: &'a str,
    port: u32,
    port_name: &'a str,
    endpoints: Vec<Endpoint<'a>>,
}

#[derive(Debug, Serialize)]
struct Endpoint<'a> {
    address: String,
    ready: bool,
    #[serde(skip_serializing_if = "is_one")]
    weight: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    locality: String,
    /// `shop/web-v1`.
    workload: String,
    labels: &'a Labels,
}

fn is_one(weight: &u32) -> bool {
    *weight <= 1
}

fn of_service<'a>(view: &'a View, service: &'a Service) -> impl Iterator<Item = PortEndpoints<'a>> {
    service.ports.iter().map(move |port| PortEndpoints {
        service: &service.host,
        namespace: &service.namespace,
        port: port.number,
        port_name: &port.name,
        endpoints: view.snapshot().endpoints(service, port.number).iter().map(endpoint).collect(),
    })
}

fn endpoint(endpoint: &ServiceEndpoint) -> Endpoint<'_> {
    let port = endpoint.bound_port;
    Endpoint {
        address: match &endpoint.address {
            EndpointHost::Ip(ip) => std::net::SocketAddr::new(*ip, port).to_string(),
            EndpointHost::Name(name) => format!("{name}:{port}"),
            EndpointHost::Unix(path) => format!("unix://{path}"),
        },
        ready: endpoint.ready,
        weight: endpoint.weight,
        locality: locality(&endpoint.locality),
        workload: format!("{}/{}", endpoint.workload.namespace, endpoint.workload.workload),
        labels: &endpoint.labels,
    }
}

/// `region/zone/sub-zone`, as far as it is known.
fn locality(locality: &Locality) -> String {
    let parts = [&locality.region, &locality.zone, &locality.sub_zone];
    parts.into_iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("/")
}
