//! A client's request made ready for the matcher: checked, its path normalised, its forwarding headers set.

use super::connection::ConnState;
use super::exchange::Exchange;
use super::{authority, steering};
use crate::telemetry::access_log::Head;
use crate::telemetry::peer;
use amime_model::config::Direction;
use amime_model::route::RequestView;
use amime_model::route::normalize::{Normalized, PathRules};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Version};
use hyper::body::Incoming;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");

/// A request as the matcher sees it and the router sends it on.
pub(crate) struct Prepared {
    pub(crate) method: Method,
    pub(crate) http2: bool,
    pub(crate) scheme: &'static str,
    /// As the request itself says, which is as good as its client's word; where it does not, `scheme`.
    pub(crate) own_scheme: &'static str,
    pub(crate) authority: HeaderValue,
    pub(crate) path: PathAndQuery,
    /// Without Host and what belongs to one connection only.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Incoming,
    pub(crate) grpc: bool,
    /// The protocol that the client asks to go over to.
    pub(crate) upgrade: Option<HeaderValue>,
}

/// What is answered instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// 400; the connection closes.
    Malformed(&'static str),
    /// 403; the connection closes, for what follows may not be HTTP.
    UpgradeRefused,
    HeadersTooLarge,
    Redirect(String),
}

impl Prepared {
    pub(crate) fn head(&self) -> Head<'_> {
        Head {
            method: self.method.as_str(),
            path: self.path.as_str(),
            authority: self.authority.to_str().unwrap_or(""),
            scheme: self.scheme,
            headers: &self.headers,
        }
    }

    pub(crate) fn view(&self) -> RequestView<'_> {
        RequestView {
            method: self.method.as_str(),
            scheme: self.scheme,
            authority: self.authority.to_str().unwrap_or(""),
            path: self.path.as_str(),
            headers: &self.headers,
        }
    }
}

/// Checks and prepares. What the record tells is taken before anything is changed.
pub(crate) fn prepare(exchange: &Rc<Exchange>, request: Request<Incoming>) -> Result<Prepared, Rejected> {
    let (mut parts, body) = request.into_parts();
    let http2 = parts.version == Version::HTTP_2;
    if exchange.recorded() {
        let mut told = exchange.told.borrow_mut();
        told.method = Some(parts.method.clone());
        told.path = parts.uri.path_and_query().cloned();
    }
    if exchange.counted() {
        exchange.request_head.set(head_length(&parts));
    }
    match checked(exchange, &mut parts) {
        Ok(Checked { authority, path, scheme, grpc, upgrade }) => {
            let Parts { method, headers, .. } = parts;
            let own_scheme = match parts.uri.scheme_str() {
                Some("https") => "https",
                Some("http") => "http",
                _ => scheme,
            };
            let prepared =
                Prepared { method, http2, scheme, own_scheme, authority, path, headers, body, grpc, upgrade };
            exchange.keep_request(&prepared.head());
            Ok(prepared)
        }
        Err(rejected) => {
            exchange.keep_request(&Head {
                method: parts.method.as_str(),
                path: parts.uri.path_and_query().map_or("", PathAndQuery::as_str),
                authority: parts.uri.authority().map_or("", |authority| authority.as_str()),
                scheme: "http",
                headers: &parts.headers,
            });
            Err(rejected)
        }
    }
}

/// What was found out about a request.
struct Checked {
    authority: HeaderValue,
    path: PathAndQuery,
    scheme: &'static str,
    grpc: bool,
    upgrade: Option<HeaderValue>,
}

fn checked(exchange: &Rc<Exchange>, parts: &mut Parts) -> Result<Checked, Rejected> {
    let conn = &exchange.conn;
    let http2 = parts.version == Version::HTTP_2;
    let authority = authority::of(conn, parts)?;
    if exchange.recorded() {
        exchange.told.borrow_mut().authority = Some(authority.clone());
    }
    if parts.method == Method::CONNECT {
        return Err(Rejected::UpgradeRefused);
    }
    // HTTP/1's were counted on the wire.
    if http2 && parts.headers.len() > conn.hcm.wire.headers {
        return Err(Rejected::HeadersTooLarge);
    }
    let path = path(conn, parts)?;
    let headers = &mut parts.headers;
    let upgrade = if http2 {
        http2_headers(headers)?;
        None
    } else {
        upgrade_of(conn, headers)?
    };
    strip_hop_by_hop(headers);
    meet(exchange, headers);
    let grpc = headers.get(header::CONTENT_TYPE).is_some_and(|kind| is_grpc(kind.as_bytes()));
    let scheme = forwarding_headers(exchange, headers);
    if exchange.recorded() {
        exchange.told.borrow_mut().request_id = headers.get(REQUEST_ID).cloned();
    }
    Ok(Checked { authority, path, scheme, grpc, upgrade })
}

