//! AM-E1: VirtualServices, or parts of them, that no proxy is given: gateways that have no server for a host, a kind of
//! rules or a port, or do not see the object; names in the mesh that no service has. Where a gateway has none of the
//! hosts, or is not there, Istio's own codes tell it. `effect` calls it.

use crate::analyze::bindings::Bindings;
use crate::analyze::hosts::Hosts;
use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::host::{is_wildcard, resolve_short, subset_of};
use crate::resource::{Kind, Object, Spec};
use crate::snapshot::{Health, ResolvedVirtualService, Snapshot};
use crate::translate::{Bound, Carries};
use std::collections::BTreeSet;

/// A VirtualService, and where it is served.
struct Looked<'a> {
    object: &'a Object,
    vs: &'a ResolvedVirtualService,
    bound: &'a [&'a Bound<'a>],
    in_mesh: bool,
    /// All of its gateways are in the input, and have a host of it.
    all_known: bool,
}

pub(super) fn find(world: &World<'_>, snapshot: &Snapshot, bindings: &Bindings<'_>, found: &mut Vec<Diagnostic>) {
    let by_virtual_service = bindings.by_virtual_service();
    let services = Services::of(world);
    for vs in snapshot.virtual_services() {
        let Some(object) = world.find(Kind::VirtualService, &vs.id.namespace, &vs.id.name) else { continue };
        let bound = by_virtual_service.get(&vs.id).map_or(&[] as &[_], Vec::as_slice);
        let served = |gateway: &String| gateway == "mesh" || bound.iter().any(|bound| *bound.gateway == **gateway);
        let in_mesh = vs.gateways.iter().any(|gateway| gateway == "mesh");
        let all_known = !vs.gateways.is_empty() && vs.gateways.iter().all(served);
        let looked = Looked { object, vs, bound, in_mesh, all_known };
        let mut tell = |field: &str, message: String| {
            found.push(about(codes::GATEWAY_NEVER_MATCHES, object, field, message));
        };
        hosts(&looked, &services, &mut tell);
        kinds(&looked, &mut tell);
        matches(snapshot, &looked, &mut tell);
        exported(&looked, bindings, &mut tell);
    }
}

/// Whether a service can be said to be missing.
struct Services<'a> {
    hosts: &'a Hosts<'a>,
    /// Those of which the input has Services.
    namespaces: BTreeSet<&'a str>,
}

impl<'a> Services<'a> {
    fn of(world: &'a World<'a>) -> Self {
        let namespaces = world.of(Kind::Service).iter().map(|service| &*service.id.namespace).collect();
        Self { hosts: &world.hosts, namespaces }
    }

    fn may_miss(&self, namespace: &str, host: &str) -> bool {
        self.namespaces.contains(namespace) && !self.hosts.has(host)
    }
}

/// Hosts that no server of its gateways has, while others are had; short names in the mesh that no service has.
fn hosts(looked: &Looked<'_>, services: &Services<'_>, tell: &mut dyn FnMut(&str, String)) {
    let Spec::VirtualService(spec) = &looked.object.spec else { return };
    let namespace = &*looked.vs.id.namespace;
    for (index, written) in spec.hosts.iter().enumerate().filter(|(_, host)| !host.is_empty()) {
        let field = format!("spec.hosts[{index}]");
        let host = resolve_short(written, namespace);
        if looked.in_mesh {
            let is_short = host != *written && !is_wildcard(written);
            if is_short && services.may_miss(namespace, &host) && looked.bound.is_empty() {
                tell(&field, format!("{namespace} has no service {written}: no client asks for {host}"));
            }
            continue;
        }
        let is_had = |bound: &&&Bound<'_>| bound.hosts.iter().any(|had| subset_of(had, &host));
        if looked.all_known && !looked.bound.iter().any(|bound| is_had(&bound)) {
            let message = format!("no server of {} has the host {written}", looked.vs.gateways.join(", "));
            tell(&field, message);
        }
    }
}

/// Rules of a kind that none of its gateways' servers looks at.
fn kinds(looked: &Looked<'_>, tell: &mut dyn FnMut(&str, String)) {
    let Looked { vs, bound, .. } = looked;
    if looked.in_mesh || !looked.all_known {
        return;
    }
    let Spec::VirtualService(spec) = &looked.object.spec else { return };
    let kinds = [
        ("http", spec.http.is_empty(), Carries::Http, "HTTP, which also those that end HTTPS are"),
        ("tls", spec.tls.is_empty(), Carries::PassedTls, "TLS of mode PASSTHROUGH"),
        ("tcp", spec.tcp.is_empty(), Carries::Tcp, "TCP, which also those that end TLS are"),
    ];
    for (kind, is_empty, carries, wanted) in kinds {
        if !is_empty && !bound.iter().any(|bound| bound.carries == carries) {
            let gateways = vs.gateways.join(", ");
            tell(&format!("spec.{kind}"), format!("no server of {gateways} that has one of the hosts is for {wanted}"));
        }
    }
}

