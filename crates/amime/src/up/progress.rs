//! How far all proxies have come: which generation of the snapshot every one of them runs, and what some refuse.
//! `fleet` waits for it before it stops a pod; refusals are printed.

use super::log::Printer;
use amime_control::{Distributor, ProxyStatus};
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::watch;

/// A thousand proxies acknowledge within moments of each other: they are looked at together.
const PAUSE: Duration = Duration::from_millis(20);

/// The newest generation that every connected proxy runs.
pub(crate) type EverybodyRuns = watch::Receiver<u64>;

/// Follows the control plane's side of all streams, until nobody asks any more.
pub(crate) fn follow(distributor: Distributor, printer: Printer) -> EverybodyRuns {
    let (sender, receiver) = watch::channel(0);
    let mut changes = distributor.changes();
    tokio::spawn(async move {
        let mut told = HashSet::new();
        loop {
            let proxies = distributor.proxies();
            // Where nobody is connected, there is nobody to wait for.
            let lowest = proxies.iter().map(runs).min().unwrap_or(u64::MAX);
            sender.send_if_modified(|before| std::mem::replace(before, lowest) != lowest);
            for text in proxies.iter().flat_map(refusals) {
                if told.insert(text.clone()) {
                    printer.print(text);
                }
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    receiver
}

fn runs(proxy: &ProxyStatus) -> u64 {
    if proxy.stream.in_step { proxy.generation } else { 0 }
}

/// A refusal keeps the last good configuration, and has to be seen: it is a mistake of ours, or a port that
/// another program has.
fn refusals(proxy: &ProxyStatus) -> impl Iterator<Item = String> + '_ {
    let of_type = move |(kind, status): (_, &amime_xds::server::TypeStatus)| {
        let refused = status.rejected.iter().map(move |rejected| {
            format!("error: the proxy of {} refuses {kind:?} {}: {}", proxy.node.name, rejected.name, rejected.message)
        });
        refused.collect::<Vec<_>>()
    };
    proxy.stream.types.iter().flat_map(of_type)
}
