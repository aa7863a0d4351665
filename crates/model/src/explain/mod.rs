//! Explanation: what happens to a request, told without sending it.
//!
//! `amime explain` calls it. The request goes through the configuration that the proxy in question would run on, by
//! the same matcher; nothing is matched here.

mod dump;
mod entry;
mod http;
mod question;
mod reach;
mod tcp;
mod trace;
mod verdict;
mod walk;

pub use dump::DumpExplainer;
pub(crate) use entry::{backend, sends_to_pods};
pub use question::{OneOrMany, Question, QuestionError};
pub use reach::{Wanted, Way};
pub(crate) use trace::percent;
pub use trace::{Branch, By, Hop, Lost, Shape, Stage, Trace};
pub use verdict::{Action, Destination, Edited, MirrorTo, ObjectName, Retries, Sent, State, Verdict};

use crate::config::VirtualHost;
use crate::resource::{Kind, Object, ResourceSet};
use crate::snapshot::{Pod, Snapshot};
use crate::translate::{Interception, Node, NodeKind, Scope, SharedScope, Translation};
use crate::workload::{AddressPlan, CONTROLLERS, expand};
use entry::Arrival;
use question::{Scheme, Sender, Target};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use walk::{Connection, Tables, walk};
pub(crate) use walk::{Step, Told};

/// Answers questions about one snapshot. Translations are made once for all proxies of equal scope.
pub struct Explainer<'s> {
    snapshot: &'s Snapshot,
    /// Ingresses, which the mesh leaves alone; they tell what is in front of a gateway.
    ingresses: &'s [Arc<Object>],
    has_workloads: bool,
    shared: HashMap<SharedScope, Arc<Translation>>,
    whole: HashMap<Scope, Arc<Translation>>,
    tables: Tables,
}

/// Where a request begins, as far as it is known before its proxy is asked.
enum Asked {
    Proxy(Box<AskedProxy>),
    /// It comes to no proxy at all.
    Nowhere {
        hops: Vec<Hop>,
        why: String,
        remedy: String,
        shape: Option<Shape>,
    },
}

struct AskedProxy {
    pod: Arc<Pod>,
    scope: Scope,
    translation: Arc<Translation>,
    connection: Connection,
    target: Target,
    /// How it came to a gateway.
    hops: Vec<Hop>,
    shape: Option<Shape>,
}

/// Objects as a cluster would have them: with the pods of their workloads. Where pods are written, with addresses,
/// they stay as they are.
pub fn with_pods(resources: &ResourceSet) -> ResourceSet {
    let any = CONTROLLERS.iter().any(|kind| resources.of_kind(*kind).next().is_some());
    if any { expand(resources, &mut AddressPlan::default()).resources } else { resources.clone() }
}

/// As [`with_pods`], for those who ask where requests go: where no workload is written at all, there are the gateways
/// that Gateways ask for.
pub fn with_gateways(resources: &ResourceSet) -> ResourceSet {
    if resources.of_kind(Kind::Pod).next().is_some() {
        return with_pods(resources);
    }
    expand(resources, &mut AddressPlan::default()).resources
}

/// Whether anything is written that could answer for a service.
pub fn has_workloads(resources: &ResourceSet) -> bool {
    let mut answering = CONTROLLERS.into_iter().chain([Kind::Pod, Kind::WorkloadEntry]);
    answering.any(|kind| resources.of_kind(kind).next().is_some())
}

/// Where a request is sent.
#[derive(Debug, Clone)]
pub struct Dialled {
    pub kind: NodeKind,
    /// The pod of the proxy that gets it: the client's own, or the gateway's.
    pub pod: Arc<Pod>,
    /// What the application dials; at a gateway, where that listens, if it does.
    pub destination: Option<SocketAddr>,
    pub is_http: bool,
    pub is_tls: bool,
    /// A server of the gateway's port asks clients for a certificate.
    pub wants_certificate: bool,
    /// Of the URL: the name that TLS asks for.
    pub host: String,
    pub authority: String,
    /// With the query.
    pub path: String,
}

impl<'s> Explainer<'s> {
    pub fn new(snapshot: &'s Snapshot) -> Self {
        Self {
            snapshot,
            ingresses: &[],
            has_workloads: true,
            shared: HashMap::new(),
            whole: HashMap::new(),
            tables: Tables::default(),
        }
    }

