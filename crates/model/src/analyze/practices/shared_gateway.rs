//! AM-T4: one ingress gateway that serves the hosts of several applications.
//!
//! A gateway is the pods that Gateways select. An application is the hosts that lead to services in common: `www` and `api`
//! of one service are one application, and so is one host with paths to several services. What is outside of the cluster
//! is none.

use crate::analyze::bindings::Bindings;
use crate::analyze::led::led;
use crate::analyze::world::{World, about, selector_text};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::{Kind, Map, ResourceId};
use crate::snapshot::{GatewayObject, Snapshot};
use crate::translate::Carries;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Hosts in a message.
const SHOWN: usize = 5;

/// What runs a gateway: its first workload, or the selector where the input has none.
type Runs<'a> = Result<&'a ResourceId, &'a Map>;

pub(super) fn find(world: &World<'_>, snapshot: &Snapshot, bindings: &Bindings<'_>, found: &mut Vec<Diagnostic>) {
    let mut gateways: BTreeMap<Runs<'_>, Vec<&GatewayObject>> = BTreeMap::new();
    for gateway in snapshot.gateways().iter().filter(|gateway| !is_egress(&gateway.spec.selector)) {
        let pods = world.pods.matching(&gateway.spec.selector).map(|pod| &pod.object.id);
        gateways.entry(pods.min().ok_or(&gateway.spec.selector)).or_default().push(gateway);
    }
    for of_pods in gateways.values() {
        let applications = applications(snapshot, bindings, of_pods);
        let Some(first) = of_pods.first().filter(|_| applications.len() > 1) else { continue };
        let Some(object) = world.find(Kind::Gateway, &first.id.namespace, &first.id.name) else { continue };
        let hosts: Vec<&str> = applications.iter().map(String::as_str).take(SHOWN).collect();
        let more = if applications.len() > SHOWN { ", …" } else { "" };
        let message = format!(
            "the gateway {} serves {} applications: {}{more}",
            selector_text(&first.spec.selector),
            applications.len(),
            hosts.join(", ")
        );
        found.push(about(codes::SHARED_GATEWAY, object, "spec.selector", message));
    }
}

fn is_egress(selector: &Map) -> bool {
    selector.values().any(|value| value.contains("egress"))
}

/// One host of each application.
fn applications(snapshot: &Snapshot, bindings: &Bindings<'_>, gateways: &[&GatewayObject]) -> Vec<String> {
    let mut by_host: BTreeMap<Cow<'_, str>, BTreeSet<&str>> = BTreeMap::new();
    for gateway in gateways {
        let name = format!("{}/{}", gateway.id.namespace, gateway.id.name);
        for bound in bindings.of_gateway(&name).iter().filter(|bound| bound.carries != Carries::MeshTls) {
            let led = led(bound.virtual_service);
            let here = led.iter().filter(|led| led.kind == bound.carries && led.at(&name, bound.port));
            let services: BTreeSet<&str> =
                here.map(|led| led.destination.host.as_str()).filter(|host| is_within(snapshot, host)).collect();
            for host in &bound.hosts {
                // Every host is no name that an application has: each VirtualService may be one.
                let id = &bound.virtual_service.id;
                let host =
                    if host == "*" { format!("* ({}/{})", id.namespace, id.name).into() } else { Cow::from(host) };
                by_host.entry(host).or_default().extend(&services);
            }
        }
    }
    one_of_each(by_host)
}

/// One host of each application: hosts with a service in common, also through others, are one.
fn one_of_each(by_host: BTreeMap<Cow<'_, str>, BTreeSet<&str>>) -> Vec<String> {
    let by_host: Vec<_> = by_host.into_iter().filter(|(_, services)| !services.is_empty()).collect();
    // Each host's link leads to an earlier one of its application, or to itself.
    let mut links: Vec<usize> = (0..by_host.len()).collect();
    let mut of_service: HashMap<&str, usize> = HashMap::new();
    for (index, (_, services)) in by_host.iter().enumerate() {
        for service in services {
            let other = *of_service.entry(service).or_insert(index);
            let (one, other) = (first(&mut links, index), first(&mut links, other));
            links[one.max(other)] = one.min(other);
        }
    }
    let hosts = by_host.into_iter().enumerate().filter(|(index, _)| links[*index] == *index);
    hosts.map(|(_, (host, _))| host.into_owned()).collect()
}

/// Where the links from a host end; they are made shorter on the way.
fn first(links: &mut [usize], mut at: usize) -> usize {
    while links[at] != at {
        links[at] = links[links[at]];
        at = links[at];
    }
    at
}

/// Whether it is a service of the cluster, as far as the input tells.
fn is_within(snapshot: &Snapshot, host: &str) -> bool {
    match snapshot.services_of_host(host) {
        Some(services) => services.values().any(|service| service.id.kind == Kind::Service),
        None => host.ends_with(".svc.cluster.local"),
    }
}
