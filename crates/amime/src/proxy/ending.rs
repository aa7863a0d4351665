//! How a proxy ends, step by step: nothing that was sent to it is lost, and a sidecar's application keeps its way out
//! for as long as it may need it. `run` calls it when the proxy is told to end.

use super::Kind;
use super::pages::Draining;
use super::settings::Lifecycle;
use amime_proxy::{Proxy, Side};
use std::time::{Duration, Instant};

/// Of all the time that a proxy has to end, new connections are taken for so much: who sends them has not learnt yet.
const ACCEPT: f64 = 0.8;
/// So long without a new connection a gateway takes for a sign that everybody has learnt it.
const QUIET: Duration = Duration::from_secs(10);
/// For so long at most connections may be idle once they are told to end.
const LEAVE: Duration = Duration::from_secs(5);
/// So long must nothing go on before a sidecar ends early: its application may be between two calls.
const IDLE: Duration = Duration::from_secs(1);
/// How often it is asked what goes on.
const LOOK: Duration = Duration::from_millis(20);
/// How long the last answers may take to be written once the time is over.
const LAST: Duration = Duration::from_millis(200);

/// When each step is over, from the moment that the proxy is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Steps {
    /// Idle connections are closed.
    leave: Duration,
    /// New connections are taken.
    accept: Duration,
    /// Or until so long none has come.
    quiet: Option<Duration>,
    /// It goes on whatever there is.
    at_least: Duration,
    /// None: for as long as something goes on.
    at_most: Option<Duration>,
}

impl Steps {
    fn of(kind: Kind, lifecycle: Lifecycle) -> Self {
        let at_most = (!lifecycle.exit_on_zero).then_some(lifecycle.termination_drain);
        let whole = at_most.unwrap_or(lifecycle.minimum_drain);
        let at_least = match kind {
            // Nobody's way out: it may end once it takes nothing any more.
            Kind::Gateway if !lifecycle.exit_on_zero => Duration::ZERO,
            // What its application still has to call, nobody but the application knows: Istio's agent waits it all.
            Kind::Gateway | Kind::Sidecar => whole,
        };
        // Who calls a sidecar may know its address alone; a gateway is left by its load balancer.
        let quiet = (kind == Kind::Gateway).then_some(QUIET);
        Self { leave: LEAVE.min(whole / 2), accept: whole.mul_f64(ACCEPT), quiet, at_least, at_most }
    }

    /// Whether new connections are taken yet, the last of them having come so long ago.
    fn accepts(self, elapsed: Duration, last: Duration) -> bool {
        elapsed < self.accept && self.quiet.is_none_or(|quiet| last < quiet)
    }

    /// The same, of a proxy that has drained and accepted for so long before it was told to end.
    fn after(self, accepted_for: Duration) -> Self {
        Self {
            leave: self.leave.saturating_sub(accepted_for),
            accept: self.accept.saturating_sub(accepted_for),
            ..self
        }
    }
}

/// A drain that a page was asked for, before the proxy is told to end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    at: Instant,
    graceful: bool,
}

impl Begun {
    /// One more drain is asked for: who sends connections has known since the first.
    pub(super) fn with(before: Option<Self>, draining: Draining) -> Self {
        let at = before.map_or_else(Instant::now, |before| before.at);
        Self { at, graceful: draining.graceful && before.is_none_or(|before| before.graceful) }
    }

    /// For how long new connections were taken already, of all the time for it.
    fn accepted_for(self) -> Duration {
        if self.graceful { self.at.elapsed() } else { Duration::MAX }
    }
}

/// Drains and goes on running, because a page was asked for it.
pub(super) async fn stop_accepting(proxy: &Proxy, draining: Draining, kind: Kind, lifecycle: Lifecycle) {
    let steps = Steps::of(kind, lifecycle);
    proxy.begin_drain(draining.side(), steps.leave).await;
    if draining.graceful {
        accept(proxy, steps).await;
    }
    proxy.stop_accepting(draining.side()).await;
}

