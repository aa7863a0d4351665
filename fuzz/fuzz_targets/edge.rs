//! Whatever bytes a client sends, the proxy ends the connection in time, and what it sends on is well-formed.
#![no_main]

#[path = "../../crates/proxy/tests/common/mod.rs"]
mod common;
#[path = "../../crates/proxy/tests/edge/recorder.rs"]
mod recorder;

use common::{Running, cluster, forward, http_config_with, to};
use libfuzzer_sys::fuzz_target;
use recorder::Recorder;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// One proxy and the server behind it, for all inputs.
struct Edge {
    runtime: Runtime,
    running: Running,
    recorder: Recorder,
}

fn start() -> Edge {
    let runtime = Runtime::new().expect("a runtime");
    let (running, recorder) = runtime.block_on(async {
        let recorder = Recorder::start().await;
        let config = http_config_with(vec![forward(to("a"))], [cluster("a", &[recorder.address])], |hcm| {
            hcm.use_remote_address = true;
            hcm.accept_http_10 = true;
        });
        (Running::start_with(config, |options| options.records = None).await, recorder)
    });
    Edge { runtime, running, recorder }
}

fuzz_target!(|bytes: &[u8]| {
    static EDGE: OnceLock<Edge> = OnceLock::new();
    let edge = EDGE.get_or_init(start);
    edge.runtime.block_on(async {
        let exchange = async {
            let mut stream = TcpStream::connect(edge.running.address).await.expect("the proxy runs");
            // It may answer and close before it has read all.
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        };
        tokio::time::timeout(Duration::from_secs(10), exchange).await.expect("the connection ends");
    });
    for message in edge.recorder.take() {
        assert!(!message.starts_with("MALFORMED"), "sent on: {message}");
    }
});
