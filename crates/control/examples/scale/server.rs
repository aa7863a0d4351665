//! The control plane of the bench: the engine over a folder, and ADS over TCP.

use amime_control::distribute::Distributor;
use amime_control::engine::{self, EngineOptions};
use amime_control::source::Input;
use amime_xds::server::StreamOptions;
use std::path::PathBuf;
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Prints its address, then serves until it is killed.
pub(crate) fn serve(folder: PathBuf) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let snapshots = engine::start(EngineOptions::new(vec![Input::Path(folder)])).expect("an engine");
        let distributor = Distributor::start(snapshots, StreamOptions::default()).expect("a server");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("{}", listener.local_addr().expect("an address"));
        loop {
            let (connection, peer) = listener.accept().await.expect("a connection");
            let _ = connection.set_nodelay(true);
            let distributor = distributor.clone();
            tokio::spawn(async move { distributor.serve(connection, peer).await });
        }
    });
}
