//! The `x-amime-*` request headers: what call to make first, and what the answer should be like. `http` reads them
//! once a request.

use http::HeaderMap;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub(super) const CALL: &str = "x-amime-call";
const STATUS: &str = "x-amime-status";
const DELAY: &str = "x-amime-delay";
const FAIL_FIRST: &str = "x-amime-fail-first";
const REQUEST_ID: &str = "x-request-id";
/// How many request ids `x-amime-fail-first` remembers.
const REMEMBERED: usize = 8192;
/// The longest delay that can be asked for.
const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// What one request asks for. The shaping fields act where `call` is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Shape {
    /// The first entry of the chain, and the rest that goes on in the call.
    pub(super) call: Option<(String, Option<String>)>,
    pub(super) status: Option<u16>,
    pub(super) delay: Option<Duration>,
    pub(super) fail_first: Option<u32>,
}

/// An answer that is meant to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: u16,
}

impl Shape {
    /// The error is a sentence for whoever wrote the header.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, String> {
        let call = next_call(headers);
        let status = value(headers, STATUS, "a status from 200 to 599, or a gRPC status from 0 to 16", |text| {
            text.parse().ok().filter(|status| matches!(status, 0..=16 | 200..=599))
        })?;
        let delay = value(headers, DELAY, "a duration such as 200ms, 1.5s or 1m, one hour at most", duration)?;
        let fail_first = value(headers, FAIL_FIRST, "a number of requests", |text| text.parse().ok())?;
        Ok(Self { call, status, delay, fail_first })
    }

    /// Whether this request is to fail, and with what.
    pub(super) fn failure(&self, headers: &HeaderMap, memory: &FailFirst) -> Option<Failure> {
        let Some(count) = self.fail_first else {
            return self.status.map(|status| Failure { status });
        };
        let id = headers.get(REQUEST_ID).map(|id| String::from_utf8_lossy(id.as_bytes())).unwrap_or_default();
        memory.fails(&id, count).then(|| Failure { status: self.status.unwrap_or(503) })
    }
}

/// How often each request id was seen by `x-amime-fail-first`, in the whole mesh: a retry may reach another pod.
/// The oldest ids are forgotten.
#[derive(Debug, Default)]
pub(super) struct FailFirst {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    counts: HashMap<Box<str>, u32>,
    order: VecDeque<Box<str>>,
}

impl FailFirst {
    fn fails(&self, id: &str, count: u32) -> bool {
        // Counts stay true whatever panicked while they were held.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failed) = seen.counts.get_mut(id) {
            let fails = *failed < count;
            *failed += u32::from(fails);
            return fails;
        }
        if seen.order.len() >= REMEMBERED
            && let Some(oldest) = seen.order.pop_front()
        {
            seen.counts.remove(&oldest);
        }
        seen.order.push_back(id.into());
        seen.counts.insert(id.into(), count.min(1));
        count > 0
    }
}

fn next_call(headers: &HeaderMap) -> Option<(String, Option<String>)> {
    let lines: Vec<_> = headers.get_all(CALL).iter().map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    let chain = lines.join(",");
    let mut entries = chain.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let first = entries.next()?.to_owned();
    let rest = entries.collect::<Vec<_>>().join(",");
    Some((first, (!rest.is_empty()).then_some(rest)))
}

fn value<T>(
    headers: &HeaderMap,
    name: &str,
    expected: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, String> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    match read(text.trim()) {
        Some(read) => Ok(Some(read)),
        None => Err(format!("{name}: {text} is not {expected}")),
    }
}

/// Go's durations (`1.5s`, `1m30s`), as everywhere in Istio.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let seconds = match &rest[..letters] {
            "ms" => 0.001,
            "us" | "µs" => 0.000_001,
            "ns" => 0.000_000_001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        rest = &rest[letters..];
        total += Duration::try_from_secs_f64(number * seconds).ok()?;
    }
    (!text.is_empty() && total <= LONGEST_DELAY).then_some(total)
}

#[cfg(test)]
#[path = "shape_tests.rs"]
mod tests;
