//! Every answer that the proxy makes itself: status, text, response flag. The statuses and texts are Envoy's,
//! for users' scripts and dashboards look at them.

use super::body::{OwnBody, ResponseBody};
use super::connection::{ConnState, NO_BODY};
use super::exchange::Exchange;
use super::prepare::{Rejected, headers_length};
use super::wire::Refusal;
use crate::connect::pool::Reset;
use crate::connect::transports::Missing;
use crate::flags::Flags;
use crate::runtime::Hcm;
use crate::telemetry::access_log::Head;
use amime_model::config::ServerHeader;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use std::rc::Rc;

pub(crate) const FLAG_HEADER: HeaderName = HeaderName::from_static("x-amime-flag");

const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");

/// An answer of the proxy's own, before it is written.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub(crate) status: u16,
    pub(crate) flags: Flags,
    pub(crate) details: &'static str,
    pub(crate) body: Bytes,
    /// A limit of the cluster was reached: the answer says so in Envoy's header.
    pub(crate) overloaded: bool,
}

impl Own {
    pub(crate) fn new(status: u16, flags: Flags, details: &'static str, body: &'static str) -> Self {
        Self { status, flags, details, body: Bytes::from_static(body.as_bytes()), overloaded: false }
    }

    pub(crate) fn no_cluster(status: u16) -> Self {
        Self::new(status, Flags::NC, "cluster_not_found", "")
    }

    /// The name of a request to a dynamic cluster stands for no address.
    pub(crate) fn no_name() -> Self {
        Self::new(503, Flags::DF, "dns_resolution_failure", "DNS resolution failure")
    }

    /// So many names are looked up already that this one is not.
    pub(crate) fn too_many_names() -> Self {
        Self::new(503, Flags::UO, "dns_cache_overflow", "DNS cache overflow")
    }

    pub(crate) fn no_host() -> Self {
        Self::new(503, Flags::UH, "no_healthy_upstream", "no healthy upstream")
    }

    pub(crate) fn timed_out() -> Self {
        Self::new(504, Flags::UT, "response_timeout", "upstream request timeout")
    }

    pub(crate) fn try_timed_out() -> Self {
        Self::new(504, Flags::UT, "upstream_per_try_timeout", "upstream request timeout")
    }

    /// Nothing moved: 408 where the client still owes bytes, else 504.
    pub(crate) fn idle(request_done: bool) -> Self {
        Self::new(if request_done { 504 } else { 408 }, Flags::SI, "stream_idle_timeout", "stream timeout")
    }

    /// A try that got no answer; `retried` where it was not the first.
    pub(crate) fn reset(reset: Reset, retried: bool) -> Self {
        let (status, flags, details, reason) = match reset {
            Reset::ConnectFailed => (
                503,
                Flags::UF,
                "upstream_reset_before_response_started{remote_connection_failure}",
                "remote connection failure",
            ),
            Reset::ConnectTimeout => {
                (503, Flags::UF, "upstream_reset_before_response_started{connection_timeout}", "connection timeout")
            }
            Reset::Overflow => (503, Flags::UO, "upstream_reset_before_response_started{overflow}", "overflow"),
            Reset::Terminated => (
                503,
                Flags::UC,
                "upstream_reset_before_response_started{connection_termination}",
                "connection termination",
            ),
            Reset::Remote => (503, Flags::UR, "upstream_reset_before_response_started{remote_reset}", "remote reset"),
            Reset::Refused => (
                503,
                Flags::UR,
                "upstream_reset_before_response_started{remote_refused_stream_reset}",
                "remote refused stream reset",
            ),
            Reset::Protocol => {
                (502, Flags::UPE, "upstream_reset_before_response_started{protocol_error}", "protocol error")
            }
            // The client's own doing: it broke off, or sent what is no body.
            Reset::Local => return Self::new(400, Flags::DPE, "http1.codec_error", "Bad Request"),
        };
        let overloaded = reset == Reset::Overflow;
        Self { status, flags, details, body: disconnected(retried, reason).into(), overloaded }
    }