/// Lets the proxy end as its kind and its lifecycle say. `before`: it drains already, and so much less is the time
/// for which it accepts; all other times count from now.
pub(super) async fn drain(proxy: &Proxy, kind: Kind, lifecycle: Lifecycle, before: Option<Begun>) {
    let begun = Instant::now();
    let steps = Steps::of(kind, lifecycle).after(before.map_or(Duration::ZERO, Begun::accepted_for));
    let side = if kind == Kind::Sidecar { Side::Inbound } else { Side::All };
    proxy.begin_drain(side, steps.leave).await;
    accept(proxy, steps).await;
    proxy.stop_accepting(side).await;
    let idle_for = if kind == Kind::Sidecar { IDLE } else { Duration::ZERO };
    let mut busy = Instant::now();
    while steps.at_most.is_none_or(|most| begun.elapsed() < most) {
        let connections = if kind == Kind::Sidecar { proxy.busy_connections().await } else { proxy.connections() };
        if connections > 0 {
            busy = Instant::now();
        } else if begun.elapsed() >= steps.at_least && busy.elapsed() >= idle_for {
            break;
        }
        let left = steps.at_most.map(|most| most.saturating_sub(begun.elapsed()));
        tokio::time::sleep(left.map_or(LOOK, |left| left.min(LOOK))).await;
    }
    proxy.drain(LAST).await;
}

/// Waits for as long as new connections are to be taken.
async fn accept(proxy: &Proxy, steps: Steps) {
    let begun = Instant::now();
    let (mut seen, mut last) = (proxy.late_connections(), begun);
    while steps.accepts(begun.elapsed(), last.elapsed()) {
        tokio::time::sleep(LOOK).await;
        let now = proxy.late_connections();
        if now != seen {
            (seen, last) = (now, Instant::now());
        }
    }
}

/// Lets the proxy end now, for who asks for it (quitquitquit) needs it no more.
pub(super) async fn quit(proxy: &Proxy) {
    proxy.drain(LAST).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifecycle(termination: u64, minimum: u64, exit_on_zero: bool) -> Lifecycle {
        Lifecycle {
            termination_drain: Duration::from_secs(termination),
            minimum_drain: Duration::from_secs(minimum),
            exit_on_zero,
            idle_drain: Duration::from_secs(45),
        }
    }

    #[test]
    fn steps_by_kind_and_lifecycle() {
        let millis = |steps: Steps| {
            let Steps { leave, accept, at_least, at_most, .. } = steps;
            (leave.as_millis(), accept.as_millis(), at_least.as_millis(), at_most.map(|most| most.as_millis()))
        };
        for (kind, lifecycle, expected) in [
            (Kind::Sidecar, lifecycle(5, 5, false), (2500, 4000, 5000, Some(5000))),
            (Kind::Sidecar, lifecycle(60, 5, false), (5000, 48_000, 60_000, Some(60_000))),
            (Kind::Sidecar, lifecycle(60, 5, true), (2500, 4000, 5000, None)),
            (Kind::Gateway, lifecycle(60, 5, false), (5000, 48_000, 0, Some(60_000))),
            (Kind::Gateway, lifecycle(5, 5, false), (2500, 4000, 0, Some(5000))),
            (Kind::Gateway, lifecycle(5, 20, true), (5000, 16_000, 20_000, None)),
            (Kind::Sidecar, lifecycle(0, 5, false), (0, 0, 0, Some(0))),
        ] {
            assert_eq!(millis(Steps::of(kind, lifecycle)), expected, "{kind:?} {lifecycle:?}");
        }
    }

    #[test]
    fn a_short_silence_is_no_reason_to_close_the_door() {
        let seconds = Duration::from_secs;
        let accepts = |kind, total, elapsed, last| {
            Steps::of(kind, lifecycle(total, 5, false)).accepts(seconds(elapsed), seconds(last))
        };
        assert!(accepts(Kind::Gateway, 5, 3, 3) && accepts(Kind::Gateway, 60, 9, 9));
        assert!(!accepts(Kind::Gateway, 60, 10, 10) && accepts(Kind::Gateway, 60, 30, 5));
        assert!(accepts(Kind::Sidecar, 60, 47, 47) && !accepts(Kind::Sidecar, 60, 48, 1));
    }

    #[test]
    fn a_drain_before_shortens_only_how_long_it_accepts() {
        for (kind, exit_on_zero) in [(Kind::Sidecar, false), (Kind::Sidecar, true), (Kind::Gateway, true)] {
            let steps = Steps::of(kind, lifecycle(60, 30, exit_on_zero));
            let later = steps.after(Duration::from_secs(2));
            assert_eq!((later.at_least, later.at_most), (steps.at_least, steps.at_most));
            assert_eq!(later.accept, steps.accept - Duration::from_secs(2));
            assert_eq!(later.leave, steps.leave - Duration::from_secs(2));
        }
        let asked = |graceful| Draining { all: true, graceful };
        let first = Begun::with(None, asked(true));
        assert_eq!(Begun::with(Some(first), asked(true)).at, first.at);
        let closed = Begun::with(Some(first), asked(false)).accepted_for();
        assert_eq!(Steps::of(Kind::Sidecar, lifecycle(60, 5, false)).after(closed).accept, Duration::ZERO);
    }
}
