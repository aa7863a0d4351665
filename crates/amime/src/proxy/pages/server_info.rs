//! `/server_info`, `/ready`, `/memory`: what the process says of itself, in Envoy's forms.

use super::{Shared, health};
use crate::proxy::Kind;
use crate::serve::{Answer, json, problem, text};
use http::StatusCode;
use serde_json::{Value, json as value};
use std::time::Duration;

/// Envoy's states.
fn state(shared: &Shared) -> &'static str {
    if shared.proxy.is_draining() {
        "DRAINING"
    } else if health::not_ready(shared).is_some() {
        "INITIALIZING"
    } else {
        "LIVE"
    }
}

pub(super) fn ready(shared: &Shared) -> Answer {
    match state(shared) {
        "LIVE" => text(StatusCode::OK, "LIVE\n"),
        other => problem(StatusCode::SERVICE_UNAVAILABLE, other),
    }
}

pub(super) fn server_info(shared: &Shared) -> Answer {
    let uptime = format!("{}s", shared.started.elapsed().unwrap_or(Duration::ZERO).as_secs());
    let node = &shared.identity.node;
    let version = env!("CARGO_PKG_VERSION");
    let mode = if shared.kind == Kind::Sidecar { "sidecar" } else { "gateway" };
    let mut node_json = value!({
        "id": node.id,
        "cluster": node.cluster,
        "metadata": node.metadata,
        "user_agent_name": "amime",
        "user_agent_version": version,
    });
    let locality = &node.locality;
    for (key, text) in [("region", &locality.region), ("zone", &locality.zone), ("sub_zone", &locality.sub_zone)] {
        if !text.is_empty() {
            node_json["locality"][key] = text.as_str().into();
        }
    }
    json(&value!({
        "version": format!("amime/{version}"),
        "state": state(shared),
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "hot_restart_version": "disabled",
        "command_line_options": {
            "concurrency": shared.workers,
            "service_node": node.id,
            "service_cluster": node.cluster,
            "mode": mode,
            "drain_time": format!("{}s", shared.lifecycle.idle_drain.as_secs()),
        },
        "node": node_json,
    }))
}

/// Bytes as strings, as Envoy's JSON has 64-bit numbers.
pub(super) fn memory() -> Answer {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name: &str| -> Value {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kilobytes: u64 = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
        (kilobytes * 1024).to_string().into()
    };
    json(&value!({
        "allocated": bytes("RssAnon"),
        "heap_size": bytes("VmData"),
        "total_physical_bytes": bytes("VmRSS"),
        "pageheap_unmapped": "0",
        "pageheap_free": "0",
        "total_thread_cache": "0",
    }))
}
