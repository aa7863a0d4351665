//! The same requests through a real Envoy and through `amime proxy`, under one control plane: the same comes of them.
//! Skipped, with a line that says so, where there is no Envoy (scripts/envoy.sh).

mod judge;

use judge::limits::{BREAKING, EJECTING, Limits};
use judge::parity::Parity;

/// `AMIME_CASE` runs the cases whose name begins like it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_comes_of_a_request() {
    let Some(mut parity) = Parity::start().await else { return };
    parity.run(&std::env::var("AMIME_CASE").unwrap_or_default()).await;
    parity.finish().await;
}

/// `AMIME_CASE` as above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_endpoints_are_ejected_and_the_same_requests_refused() {
    let Some(limits) = Limits::start().await else { return };
    let wanted = std::env::var("AMIME_CASE").unwrap_or_default();
    let mut found = Vec::new();
    for case in EJECTING.iter().filter(|case| case.name.starts_with(&wanted)) {
        found.extend(limits.eject(case).await);
    }
    for number in (0..BREAKING.len()).filter(|number| BREAKING[*number].name.starts_with(&wanted)) {
        found.extend(limits.overflow(number).await);
    }
    found.extend(limits.complaints().await);
    assert!(found.is_empty(), "{}", found.join("\n"));
}
