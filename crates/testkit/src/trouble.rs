//! How an `Echo` fails when a test asks it to, and which conditions of a retry policy are there for which failure.

use crate::origin::{Body, full};
use h2::Reason;
use http::Response;
use std::time::Duration;

/// Asked of an `Echo` by the request header `x-fail-with`: what the requests that fail get.
///
/// - a number: that status;
/// - `limited`: 429, said to be of a rate limit;
/// - `reset`: no answer, and the connection's end (HTTP/2: the stream's);
/// - `refused`: over HTTP/2, the stream's end as one that nothing was done with;
/// - `silence`: nothing;
/// - `grpc-N`: an answer of gRPC's status N alone.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    Status(u16),
    Limited,
    Reset(Reason),
    Silence,
    Grpc(u16),
}

impl Trouble {
    pub(crate) fn of(text: &str) -> Option<Self> {
        Some(match text {
            "limited" => Self::Limited,
            "reset" => Self::Reset(Reason::INTERNAL_ERROR),
            "refused" => Self::Reset(Reason::REFUSED_STREAM),
            "silence" => Self::Silence,
            text => match text.strip_prefix("grpc-") {
                Some(code) => Self::Grpc(code.parse().ok()?),
                None => Self::Status(text.parse().ok()?),
            },
        })
    }

    pub(crate) async fn answer(self) -> Result<Response<Body>, h2::Error> {
        let answer = match self {
            Self::Status(status) => Response::builder().status(status),
            Self::Limited => Response::builder().status(429).header("x-envoy-ratelimited", "true"),
            Self::Grpc(code) => {
                Response::builder().header("content-type", "application/grpc").header("grpc-status", code)
            }
            Self::Reset(reason) => return Err(reason.into()),
            Self::Silence => {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                Response::builder()
            }
        };
        Ok(answer.body(full("")).expect("an answer"))
    }
}

/// Failures, each with the service that has them: of two an `Echo` is behind (`http` speaks HTTP/1.1, `grpc` HTTP/2), the
/// third has an endpoint at which nobody listens.
pub const FAILURES: [(&str, &str); 17] = [
    ("500", "http"),
    ("502", "http"),
    ("503", "http"),
    ("409", "http"),
    ("404", "http"),
    ("429", "http"),
    ("limited", "http"),
    ("reset", "http"),
    ("503", "grpc"),
    ("reset", "grpc"),
    ("refused", "grpc"),
    ("grpc-1", "grpc"),
    ("grpc-4", "grpc"),
    ("grpc-8", "grpc"),
    ("grpc-13", "grpc"),
    ("grpc-14", "grpc"),
    ("", "dead"),
];

/// Every condition of `retryOn`, some together, and by which failures a request is tried again.
pub const RETRIED: [(&str, &[(&str, &str)]); 21] = {
    const CLOSED: (&str, &str) = ("reset", "http");
    const RESET: (&str, &str) = ("reset", "grpc");
    const REFUSED: (&str, &str) = ("refused", "grpc");
    const NOBODY: (&str, &str) = ("", "dead");
    [
        ("5xx", &[("500", "http"), ("502", "http"), ("503", "http"), ("503", "grpc"), CLOSED, RESET, REFUSED, NOBODY]),
        ("gateway-error", &[("502", "http"), ("503", "http"), ("503", "grpc"), CLOSED, RESET, REFUSED, NOBODY]),
        ("reset", &[CLOSED, RESET, REFUSED, NOBODY]),
        ("reset-before-request", &[NOBODY]),
        ("connect-failure", &[NOBODY]),
        ("refused-stream", &[REFUSED]),
        ("retriable-4xx", &[("409", "http")]),
        ("envoy-ratelimited", &[("limited", "http")]),
        ("retriable-status-codes", &[]),
        ("retriable-status-codes,404", &[("404", "http")]),
        ("503", &[("503", "http"), ("503", "grpc")]),
        ("429,500", &[("429", "http"), ("500", "http")]),
        ("retriable-headers", &[]),
        ("http3-post-connect-failure", &[]),
        ("cancelled", &[("grpc-1", "grpc")]),
        ("deadline-exceeded", &[("grpc-4", "grpc")]),
        ("resource-exhausted", &[("grpc-8", "grpc")]),
        ("internal", &[("grpc-13", "grpc")]),
        ("unavailable", &[("grpc-14", "grpc")]),
        (
            "reset,envoy-ratelimited,internal",
            &[("limited", "http"), ("grpc-13", "grpc"), CLOSED, RESET, REFUSED, NOBODY],
        ),
        // Istio's own, where a rule says nothing.
        ("", &[("grpc-1", "grpc"), ("grpc-14", "grpc"), REFUSED, NOBODY]),
    ]
};
