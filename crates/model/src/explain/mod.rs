//! Explanation: what happens to a request, told without sending it.
//!
//! `amime explain` calls it. The request goes through the configuration that the proxy in question would run on, by
//! the same matcher; nothing is matched here.

mod http;
mod question;
mod tcp;
mod verdict;

pub use question::{OneOrMany, Question, QuestionError};
pub use verdict::{Action, Destination, Edited, MirrorTo, ObjectName, Retries, Sent, State, Verdict};

use crate::config::{FilterChain, Listener, ListenerFilter, NetworkFilter, ProxyConfig};
use crate::resource::{Kind, ResourceSet};
use crate::route::listener::{ConnectionView, by_original_destination, filter_chain};
use crate::snapshot::{Pod, Snapshot};
use crate::translate::{Interception, Node, NodeKind, Scope, SharedScope, Translation, names};
use crate::workload::{AddressPlan, expand};
use question::{Scheme, Target};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Answers questions about one snapshot. Translations are made once for all proxies of equal scope.
pub struct Explainer<'s> {
    snapshot: &'s Snapshot,
    shared: HashMap<SharedScope, Arc<Translation>>,
    whole: HashMap<Scope, Arc<Translation>>,
}

/// The port that inspection finds in plaintext HTTP/1.1.
const HTTP_1: [&str; 1] = ["http/1.1"];

/// Objects as a cluster would have them: with the pods of their workloads. Where pods are written, with addresses,
/// they stay as they are.
pub fn with_pods(resources: &ResourceSet) -> ResourceSet {
    let controllers =
        [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::ReplicaSet, Kind::Job, Kind::CronJob];
    let any = controllers.iter().any(|kind| resources.of_kind(*kind).next().is_some());
    if any { expand(resources, &mut AddressPlan::default()).resources } else { resources.clone() }
}

impl<'s> Explainer<'s> {
    pub fn new(snapshot: &'s Snapshot) -> Self {
        Self { snapshot, shared: HashMap::new(), whole: HashMap::new() }
    }

    /// What happens to the request.
    pub fn explain(&mut self, question: &Question) -> Result<Verdict, QuestionError> {
        let target = question.target()?;
        let (kind, asked) = question.proxy()?;
        let pod = self.pod(kind, asked)?;
        let placed = pod.placement().is_some();
        let node = Node::of_pod(&pod, kind, Interception::Redirect, placed);
        let translation = self.translation(&Scope::of(self.snapshot, &node));
        let config = &translation.config;
        let own = pod.addresses.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let destination = match (kind, question.address()?) {
            (_, Some(address)) => SocketAddr::new(address, target.port),
            (NodeKind::Gateway, None) => SocketAddr::new(own, target.port),
            (NodeKind::Sidecar, None) => match self.snapshot.resolve(&target.host, &pod.namespace).first() {
                Some(address) => SocketAddr::new(*address, target.port),
                None => return Err(QuestionError::Unresolved(target.host)),
            },
        };
        let Some(listener) = listener_for(config, kind, destination) else {
            return Ok(Verdict::refused("no listener has that address and port"));
        };
        let source = SocketAddr::new(own, 0);
        let Some(chain) = chain_for(listener, &target, destination, source) else {
            return Ok(Verdict::refused("no filter chain of the listener takes the connection"));
        };
        // Who ends TLS must be spoken TLS to, and the other way round for HTTP.
        let ended = chain.tls.is_some();
        if ended != (target.scheme == Scheme::Https) && ended {
            return Ok(Verdict::refused("the listener expects TLS"));
        }
        let opaque = target.scheme == Scheme::Tcp || (target.scheme == Scheme::Https && !ended);
        Ok(match chain.filters.last() {
            Some(NetworkFilter::Http(_)) if opaque => Verdict::refused("the listener expects HTTP"),
            Some(NetworkFilter::Http(manager)) => http::verdict(config, manager, question, &target),
            Some(NetworkFilter::Tcp(proxy)) => tcp::verdict(config, proxy),
            Some(
                NetworkFilter::SniCluster | NetworkFilter::SniDynamicForwardProxy { .. } | NetworkFilter::Opaque(_),
            )
            | None => Verdict::refused("the filter chain is not understood"),
        })
    }

    /// By name, else by the workload's name.
    fn pod(&self, kind: NodeKind, (namespace, name): (&str, &str)) -> Result<Arc<Pod>, QuestionError> {
        let by_workload = || self.snapshot.pods().find(|p| p.namespace == namespace && p.workload.workload == name);
        let found = self.snapshot.pod(namespace, name).or_else(by_workload);
        let error = || QuestionError::NoSuchPod { kind, pod: format!("{namespace}/{name}") };
        found.cloned().ok_or_else(error)
    }

    fn translation(&mut self, scope: &Scope) -> Arc<Translation> {
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

/// The listener that a connection comes to: at a gateway the one that has the port, in a pod the one that it is
/// handed on to.
fn listener_for(config: &ProxyConfig, kind: NodeKind, destination: SocketAddr) -> Option<&Listener> {
    let all = || config.listeners.values().map(|l| &**l);
    match kind {
        // Named after the port as it is written, wherever it is opened.
        NodeKind::Gateway => {
            let name = names::listener("0.0.0.0", destination.port());
            by_original_destination(all(), destination).or_else(|| all().find(|l| l.name == name))
        }
        NodeKind::Sidecar => {
            let outbound = all().filter(|l| l.name != names::VIRTUAL_INBOUND && l.name != names::VIRTUAL_OUTBOUND);
            by_original_destination(outbound, destination)
                .or_else(|| config.listeners.get(names::VIRTUAL_OUTBOUND).map(|l| &**l))
        }
    }
}

/// What the listener's filters find out decides its chain.
fn chain_for<'c>(
    listener: &'c Listener,
    target: &Target,
    destination: SocketAddr,
    source: SocketAddr,
) -> Option<&'c FilterChain> {
    let inspects_tls = listener.listener_filters.iter().any(|f| matches!(f, ListenerFilter::TlsInspector));
    let inspects_http = listener.listener_filters.iter().any(|f| match f {
        ListenerFilter::HttpInspector { disabled_ports } => !disabled_ports.contains(&destination.port()),
        _ => false,
    });
    let tls = target.scheme == Scheme::Https;
    let view = ConnectionView {
        destination,
        source,
        server_name: (tls && inspects_tls).then_some(target.host.as_str()),
        tls: tls && inspects_tls,
        application_protocols: if target.scheme == Scheme::Http && inspects_http { &HTTP_1 } else { &[] },
    };
    filter_chain(listener, &view)
}