/// What a match asks for of listeners.
struct Asked<'a> {
    field: String,
    kind: Carries,
    gateways: &'a [String],
    port: u32,
}

/// Matches for gateways that the VirtualService is not bound to, and for ports that nothing has.
fn matches(snapshot: &Snapshot, looked: &Looked<'_>, tell: &mut dyn FnMut(&str, String)) {
    let Looked { vs, bound, .. } = looked;
    let mut of_mesh: Option<Option<BTreeSet<u32>>> = None;
    for asked in asked(vs) {
        let named = |gateway: &&String| asked.gateways.is_empty() || asked.gateways.contains(gateway);
        let gateways: Vec<&String> = vs.gateways.iter().filter(named).collect();
        if gateways.is_empty() {
            let message = format!("the VirtualService is for {} alone", vs.gateways.join(", "));
            tell(&format!("{}.gateways", asked.field), message);
            continue;
        }
        if asked.port == 0 {
            continue;
        }
        let mut ports = BTreeSet::new();
        let mut is_known = true;
        for gateway in gateways {
            if gateway == "mesh" {
                let of_mesh = of_mesh.get_or_insert_with(|| mesh_ports(snapshot, vs));
                is_known &= of_mesh.is_some();
                ports.extend(of_mesh.iter().flatten().copied());
            } else {
                let here = bound.iter().filter(|bound| *bound.gateway == **gateway);
                is_known &= here.clone().next().is_some();
                ports.extend(here.filter(|bound| bound.carries == asked.kind).map(|bound| bound.port));
            }
        }
        if is_known && !ports.is_empty() && !ports.contains(&asked.port) {
            let has: Vec<String> = ports.iter().map(u32::to_string).collect();
            tell(
                &format!("{}.port", asked.field),
                format!("port {} never takes these requests: there is {} alone", asked.port, has.join(", ")),
            );
        }
    }
}

/// Of delegates the root's place is known alone, and what is broken is told otherwise.
fn asked(vs: &ResolvedVirtualService) -> Vec<Asked<'_>> {
    let mut all = Vec::new();
    let mut add = |rule: &str, index: usize, kind, gateways, port| {
        all.push(Asked { field: format!("{rule}.match[{index}]"), kind, gateways, port });
    };
    for rule in vs.http.iter().filter(|rule| !rule.origin.path.contains(".delegate") && rule.health == Health::Sound) {
        for (index, m) in rule.route.matches.iter().enumerate() {
            add(&rule.origin.path, index, Carries::Http, m.gateways.as_slice(), m.port);
        }
    }
    for rule in vs.tcp.iter().filter(|rule| rule.health == Health::Sound) {
        for (index, m) in rule.route.matches.iter().enumerate() {
            add(&rule.origin.path, index, Carries::Tcp, m.gateways.as_slice(), m.port);
        }
    }
    for rule in vs.tls.iter().filter(|rule| rule.health == Health::Sound) {
        for (index, m) in rule.route.matches.iter().enumerate() {
            add(&rule.origin.path, index, Carries::PassedTls, m.gateways.as_slice(), m.port);
        }
    }
    all
}

/// The ports at which clients in the mesh meet its rules; None where a host is none that the input has. Hosts without
/// port 80 have them there too, as those have that are no service.
fn mesh_ports(snapshot: &Snapshot, vs: &ResolvedVirtualService) -> Option<BTreeSet<u32>> {
    let mut ports = BTreeSet::from([80]);
    for host in &vs.hosts {
        let services = snapshot.services_of_host(host)?;
        ports.extend(services.values().flat_map(|service| &service.ports).map(|port| port.number));
    }
    Some(ports)
}

/// Gateways whose pods run where the object is not exported to.
fn exported(looked: &Looked<'_>, bindings: &Bindings<'_>, tell: &mut dyn FnMut(&str, String)) {
    let gateways: BTreeSet<&str> = looked.bound.iter().map(|bound| &*bound.gateway).collect();
    for gateway in gateways {
        let namespaces: Vec<&str> = bindings.namespaces(gateway).collect();
        if !namespaces.is_empty() && !namespaces.iter().any(|namespace| looked.vs.export_to.includes(namespace)) {
            let message = format!(
                "the pods of gateway {gateway} run in {}, which exportTo leaves out: they answer 404",
                namespaces.join(", ")
            );
            tell("spec.exportTo", message);
        }
    }
}
