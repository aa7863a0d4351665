//! The request body for each try of a request.

use super::body::{ReplaySource, RequestBody, Streamed};
use std::rc::Rc;

/// What further tries can have of the client's body.
pub(super) enum Bodies {
    None,
    /// For the one try that there is.
    Once(Option<Box<Streamed>>),
    Replay(Rc<ReplaySource>),
}

impl Bodies {
    pub(super) fn new(body: Option<Streamed>, retried: bool) -> Self {
        match body {
            None => Self::None,
            Some(body) if retried => Self::Replay(ReplaySource::new(body)),
            Some(body) => Self::Once(Some(Box::new(body))),
        }
    }

    pub(super) fn next(&mut self) -> RequestBody {
        match self {
            Self::None => RequestBody::Empty,
            Self::Once(body) => body.take().map_or(RequestBody::Empty, |body| RequestBody::Stream(*body)),
            Self::Replay(source) => source.reader(),
        }
    }

    pub(super) fn can_replay(&self) -> bool {
        match self {
            Self::None => true,
            Self::Once(_) => false,
            Self::Replay(source) => source.can_replay(),
        }
    }
}
