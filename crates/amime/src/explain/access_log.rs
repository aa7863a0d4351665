//! Access logs in Istio's formats, read back into requests. The formats are those that proxies write by
//! (`amime_model::access_log::istio`): a line is taken apart beside its format.

use amime_model::access_log::istio;
use amime_model::explain::{OneOrMany, Question};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A line.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) id: String,
    method: String,
    path: String,
    authority: String,
    /// What the client dialled.
    dialled: Option<SocketAddr>,
    server_name: String,
    headers: BTreeMap<String, OneOrMany>,
    pub(crate) logged: Logged,
}

/// What came of the request when it was logged.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Logged {
    pub(crate) status: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) flags: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) upstream_cluster: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) route_name: String,
}

pub(crate) fn of_text(line: &str) -> Option<Entry> {
    let (wanted, found) = (tokens(istio::TEXT.trim_end()), tokens(line.trim_end()));
    if found.len() != wanted.len() || !line.starts_with('[') {
        return None;
    }
    Entry::of(wanted.into_iter().zip(found))
}

pub(crate) fn of_json(value: &Value) -> Option<Entry> {
    let fields = value.as_object().filter(|fields| fields.contains_key("response_code"))?;
    let formats = istio::json();
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let known = fields.iter().filter_map(|(name, value)| Some((formats.get(name)?.as_str()?.to_owned(), text(value))));
    Entry::of(known)
}

/// Words; what is quoted or bracketed is one, without that. The request's three words stay apart.
fn tokens(line: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' => Some('"'),
            '[' => Some(']'),
            _ => None,
        };
        let inner = end.and_then(|end| rest[1..].split_once(end));
        match inner {
            Some((text, after)) if tokens.len() == 1 => {
                let mut words = text.splitn(3, ' ').map(str::to_owned);
                tokens.extend([words.next(), words.next(), words.next()].map(Option::unwrap_or_default));
                rest = after;
            }
            Some((text, after)) => {
                tokens.push(text.to_owned());
                rest = after;
            }
            None => {
                let (word, after) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
                tokens.push(word.to_owned());
                rest = after;
            }
        }
        rest = rest.trim_start_matches(' ');
    }
    tokens
}

impl Entry {
    /// From values by the command that printed them.
    fn of(values: impl Iterator<Item = (String, String)>) -> Option<Self> {
        let mut entry = Self::default();
        for (command, value) in values.filter(|(_, value)| value != "-") {
            match command.as_str() {
                "%REQ(:METHOD)%" => entry.method = value,
                "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%" => entry.path = value,
                "%REQ(:AUTHORITY)%" => entry.authority = value,
                "%REQ(X-REQUEST-ID)%" => entry.id = value,
                "%REQ(USER-AGENT)%" => drop(entry.headers.insert("user-agent".into(), OneOrMany::One(value))),
                "%REQ(X-FORWARDED-FOR)%" => drop(entry.headers.insert("x-forwarded-for".into(), OneOrMany::One(value))),
                "%DOWNSTREAM_LOCAL_ADDRESS%" => entry.dialled = value.parse().ok(),
                "%REQUESTED_SERVER_NAME%" => entry.server_name = value,
                "%RESPONSE_CODE%" => entry.logged.status = value.parse().ok()?,
                "%RESPONSE_FLAGS%" => entry.logged.flags = value,
                "%UPSTREAM_CLUSTER_RAW%" => entry.logged.upstream_cluster = value,
                "%ROUTE_NAME%" => entry.logged.route_name = value,
                _ => {}
            }
        }
        let named = !entry.authority.is_empty() || entry.dialled.is_some();
        named.then_some(entry)
    }

    /// Logged by the server's sidecar.
    pub(crate) fn is_inbound(&self) -> bool {
        self.logged.upstream_cluster.starts_with("inbound|")
    }

    /// By the name that was asked for and the port that was dialled; at gateways the port that a server writes may be
    /// another than the pod's, and a name may be one that the manifests do not know.
    pub(crate) fn questions(&self) -> Vec<Question> {
        if self.method.is_empty() {
            let dialled = self.dialled.map(|to| to.to_string()).unwrap_or_default();
            let by_name = (!self.server_name.is_empty() && self.dialled.is_some())
                .then(|| format!("https://{}:{}/", self.server_name, self.dialled.map_or(0, |to| to.port())));
            let address = self.dialled.map(|to| to.ip().to_string());
            let question = |url| Question { url, address: address.clone(), ..Question::default() };
            return by_name.into_iter().chain([format!("tcp://{dialled}")]).map(question).collect();
        }
        let scheme = if self.server_name.is_empty() { "http" } else { "https" };
        let host = amime_model::route::table::without_port(&self.authority);
        let question = |authority: &str, address: Option<String>| Question {
            url: format!("{scheme}://{authority}{}", self.path),
            address,
            method: Some(self.method.clone()),
            authority: Some(self.authority.clone()),
            headers: self.headers.clone(),
            ..Question::default()
        };
        let dialled = self.dialled.map(|to| format!("{host}:{}", to.port()));
        let address = self.dialled.map(|to| to.ip().to_string());
        let mut all: Vec<_> = dialled.iter().map(|name| question(name, None)).collect();
        all.extend([question(&self.authority, None)]);
        all.extend(dialled.iter().map(|name| question(name, address.clone())));
        all
    }
}
