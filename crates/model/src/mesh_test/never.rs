//! Invariants: what no request of these clients may come to, whatever it looks like. Each is held by the configurations
//! of all their proxies; what is neither found nor proved to be out of reach counts as broken.

use super::names::is_host;
use crate::config::{HeaderMatch, Origin, PathMatch, RouteMatch, StringMatch, ValueMatch};
use crate::diagnostic::Place;
use crate::explain::{Destination, Explainer, Question, Wanted, Way};
use crate::host::{overlaps, resolve_short};
use crate::resource::{Kind, Spec};
use crate::snapshot::{EndpointHost, Pod, Registry, Service, ServiceAddress, Snapshot, selects};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// One entry of `never`, with its place.
#[derive(Debug, Clone)]
pub struct Invariant {
    pub name: String,
    pub place: Place,
    pub never: Never,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Never {
    pub name: String,
    /// `anyone`, `internet`, `namespace NAME`, `NAMESPACE/WORKLOAD`; none: anyone.
    pub from: Vec<String>,
    /// Clients among these that may.
    pub except: Vec<String>,
    /// As `destination` of a test.
    pub reaches: String,
    pub subset: Option<String>,
    /// Requests that may.
    pub unless: Unless,
    /// `name`: addresses that an application dials itself do not count.
    pub by: Option<String>,
}

/// All that is set must hold of a request.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Unless {
    pub method: Option<String>,
    /// With `*` at the end: every path that begins so.
    pub path: Option<String>,
    pub headers: BTreeMap<String, String>,
}

/// How an invariant does not hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Breach {
    /// This request comes there. Others of these clients do too.
    Open { client: String, question: Box<Question>, passed_through: bool, also: Vec<String> },
    /// By this rule requests may come there; none was found, nor proved that there is none.
    Unknown { client: String, rule: Option<Origin> },
}

pub(super) const BY_NAME: &str = "name";
const ANYONE: &str = "anyone";
const INTERNET: &str = "internet";
const NAMESPACE: &str = "namespace ";

impl Never {
    /// `no request from namespace dev reaches ledger.bank`.
    pub fn sentence(&self) -> String {
        let from = if self.from.is_empty() { ANYONE.to_owned() } else { self.from.join(", ") };
        let except = if self.except.is_empty() { String::new() } else { format!(" but {}", self.except.join(", ")) };
        let subset = self.subset.as_ref().map(|subset| format!(" {subset}")).unwrap_or_default();
        let mut unless = Vec::new();
        unless.extend(self.unless.method.clone());
        unless.extend(self.unless.path.clone());
        unless.extend(self.unless.headers.iter().map(|(name, value)| format!("{name}: {value}")));
        let unless = if unless.is_empty() { String::new() } else { format!(" unless {}", unless.join(", ")) };
        format!("no request from {from}{except} reaches {}{subset}{unless}", self.reaches)
    }
}

impl Breach {
    /// What is found in place of what is expected.
    pub fn found(&self) -> String {
        match self {
            Self::Open { client, question, passed_through, also } => {
                let dialled = question.address.as_ref().filter(|_| *passed_through);
                let what = match dialled {
                    Some(_) => format!(
                        "an application that dials {} itself is passed through: outboundTrafficPolicy REGISTRY_ONLY \
                         refuses it (by: name leaves such requests out)",
                        question.url.trim_start_matches("tcp://")
                    ),
                    None => told(question),
                };
                let also = if also.is_empty() { String::new() } else { format!("; also {}", some(also)) };
                format!("from {client}: {what}{also}")
            }
            Self::Unknown { client, rule } => {
                let rule = rule.as_ref().map_or_else(|| "a rule".to_owned(), ToString::to_string);
                format!(
                    "from {client}: {rule} leads there; neither was a request found that it takes, nor that there is none"
                )
            }
        }
    }

    /// To be explained.
    pub fn question(&self) -> Option<&Question> {
        match self {
            Self::Open { question, .. } => Some(question),
            Self::Unknown { .. } => None,
        }
    }
}

