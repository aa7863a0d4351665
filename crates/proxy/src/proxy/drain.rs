//! Ending without a lost request: what is there is told to end while new connections are still taken, for those who
//! send them do not know yet; then the sockets close. The binary decides how long each step takes.

use super::Proxy;
use crate::proxy_worker::Draining;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What of a proxy ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Inbound listeners. Outbound goes on: the application may need it for what it still does.
    Inbound,
    /// All listeners.
    All,
}

impl From<Side> for Draining {
    fn from(side: Side) -> Self {
        match side {
            Side::Inbound => Self::Inbound,
            Side::All => Self::All,
        }
    }
}

impl Proxy {
    /// Is not ready any more, and tells the connections of that side to end: answers carry `Connection: close` (GOAWAY
    /// for HTTP/2), idle ones are closed after `idle`. New ones are still taken and told the same.
    pub async fn begin_drain(&self, side: Side, idle: Duration) {
        let inner = &self.0;
        inner.shared.drain(side.into(), Some(idle));
        inner.ready.send_replace(false);
        // An error: the workers are gone, and all connections with them.
        let _ = inner.on_workers(move |proxy| proxy.drain_side(side.into())).await;
    }

    /// Closes the sockets of that side, once what the kernel has queued at them is taken.
    pub async fn stop_accepting(&self, side: Side) {
        let inner = &self.0;
        inner.shared.stop(side.into());
        // After an update that is under way, for it may open some.
        let _state = inner.state.lock().await;
        // An error: the workers are gone, and all sockets with them.
        let _ = inner.on_workers(move |proxy| proxy.stop_accepting(side.into())).await;
    }

    /// Whether a side is on its way out.
    pub fn is_draining(&self) -> bool {
        self.0.shared.is_draining()
    }

    /// How many connections came to a side that drains, so far.
    pub fn late_connections(&self) -> u64 {
        self.0.shared.late.load(Ordering::Relaxed)
    }

    /// Client connections on which something goes on or may come: all but those by which the application could call
    /// others and does not at the moment.
    pub async fn busy_connections(&self) -> u32 {
        let inner = &self.0;
        let mut idle = 0;
        for worker in &inner.on {
            let id = inner.id;
            let call = move |here: &crate::workers::WorkerState| {
                here.proxies.borrow().get(&id).map_or(0, |proxy| proxy.idle_outbound())
            };
            // An error: the workers are gone, and all connections with them.
            idle += inner.workers.call(*worker, call).await.unwrap_or(0);
        }
        self.connections().saturating_sub(idle)
    }
}
