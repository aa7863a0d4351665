//! AM-E7, AM-E8, AM-E9: AuthorizationPolicies that match more or less than they look. `effect` calls it.

use crate::analyze::pods::PodView;
use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::protocol::Protocol;
use crate::resource::security::{Action, AuthorizationPolicy, Operation, Rule};
use crate::resource::{Map, Object, ResourceId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

pub(super) fn find(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    allows_everything(world, found);
    split_rules(world, found);
    on_tcp_ports(world, found);
}

/// AM-E7: a rule that says only who, and after it one that says only what: they need not hold together.
fn split_rules(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let only_from = |rule: &Rule| !rule.from.is_empty() && rule.to.is_empty() && rule.when.is_empty();
    let only_to = |rule: &Rule| rule.from.is_empty() && !rule.to.is_empty();
    for (object, policy) in world.authorization_policies() {
        for (index, pair) in policy.rules.windows(2).enumerate() {
            if only_from(&pair[0]) && only_to(&pair[1]) {
                let message = format!(
                    "rules[{index}] says only from, this one only to: each holds alone, the first for whatever is asked, \
                     this for whoever asks"
                );
                found.push(about(codes::OR_INSTEAD_OF_AND, object, &format!("spec.rules[{}]", index + 1), message));
            }
        }
    }
}

/// A rule without from, to and when holds for every request.
fn allows_everything(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    for (object, policy) in world.authorization_policies().filter(|(_, policy)| policy.action == Action::Allow) {
        let is_empty = |rule: &Rule| rule.from.is_empty() && rule.to.is_empty() && rule.when.is_empty();
        if let Some(index) = policy.rules.iter().position(is_empty) {
            let message = "this rule allows every request, so that no other ALLOW policy narrows anything here";
            found.push(about(codes::ALLOWS_EVERYTHING, object, &format!("spec.rules[{index}]"), message));
        }
    }
}

/// AM-E8: what only requests of HTTP have, asked for at ports that carry plain connections.
fn on_tcp_ports(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let mut policies = world.authorization_policies().filter(|(_, policy)| needs_http(policy)).peekable();
    if policies.peek().is_none() {
        return;
    }
    let ports = Ports::of(world);
    for (object, policy) in policies {
        let chosen = ports.chosen(world, object, policy);
        if chosen.is_empty() {
            continue;
        }
        for (index, rule) in policy.rules.iter().enumerate() {
            for (field, http, listed) in parts(rule) {
                let field = format!("spec.rules[{index}]{field}");
                let told = judge(policy.action, &http, &listed, &chosen);
                found.extend(told.map(|message| about(codes::HTTP_POLICY_ON_TCP, object, &field, message)));
            }
        }
    }
}

/// Allow and deny alone: an audit decides nothing, and what others decide is theirs.
fn needs_http(policy: &AuthorizationPolicy) -> bool {
    let attached = policy.target_ref.is_some() || !policy.target_refs.is_empty();
    matches!(policy.action, Action::Allow | Action::Deny)
        && !attached
        && policy.rules.iter().any(|rule| parts(rule).next().is_some())
}

/// The parts of a rule that ask for what only HTTP has: field, what it asks for, the ports that it is for (none: all).
fn parts(rule: &Rule) -> impl Iterator<Item = (String, String, Vec<u16>)> {
    let of_rule = http_of_rule(rule);
    let mut parts = Vec::new();
    for (index, operation) in rule.to.iter().enumerate().filter_map(|(i, to)| Some((i, to.operation.as_ref()?))) {
        let own = http_of_operation(operation);
        let Some(http) = own.map(str::to_owned).or_else(|| of_rule.as_ref().map(|(_, http)| http.clone())) else {
            continue;
        };
        // Ports that are excluded leave it open which are meant.
        if !operation.not_ports.is_empty() {
            continue;
        }
        let field = match own {
            Some(own) => format!(".to[{index}].operation.{own}"),
            None => of_rule.as_ref().map(|(field, _)| field.clone()).unwrap_or_default(),
        };
        parts.push((field, http, operation.ports.iter().filter_map(|port| port.parse().ok()).collect()));
    }
    if rule.to.is_empty() {
        parts.extend(of_rule.map(|(field, http)| (field, http, Vec::new())));
    }
    parts.into_iter()
}

fn http_of_operation(operation: &Operation) -> Option<&'static str> {
    let lists = [
        ("hosts", &operation.hosts),
        ("notHosts", &operation.not_hosts),
        ("methods", &operation.methods),
        ("notMethods", &operation.not_methods),
        ("paths", &operation.paths),
        ("notPaths", &operation.not_paths),
    ];
    lists.into_iter().find(|(_, list)| !list.is_empty()).map(|(name, _)| name)
}

/// Of `from` and `when`; of several sources each has to ask for it.
fn http_of_rule(rule: &Rule) -> Option<(String, String)> {
    let is_http = |key: &str| key.starts_with("request.");
    if let Some((index, condition)) = rule.when.iter().enumerate().find(|(_, condition)| is_http(&condition.key)) {
        return Some((format!(".when[{index}]"), condition.key.clone()));
    }
    let principals = |index: usize| {
        let source = rule.from[index].source.as_ref()?;
        let lists = [
            ("requestPrincipals", &source.request_principals),
            ("notRequestPrincipals", &source.not_request_principals),
        ];
        let (name, _) = lists.into_iter().find(|(_, list)| !list.is_empty())?;
        Some((format!(".from[{index}].source.{name}"), name.to_owned()))
    };
    let all: Option<Vec<_>> = (0..rule.from.len()).map(principals).collect();
    all?.into_iter().next()
}

