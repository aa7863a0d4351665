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

const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");

#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
    pub(super) authority: HeaderValue,
    pub(super) headers: HeaderMap,
    pub(super) upgrade: Option<HeaderValue>,
}

/// Applies what the route says. Takes the headers out of `prepared`.
pub(super) fn head(
    forwarding: &Forwarding<'_>,
    selection: &Selection<'_>,
    prepared: &mut Prepared,
    exchange: &Exchange,
) -> Result<Head, Own> {
    let mut headers = std::mem::take(&mut prepared.headers);
    let values = Values {
        exchange,
        request: None,
        method: prepared.method.as_str(),
        authority: prepared.authority.to_str().unwrap_or(""),
        path: prepared.path.as_str(),
        route: &selection.route.name,
        cluster: &forwarding.cluster.name,
        upstream: None,
        status: None,
    };
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
        Some(rewritten) => HeaderValue::from_str(rewritten).map_err(|_| bad("rewritten_authority_invalid"))?,
        None => prepared.authority.clone(),
    };
    if let Some(timeout) = forwarding.route.timeout.filter(|timeout| !timeout.is_zero()) {
        headers.insert(EXPECTED_TIMEOUT, HeaderValue::from(timeout.as_millis() as u64));
    }
    // The log tells of the request as it went on.
    exchange.keep_request(&access_log::Head {
        method: prepared.method.as_str(),
        path: path.as_str(),
        authority: authority.to_str().unwrap_or(""),
        scheme: prepared.scheme,
        headers: &headers,
    });
    Ok(Head { method: prepared.method.clone(), path, authority, headers, upgrade: prepared.upgrade.take() })
}

impl Head {
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
        let Self { method, path, authority, mut headers, upgrade } = self;
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(path);
        if http2 {
            parts.scheme = Some(Scheme::HTTP);
            parts.authority = Some(Authority::try_from(authority.as_bytes())?);
        } else {
            headers.insert(header::HOST, authority);
            // The codec takes a GET of unknown length for one without a body.
            if !body.is_end_stream() && !headers.contains_key(header::CONTENT_LENGTH) {
                headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
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
