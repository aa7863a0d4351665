//! The client's body for several tries: read once, with a bounded copy from which each further try starts again.

use super::{BodyError, RequestBody, Streamed};
use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// How many bytes of a request are kept for a retry, as Envoy's default buffer limit.
const REPLAY_LIMIT: usize = 1024 * 1024;
/// What keeping a part of it costs at least.
const KEPT_LEAST: usize = 64;
/// Parts so small are copied out of the buffer that they were read into.
const SMALL: usize = 1024;

/// The client's body with a copy of what was read, from which a further try starts again.
pub(crate) struct ReplaySource {
    body: RefCell<Streamed>,
    copied: RefCell<Vec<Bytes>>,
    trailers: RefCell<Option<HeaderMap>>,
    size: Cell<usize>,
    ended: Cell<bool>,
    /// Too long to be kept: no further try.
    too_long: Cell<bool>,
    /// The try that reads now; an earlier one, whose connection may not know yet, reads no more.
    reader: Cell<u32>,
    pub(super) hint: SizeHint,
}

impl ReplaySource {
    pub(crate) fn new(body: Streamed) -> Rc<Self> {
        let hint = body.incoming.size_hint();
        Rc::new(Self {
            body: RefCell::new(body),
            copied: RefCell::default(),
            trailers: RefCell::default(),
            size: Cell::new(0),
            ended: Cell::new(false),
            too_long: Cell::new(false),
            reader: Cell::new(0),
            hint,
        })
    }

    pub(crate) fn can_replay(&self) -> bool {
        !self.too_long.get() && !self.body.borrow().exchange.request_failed.get()
    }

    /// The body from its start.
    pub(crate) fn reader(self: &Rc<Self>) -> RequestBody {
        let id = self.reader.get() + 1;
        self.reader.set(id);
        RequestBody::Replay(Replay { source: Rc::clone(self), id, next: 0, given: 0, trailers_given: false })
    }
}

/// One try's reader of a `ReplaySource`.
pub(crate) struct Replay {
    pub(super) source: Rc<ReplaySource>,
    id: u32,
    next: usize,
    pub(super) given: u64,
    trailers_given: bool,
}

impl Replay {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let source = &self.source;
        if source.reader.get() != self.id {
            return Poll::Ready(Some(Err(BodyError::Superseded)));
        }
        if let Some(data) = source.copied.borrow().get(self.next) {
            self.next += 1;
            self.given += data.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        if source.ended.get() {
            if let (Some(trailers), false) = (&*source.trailers.borrow(), self.trailers_given) {
                self.trailers_given = true;
                return Poll::Ready(Some(Ok(Frame::trailers(trailers.clone()))));
            }
            return Poll::Ready(None);
        }
        match ready!(source.body.borrow_mut().poll(cx)) {
            None => {
                source.ended.set(true);
                Poll::Ready(None)
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    *source.trailers.borrow_mut() = Some(trailers.clone());
                    self.trailers_given = true;
                    source.ended.set(true);
                } else if let Some(data) = frame.data_ref() {
                    self.given += data.len() as u64;
                    source.size.set(source.size.get() + data.len().max(KEPT_LEAST));
                    if source.size.get() > REPLAY_LIMIT {
                        source.too_long.set(true);
                        source.copied.take();
                    } else if !data.is_empty() {
                        // A small part would keep the whole buffer that it was read into.
                        let kept = if data.len() < SMALL { Bytes::copy_from_slice(data) } else { data.clone() };
                        source.copied.borrow_mut().push(kept);
                        self.next += 1;
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    pub(super) fn is_end(&self) -> bool {
        let source = &self.source;
        if self.next < source.copied.borrow().len() {
            return false;
        }
        let trailers = source.trailers.borrow().is_some() && !self.trailers_given;
        !trailers && (source.ended.get() || source.body.borrow().incoming.is_end_stream())
    }
}
