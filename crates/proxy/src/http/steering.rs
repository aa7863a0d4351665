//! Request headers by which a client could steer a proxy, or be another. `prepare` takes them out of every request.

use http::{HeaderMap, HeaderName};

/// Takes out what would steer a proxy. No address counts as the inside (Envoy's default since 1.33), so nobody may do
/// so; what proxies tell each other does not come in at the edge either.
pub(super) fn drop_all(headers: &mut HeaderMap, edge: bool) {
    let steers = |name: &&HeaderName| match name.as_str().strip_prefix("x-envoy-") {
        Some(rest) => STEERING.contains(&rest) || edge && OF_PROXIES.contains(&rest),
        // Which certificate a client showed is said by who ended its TLS (Envoy's SANITIZE); Amime says nothing yet.
        None => name.as_str() == CLIENT_CERTIFICATE,
    };
    let found: Vec<HeaderName> = headers.keys().filter(steers).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

const CLIENT_CERTIFICATE: &str = "x-forwarded-client-cert";

/// Behind `x-envoy-`.
const STEERING: &[&str] = &[
    "expected-rq-timeout-ms",
    "force-trace",
    "hedge-on-per-try-timeout",
    "internal",
    "ip-tags",
    "max-retries",
    "retriable-header-names",
    "retriable-status-codes",
    "retry-grpc-on",
    "retry-on",
    "upstream-alt-stat-name",
    "upstream-rq-per-try-timeout-ms",
    "upstream-rq-timeout-alt-response",
    "upstream-rq-timeout-ms",
];

/// The same.
const OF_PROXIES: &[&str] =
    &["decorator-operation", "downstream-service-cluster", "downstream-service-node", "original-host", "original-path"];
