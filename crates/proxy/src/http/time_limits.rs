//! How long a request may take: the route's timeout, or what gRPC's own header asks for.

use amime_model::route::Forwarding;
use http::{HeaderMap, HeaderValue};
use std::time::Duration;

/// Envoy's default for routes that set none.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The time of the whole exchange; None: no limit.
pub(super) fn total(forwarding: &Forwarding<'_>, headers: &HeaderMap, grpc: bool) -> Option<Duration> {
    let route = forwarding.route;
    let time = match route.grpc_timeout_max.or(route.max_grpc_timeout).filter(|_| grpc) {
        Some(most) => {
            let asked = headers.get("grpc-timeout").and_then(grpc_timeout).unwrap_or(Duration::ZERO);
            if !most.is_zero() && (asked.is_zero() || asked > most) { most } else { asked }
        }
        None => route.timeout.unwrap_or(TIMEOUT),
    };
    Some(time).filter(|time| !time.is_zero())
}

/// gRPC's `grpc-timeout`: at most 8 digits and a unit.
fn grpc_timeout(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts() {
        for (text, time) in [
            ("1S", Some(Duration::from_secs(1))),
            ("250m", Some(Duration::from_millis(250))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("999999999S", None),
            ("S", None),
            ("", None),
            ("1x", None),
            ("-1S", None),
        ] {
            assert_eq!(grpc_timeout(&HeaderValue::from_str(text).unwrap()), time, "{text}");
        }
    }
}
