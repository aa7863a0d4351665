//! From the user's objects to those of this machine: the pods that they would have, each with addresses and ports
//! that can be bound here, and a phase. The engine calls it before each snapshot.

use super::machine::{self, Network};
use super::phases::{Phase, Phases};
use super::proxies::WorkloadName;
use amime_model::diagnostic::Diagnostic;
use amime_model::resource::{Kind, Object, ResourceId, ResourceSet, Spec};
use amime_model::workload::{AddressPlan, Expanded, OpenedPort, PodKey, expand, workload_of};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A gateway port that another program has.
pub(crate) const PORT_IN_USE: &str = "AM-U1";
/// A gateway port that is opened elsewhere, since another gateway has its place.
const PORT_MOVED: &str = "AM-U4";
/// `--replace` does not say which port, or names a workload that is not there.
pub(super) const REPLACEMENT: &str = "AM-U2";
/// `--sidecar` names a workload that is not there.
pub(crate) const SIDECAR: &str = "AM-U5";
/// More pods than there are addresses.
const NO_ADDRESS: &str = "AM-U3";

/// What it knows from one run to the next.
#[derive(Debug)]
pub(crate) struct Prepare {
    network: Arc<Network>,
    plan: AddressPlan,
    phases: Phases,
    /// Pod ports that were tried.
    tried: BTreeSet<u16>,
    /// Ports that the mesh's own gateways have: binding them again would fail and mean nothing.
    ours: BTreeSet<u16>,
    first: bool,
    /// Proxies are started elsewhere.
    elsewhere: Option<BTreeSet<WorkloadName>>,
}

impl Prepare {
    pub(crate) fn new(network: Arc<Network>, mut plan: AddressPlan, phases: Phases) -> Self {
        // A process of the user's that listens on all addresses could not, while pods listen at its port.
        let replaced: Vec<u16> = plan.replacements().iter().map(|replacement| replacement.address.port()).collect();
        for port in replaced {
            plan.mark_unbindable(port);
        }
        Self { network, plan, phases, tried: BTreeSet::new(), ours: BTreeSet::new(), first: true, elsewhere: None }
    }

    /// Proxies are started elsewhere: sidecars for these workloads, and gateways, whose ports are not this process's
    /// to try.
    pub(crate) fn with_proxies_elsewhere(mut self, sidecars: BTreeSet<WorkloadName>) -> Self {
        self.elsewhere = Some(sidecars);
        self
    }

    /// What the engine goes on with, and what is wrong with it on this machine.
    pub(crate) fn run(&mut self, resources: &ResourceSet) -> (ResourceSet, Vec<Diagnostic>) {
        let mut expanded = expand(resources, &mut self.plan);
        // Each round learns at least one port that cannot be bound, so this ends.
        while self.learn_pod_ports(&expanded) | self.learn_gateway_ports(&expanded) {
            expanded = expand(resources, &mut self.plan);
        }
        let mut diagnostics = self.ports_in_use(&expanded, resources);
        diagnostics.extend(moved(&expanded));
        diagnostics.extend(self.replacements(&expanded));
        diagnostics.extend(self.sidecars(&expanded));
        diagnostics.extend(expanded.unplaced.iter().map(|pod| {
            let message = format!("there is no address left for pod {}/{}", pod.namespace, pod.name);
            Diagnostic::error(NO_ADDRESS, message).with_expected(format!("at most {} pods", AddressPlan::PODS))
        }));
        self.ours = opened(&expanded).map(|(_, _, place)| place.opened).collect();
        (self.with_phases(expanded), diagnostics)
    }

    /// Tries ports at which pods are to listen. True where one cannot be bound that was thought to.
    fn learn_pod_ports(&mut self, expanded: &Expanded) -> bool {
        let mut learnt = false;
        for object in expanded.resources.of_kind(Kind::Pod) {
            let Spec::Pod(pod) = &object.spec else { continue };
            let Some(placement) = pod.placement.as_ref().filter(|placement| placement.bind.is_empty()) else {
                continue;
            };
            for bound in placement.ports.values() {
                if self.tried.insert(*bound) && !self.network.can_bind(*bound) {
                    learnt |= self.plan.mark_unbindable(*bound);
                }
            }
        }
        learnt
    }

    /// Tries the ports to which losers were moved. True where one is not free after all.
    fn learn_gateway_ports(&mut self, expanded: &Expanded) -> bool {
        let mut learnt = false;
        if self.elsewhere.is_some() {
            return learnt;
        }
        for (_, _, place) in opened(expanded) {
            if place.opened != place.wished && !self.ours.contains(&place.opened) && !self.is_free(place.opened) {
                learnt |= self.plan.mark_busy(place.opened);
            }
        }
        learnt
    }

    fn is_free(&self, port: u16) -> bool {
        self.plan.gateway_bind().iter().all(|ip| machine::try_listen(SocketAddr::new(*ip, port)).is_ok())
    }

