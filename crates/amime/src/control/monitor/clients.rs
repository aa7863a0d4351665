//! `/debug/connections` and `/debug/adsz`: the streams that are open, by Istio's field names.

use super::syncz::{State, kind, protocol, state};
use super::view::{Asked, View, rfc3339};
use crate::serve::{Answer, json, problem};
use amime_control::ProxyStatus;
use amime_model::snapshot::Labels;
use http::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Clients<T> {
    total_clients: usize,
    clients: Vec<T>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Client<'a> {
    connection_id: String,
    connected_at: String,
    /// Empty for one of this process.
    address: String,
    protocol: &'static str,
    proxy_type: &'static str,
    namespace: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AdsClient<'a> {
    #[serde(flatten)]
    client: Client<'a>,
    labels: &'a Labels,
    version: &'a str,
    revision: &'a str,
    generation: u64,
    watches: BTreeMap<&'static str, Watch<'a>>,
}

/// One type of a stream.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Watch<'a> {
    state: State,
    pushes: u64,
    rejects: u64,
    nonce_sent: u64,
    nonce_acked: u64,
    /// Resources that it does not have in their newest version.
    behind: usize,
    unanswered_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held_up_by: Vec<&'a str>,
}

pub(super) fn connections(view: &View) -> Answer {
    let clients: Vec<_> = view.proxies.iter().map(client).collect();
    json(&Clients { total_clients: clients.len(), clients })
}

pub(super) fn ads(view: &View, asked: &Asked) -> Answer {
    if asked.has("push") {
        let why = "nothing is pushed by hand: a proxy that lacks something is sent it at once, and /debug/syncz says what it waits for";
        return problem(StatusCode::BAD_REQUEST, why);
    }
    let clients: Vec<_> = view.proxies.iter().map(|proxy| ads_client(view, proxy)).collect();
    json(&Clients { total_clients: clients.len(), clients })
}

fn client(proxy: &ProxyStatus) -> Client<'_> {
    let connection = &proxy.connection;
    Client {
        connection_id: format!("{}-{}", proxy.id, connection.number),
        connected_at: rfc3339(connection.since),
        address: connection.peer.map(|peer| peer.to_string()).unwrap_or_default(),
        protocol: protocol(connection.protocol),
        proxy_type: kind(&proxy.node),
        namespace: &proxy.node.namespace,
    }
}

fn ads_client<'a>(view: &View, proxy: &'a ProxyStatus) -> AdsClient<'a> {
    let is_newest = proxy.generation >= view.generation.number;
    let watches = proxy.stream.types.iter().filter(|(_, status)| status.subscribed).map(|(kind, status)| {
        let watch = Watch {
            state: state(status, is_newest),
            pushes: status.pushes,
            rejects: status.nacks,
            nonce_sent: status.sent,
            nonce_acked: status.acked,
            behind: status.behind,
            unanswered_seconds: status.unanswered_since.map(|since| view.age(since)),
            held_up_by: status.held_up_by.iter().map(|name| &**name).collect(),
        };
        (kind.short(), watch)
    });
    AdsClient {
        client: client(proxy),
        labels: &proxy.node.labels,
        version: &proxy.connection.version,
        revision: &proxy.connection.revision,
        generation: proxy.generation,
        watches: watches.collect(),
    }
}