    /// The cluster wants its connections made in a way that this proxy does not know. Nothing is sent without it.
    pub(crate) fn not_in_the_clear(missing: &Missing) -> Self {
        let body = disconnected(false, missing.told()).into();
        Self { body, ..Self::new(503, Flags::UF, missing.details(), "") }
    }

    /// Writes it. To gRPC it is said in gRPC's way: status 200 and a `grpc-status`.
    pub(crate) fn into_response(self, exchange: &Rc<Exchange>, grpc: bool) -> Response<ResponseBody> {
        exchange.flag(self.flags);
        exchange.details.set(self.details);
        let mut response = if grpc {
            let message = HeaderValue::from_str(&percent_encode(&self.body)).ok();
            grpc_answer(exchange, grpc_status_of(self.status), message)
        } else {
            self.plain(exchange)
        };
        if self.overloaded {
            response.headers_mut().insert(OVERLOADED, HeaderValue::from_static("true"));
        }
        response
    }

    fn plain(&self, exchange: &Rc<Exchange>) -> Response<ResponseBody> {
        let has_text = !self.body.is_empty();
        let mut response = plain(exchange, self.status, self.body.clone());
        if has_text {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        }
        tell_flags(exchange, response.headers_mut());
        response
    }
}

fn disconnected(retried: bool, reason: &str) -> String {
    let retried = if retried { "retried and the latest " } else { "" };
    format!("upstream connect error or disconnect/reset before headers. {retried}reset reason: {reason}")
}

/// An answer without flag and text of its own (a redirect, a direct response).
pub(crate) fn plain(exchange: &Rc<Exchange>, status: u16, body: Bytes) -> Response<ResponseBody> {
    let data = (!body.is_empty()).then_some(body);
    let mut response = Response::new(ResponseBody::Own(OwnBody { data, exchange: Rc::clone(exchange) }));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// A gRPC answer of headers alone.
pub(crate) fn grpc_answer(
    exchange: &Rc<Exchange>,
    status: u32,
    message: Option<HeaderValue>,
) -> Response<ResponseBody> {
    exchange.grpc_status.set(Some(status));
    let mut response = plain(exchange, 200, NO_BODY);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(status));
    if let Some(message) = message.filter(|m| !m.is_empty()) {
        headers.insert("grpc-message", message);
    }
    tell_flags(exchange, headers);
    response
}

/// Tells the sidecar's own workload why; nobody else.
pub(crate) fn tell_flags(exchange: &Exchange, headers: &mut HeaderMap) {
    let conn = &exchange.conn;
    let flags = exchange.flags.get();
    if conn.proxy.shared.settings.flag_header
        && conn.listener.is_outbound()
        && !flags.is_empty()
        && let Ok(value) = HeaderValue::from_str(&flags.to_string())
    {
        headers.insert(FLAG_HEADER, value);
    }
}