    /// With objects of kind Ingress among these, which tell of load balancers.
    pub fn with_ingresses(self, ingresses: &'s [Arc<Object>]) -> Self {
        Self { ingresses, ..self }
    }

    /// The input has no workloads at all, so that it does not tell who answers for a service: somebody is taken to.
    pub fn without_workloads(self) -> Self {
        Self { has_workloads: false, ..self }
    }

    /// What happens to the request.
    pub fn explain(&mut self, question: &Question) -> Result<Verdict, QuestionError> {
        self.explain_telling(question, &mut |_| {})
    }

    /// As [`Explainer::explain`], with the steps of the walk.
    pub(crate) fn explain_telling(
        &mut self,
        question: &Question,
        told: &mut Told<'_>,
    ) -> Result<Verdict, QuestionError> {
        Ok(match self.asked(question)? {
            Asked::Nowhere { why, .. } => Verdict::refused(&why),
            Asked::Proxy(asked) => {
                let config = &asked.translation.config;
                let verdict = walk(config, &asked.connection, question, &asked.target, &mut self.tables, told);
                if self.has_workloads { verdict } else { verdict.with_endpoints() }
            }
        })
    }

    /// The same, with each hop, who decided it, and why the others lost.
    pub fn trace(&mut self, question: &Question) -> Result<Trace, QuestionError> {
        match self.asked(question)? {
            Asked::Nowhere { hops, why, remedy, shape } => {
                let trace = Trace { shape, hops, remedy: Some(remedy), ..Trace::of(question, Verdict::refused(&why)) };
                Ok(trace)
            }
            Asked::Proxy(asked) => {
                Ok(trace::of_snapshot(self.snapshot, self.has_workloads, *asked, question, &mut self.tables))
            }
        }
    }

    /// The virtual host that the request comes to, with all of its routes; None where it comes to none.
    pub fn routes(&mut self, question: &Question) -> Result<Option<VirtualHost>, QuestionError> {
        let Asked::Proxy(asked) = self.asked(question)? else { return Ok(None) };
        Ok(routes_of(&asked.translation.config, &asked.connection, question, &asked.target, &mut self.tables))
    }

    /// Where the request is sent, for those who send it; None where it comes to no proxy.
    ///
    /// # Errors
    /// As `explain`.
    pub fn dialled(&mut self, question: &Question) -> Result<Option<Dialled>, QuestionError> {
        let Asked::Proxy(asked) = self.asked(question)? else { return Ok(None) };
        let Connection { kind, destination, .. } = asked.connection;
        let listener = walk::listener_for(&asked.translation.config, kind, destination);
        let tls = |chain: &crate::config::FilterChain| chain.tls.as_ref().is_some_and(|t| t.require_client_certificate);
        let target = asked.target;
        Ok(Some(Dialled {
            destination: match kind {
                NodeKind::Sidecar => Some(destination),
                NodeKind::Gateway => listener.map(|listener| listener.address),
            },
            wants_certificate: listener.is_some_and(|listener| listener.filter_chains.iter().any(tls)),
            pod: asked.pod,
            kind,
            is_http: target.scheme != Scheme::Tcp,
            is_tls: target.scheme == Scheme::Https,
            host: target.host,
            authority: question.authority.clone().unwrap_or(target.authority),
            path: target.path,
        }))
    }

