//! Cross-origin requests, as Envoy's CORS filter answers them.

use super::matcher::Text;
use super::request::RequestView;
use super::table::CompileProblem;
use crate::config::Cors;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// A `config::Cors`, compiled.
#[derive(Debug)]
pub struct CompiledCors {
    origins: Vec<Text>,
    /// One of the origins takes a literal `*`: Envoy allows every origin then.
    any_origin: bool,
    allow_methods: Option<HeaderValue>,
    allow_headers: Option<HeaderValue>,
    expose_headers: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
    credentials: bool,
    forward_not_matching: bool,
}

/// What the policy means for one request.
#[derive(Debug)]
pub(super) enum CorsDecision {
    /// A preflight that is answered with these headers: without an allowed origin, where that does not match and such
    /// preflights are not sent on.
    Preflight(HeaderMap),
    /// Sent on; the response gets these headers.
    Allowed(HeaderMap),
    /// Not a cross-origin request of an allowed origin: sent on as it is.
    Plain,
}

impl CompiledCors {
    pub(super) fn compile(cors: &Cors) -> Result<Self, CompileProblem> {
        let origins = cors.allow_origins.iter().map(Text::compile).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            any_origin: origins.iter().any(|origin| origin.holds("*", false)),
            origins,
            allow_methods: list(&cors.allow_methods)?,
            allow_headers: list(&cors.allow_headers)?,
            expose_headers: list(&cors.expose_headers)?,
            max_age: cors.max_age.map(|age| HeaderValue::from(age.as_secs())),
            credentials: cors.allow_credentials.unwrap_or(false),
            forward_not_matching: cors.forward_not_matching_preflights.unwrap_or(true),
        })
    }

    pub(super) fn decide(&self, request: &RequestView<'_>) -> CorsDecision {
        // Empty is as not there.
        let said = |name: HeaderName| request.headers.get(name).filter(|value| !value.is_empty());
        let Some(origin) = said(header::ORIGIN) else { return CorsDecision::Plain };
        let listed = || origin.to_str().is_ok_and(|text| self.origins.iter().any(|o| o.holds(text, false)));
        let allowed = self.any_origin || listed();
        let preflight = request.method == "OPTIONS" && said(header::ACCESS_CONTROL_REQUEST_METHOD).is_some();
        if !allowed && (!preflight || self.forward_not_matching) {
            return CorsDecision::Plain;
        }
        let mut headers = HeaderMap::new();
        let mut put = |name: HeaderName, value: &Option<HeaderValue>| {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        };
        if allowed {
            put(header::ACCESS_CONTROL_ALLOW_ORIGIN, &Some(origin.clone()));
            // Of no use to a preflight, where Envoy sends it all the same.
            put(header::ACCESS_CONTROL_EXPOSE_HEADERS, &self.expose_headers);
        }
        let credentials = self.credentials.then_some(HeaderValue::from_static("true"));
        put(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, &credentials);
        if !preflight {
            return CorsDecision::Allowed(headers);
        }
        let asked = |name: HeaderName| request.headers.get(name).cloned().unwrap_or(HeaderValue::from_static(""));
        put(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            &granted(&self.allow_methods, || asked(header::ACCESS_CONTROL_REQUEST_METHOD)),
        );
        put(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            &granted(&self.allow_headers, || asked(header::ACCESS_CONTROL_REQUEST_HEADERS)),
        );
        put(header::ACCESS_CONTROL_MAX_AGE, &self.max_age);
        CorsDecision::Preflight(headers)
    }
}

/// What is allowed; for `*`, which browsers do not take with credentials, what was asked for, as Envoy says it.
fn granted(allowed: &Option<HeaderValue>, asked: impl FnOnce() -> HeaderValue) -> Option<HeaderValue> {
    let allowed = allowed.as_ref()?;
    Some(if allowed == "*" { asked() } else { allowed.clone() })
}

fn list(words: &[String]) -> Result<Option<HeaderValue>, CompileProblem> {
    if words.is_empty() {
        return Ok(None);
    }
    let text = words.join(",");
    HeaderValue::from_str(&text)
        .map(Some)
        .map_err(|_| CompileProblem(format!("`{}` is no header value", text.escape_debug())))
}
