//! What judges the control plane with real proxies: an Envoy and our own under one control plane, origins that tell
//! what they got, a constant load, and an oracle that knows who may answer when.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // Each test file uses a part of it; failing is its job.

pub mod cases;
pub mod command;
pub mod envoy;
pub mod fields;
pub mod limits;
pub mod oracle;
pub mod ours;
pub mod output;
pub mod parity;
pub mod plane;
pub mod policies;
pub use amime_testkit::port as ports;
pub mod proxy;
pub mod random;
pub mod relay;
pub mod restart;
pub mod scenarios;
pub mod shop;
pub mod stage;

use std::future::Future;
use std::time::Duration;

/// Long enough for a loaded machine; nothing waits this long where all is well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again until there is something, for what cannot be waited for by an event: another process's state.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, ask: impl FnMut() -> F) -> T {
    eventually_or(ask).await.unwrap_or_else(|| panic!("never: {what}"))
}

/// The same; None where it never comes.
pub async fn eventually_or<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> Option<T> {
    let asking = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.ok()
}
