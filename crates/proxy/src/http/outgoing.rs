//! The head of a request as it goes upstream: the route's edits, path and authority, what each version wants.

use super::body::RequestBody;
use super::exchange::Exchange;
use super::format::Values;
use super::forward::count_attempt;
use super::prepare::Prepared;
use super::respond::Own;
use crate::balance::Host;
use crate::flags::Flags;
use crate::telemetry::access_log;
use crate::telemetry::peer::OwnHeaders;
use amime_model::route::{Forwarding, Selection};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Uri, Version};
use hyper::body::Body;
use std::time::Duration;

const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
const ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-envoy-original-host");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");

#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
    pub(super) authority: HeaderValue,
    pub(super) headers: HeaderMap,
    /// As the client said, whatever the upstream is spoken to by, as in Envoy.
    pub(super) scheme: &'static str,
    pub(super) upgrade: Option<HeaderValue>,
}

/// Applies what the route says. Takes the headers out of `prepared`. `total` is the time that all of it may take.
pub(super) fn head(
    forwarding: &Forwarding<'_>,
    selection: &Selection<'_>,
    prepared: &mut Prepared,
    exchange: &Exchange,
    total: Option<Duration>,
) -> Result<Head, Own> {
    let mut headers = std::mem::take(&mut prepared.headers);
    let values = Values::new(exchange, prepared, &selection.route.name, &forwarding.cluster.name);
    for edits in selection.request_edits(forwarding.cluster_index) {
        if !edits.is_empty() {
            edits.apply(&mut headers, &|command, headers| values.of(command, headers));
        }
    }
    let bad = |details| Own::new(400, Flags::NONE, details, "");
    let mut path = prepared.path.clone();
    if let Some(rewritten) = &forwarding.path {
        if let Ok(original) = HeaderValue::from_str(path.as_str()) {
            headers.insert(ORIGINAL_PATH, original);
        }
        path = PathAndQuery::try_from(rewritten.as_str()).map_err(|_| bad("rewritten_path_invalid"))?;
    }
    let authority = match forwarding.authority {
        Some(rewritten) => {
            headers.insert(ORIGINAL_HOST, prepared.authority.clone());
            HeaderValue::from_str(rewritten).map_err(|_| bad("rewritten_authority_invalid"))?
        }
        None => prepared.authority.clone(),
    };
    tell_time(forwarding, &mut headers, total, Duration::ZERO, prepared.grpc);
    // The log tells of the request as it went on.
    exchange.keep_request(&access_log::Head {
        method: prepared.method.as_str(),
        path: path.as_str(),
        authority: authority.to_str().unwrap_or(""),
        scheme: prepared.scheme,
        headers: &headers,
    });
    Ok(Head {
        method: prepared.method.clone(),
        path,
        authority,
        headers,
        scheme: prepared.own_scheme,
        upgrade: prepared.upgrade.take(),
    })
}

/// How long the upstream has: the time of one try, where that is less than what is left of all after `spent`; in
/// gRPC's own header too, where the route's time counts for gRPC. A millisecond where nothing is left, for 0 is for ever.
fn tell_time(
    forwarding: &Forwarding<'_>,
    headers: &mut HeaderMap,
    total: Option<Duration>,
    spent: Duration,
    grpc: bool,
) {
    let route = forwarding.route;
    if route.timeout.is_none() && route.max_grpc_timeout.is_none() && route.grpc_timeout_max.is_none() {
        return;
    }
    let one_try = route.retry.as_ref().and_then(|retry| retry.per_try_timeout).filter(|time| !time.is_zero());
    let left = total.map(|total| total.saturating_sub(spent).max(Duration::from_millis(1)));
    let Some(time) = left.into_iter().chain(one_try).min() else { return };
    let millis = time.as_millis() as u64;
    headers.insert(EXPECTED_TIMEOUT, HeaderValue::from(millis));
    if grpc && route.max_grpc_timeout.or(route.grpc_timeout_max).is_some() {
        let text = if millis < 100_000_000 { format!("{millis}m") } else { format!("{}S", millis / 1000) };
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(GRPC_TIMEOUT, value);
        }
    }
}

impl Head {
    /// For a try after the first: how long the upstream has now.
    pub(super) fn tell_time_left(
        &mut self,
        forwarding: &Forwarding<'_>,
        total: Option<Duration>,
        spent: Duration,
        grpc: bool,
    ) {
        tell_time(forwarding, &mut self.headers, total, spent, grpc);
    }

    /// What differs from try to try.
    pub(super) fn for_try(
        mut self,
        selection: &Selection<'_>,
        host: &Host,
        forwarding: &Forwarding<'_>,
        attempt: u32,
        introduction: Option<&OwnHeaders>,
    ) -> Self {
        if let Some(introduction) = introduction {
            introduction.put(&mut self.headers);
        }
        if selection.host.include_request_attempt_count {
            count_attempt(&mut self.headers, attempt);
        }
        if forwarding.route.auto_host_rewrite
            && let Some(name) = host.endpoint.as_ref().map(|endpoint| endpoint.hostname.as_str())
            && !name.is_empty()
            && let Ok(name) = HeaderValue::from_str(name)
        {
            self.authority = name;
        }
        self
    }

    /// The request in the version that the upstream speaks. An error where the authority is none.
    pub(super) fn into_request(self, http2: bool, body: RequestBody) -> Result<Request<RequestBody>, http::Error> {
        let Self { method, path, authority, mut headers, scheme, upgrade } = self;
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(path);
        if http2 {
            parts.scheme = Some(if scheme == "https" { Scheme::HTTPS } else { Scheme::HTTP });
            parts.authority = Some(Authority::try_from(authority.as_bytes())?);
        } else {
            headers.insert(header::HOST, authority);
            tell_length(&method, &mut headers, body.is_end_stream(), upgrade.is_some());
            if let Some(protocol) = upgrade {
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(header::UPGRADE, protocol);
            }
        }
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_parts(parts)?;
        *request.version_mut() = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// A request that was written for HTTP/2, for HTTP/1.
pub(crate) fn as_http1(mut request: Request<RequestBody>) -> Request<RequestBody> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = None;
    let authority = parts.authority.take();
    if let Some(host) = authority.as_ref().and_then(|a| HeaderValue::from_str(a.as_str()).ok()) {
        request.headers_mut().insert(header::HOST, host);
    }
    // All that a tunnel is asked for by (RFC 9112, 3.2.3).
    if request.method() == Method::CONNECT {
        parts.authority = authority;
    }
    // A path alone is a whole URI, and so is an authority.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *request.version_mut() = Version::HTTP_11;
    let (method, ends) = (request.method().clone(), request.body().is_end_stream());
    tell_length(&method, request.headers_mut(), ends, false);
    request
}

/// What [`as_http1`] has made of a request for this URI, for HTTP/2 again.
pub(crate) fn as_http2(mut request: Request<RequestBody>, uri: Uri) -> Request<RequestBody> {
    request.headers_mut().remove(header::HOST);
    request.headers_mut().remove(header::TRANSFER_ENCODING);
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    request
}

fn tell_length(method: &Method, headers: &mut HeaderMap, ends: bool, upgrades: bool) {
    // The codec takes a GET of unknown length for one without a body.
    if !ends && !headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if ends && !upgrades && may_have_content(method) {
        headers.entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
    }
}

/// Servers may ask for a length of requests that could have content (RFC 9110, 8.6).
fn may_have_content(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::DELETE | Method::TRACE | Method::CONNECT)
}