    /// Gateways whose port another program has.
    fn ports_in_use(&self, expanded: &Expanded, resources: &ResourceSet) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if self.elsewhere.is_some() {
            return found;
        }
        for (_, port, place) in opened(expanded).filter(|(_, _, place)| !self.ours.contains(&place.opened)) {
            let failed =
                |ip: &IpAddr| machine::try_listen(SocketAddr::new(*ip, place.opened)).err().map(|error| (*ip, error));
            let Some((ip, error)) = self.plan.gateway_bind().iter().find_map(failed) else { continue };
            let name = &place.gateway;
            let id = ResourceId::new(Kind::Gateway, name.namespace.as_str(), name.name.as_str());
            let at = SocketAddr::new(ip, place.opened);
            let (message, expected) = match error.kind() {
                std::io::ErrorKind::PermissionDenied => (
                    format!("{id}: port {port} cannot be opened at {at}: this user may not bind ports below 1024"),
                    "no --privileged-ports, or a right to bind low ports",
                ),
                _ => (
                    format!("{id}: port {port} cannot be opened at {at}: another program has it ({error})"),
                    "a free port: --gateway-port-offset N moves all gateway ports",
                ),
            };
            let place = resources.get(&id).and_then(|object| object.place("spec.servers"));
            found.push(Diagnostic::error(PORT_IN_USE, message).with_place(place).with_expected(expected));
        }
        found
    }

    /// Sidecars of workloads that are not there.
    fn sidecars(&self, expanded: &Expanded) -> Vec<Diagnostic> {
        let Some(sidecars) = self.elsewhere.as_ref().filter(|sidecars| !sidecars.is_empty()) else { return Vec::new() };
        let known = workloads(expanded);
        let unknown = sidecars.iter().filter(|(namespace, name)| !known.contains_key(&(namespace, name.clone())));
        let expected = || format!("one of {}", list(known.keys()));
        unknown
            .map(|(namespace, name)| {
                let message = format!("--sidecar {namespace}/{name}: there is no such workload");
                Diagnostic::error(SIDECAR, message).with_expected(expected())
            })
            .collect()
    }

    /// Replacements that replace nothing.
    fn replacements(&self, expanded: &Expanded) -> Vec<Diagnostic> {
        if self.plan.replacements().is_empty() {
            return Vec::new();
        }
        let ports = workloads(expanded);
        let mut found = Vec::new();
        for replacement in self.plan.replacements() {
            let (namespace, workload) = (replacement.namespace.as_str(), replacement.workload.as_str());
            let what = format!("--replace {namespace}/{workload}={}", replacement.address);
            let Some(known) = ports.get(&(namespace, workload.to_owned())) else {
                let message = format!("{what}: there is no such workload");
                let expected = format!("one of {}", list(ports.keys()));
                found.push(Diagnostic::error(REPLACEMENT, message).with_expected(expected));
                continue;
            };
            let list = known.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            let problem = match replacement.port {
                None if known.len() > 1 => format!("{what}: the workload has several ports ({list})"),
                None if known.is_empty() => format!("{what}: the workload has no port"),
                Some(port) if !known.contains(&port) => format!("{what}: the workload has no port {port} (but {list})"),
                _ => continue,
            };
            let expected = format!("{namespace}/{workload}:PORT={}", replacement.address);
            found.push(Diagnostic::error(REPLACEMENT, problem).with_expected(expected));
        }
        found
    }

    /// Puts pods that are on their way out back in, and takes endpoints from those that do not listen.
    fn with_phases(&mut self, expanded: Expanded) -> ResourceSet {
        let mut resources = expanded.resources;
        let pods = resources.of_kind(Kind::Pod).map(|object| (key_of(object), object.clone())).collect();
        // What the first snapshot has is published at once: `up` is not ready before all of it listens.
        let born = if std::mem::take(&mut self.first) { Phase::Ready } else { Phase::Starting };
        for (_, phase, object) in self.phases.want(pods, born) {
            match phase {
                Phase::Ready => {}
                Phase::Starting | Phase::Draining => resources.replace(not_ready(&object)),
            }
        }
        resources
    }
}

/// The ports of each workload that is no gateway, by namespace and name.
fn workloads(expanded: &Expanded) -> BTreeMap<(&str, String), BTreeSet<u16>> {
    let mut ports: BTreeMap<(&str, String), BTreeSet<u16>> = BTreeMap::new();
    for object in expanded.resources.of_kind(Kind::Pod) {
        if let Spec::Pod(pod) = &object.spec
            && let Some(placement) = pod.placement.as_ref().filter(|placement| placement.bind.is_empty())
        {
            let workload = (&*object.id.namespace, workload_of(object));
            ports.entry(workload).or_default().extend(placement.ports.keys());
        }
    }
    ports
}

fn list<'a>(workloads: impl Iterator<Item = &'a (&'a str, String)>) -> String {
    workloads.map(|(namespace, name)| format!("{namespace}/{name}")).collect::<Vec<_>>().join(", ")
}

fn key_of(object: &Object) -> PodKey {
    PodKey { namespace: object.id.namespace.to_string(), name: object.id.name.to_string() }
}

fn opened(expanded: &Expanded) -> impl Iterator<Item = (&PodKey, u16, &OpenedPort)> {
    expanded.gateways.iter().flat_map(|(pod, ports)| ports.iter().map(move |(port, place)| (pod, *port, place)))
}

/// Gateways that lost their port to another one.
fn moved(expanded: &Expanded) -> impl Iterator<Item = Diagnostic> + '_ {
    opened(expanded).filter(|(_, _, place)| place.opened != place.wished).map(|(_, port, place)| {
        let (gateway, wished, opened) = (&place.gateway, place.wished, place.opened);
        let message = format!(
            "Gateway {}/{}: port {port} is opened at {opened}, for another gateway has {wished}",
            gateway.namespace, gateway.name
        );
        Diagnostic::info(PORT_MOVED, message)
    })
}

fn not_ready(object: &Arc<Object>) -> Arc<Object> {
    let Spec::Pod(pod) = &object.spec else { return object.clone() };
    let mut pod = (**pod).clone();
    for condition in pod.status.conditions.iter_mut().filter(|condition| condition.condition == "Ready") {
        condition.status = "False".to_owned();
    }
    Arc::new(Object { spec: Spec::Pod(Arc::new(pod)), ..(**object).clone() })
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
