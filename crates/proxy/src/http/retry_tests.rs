//! Which answers and failures each condition tries again.

use super::*;
use http::HeaderValue;

fn policy(on: &[&str]) -> RetryPolicy {
    RetryPolicy { on: on.iter().map(|w| (*w).to_owned()).collect(), ..Default::default() }
}

#[test]
fn answers_that_are_retried() {
    let plain = HeaderMap::new();
    let grpc =
        |status: u32| HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from(status))]);
    for (words, code, headers, retried) in [
        (&["5xx"][..], 500, &plain, true),
        (&["5xx"], 404, &plain, false),
        (&["5xx"], 200, &plain, false),
        (&["gateway-error"], 500, &plain, false),
        (&["gateway-error"], 503, &plain, true),
        (&["retriable-4xx"], 409, &plain, true),
        (&["retriable-4xx"], 404, &plain, false),
        (&["unavailable"], 200, &grpc(14), true),
        (&["unavailable"], 200, &grpc(13), false),
        (&["cancelled", "internal"], 200, &grpc(13), true),
        (&["unavailable"], 200, &grpc(0), false),
        (&["unavailable"], 503, &plain, false),
        (&["connect-failure"], 503, &plain, false),
    ] {
        assert_eq!(
            retries_response(&policy(words), StatusCode::from_u16(code).unwrap(), headers),
            retried,
            "{words:?} {code}"
        );
    }
    let mut codes = policy(&["retriable-status-codes"]);
    codes.retriable_status_codes = vec![503, 418];
    assert!(retries_response(&codes, StatusCode::IM_A_TEAPOT, &plain));
    // An answer of a rate limit is tried again by its own condition alone.
    let limited = HeaderMap::from_iter([(http::HeaderName::from_static("x-envoy-ratelimited"), HeaderValue::from(1))]);
    assert!(!retries_response(&codes, StatusCode::IM_A_TEAPOT, &limited));
    assert!(retries_response(&policy(&["envoy-ratelimited"]), StatusCode::TOO_MANY_REQUESTS, &limited));
    codes.on.clear();
    assert!(!retries_response(&codes, StatusCode::IM_A_TEAPOT, &plain));
}

#[test]
fn resets_that_are_retried() {
    for (words, reset, sent, retried) in [
        (&["connect-failure"][..], Reset::ConnectFailed, false, true),
        (&["connect-failure"], Reset::ConnectTimeout, false, true),
        (&["connect-failure"], Reset::Terminated, true, false),
        (&["refused-stream"], Reset::Refused, true, true),
        (&["refused-stream"], Reset::Remote, true, false),
        (&["reset"], Reset::Terminated, true, true),
        (&["reset-before-request"], Reset::Terminated, false, true),
        (&["reset-before-request"], Reset::Terminated, true, false),
        (&["5xx"], Reset::Terminated, true, true),
        (&["5xx"], Reset::Overflow, false, false),
        (&["reset"], Reset::Local, true, false),
        (&["unavailable"], Reset::ConnectFailed, false, false),
    ] {
        assert_eq!(retries_reset(&policy(words), reset, sent), retried, "{words:?} {reset:?} {sent}");
    }
    assert!(retries_timeout(&policy(&["gateway-error"])));
    assert!(!retries_timeout(&policy(&["connect-failure"])));
}

#[test]
fn backoff_doubles_within_its_bounds() {
    let (policy, rng) = (policy(&[]), Rng::new());
    for (retry, most) in [(1, 25), (2, 50), (3, 100), (4, 200), (5, 250), (40, 250)] {
        for _ in 0..50 {
            assert!(backoff(&policy, retry, &rng) <= Duration::from_millis(most), "retry {retry}");
        }
    }
}
