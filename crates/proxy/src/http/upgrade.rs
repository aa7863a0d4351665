//! Tunnels: what a connection becomes after `101 Switching Protocols`.

use super::exchange::Exchange;
use crate::balance::limits::Unit;
use crate::cluster::{ActiveHost, RequestAt};
use crate::connect::pool::Lease;
use crate::flags::Flags;
use crate::listen::stream::ClientStream;
use crate::tcp::copy::{Copied, Ended, copy_both};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::rc::Rc;
use std::time::Duration;

/// The upstream's half, until the client's socket is free of the codec.
pub(crate) struct Tunnel {
    pub(crate) exchange: Rc<Exchange>,
    pub(crate) upstream: OnUpgrade,
    pub(crate) idle: Option<Duration>,
    pub(crate) request: Option<Unit<RequestAt>>,
    pub(crate) host: Unit<ActiveHost>,
    /// The connection's place among those of the cluster.
    pub(crate) lease: Lease,
}

impl Tunnel {
    /// Copies both ways until both sides have ended; the exchange's record tells the bytes.
    pub(crate) async fn run(self, client: ClientStream) {
        let Self { exchange, upstream, idle, request: _request, host: _host, lease: _lease } = self;
        let upstream = match upstream.await {
            Ok(upstream) => TokioIo::new(upstream),
            Err(error) => {
                tracing::debug!(%error, "an upgrade came to nothing");
                exchange.flag(Flags::UC);
                exchange.end_response();
                return;
            }
        };
        let copied = Copied::default();
        let conn = Rc::clone(&exchange.conn);
        let ended = tokio::select! {
            biased;
            () = conn.proxy.ended(&conn.listener, &conn.chain) => {
                exchange.flag(Flags::LR);
                Ended::default()
            }
            ended = copy_both(client, upstream, idle, &copied) => ended,
        };
        exchange.received.set(exchange.received.get() + copied.up.get());
        exchange.sent.set(exchange.sent.get() + copied.down.get());
        if ended.idle {
            exchange.flag(Flags::SI);
        }
        exchange.end_response();
    }
}
