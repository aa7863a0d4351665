//! The mesh's DNS: what a name means to a workload.
//!
//! `up` answers its stand-ins by it; `explain` dials what it says where a request names no address.

use super::{EndpointHost, Registry, Resolution, ServiceAddress, Snapshot};
use crate::host::{CLUSTER_DOMAIN, is_wildcard, most_specific};
use std::net::IpAddr;

/// How many ExternalName Services are followed.
const HOPS: usize = 8;

impl Snapshot {
    /// The addresses of a name as seen from a namespace: of a service (short, with namespace, with `svc`, in full),
    /// of a pod of a StatefulSet, or of a ServiceEntry's host. Empty where the mesh does not know it.
    pub fn resolve(&self, name: &str, from_namespace: &str) -> Vec<IpAddr> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if let Ok(ip) = name.parse() {
            return vec![ip];
        }
        let searched = [
            name.clone(),
            format!("{name}.{from_namespace}.svc.{CLUSTER_DOMAIN}"),
            format!("{name}.svc.{CLUSTER_DOMAIN}"),
            format!("{name}.{CLUSTER_DOMAIN}"),
        ];
        searched
            .iter()
            .map(|name| self.addresses(name, from_namespace, HOPS))
            .find(|a| !a.is_empty())
            .unwrap_or_default()
    }

    fn addresses(&self, host: &str, from_namespace: &str, hops: usize) -> Vec<IpAddr> {
        let exact = self.by_host.get(host);
        let known = exact.or_else(|| {
            let wildcards = self.by_host.keys().map(String::as_str).filter(|h| is_wildcard(h));
            most_specific(host, wildcards).and_then(|found| self.by_host.get(found))
        });
        let Some(by_namespace) = known else { return self.pod_addresses(host) };
        // A Kubernetes Service resolves for all; a ServiceEntry for those who may see it.
        let sees = |s: &&std::sync::Arc<super::Service>| {
            s.registry == Registry::Kubernetes || s.export_to.includes(from_namespace)
        };
        let service = by_namespace.get(from_namespace).filter(sees).or_else(|| by_namespace.values().find(sees));
        let Some(service) = service else { return Vec::new() };
        match (&service.resolution, service.address_for(true)) {
            (Resolution::Alias(target), _) if hops > 0 => self.addresses(target, from_namespace, hops - 1),
            (_, ServiceAddress::Ip(ip)) => std::iter::once(ip).chain(service.more_addresses.iter().copied()).collect(),
            (_, ServiceAddress::Cidr(net)) => vec![net.addr()],
            (_, ServiceAddress::Unspecified) => self.headless(service),
        }
    }

    fn headless(&self, service: &super::Service) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for port in &service.ports {
            for endpoint in self.endpoints(service, port.number).iter().filter(|e| e.ready) {
                if let EndpointHost::Ip(ip) = &endpoint.address
                    && !found.contains(ip)
                {
                    found.push(*ip);
                }
            }
        }
        found
    }

    /// `pod.service.namespace.svc.cluster.local`, as StatefulSets' pods are called.
    fn pod_addresses(&self, host: &str) -> Vec<IpAddr> {
        let Some((pod, service)) = host.split_once('.') else { return Vec::new() };
        let Some(service) = self.by_host.get(service).and_then(|by_ns| by_ns.values().next()) else {
            return Vec::new();
        };
        let Some(pod) = self.pod(&service.namespace, pod) else { return Vec::new() };
        let selected = super::selects(&service.selector, &pod.labels) && !service.selector.is_empty();
        if selected { pod.addresses.first().copied().into_iter().collect() } else { Vec::new() }
    }
}
