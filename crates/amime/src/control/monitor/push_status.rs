//! `/debug/push_status`: what is in force, what waits, what proxies refused, and all findings.

use super::digest::Digests;
use super::syncz::{Waiting, blamed};
use super::view::{View, proxy_name, rfc3339};
use crate::serve::{Answer, json};
use amime_model::diagnostic::{Diagnostic, Severity};
use amime_xds::PerType;
use serde_json::{Map, Value, json};
use std::time::SystemTime;

/// More refusals of one kind say nothing new.
const MOST: usize = 1000;

pub(super) fn page(view: &View, digests: &Digests) -> Answer {
    json(&status(view, digests))
}

fn status(view: &View, digests: &Digests) -> Value {
    let generation = &view.generation;
    let changed = SystemTime::now() - view.now.saturating_duration_since(generation.changed);
    let in_step = view.proxies.iter().filter(|proxy| proxy.runs(generation.number)).count();
    let pending = view.snapshot().pending().iter();
    json!({
        "control_plane": view.name,
        "version": env!("CARGO_PKG_VERSION"),
        "started": rfc3339(view.started),
        "generation": generation.number,
        "changed": rfc3339(changed),
        "inputs": digests.inputs,
        "in_force": digests.in_force,
        "proxies": { "connected": view.proxies.len(), "in_step": in_step },
        "pushes": by_type(&view.counts.pushes),
        "rejects": by_type(&view.counts.rejects),
        "rejected": rejected(view),
        "pending": pending.map(|one| Waiting::of(view.snapshot(), one).text).collect::<Vec<_>>(),
        "findings": generation.diagnostics.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn by_type(counts: &PerType<u64>) -> Map<String, Value> {
    counts.iter().map(|(kind, count)| (kind.short().to_owned(), (*count).into())).collect()
}

/// What is refused now.
fn rejected(view: &View) -> Vec<Value> {
    let all = view.proxies.iter().flat_map(|proxy| {
        let of_types = proxy.stream.types.iter();
        of_types.flat_map(move |(kind, status)| status.rejected.iter().map(move |one| (proxy, kind, one)))
    });
    all.take(MOST)
        .map(|(proxy, kind, rejection)| {
            json!({
                "proxy": proxy_name(proxy),
                "type": kind.short(),
                "resource": &*rejection.name,
                "object": blamed(rejection),
                "error": rejection.message,
                "age_seconds": view.age(rejection.at),
            })
        })
        .collect()
}

fn finding(finding: &Diagnostic) -> Value {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    json!({
        "severity": severity,
        "code": finding.code,
        "message": finding.message,
        "object": finding.resource.as_ref().map(ToString::to_string),
        "place": finding.place.as_ref().map(ToString::to_string),
    })
}
