//! `/listeners`, in both of Envoy's forms.

use super::Shared;
use crate::serve::{Answer, json, query, text};
use http::{Request, StatusCode};
use serde_json::{Value, json as value};
use std::fmt::Write;
use std::net::SocketAddr;

pub(super) async fn answer<B>(shared: &Shared, request: &Request<B>) -> Answer {
    let listening = shared.proxy.listening().await;
    if query(request, "format").as_deref() == Some("json") {
        let statuses: Vec<Value> = listening
            .iter()
            .map(|(name, addresses)| {
                let mut addresses = addresses.iter().map(|address| socket_address(*address));
                let mut status = value!({"name": name, "local_address": addresses.next()});
                let further: Vec<Value> = addresses.collect();
                if !further.is_empty() {
                    status["additional_local_addresses"] = further.into();
                }
                status
            })
            .collect();
        return json(&value!({"listener_statuses": statuses}));
    }
    let mut lines = String::new();
    for (name, addresses) in &listening {
        for address in addresses {
            // Writing into a String cannot fail.
            let _ = writeln!(lines, "{name}::{address}");
        }
    }
    text(StatusCode::OK, lines)
}

/// An address as Envoy's JSON has it.
pub(super) fn socket_address(address: SocketAddr) -> Value {
    value!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
