//! What objects refer to: hosts and subsets of VirtualServices' destinations, their delegates, Gateways' Secrets.
//!
//! `held` asks which references are there, and which lead nowhere.

use crate::diagnostic::{Diagnostic, codes};
use crate::host::{is_wildcard, resolve_short, service_host, subset_of};
use crate::resource::virtual_service::Destination;
use crate::resource::{DestinationRule, Gateway, Kind, Object, ResourceId, ResourceSet, Spec, VirtualService};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// One thing that an object refers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reference {
    /// Fully qualified.
    Host(String),
    Subset {
        host: String,
        name: String,
    },
    Delegate(ResourceId),
    /// In whichever namespace the gateway's pod is.
    Secret(String),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => write!(f, "host {host}"),
            Self::Subset { host, name } => write!(f, "subset {name} of host {host}"),
            Self::Delegate(id) => write!(f, "{id}"),
            Self::Secret(name) => write!(f, "Secret {name}"),
        }
    }
}

impl Reference {
    /// Says that it leads nowhere, and what follows.
    pub(super) fn missing(&self, object: &Object, field: &str, held: bool) -> Diagnostic {
        let then = match (held, self) {
            (true, _) => "; the last good version goes on",
            (false, Self::Host(_) | Self::Subset { .. }) => "; its share of the requests gets 503",
            (false, Self::Delegate(_)) => "; the rule is left out, and its requests go to the rules below it",
            (false, Self::Secret(_)) => "; the server cannot be spoken TLS to",
        };
        Diagnostic::warning(codes::NOT_FOUND, format!("there is no {self}{then}"))
            .with_resource(&object.id)
            .with_field(field)
            .with_place(object.place(field))
    }
}

/// What can be referred to, found quickly.
pub(super) struct Index<'a> {
    resources: &'a ResourceSet,
    hosts: BTreeMap<String, Vec<&'a Arc<Object>>>,
    wildcard_hosts: Vec<(&'a str, &'a Arc<Object>)>,
    /// DestinationRules with subsets, by host.
    rules: BTreeMap<String, Vec<&'a Arc<Object>>>,
    wildcard_rules: Vec<(String, &'a Arc<Object>)>,
    secrets: BTreeMap<&'a str, Vec<&'a Arc<Object>>>,
}

impl<'a> Index<'a> {
    pub(super) fn of(resources: &'a ResourceSet) -> Self {
        let mut index = Self {
            resources,
            hosts: BTreeMap::new(),
            wildcard_hosts: Vec::new(),
            rules: BTreeMap::new(),
            wildcard_rules: Vec::new(),
            secrets: BTreeMap::new(),
        };
        for object in resources.of_kind(Kind::Service) {
            let host = service_host(&object.id.name, &object.id.namespace);
            index.hosts.entry(host).or_default().push(object);
        }
        for object in resources.of_kind(Kind::ServiceEntry) {
            let Spec::ServiceEntry(entry) = &object.spec else { continue };
            for host in &entry.hosts {
                if is_wildcard(host) {
                    index.wildcard_hosts.push((host, object));
                } else {
                    index.hosts.entry(host.clone()).or_default().push(object);
                }
            }
        }
        for object in resources.of_kind(Kind::DestinationRule) {
            let Spec::DestinationRule(rule) = &object.spec else { continue };
            let host = resolve_short(&rule.host, &object.id.namespace);
            if is_wildcard(&host) {
                index.wildcard_rules.push((host, object));
            } else {
                index.rules.entry(host).or_default().push(object);
            }
        }
        for object in resources.of_kind(Kind::Secret) {
            index.secrets.entry(&object.id.name).or_default().push(object);
        }
        index
    }

