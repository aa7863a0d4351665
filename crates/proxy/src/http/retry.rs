//! Whether a try that failed is made again: Envoy's retry words, its backoff, its limits.

use crate::connect::pool::Reset;
use crate::rng::Rng;
use amime_model::config::RetryPolicy;
use http::{HeaderMap, StatusCode};
use std::time::Duration;

const BACKOFF: Duration = Duration::from_millis(25);

/// The words of `on`, read when something has failed: nearly no request needs them.
#[derive(Debug, Clone, Copy, Default)]
struct Words {
    server_error: bool,
    gateway_error: bool,
    retriable_4xx: bool,
    connect_failure: bool,
    refused_stream: bool,
    reset: bool,
    reset_before_request: bool,
    status_codes: bool,
    ratelimited: bool,
    /// Bits of gRPC statuses.
    grpc: u32,
}

impl Words {
    fn of(policy: &RetryPolicy) -> Self {
        let mut words = Self::default();
        for word in &policy.on {
            match word.as_str() {
                "5xx" => words.server_error = true,
                "gateway-error" => words.gateway_error = true,
                "retriable-4xx" => words.retriable_4xx = true,
                "connect-failure" => words.connect_failure = true,
                "refused-stream" => words.refused_stream = true,
                "reset" => words.reset = true,
                "reset-before-request" => words.reset_before_request = true,
                "retriable-status-codes" => words.status_codes = true,
                "envoy-ratelimited" => words.ratelimited = true,
                "cancelled" => words.grpc |= 1 << 1,
                "deadline-exceeded" => words.grpc |= 1 << 4,
                "resource-exhausted" => words.grpc |= 1 << 8,
                "internal" => words.grpc |= 1 << 13,
                "unavailable" => words.grpc |= 1 << 14,
                _ => {}
            }
        }
        words
    }
}

/// Whether an answer with these headers is retried by the policy.
pub(super) fn retries_response(policy: &RetryPolicy, status: StatusCode, headers: &HeaderMap) -> bool {
    let code = status.as_u16();
    let grpc = super::body::grpc_status(headers).filter(|status| *status != 0);
    let written = policy.retriable_status_codes.contains(&code);
    let limited = headers.contains_key("x-envoy-ratelimited");
    if code < 400 && grpc.is_none() && !written && !limited {
        return false;
    }
    let words = Words::of(policy);
    // Whatever its status: a limit's answer is not made better by more requests.
    if limited {
        return words.ratelimited;
    }
    written && words.status_codes
        || words.server_error && code >= 500
        || words.gateway_error && (502..=504).contains(&code)
        || words.retriable_4xx && code == 409
        || grpc.is_some_and(|status| status < 32 && words.grpc & 1 << status != 0)
}

/// Whether a try that got no answer is retried; `sent` where the request may have reached the endpoint.
pub(super) fn retries_reset(policy: &RetryPolicy, reset: Reset, sent: bool) -> bool {
    if matches!(reset, Reset::Overflow | Reset::Local) {
        return false;
    }
    let words = Words::of(policy);
    words.server_error
        || words.gateway_error
        || words.reset
        || words.reset_before_request && !sent
        || words.connect_failure && matches!(reset, Reset::ConnectFailed | Reset::ConnectTimeout)
        || words.refused_stream && reset == Reset::Refused
}

/// Whether a try that took too long is retried.
pub(super) fn retries_timeout(policy: &RetryPolicy) -> bool {
    let words = Words::of(policy);
    words.server_error || words.gateway_error || words.reset
}

/// How long to wait before a retry (the first is 1): a random part of a time that doubles, at most ten times
/// the base.
pub(super) fn backoff(policy: &RetryPolicy, retry: u32, rng: &Rng) -> Duration {
    let base = policy.backoff_base.unwrap_or(BACKOFF);
    let most = policy.backoff_max.unwrap_or(base * 10).max(base);
    let span = base.saturating_mul(1 << retry.saturating_sub(1).min(16)).min(most);
    span.mul_f64(rng.unit())
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
