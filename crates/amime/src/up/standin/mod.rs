//! Stand-ins: the small servers that answer in place of the pods' applications. `up` starts one for each pod and
//! ends it when the pod goes.
//!
//! A stand-in costs a socket and a task for each port; all of them share one runtime.

mod call;
mod detect;
mod echo;
mod grpc;
mod http;
mod serve;
mod shape;
mod upgrade;
mod websocket;

use super::capture::Origin;
use super::names::Names;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What all stand-ins of a mesh share.
#[derive(Debug)]
pub(crate) struct Mesh {
    names: Names,
    fail_first: shape::FailFirst,
}

impl Mesh {
    pub(crate) fn new(names: Names) -> Arc<Self> {
        Arc::new(Self { names, fail_first: shape::FailFirst::default() })
    }
}

/// The pod that a stand-in answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// `reviews-v1`.
    pub(crate) workload: String,
    /// Label `version`.
    pub(crate) version: Option<String>,
    pub(crate) origin: Origin,
}

/// How a port answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Talk {
    /// By the first bytes.
    Detect,
    /// Its name says that it is not HTTP (`tcp-…`, `mysql`, `mongo`): bytes are echoed at once.
    EchoOnly,
}

/// A port of a pod: where it is bound, and how it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) address: SocketAddr,
    pub(crate) talk: Talk,
}

/// One port's task works on this.
#[derive(Debug)]
struct PodPort {
    pod: Arc<Pod>,
    mesh: Arc<Mesh>,
    talk: Talk,
    stop: watch::Receiver<bool>,
}

/// The running stand-in of one pod. Dropping it ends it at once.
#[derive(Debug)]
pub(crate) struct StandIn {
    stop: watch::Sender<bool>,
    ports: tokio::task::JoinSet<()>,
}

impl StandIn {
    /// Listens at every port, on the current runtime. The error names the address.
    pub(crate) async fn start(pod: Pod, ports: &[Bound], mesh: &Arc<Mesh>) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let pod = Arc::new(pod);
        let mut tasks = tokio::task::JoinSet::new();
        for bound in ports {
            let listener = TcpListener::bind(bound.address)
                .await
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", bound.address)))?;
            let port = PodPort { pod: pod.clone(), mesh: mesh.clone(), talk: bound.talk, stop: stopped.clone() };
            tasks.spawn(serve::accept(listener, port));
        }
        Ok(Self { stop, ports: tasks })
    }

    /// Stops listening, lets requests in flight finish, and returns when the last connection is closed.
    pub(crate) async fn drain(mut self) {
        self.stop.send_replace(true);
        while self.ports.join_next().await.is_some() {}
    }
}

/// Returns when the pod is to stop; its owner going away says the same.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod standin_tests;
