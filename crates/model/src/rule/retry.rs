//! Retry policies.

use crate::config::RetryPolicy;
use crate::resource::virtual_service::HttpRetry;

/// Istio's default.
const DEFAULT_ON: [&str; 5] =
    ["connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes"];
/// How often priorities are reconsidered where retries may go to other localities.
const PRIORITY_UPDATES: u32 = 2;

/// Istio's default policy: 2 retries. With consistent hashing a retry may go to the same host.
pub fn default_policy(hashed: bool) -> RetryPolicy {
    RetryPolicy {
        on: DEFAULT_ON.map(String::from).to_vec(),
        attempts: 2,
        previous_hosts: !hashed,
        previous_hosts_max_attempts: 5,
        ..RetryPolicy::default()
    }
}

/// A rule's or the mesh's policy; None: no retries.
pub(crate) fn policy(written: Option<&HttpRetry>, hashed: bool) -> Option<RetryPolicy> {
    let mut policy = default_policy(hashed);
    let Some(written) = written else { return Some(policy) };
    policy.attempts = u32::try_from(written.attempts).ok().filter(|n| *n > 0)?;
    if !written.retry_on.is_empty() {
        (policy.on, policy.retriable_status_codes) = parse_on(&written.retry_on);
    }
    policy.per_try_timeout = written.per_try_timeout.map(Into::into);
    if let Some(ignore) = written.retry_ignore_previous_hosts {
        policy.previous_hosts = ignore;
    }
    if written.retry_remote_localities == Some(true) {
        policy.previous_priorities = Some(PRIORITY_UPDATES);
    }
    policy.backoff_base = written.backoff.map(Into::into);
    Some(policy)
}

/// Of inbound routes, by the mesh's policy (`defaultInboundHttpRetryPolicy`; without one only what never reached the
/// application is tried again). Where to try again is no question there. None: no retries.
pub(crate) fn inbound_policy(written: Option<&HttpRetry>) -> Option<RetryPolicy> {
    let mut policy =
        RetryPolicy { on: vec!["reset-before-request".to_string()], attempts: 2, ..RetryPolicy::default() };
    let Some(written) = written else { return Some(policy) };
    policy.attempts = u32::try_from(written.attempts).ok().filter(|n| *n > 0)?;
    if !written.retry_on.is_empty() {
        (policy.on, policy.retriable_status_codes) = parse_on(&written.retry_on);
    }
    policy.backoff_base = written.backoff.map(Into::into);
    Some(policy)
}

/// Words and status codes, apart.
fn parse_on(text: &str) -> (Vec<String>, Vec<u16>) {
    let mut words: Vec<String> = Vec::new();
    let mut codes = Vec::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        match part.parse::<u16>() {
            Ok(code) if is_status(code) => codes.push(code),
            _ => words.push(part.to_string()),
        }
    }
    if !codes.is_empty() && !words.iter().any(|w| w == "retriable-status-codes") {
        words.push("retriable-status-codes".to_string());
    }
    (words, codes)
}

/// The status codes that are registered (RFC 9110 and the registry): others are words to Istio.
fn is_status(code: u16) -> bool {
    http::StatusCode::from_u16(code).is_ok_and(|status| status.canonical_reason().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbound_retries_are_as_the_mesh_says() {
        let written = |attempts| HttpRetry { attempts, retry_on: "reset,503".to_owned(), ..HttpRetry::default() };
        let policy = inbound_policy(Some(&written(3))).expect("retries");
        assert_eq!((policy.attempts, &*policy.retriable_status_codes), (3, &[503][..]));
        assert_eq!(policy.on, ["reset", "retriable-status-codes"]);
        assert_eq!((policy.previous_hosts, inbound_policy(Some(&written(0)))), (false, None));
        assert_eq!(inbound_policy(None).expect("retries").on, ["reset-before-request"]);
    }
}
