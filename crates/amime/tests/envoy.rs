//! Real proxies, Envoy's and ours, under our control plane: a change of configuration loses no request, and none is
//! answered by a version that was wrong at the time. Skipped, with a line that says so, where there is no Envoy
//! (scripts/envoy.sh).

mod judge;

use judge::scenarios::Change::{AddSubset, RemoveSubset, RenameSubset};
use judge::scenarios::Order::{AtOnce, DestinationRuleFirst, VirtualServiceFirst};
use judge::scenarios::{self, Change, Order};
use judge::stage::Effort;
use judge::{random, restart};
use rustix::process::Signal;

async fn subset(change: Change, order: Order) {
    if let Some(report) = scenarios::subset(Effort::SHORT, change, order).await {
        report.assert_lossless(&format!("{change:?} {order:?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subset_comes() {
    for order in [VirtualServiceFirst, DestinationRuleFirst, AtOnce] {
        subset(AddSubset, order).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subset_goes() {
    for order in [VirtualServiceFirst, DestinationRuleFirst] {
        subset(RemoveSubset, order).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subset_is_renamed() {
    for order in [VirtualServiceFirst, DestinationRuleFirst, AtOnce] {
        subset(RenameSubset, order).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_are_replaced_one_by_one() {
    if let Some(report) = scenarios::roll(Effort::SHORT).await {
        report.assert_lossless("ten endpoints replaced");
    }
}

/// `AMIME_SEED` runs the changes of one seed again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_by_chance() {
    let given = std::env::var("AMIME_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let seed = given.unwrap_or_else(|| now().as_secs());
    if let Some(report) = random::changes(Effort::SHORT, seed, 50).await {
        report.assert_lossless(&format!("50 changes of seed {seed}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_plane_starts_again_while_something_is_pending() {
    for signal in [Signal::KILL, Signal::TERM] {
        if let Some(report) = restart::pending(Effort::SHORT, signal).await {
            report.assert_lossless(&format!("pending, {signal:?}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_plane_is_killed_under_load() {
    if let Some(report) = restart::killed(Effort::SHORT).await {
        report.assert_lossless("killed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_stands_still_delays_no_other() {
    if let Some(report) = restart::stopped(Effort::SHORT).await {
        report.assert_lossless("stopped");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_plane_goes_away_while_a_cluster_warms() {
    if let Some(report) = restart::cut_off_while_warming(Effort::SHORT).await {
        report.assert_lossless("cut off while warming");
    }
}