/// Takes out what the client says of itself. It is heard where it comes from inside the mesh, which is the inbound
/// side of a sidecar.
fn meet(exchange: &Exchange, headers: &mut HeaderMap) {
    let conn = &exchange.conn;
    let (said, told) = peer::take(headers);
    if !told || conn.listener.config.direction != Direction::Inbound || conn.hcm.config.use_remote_address {
        return;
    }
    exchange.introduced.set(true);
    if let Some(peer) = said.and_then(|said| conn.proxy.peers.who(&said, &conn.peer)) {
        *exchange.peer.borrow_mut() = Some(peer);
    }
}

/// Bytes of a request's head as HTTP/1 writes it.
fn head_length(parts: &Parts) -> u32 {
    let target = parts.uri.path_and_query().map_or(1, |path| path.as_str().len());
    let authority = parts.uri.authority().map_or(0, |authority| "host: \r\n".len() + authority.as_str().len());
    let line = parts.method.as_str().len() + target + "  HTTP/1.1\r\n\r\n".len();
    u32::try_from(line + authority + headers_length(&parts.headers)).unwrap_or(u32::MAX)
}

/// Bytes of header lines.
pub(crate) fn headers_length(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum()
}

/// `application/grpc` and what continues it with `+` or `;`, not `application/grpc-web`.
fn is_grpc(kind: &[u8]) -> bool {
    kind.strip_prefix(b"application/grpc").is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

fn path(conn: &ConnState, parts: &Parts) -> Result<PathAndQuery, Rejected> {
    let path = match parts.uri.path_and_query() {
        Some(path) => path.clone(),
        None => PathAndQuery::from_static("/"),
    };
    let of_server = path.as_str() == "*" && parts.method == Method::OPTIONS;
    if !path.as_str().starts_with('/') && !of_server {
        return Err(Rejected::Malformed("bad_path"));
    }
    match PathRules::of(&conn.hcm.config).apply(path.as_str()) {
        Normalized::Path(std::borrow::Cow::Borrowed(_)) => Ok(path),
        Normalized::Path(std::borrow::Cow::Owned(new)) => {
            PathAndQuery::try_from(new).map_err(|_| Rejected::Malformed("path_normalization_failed"))
        }
        Normalized::Redirect(to) => Err(Rejected::Redirect(to)),
        Normalized::Refused => Err(Rejected::Malformed("path_normalization_failed")),
    }
}

/// HTTP/2 has no connection headers, and may spread cookies over several (RFC 9113, 8.2.2 and 8.2.3). Of lengths one
/// goes on: HTTP/1 servers refuse a second, or differ in which they believe (RFC 9110, 8.6).
fn http2_headers(headers: &mut HeaderMap) -> Result<(), Rejected> {
    if headers.contains_key(header::CONNECTION) || headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Rejected::Malformed("http2.connection_header"));
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let (Some(first), Some(_)) = (lengths.next(), lengths.next()) {
        if headers.get_all(header::CONTENT_LENGTH).iter().any(|other| other != first) {
            return Err(Rejected::Malformed("http2.inconsistent_content_length"));
        }
        let first = first.clone();
        headers.insert(header::CONTENT_LENGTH, first);
    }
    let mut cookies = headers.get_all(header::COOKIE).iter();
    if let (Some(first), Some(second)) = (cookies.next(), cookies.next()) {
        let mut joined = first.as_bytes().to_vec();
        for cookie in std::iter::once(second).chain(cookies) {
            joined.extend_from_slice(b"; ");
            joined.extend_from_slice(cookie.as_bytes());
        }
        if let Ok(joined) = HeaderValue::from_bytes(&joined) {
            headers.insert(header::COOKIE, joined);
        }
    }
    Ok(())
}