    /// The objects that a reference leads to; none: it leads nowhere.
    pub(super) fn find(&self, reference: &Reference) -> Vec<&'a Arc<Object>> {
        match reference {
            Reference::Host(host) => {
                let wild = self.wildcard_hosts.iter().filter(|(h, _)| subset_of(host, h)).map(|(_, object)| *object);
                self.hosts.get(host).into_iter().flatten().copied().chain(wild).collect()
            }
            Reference::Subset { host, name } => {
                let wild = self.wildcard_rules.iter().filter(|(h, _)| subset_of(host, h)).map(|(_, object)| *object);
                let all = self.rules.get(host).into_iter().flatten().copied().chain(wild);
                all.filter(|object| has_subset(object, name)).collect()
            }
            Reference::Delegate(id) => self.resources.get(id).into_iter().collect(),
            Reference::Secret(name) => self.secrets.get(name.as_str()).cloned().unwrap_or_default(),
        }
    }
}

fn has_subset(object: &Object, name: &str) -> bool {
    matches!(&object.spec, Spec::DestinationRule(rule) if subset(rule, name).is_some())
}

pub(super) fn subset<'r>(
    rule: &'r DestinationRule,
    name: &str,
) -> Option<&'r crate::resource::destination_rule::Subset> {
    rule.subsets.iter().find(|s| s.name == name)
}

/// All references of an object, each once, with the field that holds it first.
pub(super) fn of(object: &Object) -> Vec<(String, Reference)> {
    let mut found = Vec::new();
    match &object.spec {
        Spec::VirtualService(vs) => of_virtual_service(vs, &object.id.namespace, &mut found),
        Spec::Gateway(gateway) => of_gateway(gateway, &mut found),
        _ => {}
    }
    let mut seen = BTreeSet::new();
    found.retain(|(_, reference)| seen.insert(reference.clone()));
    found
}

fn of_virtual_service(vs: &VirtualService, ns: &str, found: &mut Vec<(String, Reference)>) {
    let mut note = |field: String, destination: Option<&Destination>| {
        let Some(destination) = destination.filter(|d| !d.host.is_empty()) else { return };
        let host = resolve_short(&destination.host, ns);
        if !destination.subset.is_empty() {
            let reference = Reference::Subset { host: host.clone(), name: destination.subset.clone() };
            found.push((format!("{field}.subset"), reference));
        }
        found.push((format!("{field}.host"), Reference::Host(host)));
    };
    for (i, rule) in vs.http.iter().enumerate() {
        for (j, route) in rule.route.iter().enumerate() {
            note(format!("spec.http[{i}].route[{j}].destination"), route.destination.as_ref());
        }
        note(format!("spec.http[{i}].mirror"), rule.mirror.as_ref());
        for (j, mirror) in rule.mirrors.iter().enumerate() {
            note(format!("spec.http[{i}].mirrors[{j}].destination"), mirror.destination.as_ref());
        }
    }
    let tcp = vs.tcp.iter().enumerate().map(|(i, rule)| ("tcp", i, &rule.route));
    let tls = vs.tls.iter().enumerate().map(|(i, rule)| ("tls", i, &rule.route));
    for (list, i, route) in tcp.chain(tls) {
        for (j, destination) in route.iter().enumerate() {
            note(format!("spec.{list}[{i}].route[{j}].destination"), destination.destination.as_ref());
        }
    }
    for (i, rule) in vs.http.iter().enumerate() {
        if let Some(delegate) = &rule.delegate {
            let namespace = if delegate.namespace.is_empty() { ns } else { &delegate.namespace };
            let id = ResourceId::new(Kind::VirtualService, namespace, delegate.name.as_str());
            found.push((format!("spec.http[{i}].delegate"), Reference::Delegate(id)));
        }
    }
}

fn of_gateway(gateway: &Gateway, found: &mut Vec<(String, Reference)>) {
    for (index, server) in gateway.servers.iter().enumerate() {
        let Some(tls) = &server.tls else { continue };
        for name in tls.credential_names.iter().chain(Some(&tls.credential_name)) {
            let bare = name.strip_prefix("kubernetes://").unwrap_or(name);
            if !bare.is_empty() && !bare.contains("://") {
                let field = format!("spec.servers[{index}].tls.credentialName");
                found.push((field, Reference::Secret(bare.to_string())));
            }
        }
    }
}