    fn asked(&mut self, question: &Question) -> Result<Asked, QuestionError> {
        let mut target = question.target()?;
        let (kind, pod, port, hops, shape) = match question.sender()? {
            Sender::Pod(kind, namespace, name) => {
                (kind, self.pod(kind, namespace, name)?.clone(), target.port, Vec::new(), None)
            }
            Sender::Anyone(namespace) => {
                (NodeKind::Sidecar, Arc::new(Pod::anyone_in(namespace)), target.port, Vec::new(), None)
            }
            Sender::Gateway => {
                let pod = entry::gateway(self.snapshot, &target).ok_or(QuestionError::NoGateway)?;
                (NodeKind::Gateway, pod.clone(), target.port, Vec::new(), None)
            }
            Sender::Internet => match entry::arrival(self.snapshot, self.ingresses, &target)? {
                Arrival::Gateway { pod, port, hops, shape, ended } => {
                    if ended {
                        target.scheme = Scheme::Http;
                    }
                    (NodeKind::Gateway, pod.clone(), port, hops, shape)
                }
                Arrival::Nowhere { hops, why, remedy, shape } => {
                    return Ok(Asked::Nowhere { hops, why, remedy, shape });
                }
            },
        };
        let scope = self.scope_of(&pod, kind);
        let translation = self.translation(&scope);
        let own = pod.addresses.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let destination = match (kind, question.address()?) {
            (_, Some(address)) => SocketAddr::new(address, port),
            (NodeKind::Gateway, None) => SocketAddr::new(own, port),
            (NodeKind::Sidecar, None) => match self.snapshot.resolve(&target.host, &pod.namespace).first() {
                Some(address) => SocketAddr::new(*address, port),
                None => return Err(QuestionError::Unresolved(target.host)),
            },
        };
        let connection = Connection {
            kind,
            destination,
            source: SocketAddr::new(own, 0),
            has_all_secrets: self.snapshot.has_secrets(),
        };
        Ok(Asked::Proxy(Box::new(AskedProxy { pod, scope, translation, connection, target, hops, shape })))
    }

    /// By name, else by the workload's name; without a namespace in the only one that has it.
    fn pod(&self, kind: NodeKind, namespace: Option<&str>, name: &str) -> Result<&'s Arc<Pod>, QuestionError> {
        let in_namespace = |p: &&Arc<Pod>| namespace.is_none_or(|namespace| p.namespace == namespace);
        let by = |named: fn(&Pod) -> &str| {
            let mut found: Vec<_> = self.snapshot.pods().filter(in_namespace).filter(|p| named(p) == name).collect();
            found.dedup_by(|one, other| one.namespace == other.namespace);
            found
        };
        let by_name = by(|p| &p.name);
        let found = if by_name.is_empty() { by(|p| &p.workload.workload) } else { by_name };
        let asked = namespace.map_or_else(|| name.to_string(), |namespace| format!("{namespace}/{name}"));
        match found.as_slice() {
            [one] => Ok(one),
            [] => Err(QuestionError::NoSuchPod { kind, pod: asked, known: self.known() }),
            many => Err(QuestionError::SeveralPods {
                pod: asked,
                namespaces: many.iter().map(|p| p.namespace.as_str()).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// The workloads that could have been meant.
    fn known(&self) -> String {
        const MOST: usize = 8;
        let mut all: Vec<_> =
            self.snapshot.pods().map(|p| format!("{}/{}", p.namespace, p.workload.workload)).collect();
        all.sort();
        all.dedup();
        let more = all.len().saturating_sub(MOST);
        let shown = all[..all.len() - more].join(", ");
        if more == 0 { shown } else { format!("{shown} and {more} more") }
    }

    /// What decides the configuration of the proxy in front of a pod.
    pub(crate) fn scope_of(&self, pod: &Pod, kind: NodeKind) -> Scope {
        let placed = pod.placement().is_some();
        Scope::of(self.snapshot, &Node::of_pod(pod, kind, Interception::Redirect, placed))
    }

    /// Of the proxy that decides; None where the request comes to none.
    pub(crate) fn translation_for(&mut self, question: &Question) -> Result<Option<Arc<Translation>>, QuestionError> {
        Ok(match self.asked(question)? {
            Asked::Proxy(asked) => Some(asked.translation),
            Asked::Nowhere { .. } => None,
        })
    }

    pub(crate) fn translation(&mut self, scope: &Scope) -> Arc<Translation> {
        if let Some(known) = self.whole.get(scope) {
            return known.clone();
        }
        let snapshot = self.snapshot;
        let shared = self
            .shared
            .entry(scope.shared.clone())
            .or_insert_with(|| Arc::new(crate::translate::translate_shared(snapshot, &scope.shared)))
            .clone();
        let whole = Arc::new(crate::translate::translate_local(snapshot, scope, &shared));
        self.whole.insert(scope.clone(), whole.clone());
        whole
    }
}

fn routes_of(
    config: &crate::config::ProxyConfig,
    connection: &Connection,
    question: &Question,
    target: &Target,
    tables: &mut Tables,
) -> Option<VirtualHost> {
    let mut found = None;
    walk(config, connection, question, target, tables, &mut |step| {
        if let Step::Routes { table, request, .. } = step {
            found = table.virtual_host(request.authority).cloned();
        }
    });
    found
}
