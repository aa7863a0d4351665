//! The signals by which a long-running command is asked to end, or to open its logs again. `up`, `control` and
//! `proxy` wait for them.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Opens the access logs again at each SIGUSR1, as Envoy does, for who has rotated them.
pub(crate) fn reopen_logs_when_told() -> anyhow::Result<()> {
    let mut told = signal(SignalKind::user_defined1()).context("waiting for signals")?;
    tokio::spawn(async move {
        while told.recv().await.is_some() {
            amime_proxy::reopen_access_logs();
        }
    });
    Ok(())
}

/// Ctrl-C and SIGTERM.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From here on they do not end the process by themselves.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let of = |kind| signal(kind).context("waiting for signals");
        Ok(Self { interrupt: of(SignalKind::interrupt())?, terminate: of(SignalKind::terminate())? })
    }

    /// Returns with the next one. Safe to cancel.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
