//! The answer: what happens to a request, as JSON.

use crate::config::{Discovery, Origin, ProxyConfig};
use crate::translate::names;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Verdict {
    pub action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Envoy's response flag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The object whose rule decided; null where none did.
    pub object: Option<ObjectName>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<Destination>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Sent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Edited>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<MirrorTo>,
    /// For people; not to be compared.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Sent to `destinations`.
    Forward,
    /// The proxy answers itself.
    Respond,
    /// Sent on unchanged to the address that was dialled.
    Passthrough,
    /// The connection is closed.
    #[default]
    Refuse,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectName {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    /// `http[1]`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// As the user called the rule; may be empty.
    #[serde(skip)]
    pub rule_name: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Destination {
    pub host: String,
    pub port: u32,
    pub subset: Option<String>,
    pub weight: u32,
    pub state: State,
    /// The mesh's own TLS is passed on unopened (`AUTO_PASSTHROUGH`), which is a cluster of its own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub passed: bool,
    /// Edits of this destination alone, among several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Edited>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Edited>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Ready,
    NoEndpoints,
    NoCluster,
}

/// What is sent on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sent {
    pub method: String,
    pub path: String,
    pub authority: String,
    #[serde(flatten)]
    pub edited: Edited,
}

/// Headers that differ from what came in, and those that went away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Edited {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set_headers: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed_headers: Vec<String>,
}

impl Edited {
    pub fn is_empty(&self) -> bool {
        self.set_headers.is_empty() && self.removed_headers.is_empty()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Retries {
    pub attempts: u32,
    pub on: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_try_timeout_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MirrorTo {
    pub host: String,
    pub port: u32,
    pub subset: Option<String>,
    pub percent: f64,
    pub state: State,
}

impl Verdict {
    /// What the client gets, in a line.
    pub fn summary(&self) -> String {
        let verdict = self;
        let flag = verdict.flag.as_ref().map(|flag| format!(" ({flag})")).unwrap_or_default();
        match (verdict.action, verdict.status) {
            (Action::Respond, Some(status)) => {
                let to = verdict.location.as_ref().map(|to| format!(", location {to}")).unwrap_or_default();
                format!("the proxy answers {status}{flag}{to}")
            }
            (Action::Respond, None) => "the proxy answers".to_string(),
            (Action::Passthrough, _) => {
                "passed on to the address that was dialled; the mesh does not know it".to_string()
            }
            (Action::Refuse, _) if verdict.why.is_empty() => "the connection is closed".to_string(),
            (Action::Refuse, _) => format!("the connection is refused: {}", verdict.why),
            (Action::Forward, status) => {
                let all: u64 = verdict.destinations.iter().map(|d| u64::from(d.weight)).sum();
                let one = |d: &Destination| {
                    let failing = d.state.flag().map(|flag| format!(" (503 {flag})")).unwrap_or_default();
                    format!("{} % to {}{failing}", super::trace::percent(d.weight, all), d.name())
                };
                let shares = verdict.destinations.iter().map(one).collect::<Vec<_>>().join(", ");
                match status {
                    Some(status) => format!("the proxy answers {status}{flag}: {shares}"),
                    None => shares,
                }
            }
        }
    }

    /// As if every service had a ready endpoint: for manifests without workloads, which say nothing of that.
    pub fn with_endpoints(mut self) -> Self {
        let mirrors = self.mirrors.iter_mut().map(|to| &mut to.state);
        let states = self.destinations.iter_mut().map(|to| &mut to.state).chain(mirrors);
        states.filter(|state| **state == State::NoEndpoints).for_each(|state| *state = State::Ready);
        if self.action == Action::Forward && self.flag.as_deref() == State::NoEndpoints.flag() {
            self.status = None;
            self.flag = None;
        }
        self
    }

    pub(super) fn refused(why: &str) -> Self {
        Self { why: why.to_string(), ..Self::default() }
    }
}

impl ObjectName {
    pub(super) fn of(origin: &Origin) -> Self {
        Self {
            kind: origin.kind.clone(),
            namespace: origin.namespace.clone(),
            name: origin.name.clone(),
            rule: origin.path.strip_prefix("spec.").unwrap_or(&origin.path).to_string(),
            rule_name: String::new(),
        }
    }
}

impl Destination {
    /// `reviews.shop.svc.cluster.local:9080 v1`.
    pub fn name(&self) -> String {
        super::trace::name_of(&self.host, self.port, self.subset.as_deref())
    }

    /// The parts of a cluster's name, and whether it is there and has endpoints.
    pub(super) fn of(config: &ProxyConfig, cluster: &str, weight: u32) -> Self {
        let passed = names::parse_passed(cluster);
        let (port, subset, host) = passed.or_else(|| names::parse_outbound(cluster)).unwrap_or((0, "", cluster));
        Self {
            host: host.to_string(),
            port,
            subset: (!subset.is_empty()).then(|| subset.to_string()),
            weight,
            state: State::of(config, cluster),
            passed: passed.is_some(),
            request: None,
            response: None,
        }
    }
}

impl State {
    pub(crate) fn of(config: &ProxyConfig, name: &str) -> Self {
        let Some(cluster) = config.clusters.get(name) else { return Self::NoCluster };
        let has_any = |endpoints: &crate::config::ClusterEndpoints| {
            endpoints.localities.iter().any(|l| l.endpoints.iter().any(|e| e.health.takes_requests()))
        };
        let ready = match &cluster.discovery {
            Discovery::Eds(resource) => {
                let resource = if resource.is_empty() { name } else { resource };
                config.endpoints.get(resource).is_some_and(|e| has_any(e))
            }
            Discovery::Static(endpoints) => has_any(endpoints),
            // What DNS and the dialled address give is not known here.
            Discovery::StrictDns(_)
            | Discovery::LogicalDns(_)
            | Discovery::DynamicDns(_)
            | Discovery::OriginalDst { .. } => true,
            Discovery::Opaque(_) => false,
        };
        if ready { Self::Ready } else { Self::NoEndpoints }
    }

    /// The response flag of the 503 that a request gets.
    pub fn flag(self) -> Option<&'static str> {
        match self {
            Self::Ready => None,
            Self::NoEndpoints => Some("UH"),
            Self::NoCluster => Some("NC"),
        }
    }
}
