//! The life of a server's connections: accept, serve each in a task, let what has begun end. `serve::http` and the
//! stand-ins run their ports by it.

use super::seats::{Seats, Silent};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long to wait where accepting fails: out of files, and the next moment may have some.
const PAUSE: Duration = Duration::from_millis(20);

/// Accepts until told to stop; returns when the last connection has ended. Who comes when there are `most` takes the
/// place of who has been silent longest; where none is, it is closed.
pub(crate) async fn accept<S, F>(listener: TcpListener, most: usize, mut stop: watch::Receiver<bool>, serve: S)
where
    S: Fn(TcpStream, SocketAddr, Silent) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut seats = Seats::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(_) if seats.count() >= most && !seats.free_one() => {}
                Ok((stream, peer)) => {
                    let silent = Silent::default();
                    let serving = serve(stream, peer, silent.clone());
                    seats.take(connections.spawn(serving), silent);
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
            Some(ended) = connections.join_next_with_id() => {
                seats.leave(ended.map_or_else(|error| error.id(), |(id, ())| id));
            }
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Drives a connection; when told to stop, `end` lets it finish what has begun.
pub(crate) async fn until_stopped<C: Future>(
    connection: C,
    stop: &mut watch::Receiver<bool>,
    end: impl FnOnce(Pin<&mut C>),
) {
    let mut connection = pin!(connection);
    tokio::select! {
        // What a client does wrong is its own affair: hyper has answered.
        _ = connection.as_mut() => return,
        () = stopped(stop) => end(connection.as_mut()),
    }
    let _ = connection.await;
}

/// Returns when the server is to stop; its owner going away says the same.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