/// What is told of a part for the ports of the workloads that a policy chooses.
fn judge(action: Action, http: &str, listed: &[u16], chosen: &[Chosen<'_>]) -> Option<String> {
    let tcp = |port: u16| chosen.iter().find(|chosen| chosen.ports.get(&port) == Some(&Carried::Tcp));
    let listed_tcp = listed.iter().find_map(|port| Some((*port, tcp(*port)?)));
    let is_http = |port: u16| chosen.iter().any(|chosen| matches!(chosen.ports.get(&port), Some(Carried::MayBeHttp)));
    if let Some((port, chosen)) = listed_tcp.filter(|(port, _)| !is_http(*port)) {
        return Some(match action {
            Action::Deny => format!(
                "port {port} of {} is TCP, where {http} cannot be looked at: everything else of the rule denies \
                 connections to it",
                chosen.pod.name()
            ),
            _ => format!(
                "port {port} of {} is TCP, where there is no {http}: this allows nothing there",
                chosen.pod.name()
            ),
        });
    }
    if !listed.is_empty() {
        return None;
    }
    let all =
        || chosen.iter().flat_map(|chosen| chosen.ports.iter().map(move |(port, carried)| (chosen, port, carried)));
    let (of, port, _) = all().find(|(_, _, carried)| **carried == Carried::Tcp)?;
    let only_tcp = chosen
        .iter()
        .all(|chosen| !chosen.ports.is_empty() && chosen.ports.values().all(|carried| *carried == Carried::Tcp));
    match action {
        Action::Deny => Some(format!(
            "port {port} of {} is TCP, where {http} cannot be looked at: everything else of the rule denies \
             connections to it. Give the operation ports to leave it out",
            of.pod.name()
        )),
        _ if only_tcp => {
            Some(format!("port {port} of {} is TCP, where there is no {http}: this allows nothing", of.pod.name()))
        }
        _ => None,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carried {
    Tcp,
    MayBeHttp,
}

/// A workload that a policy chooses.
struct Chosen<'a> {
    pod: &'a PodView<'a>,
    ports: &'a BTreeMap<u16, Carried>,
}

/// The ports of workloads by what their Services say that these carry; without those of which something else decides.
struct Ports<'a> {
    of_pods: HashMap<&'a ResourceId, BTreeMap<u16, Carried>>,
}

impl<'a> Ports<'a> {
    fn of(world: &World<'a>) -> Self {
        let mut of_pods: HashMap<&ResourceId, BTreeMap<u16, Carried>> = HashMap::new();
        let elsewhere = decided_elsewhere(world);
        for (object, service) in world.services().filter(|(_, service)| !service.spec.selector.is_empty()) {
            let pods = world.pods.matching_in(&object.id.namespace, &service.spec.selector);
            for pod in pods.filter(|pod| !elsewhere.contains(&pod.object.id)) {
                let ports = of_pods.entry(&pod.object.id).or_default();
                for port in &service.spec.ports {
                    let number = u32::try_from(port.port).unwrap_or(0);
                    let protocol =
                        Protocol::of_service_port(number, &port.name, &port.protocol, port.app_protocol.as_deref());
                    let target = match &port.target_port {
                        Some(target) => pod.spec.resolve_port(target),
                        None => u16::try_from(port.port).ok(),
                    };
                    let Some(target) = target.filter(|_| protocol != Protocol::Udp) else { continue };
                    let carried = if protocol.may_be_http() { Carried::MayBeHttp } else { Carried::Tcp };
                    // Of services that disagree the oldest decides, which manifests do not tell.
                    let known = ports.entry(target).or_insert(carried);
                    if *known != carried {
                        *known = Carried::MayBeHttp;
                    }
                }
            }
        }
        Self { of_pods }
    }

    /// The workloads that follow a policy.
    fn chosen<'p>(
        &'p self,
        world: &'p World<'a>,
        object: &'p Object,
        policy: &'p AuthorizationPolicy,
    ) -> Vec<Chosen<'p>> {
        let everywhere = *object.id.namespace == *world.mesh.root_namespace;
        let chosen = |pod: &'p PodView<'a>| Some(Chosen { pod, ports: self.of_pods.get(&pod.object.id)? });
        match (&policy.selector, everywhere) {
            (Some(selector), true) => world.pods.matching(&selector.match_labels).filter_map(chosen).collect(),
            (Some(selector), false) => {
                world.pods.matching_in(&object.id.namespace, &selector.match_labels).filter_map(chosen).collect()
            }
            (None, true) => world.pods.all().iter().filter_map(chosen).collect(),
            (None, false) => world.pods.of_namespace(&object.id.namespace).filter_map(chosen).collect(),
        }
    }
}

/// Workloads whose ports are no Services' matter: those that run gateways, and those with a Sidecar that says what comes
/// in.
fn decided_elsewhere<'a>(world: &World<'a>) -> HashSet<&'a ResourceId> {
    let selectors: BTreeSet<&Map> = world.gateways().map(|(_, gateway)| &gateway.selector).collect();
    let gateways = selectors.into_iter().flat_map(|selector| world.pods.matching(selector));
    let mut found: HashSet<&ResourceId> = gateways.map(|pod| &pod.object.id).collect();
    for (object, sidecar) in world.sidecars().filter(|(_, sidecar)| !sidecar.ingress.is_empty()) {
        let namespace = &*object.id.namespace;
        match &sidecar.workload_selector {
            Some(selector) => {
                found.extend(world.pods.matching_in(namespace, &selector.labels).map(|pod| &pod.object.id));
            }
            None => found.extend(world.pods.of_namespace(namespace).map(|pod| &pod.object.id)),
        }
    }
    found
}
