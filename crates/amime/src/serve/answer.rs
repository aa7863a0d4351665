//! The answers that pages are given as: plain text, JSON, HTML. Handlers of `serve::http` make them.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

pub(crate) type Answer = Response<Full<Bytes>>;

/// Plain text, as it is.
pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, "text/plain; charset=utf-8", body.into())
}

/// 200 with a value as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_vec_pretty(value) {
        Ok(mut body) => {
            body.push(b'\n');
            answer(StatusCode::OK, "application/json", body.into())
        }
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// 200 with a page for a browser.
pub(crate) fn html(body: impl Into<Bytes>) -> Answer {
    answer(StatusCode::OK, "text/html; charset=utf-8", body.into())
}

/// A sentence that says why there is no better answer.
pub(crate) fn problem(status: StatusCode, why: &str) -> Answer {
    text(status, format!("{why}\n"))
}

fn answer(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // What is told here is true now, and at no other time.
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0"));
    answer
}
