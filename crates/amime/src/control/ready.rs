//! The port 8080: `/ready`, 200 once proxies are served. `run` starts it.

use crate::serve::{self, Answer, Page};
use http::{Request, StatusCode};
use hyper::body::Incoming;

const PAGES: &[Page] = &[Page::read("/ready", "200 once proxies are served")];

pub(super) fn answer(request: &Request<Incoming>, ready: bool) -> Answer {
    match serve::find(PAGES, request) {
        Ok(_) if ready => serve::text(StatusCode::OK, "ready\n"),
        Ok(_) => serve::text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        Err(answer) => *answer,
    }
}
