//! Last good versions: what goes on serving while what was written is broken or refers to what is not there.
//!
//! Called by `Snapshot::build` alone. An object with an error stays, as a whole, at the version that was last
//! without; so does one whose reference (a subset, a host, a secret, a delegate) went away, together with what it
//! referred to. What was never good is compiled as it stands. Objects of other kinds (policies above all) are
//! never held.

use crate::diagnostic::{Diagnostic, Severity};
use crate::host::{resolve_short, service_host, subset_of};
use crate::resource::virtual_service::Destination;
use crate::resource::{DestinationRule, Kind, Object, ResourceId, ResourceSet, Spec, VirtualService};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kinds that are held.
const KINDS: [Kind; 5] =
    [Kind::VirtualService, Kind::DestinationRule, Kind::Gateway, Kind::ServiceEntry, Kind::Sidecar];

/// The last good version of each object, and what each referred to. Empty at first.
#[derive(Debug, Clone, Default)]
pub struct Held {
    good: BTreeMap<ResourceId, Good>,
}

#[derive(Debug, Clone)]
struct Good {
    object: Arc<Object>,
    refers: Vec<Arc<Object>>,
}

pub(super) struct Effective {
    pub resources: ResourceSet,
    pub held: Held,
    pub diagnostics: Vec<Diagnostic>,
}

/// What is in force: the resources, with last good versions in the place of what is not fit.
pub(super) fn effective(resources: &ResourceSet, held: &Held) -> Effective {
    let mut result = Effective { resources: resources.clone(), held: Held::default(), diagnostics: Vec::new() };
    let kept: Vec<_> = resources.iter().filter(|o| KINDS.contains(&o.id.kind)).cloned().collect();
    for object in &kept {
        if has_errors(object)
            && let Some(good) = held.good.get(&object.id)
        {
            result.diagnostics.push(stays(object));
            result.keep(good);
        }
    }
    for object in kept.iter().filter(|o| !has_errors(o)) {
        let (found, missing) = references(object, resources);
        match held.good.get(&object.id).filter(|_| !missing.is_empty()) {
            Some(good) => {
                result.diagnostics.extend(missing.iter().map(|m| m.diagnostic(object, true)));
                result.keep(good);
            }
            None => {
                result.diagnostics.extend(missing.iter().map(|m| m.diagnostic(object, false)));
                if missing.is_empty() {
                    result.held.good.insert(object.id.clone(), Good { object: object.clone(), refers: found });
                }
            }
        }
    }
    result
}

impl Effective {
    /// Puts a last good version, and what it refers to, into force.
    fn keep(&mut self, good: &Good) {
        self.resources.replace(good.object.clone());
        for object in &good.refers {
            self.resources.replace(object.clone());
        }
        self.held.good.insert(good.object.id.clone(), good.clone());
    }
}

fn has_errors(object: &Object) -> bool {
    object.errors.iter().any(|d| d.severity == Severity::Error)
}

fn stays(object: &Object) -> Diagnostic {
    Diagnostic::warning("AM-HELD", format!("{} stays at its last good version", object.id))
        .with_resource(&object.id)
        .with_place(object.place(""))
}

/// A reference that leads nowhere.
struct Missing {
    field: String,
    what: String,
}

impl Missing {
    fn diagnostic(&self, object: &Object, held: bool) -> Diagnostic {
        let then = if held { "; the last good version goes on" } else { "" };
        Diagnostic::warning("IST0101", format!("{} is not there{then}", self.what))
            .with_resource(&object.id)
            .with_field(self.field.clone())
            .with_place(object.place(&self.field))
    }
}

