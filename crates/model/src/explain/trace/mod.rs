//! A trace: the verdict with each hop on the way to it, who decided there, and why the other candidates lost.
//!
//! Made from the steps of the one walk (`explain::walk`): nothing is matched again. What a configuration cannot tell
//! (places in files, objects that are in nobody's routes) is looked up in the snapshot, where there is one.

mod destination;
mod listener;
mod losers;
mod policies;
mod remedy;
mod route;
mod sidecar;

pub(super) use destination::name_of;
pub(super) use listener::has_host;

use super::question::Question;
use super::verdict::{State, Verdict};
use super::walk::{Connection, Step, Tables, missing_secrets, walk};
use super::{AskedProxy, Target};
use crate::config::{Origin, ProxyConfig};
use crate::diagnostic::Place;
use crate::snapshot::{Pod, Snapshot};
use crate::translate::{Exclusion, NodeKind, Scope};
use serde::Serialize;
use std::fmt;

/// Everything that there is to say of one request.
#[derive(Debug, Clone, Serialize)]
pub struct Trace {
    /// `GET http://reviews:9080/`.
    pub request: String,
    /// `internet`, `default/productpage-v1`.
    pub from: String,
    /// How it comes into the mesh, where it comes from outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    pub hops: Vec<Hop>,
    /// One for each destination.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<Branch>,
    pub verdict: Verdict,
    /// The verdict in a line.
    pub summary: String,
    /// The nearest change that would make a failing request work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// One hop, or one decision on the way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hop {
    pub stage: Stage,
    pub what: String,
    /// The object that decided; None where none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// Other candidates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Lost>,
}

/// An object, or a field of one, and where it is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct By {
    /// `VirtualService shop/reviews http[1]`.
    pub object: String,
    /// `mesh.yaml:12:3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Lost {
    #[serde(flatten)]
    pub by: By,
    pub why: String,
}

/// One destination of a request, with the hops to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Branch {
    /// `reviews.shop.svc.cluster.local:9080 v1`.
    pub destination: String,
    pub percent: f64,
    /// Requests are also sent there, and answers thrown away.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mirror: bool,
    pub state: State,
    pub hops: Vec<Hop>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Dns,
    LoadBalancer,
    GatewayService,
    Gateway,
    Listener,
    VirtualHost,
    Rule,
    Edits,
    Weights,
    DestinationRule,
    LoadBalancing,
    Endpoints,
    Sidecar,
    Policies,
    Pod,
}

/// How requests from outside come to a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Shape {
    R1,
    R2,
    R3,
    R4,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::R1 => "R1: DNS → L4 load balancer (LoadBalancer Service) → gateway",
            Self::R2 => "R2: a node's own address (NodePort Service) → gateway",
            Self::R3 => "R3: DNS → one's own L7 load balancer → NodePort Service → gateway",
            Self::R4 => {
                "R4: DNS → L7 load balancer of the AWS Load Balancer Controller (target-type ip) → gateway's pods"
            }
        })
    }
}

impl Stage {
    /// As people read it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Dns => "DNS",
            Self::LoadBalancer => "load balancer",
            Self::GatewayService => "gateway Service",
            Self::Gateway => "Gateway",
            Self::Listener => "listener",
            Self::VirtualHost => "VirtualService",
            Self::Rule => "rule",
            Self::Edits => "headers",
            Self::Weights => "weights",
            Self::DestinationRule => "DestinationRule",
            Self::LoadBalancing => "load balancing",
            Self::Endpoints => "endpoints",
            Self::Sidecar => "sidecar",
            Self::Policies => "mTLS, policies",
            Self::Pod => "pod",
        }
    }
}

impl Hop {
    pub(super) fn new(stage: Stage, what: impl Into<String>) -> Self {
        Self { stage, what: what.into(), by: None, details: Vec::new(), lost: Vec::new() }
    }

    pub(super) fn by(self, by: Option<By>) -> Self {
        Self { by, ..self }
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }
}