/// The protocol of an upgrade that is let through. `h2c` is not an upgrade to a proxy: the request is served as it is.
fn upgrade_of(conn: &ConnState, headers: &HeaderMap) -> Result<Option<HeaderValue>, Rejected> {
    let Some(protocol) = headers.get(header::UPGRADE) else { return Ok(None) };
    if !has_token(headers, header::CONNECTION, "upgrade") {
        return Ok(None);
    }
    let name = protocol.to_str().unwrap_or("");
    if name.eq_ignore_ascii_case("h2c") {
        return Ok(None);
    }
    if conn.hcm.upgrades_to(name) { Ok(Some(protocol.clone())) } else { Err(Rejected::UpgradeRefused) }
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// Takes out what belongs to one connection (RFC 9110, 7.6.1), headers that `Connection` names included.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // One look over all names: nearly no message has any of these, and each search for one would cost a hash.
    if !headers.keys().any(|name| HOP_BY_HOP.contains(&name.as_str())) {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|word| HeaderName::from_bytes(word.trim().as_bytes()).ok())
        // What a proxy needs to be told stays, whatever the client says about it.
        .filter(|name| ![FORWARDED_FOR, FORWARDED_PROTO, header::TE, header::CONTENT_LENGTH].contains(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
    // The one of them that another hop may need to know.
    let trailers = has_token(headers, header::TE, "trailers");
    for name in HOP_BY_HOP {
        headers.remove(*name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// `Expect` is among them: whoever reads the body answers it.
const HOP_BY_HOP: &[&str] =
    &["connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection", "http2-settings", "te", "expect"];

/// Sets the headers that tell where a request came from; gives back its scheme.
fn forwarding_headers(exchange: &Exchange, headers: &mut HeaderMap) -> &'static str {
    let conn = &exchange.conn;
    let hcm = &conn.hcm.config;
    steering::drop_all(headers, hcm.use_remote_address);
    if let Some(client) = client(headers, hcm.use_remote_address, hcm.xff_num_trusted_hops) {
        exchange.remote.set(SocketAddr::new(client, 0));
    }
    if hcm.use_remote_address {
        append_forwarded_for(headers, &conn.remote_text);
        if let Ok(value) = HeaderValue::from_str(&exchange.remote.get().ip().to_string()) {
            headers.insert(EXTERNAL_ADDRESS, value);
        }
    }
    // Only a trusted proxy in front may say what the client spoke.
    let told = !hcm.use_remote_address || hcm.xff_num_trusted_hops > 0;
    let scheme = match headers.get(FORWARDED_PROTO).filter(|_| told).map(HeaderValue::as_bytes) {
        Some(b"https") => "https",
        Some(b"http") => "http",
        _ => {
            let own = if conn.chain.tls.is_some() { "https" } else { "http" };
            headers.insert(FORWARDED_PROTO, HeaderValue::from_static(own));
            own
        }
    };
    if hcm.generate_request_id {
        let replace = hcm.use_remote_address && !hcm.preserve_external_request_id;
        if replace || !headers.contains_key(REQUEST_ID) {
            headers.insert(REQUEST_ID, request_id(conn));
        }
    }
    scheme
}

/// The client's address, by Envoy's rule. An edge (`edge`) is its own first witness: of what `x-forwarded-for` says it
/// believes as many entries, from the last one on, as there are trusted proxies in front. Others believe whoever sends
/// to them, which is one entry more. None: the peer itself is the client.
fn client(headers: &HeaderMap, edge: bool, hops: u32) -> Option<IpAddr> {
    let before = if edge { hops.checked_sub(1)? } else { hops };
    let values = headers.get_all(FORWARDED_FOR).iter().rev();
    let mut entries = values.flat_map(|value| value.to_str().unwrap_or("").rsplit(','));
    entries.nth(before as usize)?.trim().parse().ok()
}

pub(super) fn append_forwarded_for(headers: &mut HeaderMap, remote: &HeaderValue) {
    let mut before = headers.get_all(FORWARDED_FOR).iter().peekable();
    if before.peek().is_none() {
        headers.insert(FORWARDED_FOR, remote.clone());
        return;
    }
    let mut text = Vec::with_capacity(64);
    for value in before {
        text.extend_from_slice(value.as_bytes());
        text.push(b',');
    }
    text.extend_from_slice(remote.as_bytes());
    if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(text)) {
        headers.insert(FORWARDED_FOR, value);
    }
}

/// A UUID, version 4.
fn request_id(conn: &ConnState) -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let rng = &conn.proxy.rng;
    let mut random = [0u8; 16];
    random[..8].copy_from_slice(&rng.next_u64().to_le_bytes());
    random[8..].copy_from_slice(&rng.next_u64().to_le_bytes());
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let mut text = [0u8; 36];
    let mut at = 0;
    for (i, byte) in random.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text[at] = b'-';
            at += 1;
        }
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
        at += 2;
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
