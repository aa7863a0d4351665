//! One timer for all the time limits of a request: the earliest of them, re-armed when it fires early.
//!
//! A connection keeps its timer from request to request, so that a request that is in time costs the
//! runtime's timer wheel nothing.

use super::exchange::Exchange;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// A timer that can be used again.
pub(crate) type SpareTimer = Pin<Box<Sleep>>;

/// What ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    /// The time of the whole exchange, retries and body included.
    Total,
    /// The time of one try.
    Try,
    /// The time without a byte either way.
    Idle,
}

#[derive(Default)]
pub(crate) struct Deadline {
    pub(crate) timer: Option<SpareTimer>,
    /// From the end of the client's request (as in Envoy) to the end of the answer.
    pub(crate) total: Option<Duration>,
    /// From the end of the client's request, or the start of the try where that is later.
    pub(crate) one_try: Option<(Duration, Instant)>,
    pub(crate) idle: Option<Duration>,
    /// Between two bytes of the client's request, until there is an answer.
    pub(crate) body: Option<Duration>,
}

impl Deadline {
    /// The next moment at which something may run out, with what. While the client still sends, the limits
    /// that begin with the end of its request count from now.
    fn next(&self, exchange: &Exchange) -> Option<(Instant, Expired)> {
        let done = || exchange.request_done_at.get().unwrap_or_else(Instant::now);
        let total = self.total.map(|total| (done() + total, Expired::Total));
        let one_try = self.one_try.map(|(limit, since)| (done().max(since) + limit, Expired::Try));
        let idle = self.idle.map(|idle| (exchange.last.get() + idle, Expired::Idle));
        let body = self.body.filter(|_| exchange.request_done_at.get().is_none());
        let body = body.map(|body| (exchange.last.get() + body, Expired::Idle));
        [total, one_try, idle, body].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Ready when a limit has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, exchange: &Exchange) -> Poll<Expired> {
        loop {
            let Some((next, expired)) = self.next(exchange) else { return Poll::Pending };
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next.into())));
            // One that fires early is armed again then; one that would fire late must be armed now.
            if timer.deadline() > next.into() {
                timer.as_mut().reset(next.into());
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= next {
                return Poll::Ready(expired);
            }
            timer.as_mut().reset(next.into());
        }
    }
}
