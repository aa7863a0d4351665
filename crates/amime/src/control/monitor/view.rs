//! What pages are made of: a copy of all that is true at one moment, and what was asked for. Every page reads it.

use super::accepts;
use crate::serve;
use amime_control::distribute::Counts;
use amime_control::{Generation, ProxyStatus};
use amime_model::snapshot::Snapshot;
use http::Request;
use std::time::{Duration, Instant, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The control plane at one moment.
pub(super) struct View {
    /// Of this control plane.
    pub(super) name: String,
    pub(super) started: SystemTime,
    pub(super) generation: Generation,
    /// The longest connected first.
    pub(super) proxies: Vec<ProxyStatus>,
    pub(super) counts: Counts,
    pub(super) now: Instant,
}

impl View {
    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.generation.snapshot
    }

    /// Seconds since then, to a tenth.
    pub(super) fn age(&self, then: Instant) -> f64 {
        tenths(self.now.saturating_duration_since(then))
    }
}

fn tenths(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}

/// `2026-01-31T12:00:00Z`.
pub(super) fn rfc3339(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time).replace_nanosecond(0);
    time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

/// `productpage-v1.default`: what a proxy is called.
pub(super) fn proxy_name(proxy: &ProxyStatus) -> String {
    format!("{}.{}", proxy.node.name, proxy.node.namespace)
}

/// A request, as far as pages look at it.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) path: &'static str,
    query: Vec<(String, String)>,
    /// A browser.
    pub(super) html: bool,
    pub(super) json: bool,
}

impl Asked {
    pub(super) fn new<B>(path: &'static str, request: &Request<B>) -> Self {
        const KNOWN: [&str; 8] = ["proxyID", "kind", "namespace", "name", "service", "include_eds", "push", "format"];
        let given = |name: &&str| serve::query(request, name).map(|value| ((*name).to_owned(), value.into_owned()));
        Self {
            path,
            query: KNOWN.iter().filter_map(given).collect(),
            html: accepts(request, "text/html"),
            json: accepts(request, "application/json"),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a value is the one that is asked for, if any.
    pub(super) fn wants(&self, name: &str, value: &str) -> bool {
        self.get(name).is_none_or(|wanted| wanted == value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value != "false")
    }
}