/// What an object refers to and is there, and what is not.
fn references(object: &Object, resources: &ResourceSet) -> (Vec<Arc<Object>>, Vec<Missing>) {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    match &object.spec {
        Spec::VirtualService(vs) => virtual_service(object, vs, resources, &mut found, &mut missing),
        Spec::Gateway(gateway) => {
            for (index, server) in gateway.servers.iter().enumerate() {
                let Some(tls) = &server.tls else { continue };
                let names = tls.credential_names.iter().chain(Some(&tls.credential_name));
                for name in names.filter(|n| !n.is_empty() && !n.contains("://")) {
                    // The secret is of the gateway pod's namespace, which is mostly the Gateway's own.
                    match resources.of_kind(Kind::Secret).filter(|s| *s.id.name == **name).collect::<Vec<_>>() {
                        secrets if secrets.is_empty() => missing.push(Missing {
                            field: format!("spec.servers[{index}].tls.credentialName"),
                            what: format!("Secret {name}"),
                        }),
                        secrets => found.extend(secrets.into_iter().cloned()),
                    }
                }
            }
        }
        _ => {}
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    found.dedup_by(|a, b| a.id == b.id);
    (found, missing)
}

fn virtual_service(
    object: &Object,
    vs: &VirtualService,
    resources: &ResourceSet,
    found: &mut Vec<Arc<Object>>,
    missing: &mut Vec<Missing>,
) {
    let ns = &*object.id.namespace;
    let mut look = |field: String, destination: Option<&Destination>| {
        if let Some(destination) = destination.filter(|d| !d.host.is_empty()) {
            look_up(&field, destination, ns, resources, found, missing);
        }
    };
    for (i, rule) in vs.http.iter().enumerate() {
        for (j, route) in rule.route.iter().enumerate() {
            look(format!("spec.http[{i}].route[{j}].destination"), route.destination.as_ref());
        }
        look(format!("spec.http[{i}].mirror"), rule.mirror.as_ref());
        for (j, mirror) in rule.mirrors.iter().enumerate() {
            look(format!("spec.http[{i}].mirrors[{j}].destination"), mirror.destination.as_ref());
        }
    }
    for (i, rule) in vs.tcp.iter().enumerate() {
        for (j, route) in rule.route.iter().enumerate() {
            look(format!("spec.tcp[{i}].route[{j}].destination"), route.destination.as_ref());
        }
    }
    for (i, rule) in vs.tls.iter().enumerate() {
        for (j, route) in rule.route.iter().enumerate() {
            look(format!("spec.tls[{i}].route[{j}].destination"), route.destination.as_ref());
        }
    }
    for (i, delegate) in vs.http.iter().enumerate().filter_map(|(i, r)| r.delegate.as_ref().map(|d| (i, d))) {
        let namespace = if delegate.namespace.is_empty() { ns } else { &delegate.namespace };
        let id = ResourceId::new(Kind::VirtualService, namespace, delegate.name.as_str());
        match resources.get(&id) {
            Some(object) => found.push(object.clone()),
            None => missing.push(Missing { field: format!("spec.http[{i}].delegate"), what: id.to_string() }),
        }
    }
}

fn look_up(
    field: &str,
    destination: &Destination,
    ns: &str,
    resources: &ResourceSet,
    found: &mut Vec<Arc<Object>>,
    missing: &mut Vec<Missing>,
) {
    let host = resolve_short(&destination.host, ns);
    let services: Vec<_> = services_of(&host, resources).collect();
    if services.is_empty() {
        missing.push(Missing { field: format!("{field}.host"), what: format!("Host {host}") });
    }
    found.extend(services.into_iter().cloned());
    let rules = resources.of_kind(Kind::DestinationRule).filter(|object| match &object.spec {
        Spec::DestinationRule(rule) => names_subset(object, rule, &host, &destination.subset),
        _ => false,
    });
    let rules: Vec<_> = rules.collect();
    if rules.is_empty() && !destination.subset.is_empty() {
        missing.push(Missing {
            field: format!("{field}.subset"),
            what: format!("Subset {} of host {host}", destination.subset),
        });
    }
    found.extend(rules.into_iter().cloned());
}

fn names_subset(object: &Object, rule: &DestinationRule, host: &str, subset: &str) -> bool {
    !subset.is_empty()
        && subset_of(host, &resolve_short(&rule.host, &object.id.namespace))
        && rule.subsets.iter().any(|s| s.name == subset)
}

fn services_of<'a>(host: &'a str, resources: &'a ResourceSet) -> impl Iterator<Item = &'a Arc<Object>> {
    let kubernetes =
        resources.of_kind(Kind::Service).filter(move |o| service_host(&o.id.name, &o.id.namespace) == host);
    let entries = resources.of_kind(Kind::ServiceEntry).filter(move |o| match &o.spec {
        Spec::ServiceEntry(entry) => entry.hosts.iter().any(|h| subset_of(host, h)),
        _ => false,
    });
    kubernetes.chain(entries)
}
