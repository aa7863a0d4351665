//! The same requests through a real Envoy and through `amime proxy`, under one control plane: the same comes of them.
//! Skipped, with a line that says so, where there is no Envoy (scripts/envoy.sh).

mod judge;

use judge::parity::Parity;

/// `AMIME_CASE` runs the cases whose name begins like it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_comes_of_a_request() {
    let Some(mut parity) = Parity::start().await else { return };
    parity.run(&std::env::var("AMIME_CASE").unwrap_or_default()).await;
    parity.finish().await;
}