fn told(question: &Question) -> String {
    let headers = question.headers.iter().flat_map(|(name, values)| values.values().iter().map(move |v| (name, v)));
    let headers: Vec<String> = headers.map(|(name, value)| format!("{name}: {value}")).collect();
    let authority = question.authority.iter().map(|authority| format!("host: {authority}"));
    let with: Vec<String> = authority.chain(headers).collect();
    let with = if with.is_empty() { String::new() } else { format!(" with {}", with.join(", ")) };
    format!("{}{with}", question.line())
}

fn some(names: &[String]) -> String {
    const MOST: usize = 3;
    let more = names.len().saturating_sub(MOST);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// How it does not hold; None where it does.
///
/// # Errors
/// Where it names a client or a destination that is not there: nothing would be held by it.
pub fn breach(never: &Never, explainer: &mut Explainer<'_>, snapshot: &Snapshot) -> Result<Option<Breach>, String> {
    let services: Vec<&Arc<Service>> = services(snapshot, &never.reaches).collect();
    if services.is_empty() {
        return Err(format!("there is no service {}", never.reaches));
    }
    if let Some(subset) = &never.subset
        && !services.iter().any(|service| has_subset(snapshot, service, subset))
    {
        return Err(format!("no DestinationRule of {} has a subset {subset}", never.reaches));
    }
    let is_it = |to: &Destination| {
        is_host(&never.reaches, &to.host, to.port)
            && never.subset.as_ref().is_none_or(|s| to.subset.as_ref() == Some(s))
    };
    let names_alone = never.by.is_some() || never.subset.is_some();
    let addresses = if names_alone { Vec::new() } else { addresses(snapshot, &services) };
    let but = but(&never.unless);
    let wanted = Wanted { is_it: &is_it, but: but.as_slice(), addresses: &addresses };
    let mut seen = HashSet::new();
    let mut open: Option<(String, Question, bool)> = None;
    let mut also = Vec::new();
    let mut unknown = None;
    for client in clients(never, snapshot)? {
        let scope = explainer.shared_scope(&client).map_err(|error| error.to_string())?;
        if scope.is_some_and(|scope| !seen.insert(scope)) {
            continue;
        }
        for way in explainer.ways(&client, &wanted).map_err(|error| error.to_string())? {
            match way {
                Way::Open { .. } if open.is_some() => {
                    if open.as_ref().is_some_and(|(first, ..)| *first != client) && !also.contains(&client) {
                        also.push(client.clone());
                    }
                }
                Way::Open { question, passed_through } => open = Some((client.clone(), *question, passed_through)),
                Way::Unknown { rule } => {
                    unknown.get_or_insert(Breach::Unknown { client: client.clone(), rule });
                }
            }
        }
    }
    Ok(match open {
        Some((client, question, passed_through)) => {
            Some(Breach::Open { client, question: Box::new(question), passed_through, also })
        }
        None => unknown,
    })
}

fn services<'s>(snapshot: &'s Snapshot, written: &'s str) -> impl Iterator<Item = &'s Arc<Service>> {
    let has_port = |service: &Service| {
        service.ports.is_empty() || service.ports.iter().any(|port| is_host(written, &service.host, port.number))
    };
    snapshot.services().iter().filter(move |service| has_port(service))
}

fn has_subset(snapshot: &Snapshot, service: &Service, subset: &str) -> bool {
    snapshot.in_force().any(|object| match &object.spec {
        Spec::DestinationRule(rule) => {
            let host = resolve_short(&rule.host, &object.id.namespace).to_ascii_lowercase();
            overlaps(&host, &service.host) && rule.subsets.iter().any(|own| own.name == subset)
        }
        _ => false,
    })
}

/// What an application could dial to come to the services: their own addresses and those of their pods. One that is
/// nobody's stands for those that DNS gives.
fn addresses(snapshot: &Snapshot, services: &[&Arc<Service>]) -> Vec<(IpAddr, u16)> {
    let mut all = Vec::new();
    for service in services {
        for port in &service.ports {
            let endpoints = snapshot.endpoints(service, port.number).iter();
            all.extend(endpoints.filter_map(|endpoint| match &endpoint.address {
                EndpointHost::Ip(ip) => Some((*ip, endpoint.port)),
                _ => None,
            }));
            let number = u16::try_from(port.number).unwrap_or_default();
            all.extend(match service.address {
                ServiceAddress::Ip(ip) => Some((ip, number)),
                _ => None,
            });
            if service.registry != Registry::Kubernetes {
                all.push((NOBODY, number));
            }
        }
    }
    all
}

/// RFC 5737, TEST-NET-1.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn but(unless: &Unless) -> Vec<RouteMatch> {
    if *unless == Unless::default() {
        return Vec::new();
    }
    let path = match unless.path.as_deref() {
        None => PathMatch::Prefix("/".to_owned()),
        Some(path) => match path.strip_suffix('*') {
            Some(prefix) => PathMatch::Prefix(prefix.to_owned()),
            None => PathMatch::Exact(path.to_owned()),
        },
    };
    let header = |name: &str, value: &str| HeaderMatch {
        name: name.to_ascii_lowercase(),
        matches: ValueMatch::String { value: StringMatch::Exact(value.to_owned()), ignore_case: false },
        invert: false,
        absent_is_empty: false,
    };
    let method = unless.method.iter().map(|method| header(":method", method));
    let headers = method.chain(unless.headers.iter().map(|(name, value)| header(name, value))).collect();
    vec![RouteMatch { path, headers, ..RouteMatch::default() }]
}