impl By {
    pub(super) fn of(snapshot: Option<&Snapshot>, origin: &Origin) -> Self {
        let place = snapshot.and_then(|snapshot| snapshot.place(origin));
        Self { object: origin.to_string(), place: place.as_ref().map(Place::to_string) }
    }

    pub(super) fn of_object(object: &crate::resource::Object, path: &str) -> Self {
        let place = object.place(path).as_ref().map(Place::to_string);
        let field = path.strip_prefix("spec.").unwrap_or(path);
        let separator = if field.is_empty() { "" } else { " " };
        Self { object: format!("{}{separator}{field}", object.id), place }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{} ({place})", self.object),
            None => f.write_str(&self.object),
        }
    }
}

impl Trace {
    pub(super) fn of(question: &Question, verdict: Verdict) -> Self {
        Self {
            request: question.line(),
            from: question.from.as_deref().or(question.at.as_deref()).unwrap_or("a proxy").to_string(),
            shape: None,
            hops: Vec::new(),
            branches: Vec::new(),
            summary: verdict.summary(),
            verdict,
            remedy: None,
        }
    }
}

/// A configuration, and what is known beside it.
pub(super) struct Known<'a> {
    pub config: &'a ProxyConfig,
    pub snapshot: Option<&'a Snapshot>,
    pub exclusions: &'a [Exclusion],
    pub scope: Option<&'a Scope>,
    /// The proxy's own pod.
    pub pod: Option<&'a Pod>,
    /// Else nothing is told of who answers for a service.
    pub has_workloads: bool,
}

pub(super) fn of_snapshot(
    snapshot: &Snapshot,
    has_workloads: bool,
    asked: AskedProxy,
    question: &Question,
    tables: &mut Tables,
) -> Trace {
    let AskedProxy { pod, scope, translation, connection, target, mut hops, shape } = asked;
    let known = Known {
        config: &translation.config,
        snapshot: Some(snapshot),
        exclusions: &translation.exclusions,
        scope: Some(&scope),
        pod: Some(&pod),
        has_workloads,
    };
    if connection.kind == NodeKind::Sidecar {
        let address = connection.destination.ip();
        hops.push(listener::dns(snapshot, &target, address, question.address.is_some()));
    }
    Trace { shape, ..of_proxy(&known, &connection, &target, question, hops, tables) }
}

/// From the proxy on; `hops` are those before it.
pub(super) fn of_proxy(
    known: &Known<'_>,
    connection: &Connection,
    target: &Target,
    question: &Question,
    mut hops: Vec<Hop>,
    tables: &mut Tables,
) -> Trace {
    let mut decided = route::Decided::default();
    let verdict = walk(known.config, connection, question, target, tables, &mut |step| match step {
        Step::Listener(listener) => hops.push(listener::hop(known, connection, target, listener)),
        Step::Chain(chain) => {
            listener::narrow(known, connection, chain, &mut hops);
            let missing = missing_secrets(known.config, chain).next().filter(|_| connection.has_all_secrets);
            decided.secret = missing.map(str::to_owned);
        }
        Step::Routes { table, request, selection } => {
            decided = route::hops(known, connection, target, table, request, selection, &mut hops);
        }
        Step::Tcp(proxy) => hops.push(route::tcp(known, proxy)),
    });
    let verdict = if known.has_workloads { verdict } else { verdict.with_endpoints() };
    route::edits(&verdict, target, &mut hops);
    route::weights(&verdict, &mut hops);
    let mut branches: Vec<_> =
        verdict.destinations.iter().map(|d| destination::branch(known, &verdict.destinations, d)).collect();
    branches.extend(verdict.mirrors.iter().map(|mirror| destination::mirror(known, mirror)));
    let remedy = remedy::of(known, connection, target, &verdict, &decided);
    Trace { hops, branches, remedy, ..Trace::of(question, verdict) }
}

/// Of all weights; two digits at most.
pub(crate) fn percent(weight: u32, all: u64) -> f64 {
    (f64::from(weight) * 10_000.0 / (all.max(1) as f64)).round() / 100.0
}
