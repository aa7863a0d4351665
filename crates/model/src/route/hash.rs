//! The hash that consistent balancing (ring hash, Maglev) goes by, from a route's hash policies, combined
//! as Envoy does.

use super::request::RequestView;
use crate::config::{HashKind, HashPolicy};
use http::header;
use std::net::IpAddr;
use xxhash_rust::xxh64::xxh64;

/// The hash, and the cookie to set where one had to be made up.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HashResult {
    pub hash: Option<u64>,
    /// A whole `set-cookie` value.
    pub set_cookie: Option<String>,
}

/// `made_up` is a value, unlikely to repeat, for a cookie that is not there yet.
pub fn evaluate(
    policies: &[HashPolicy],
    request: &RequestView<'_>,
    source: Option<IpAddr>,
    made_up: &dyn Fn() -> u64,
) -> HashResult {
    let mut result = HashResult::default();
    for policy in policies {
        let part = match &policy.kind {
            HashKind::Header(name) => request.header(name).map(|value| xxh64(value.as_bytes(), 0)),
            HashKind::SourceIp => source.map(|ip| xxh64(ip.to_string().as_bytes(), 0)),
            HashKind::Query(name) => request.query_parameter(name).map(|value| xxh64(value.as_bytes(), 0)),
            HashKind::Cookie { name, path, ttl, attributes } => match cookie(request, name) {
                Some(value) => Some(xxh64(value.as_bytes(), 0)),
                None => ttl.map(|ttl| {
                    let value = format!("{:016x}", made_up());
                    let mut set = format!("{name}=\"{value}\"");
                    if !ttl.is_zero() {
                        set.push_str(&format!("; Max-Age={}", ttl.as_secs()));
                    }
                    if !path.is_empty() {
                        set.push_str(&format!("; Path={path}"));
                    }
                    for (key, text) in attributes {
                        set.push_str(&if text.is_empty() { format!("; {key}") } else { format!("; {key}={text}") });
                    }
                    set.push_str("; HttpOnly");
                    result.set_cookie = Some(set);
                    xxh64(value.as_bytes(), 0)
                }),
            },
        };
        if let Some(part) = part {
            result.hash = Some(result.hash.map_or(part, |hash| hash.rotate_left(1) ^ part));
        }
        if policy.terminal && result.hash.is_some() {
            break;
        }
    }
    result
}

fn cookie<'a>(request: &RequestView<'a>, name: &str) -> Option<&'a str> {
    request.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).find_map(|value| {
        value.split(';').find_map(|pair| {
            let (key, text) = pair.split_once('=')?;
            (key.trim() == name).then(|| text.trim().trim_matches('"'))
        })
    })
}
