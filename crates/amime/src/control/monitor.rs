//! The port 15014: what the control plane tells of itself. `run` starts it.

use crate::serve::{self, Answer, Page};
use http::{Request, StatusCode};
use hyper::body::Incoming;

const PAGES: &[Page] = &[Page::read("/version", "the version of this control plane")];

pub(super) fn answer(request: &Request<Incoming>) -> Answer {
    match serve::find(PAGES, request) {
        Ok(_) => serve::text(StatusCode::OK, concat!(env!("CARGO_PKG_VERSION"), "\n")),
        Err(answer) => *answer,
    }
}
