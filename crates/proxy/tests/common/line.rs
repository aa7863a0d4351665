//! A stretch of network between the proxy and an origin, that can be watched and cut.

use amime_testkit::origin::Origin;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Its address stands in the place of the origin's.
pub struct Line {
    origin: Origin,
    dead: Arc<AtomicBool>,
    ended: Arc<AtomicUsize>,
    sent: Arc<Mutex<Vec<u8>>>,
}

impl Line {
    pub async fn to(address: SocketAddr) -> Self {
        let (dead, ended, sent) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<u8>>>::default());
        let of_each = (Arc::clone(&dead), Arc::clone(&ended), Arc::clone(&sent));
        let origin = Origin::tcp(move |mut stream| {
            let (dead, ended, sent) = of_each.clone();
            async move {
                let mut onward = TcpStream::connect(address).await.unwrap();
                let (mut from, mut to) = (vec![0; 65536], vec![0; 65536]);
                loop {
                    tokio::select! {
                        read = stream.read(&mut from) => match read {
                            Ok(read) if read > 0 => {
                                sent.lock().unwrap().extend_from_slice(&from[..read]);
                                if !dead.load(Ordering::SeqCst) {
                                    onward.write_all(&from[..read]).await.unwrap();
                                }
                            }
                            _ => break,
                        },
                        read = onward.read(&mut to) => match read {
                            Ok(read) if read > 0 => {
                                if !dead.load(Ordering::SeqCst) {
                                    stream.write_all(&to[..read]).await.unwrap();
                                }
                            }
                            _ => break,
                        },
                    }
                }
                ended.fetch_add(1, Ordering::SeqCst);
            }
        })
        .await;
        Self { origin, dead, ended, sent }
    }

    pub fn address(&self) -> SocketAddr {
        self.origin.address
    }

    /// Nothing crosses from now on; who sends is not told.
    pub fn cut(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    /// Connections that the proxy has made, and how many of them have ended.
    pub fn connections(&self) -> (usize, usize) {
        (self.origin.connections(), self.ended.load(Ordering::SeqCst))
    }

    /// What the proxy has sent over all connections.
    pub fn sent(&self) -> Vec<u8> {
        self.sent.lock().unwrap().clone()
    }
}
