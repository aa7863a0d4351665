//! One request to be explained, as a line of JSON asks for it.

use crate::translate::NodeKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// One of `from` and `at` is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Question {
    /// Repeated in the answer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// `namespace/pod`: the application in that pod sends it. A workload's name will do, and the name alone where no
    /// other namespace has it. `internet` and `gateway` are none of these: it comes to the mesh by a gateway. Nor is
    /// `namespace NAME`: an application there that no selector knows, whether there is one or not; nor `gateway NAME`,
    /// which is `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `namespace/pod`: it arrives at that gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// `http://`, `https://` or `tcp://`.
    pub url: String,
    /// What the application dials; None: what the mesh's DNS says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// GET where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, OneOrMany>,
    /// The host header; None: the URL's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Headers that the answer is taken to have, beside others, so that it shows when they are removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub answer: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub fn values(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    #[error("{0} is no URL of http, https or tcp")]
    Url(String),
    #[error("{0} is no IP address")]
    Address(String),
    #[error("the request says neither from which pod it comes (from) nor at which gateway it arrives (at)")]
    NoProxy,
    #[error("there is no pod or workload {pod}; there are: {known}")]
    NoSuchPod { kind: NodeKind, pod: String, known: String },
    #[error("{pod} is in several namespaces ({namespaces}); write namespace/{pod}")]
    SeveralPods { pod: String, namespaces: String },
    #[error("there is no Gateway, so nothing comes in from outside; name the workload that sends the request (--from)")]
    NoGateway,
    #[error("the mesh does not know an address of {0}; give one (address)")]
    Unresolved(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
    Tcp,
}

/// The parts of the URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub scheme: Scheme,
    pub host: String,
    pub port: u16,
    /// As written: with the port where there is one.
    pub authority: String,
    /// With the query; `/` at least.
    pub path: String,
}

impl Question {
    /// `GET http://reviews:9080/`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method.as_deref().unwrap_or("GET"), self.url)
    }

    /// Of the URL; None where it is none.
    pub fn host(&self) -> Option<String> {
        self.target().ok().map(|target| target.host)
    }

    pub(super) fn target(&self) -> Result<Target, QuestionError> {
        let error = || QuestionError::Url(self.url.clone());
        let (scheme, rest) = self.url.split_once("://").ok_or_else(error)?;
        let (scheme, default) = match scheme {
            "http" => (Scheme::Http, Some(80)),
            "https" => (Scheme::Https, Some(443)),
            "tcp" => (Scheme::Tcp, None),
            _ => return Err(error()),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let host = crate::route::table::without_port(authority);
        let port = match authority[host.len()..].strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| error())?,
            None => default.ok_or_else(error)?,
        };
        if host.is_empty() {
            return Err(error());
        }
        Ok(Target {
            scheme,
            host: host.trim_start_matches('[').trim_end_matches(']').to_string(),
            port,
            authority: authority.to_string(),
            path: if path.starts_with('/') { path.to_string() } else { format!("/{path}") },
        })
    }

    pub(super) fn address(&self) -> Result<Option<IpAddr>, QuestionError> {
        let parse = |text: &String| text.parse().map_err(|_| QuestionError::Address(text.clone()));
        self.address.as_ref().map(parse).transpose()
    }

    pub(super) fn sender(&self) -> Result<Sender<'_>, QuestionError> {
        let (kind, text) = match (self.from.as_deref(), self.at.as_deref()) {
            (Some("internet"), _) => return Ok(Sender::Internet),
            (Some("gateway"), _) => return Ok(Sender::Gateway),
            (Some(from), _) if from.starts_with(AT_GATEWAY) => (NodeKind::Gateway, &from[AT_GATEWAY.len()..]),
            (Some(from), _) if from.starts_with(ANYONE_IN) => return Ok(Sender::Anyone(&from[ANYONE_IN.len()..])),
            (Some(from), _) => (NodeKind::Sidecar, from),
            (None, Some(at)) => (NodeKind::Gateway, at),
            (None, None) => return Err(QuestionError::NoProxy),
        };
        Ok(match text.split_once('/') {
            Some((namespace, name)) => Sender::Pod(kind, Some(namespace), name),
            None => Sender::Pod(kind, None, text),
        })
    }
}

/// Before a namespace's name: whoever is in it.
const ANYONE_IN: &str = "namespace ";
/// Before a gateway's: it is at that one.
const AT_GATEWAY: &str = "gateway ";

/// Who sends the request: which kind of proxy decides, and its pod.
pub(super) enum Sender<'q> {
    Pod(NodeKind, Option<&'q str>, &'q str),
    /// An application of that namespace, without labels.
    Anyone(&'q str),
    /// It is at the gateway that has the host.
    Gateway,
    /// It comes from outside, to a load balancer or node.
    Internet,
}