/// Everyone who is meant, as `Question::from` names them.
fn clients(never: &Never, snapshot: &Snapshot) -> Result<BTreeSet<String>, String> {
    let everyone = || [ANYONE.to_owned()];
    let from = if never.from.is_empty() { everyone().to_vec() } else { never.from.clone() };
    let mut all = BTreeSet::new();
    for name in &from {
        all.extend(named(name, snapshot)?);
    }
    for name in &never.except {
        for client in named(name, snapshot)? {
            all.remove(&client);
        }
    }
    Ok(all)
}

fn named(name: &str, snapshot: &Snapshot) -> Result<BTreeSet<String>, String> {
    let is_gateway = |pod: &Pod| snapshot.gateways().iter().any(|g| selects(&g.spec.selector, &pod.labels));
    let all: BTreeSet<(&str, &str)> = (snapshot.pods().filter(|pod| !is_gateway(pod)))
        .map(|pod| (pod.namespace.as_str(), pod.workload.workload.as_str()))
        .collect();
    let workloads = |namespace: Option<&str>| {
        let chosen = all.iter().filter(move |(own, _)| namespace.is_none_or(|namespace| namespace == *own));
        chosen.map(|(namespace, workload)| format!("{namespace}/{workload}")).collect::<BTreeSet<_>>()
    };
    let namespaces = || {
        let written = snapshot.in_force().filter(|object| object.id.kind == Kind::Namespace);
        let written = written.map(|object| object.id.name.to_string());
        let used = snapshot.services().iter().map(|service| service.namespace.clone());
        written.chain(used).chain(all.iter().map(|(namespace, _)| (*namespace).to_owned())).collect::<BTreeSet<_>>()
    };
    if name == INTERNET {
        return Ok(BTreeSet::from([INTERNET.to_owned()]));
    }
    if name == ANYONE {
        let mut everyone = workloads(None);
        everyone.extend(namespaces().iter().map(|namespace| format!("{NAMESPACE}{namespace}")));
        everyone.insert(INTERNET.to_owned());
        return Ok(everyone);
    }
    if let Some(namespace) = name.strip_prefix(NAMESPACE) {
        if !namespaces().contains(namespace) {
            return Err(format!("there is no namespace {namespace}"));
        }
        let mut own = workloads(Some(namespace));
        own.insert(name.to_owned());
        return Ok(own);
    }
    let own: BTreeSet<String> = (all.iter())
        .filter(|(namespace, workload)| name == *workload || name == format!("{namespace}/{workload}"))
        .map(|(namespace, workload)| format!("{namespace}/{workload}"))
        .collect();
    if own.is_empty() { Err(format!("there is no workload {name}")) } else { Ok(own) }
}