/// gRPC's status for an HTTP one (gRPC's own table).
fn grpc_status_of(status: u16) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// HTTP's status for a gRPC one, as outlier detection counts it.
pub(crate) fn http_status_of(grpc: u32) -> u16 {
    match grpc {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

fn percent_encode(text: &[u8]) -> String {
    text.iter()
        .map(|b| if matches!(b, b' '..=b'~') && *b != b'%' { char::from(*b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// The answer to a request that was not prepared.
pub(crate) fn rejected(exchange: &Rc<Exchange>, rejected: Rejected) -> Response<ResponseBody> {
    let conn = &exchange.conn;
    let own = match rejected {
        Rejected::Redirect(to) => {
            exchange.details.set("path_normalization_redirect");
            let mut response = plain(exchange, 307, NO_BODY);
            if let Ok(location) = HeaderValue::from_str(&to) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            return response;
        }
        Rejected::Malformed(details) => Own::new(400, flags_of(details), details, ""),
        Rejected::HeadersTooLarge => Own::new(431, Flags::DPE, "http2.too_many_headers", ""),
        Rejected::UpgradeRefused => Own::new(403, Flags::NONE, "upgrade_failed", ""),
    };
    conn.close.set(true);
    own.into_response(exchange, false)
}

/// What every answer gets, the proxy's own and others': `server`, and `Connection: close` where this is the last one.
pub(crate) fn finish(exchange: &Exchange, response: &mut Response<ResponseBody>, own: bool) {
    let conn = &exchange.conn;
    exchange.status.set(response.status().as_u16());
    let headers = response.headers_mut();
    if let Some(server) = &conn.hcm.server {
        match conn.hcm.config.server_header {
            ServerHeader::Overwrite => {
                headers.insert(header::SERVER, server.clone());
            }
            ServerHeader::AppendIfAbsent => {
                headers.entry(header::SERVER).or_insert_with(|| server.clone());
            }
            ServerHeader::PassThrough if own => {
                headers.insert(header::SERVER, server.clone());
            }
            ServerHeader::PassThrough => {}
        }
    }
    if let Some(most) = conn.hcm.config.max_requests_per_connection.filter(|most| *most > 0)
        && conn.requests.get() >= most
    {
        conn.drain(conn.proxy.shared.settings.drain);
    }
    if exchange.counted() {
        let line = "HTTP/1.1 200 OK\r\n\r\n".len();
        exchange.response_head.set(u32::try_from(line + headers_length(response.headers())).unwrap_or(u32::MAX));
    }
    if exchange.introduced.get()
        && let Some(introduction) = &conn.proxy.introduction
    {
        introduction.put(response.headers_mut());
    }
    if let Some(logs) = &conn.hcm.logs {
        exchange.kept.borrow_mut().response(&logs.sources, response.headers());
    }
    let last = conn.is_draining() || conn.close.get();
    if last && exchange.protocol != crate::telemetry::Protocol::Http2 && response.status() != 101 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// The text of such an answer.
pub(crate) fn reason(refusal: Refusal) -> &'static str {
    StatusCode::from_u16(refusal.status()).ok().and_then(|status| status.canonical_reason()).unwrap_or("Bad Request")
}

/// The bytes that answer a request which the codec never saw.
pub(crate) fn refusal(refusal: Refusal, hcm: &Hcm) -> Vec<u8> {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let reason = reason(refusal);
    let mut text = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16());
    if let Some(server) = hcm.server.as_ref().and_then(|value| value.to_str().ok()) {
        text.push_str(&format!("server: {server}\r\n"));
    }
    text.push_str(&format!(
        "content-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{reason}",
        reason.len()
    ));
    text.into_bytes()
}

/// What Envoy says of a request that it refuses: a client that was slow, or named no host, broke no protocol.
fn flags_of(details: &'static str) -> Flags {
    match details {
        "request_header_timeout" | "missing_host_header" => Flags::NONE,
        _ => Flags::DPE,
    }
}

/// A record of a request that was never read whole; `line` is its method and target where that much is known.
/// `sent`: bytes of the answer's body.
pub(crate) fn record_refused(
    conn: &Rc<ConnState>,
    line: Option<(&str, &str)>,
    status: u16,
    details: &'static str,
    sent: usize,
) {
    conn.exchange_begun();
    let exchange = Exchange::begin(conn, crate::telemetry::Protocol::Http11);
    if let Some((method, path)) = line {
        exchange.keep_request(&Head { method, path, authority: "", scheme: "http", headers: &HeaderMap::new() });
        let mut told = exchange.told.borrow_mut();
        (told.method, told.path) = (method.parse().ok(), path.parse().ok());
    }
    exchange.status.set(status);
    exchange.sent.set(sent as u64);
    exchange.flag(flags_of(details));
    exchange.details.set(details);
    exchange.end_response();
}
