//! `/clusters`, in both of Envoy's forms: each endpoint with its health and what goes on there.

use super::Shared;
use super::listeners::socket_address;
use crate::serve::{Answer, json, query, text};
use amime_model::config::{Cluster, Discovery, EndpointAddress, Health};
use amime_proxy::{ClusterStatus, EndpointStatus};
use http::{Request, StatusCode};
use serde_json::{Value, json as value};
use std::fmt::Write;

/// Envoy's defaults.
const LIMIT: u32 = 1024;
const RETRIES: u32 = 3;

pub(super) async fn answer<B>(shared: &Shared, request: &Request<B>) -> Answer {
    let clusters = shared.proxy.clusters().await;
    if query(request, "format").as_deref() == Some("json") {
        let statuses: Vec<Value> = clusters.iter().map(as_json).collect();
        return json(&value!({"cluster_statuses": statuses}));
    }
    let mut lines = String::new();
    for status in &clusters {
        // Writing into a String cannot fail.
        let _ = as_text(status, &mut lines);
    }
    text(StatusCode::OK, lines)
}

fn as_text(status: &ClusterStatus, out: &mut String) -> std::fmt::Result {
    let cluster = &status.cluster;
    let name = &cluster.name;
    writeln!(out, "{name}::observability_name::{name}")?;
    for (limit, most) in limits(cluster) {
        writeln!(out, "{name}::default_priority::{limit}::{most}")?;
    }
    writeln!(out, "{name}::added_via_api::true")?;
    if let Some(eds) = eds_name(cluster) {
        writeln!(out, "{name}::eds_service_name::{eds}")?;
    }
    for endpoint in &status.endpoints {
        let at = match pipe(endpoint) {
            Some(path) => format!("{name}::{path}"),
            None => format!("{name}::{}", endpoint.address),
        };
        let hostname = endpoint.endpoint.as_ref().map_or("", |known| known.hostname.as_str());
        writeln!(out, "{at}::rq_active::{}", endpoint.active)?;
        writeln!(out, "{at}::hostname::{hostname}")?;
        writeln!(out, "{at}::health_flags::{}", flags(endpoint))?;
        writeln!(out, "{at}::weight::{}", endpoint.weight)?;
        writeln!(out, "{at}::region::{}", endpoint.locality.region)?;
        writeln!(out, "{at}::zone::{}", endpoint.locality.zone)?;
        writeln!(out, "{at}::sub_zone::{}", endpoint.locality.sub_zone)?;
        writeln!(out, "{at}::canary::false")?;
        writeln!(out, "{at}::priority::{}", endpoint.priority)?;
    }
    Ok(())
}

fn as_json(status: &ClusterStatus) -> Value {
    let cluster = &status.cluster;
    let thresholds: serde_json::Map<String, Value> =
        limits(cluster).into_iter().map(|(limit, most)| (limit.to_owned(), most.into())).collect();
    let mut json = value!({
        "name": cluster.name,
        "added_via_api": true,
        "observability_name": cluster.name,
        "circuit_breakers": {"thresholds": [thresholds]},
        "host_statuses": status.endpoints.iter().map(host_json).collect::<Vec<_>>(),
    });
    if let Some(eds) = eds_name(cluster) {
        json["eds_service_name"] = eds.into();
    }
    json
}

fn pipe(endpoint: &EndpointStatus) -> Option<&str> {
    match &endpoint.endpoint.as_ref()?.address {
        EndpointAddress::Pipe(path) => Some(path),
        _ => None,
    }
}

fn host_json(endpoint: &EndpointStatus) -> Value {
    let health = match endpoint.endpoint.as_ref().map(|known| known.health) {
        Some(Health::Unhealthy | Health::Timeout) => "UNHEALTHY",
        Some(Health::Draining) => "DRAINING",
        _ => "HEALTHY",
    };
    let mut status = value!({"eds_health_status": health});
    if endpoint.ejected {
        status["failed_outlier_check"] = true.into();
    }
    let mut json = value!({
        "address": match pipe(endpoint) {
            Some(path) => value!({"pipe": {"path": path}}),
            None => socket_address(endpoint.address),
        },
        "stats": [{"name": "rq_active", "type": "GAUGE", "value": endpoint.active.to_string()}],
        "health_status": status,
        "weight": endpoint.weight,
        "locality": {},
    });
    let locality = &endpoint.locality;
    for (key, text) in [("region", &locality.region), ("zone", &locality.zone), ("sub_zone", &locality.sub_zone)] {
        if !text.is_empty() {
            json["locality"][key] = text.as_str().into();
        }
    }
    if endpoint.priority > 0 {
        json["priority"] = endpoint.priority.into();
    }
    if let Some(known) = endpoint.endpoint.as_ref().filter(|known| !known.hostname.is_empty()) {
        json["hostname"] = known.hostname.as_str().into();
    }
    json
}

/// As Envoy prints them.
fn flags(endpoint: &EndpointStatus) -> String {
    let by_config = match endpoint.endpoint.as_ref().map(|known| known.health) {
        Some(Health::Unhealthy | Health::Timeout) => Some("/failed_eds_health"),
        Some(Health::Draining) => Some("/eds_status_draining"),
        _ => None,
    };
    let all: String = endpoint.ejected.then_some("/failed_outlier_check").into_iter().chain(by_config).collect();
    if all.is_empty() { "healthy".to_owned() } else { all }
}

fn limits(cluster: &Cluster) -> [(&'static str, u32); 4] {
    let limits = &cluster.limits;
    [
        ("max_connections", limits.max_connections.unwrap_or(LIMIT)),
        ("max_pending_requests", limits.max_pending_requests.unwrap_or(LIMIT)),
        ("max_requests", limits.max_requests.unwrap_or(LIMIT)),
        ("max_retries", limits.max_retries.unwrap_or(RETRIES)),
    ]
}

fn eds_name(cluster: &Cluster) -> Option<&str> {
    match &cluster.discovery {
        Discovery::Eds(name) if name.is_empty() => Some(&cluster.name),
        Discovery::Eds(name) => Some(name),
        _ => None,
    }
}
