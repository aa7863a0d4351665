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
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

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

/// Who answers, and how at each port. It may change while the ports stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) pod: Pod,
    /// Where the ports are bound.
    pub(crate) ports: BTreeMap<SocketAddr, Talk>,
}

/// One port's task works on this.
#[derive(Debug)]
struct PodPort {
    address: SocketAddr,
    identity: watch::Receiver<Arc<Identity>>,
    mesh: Arc<Mesh>,
    stop: watch::Receiver<bool>,
}

impl PodPort {
    /// As it is now; a request keeps what it began with.
    fn identity(&self) -> Arc<Identity> {
        self.identity.borrow().clone()
    }

    fn talk(&self) -> Talk {
        self.identity.borrow().ports.get(&self.address).copied().unwrap_or(Talk::Detect)
    }
}

/// The running stand-in of one pod. Dropping it ends it at once.
#[derive(Debug)]
pub(crate) struct StandIn {
    identity: watch::Sender<Arc<Identity>>,
    mesh: Arc<Mesh>,
    listening: BTreeMap<SocketAddr, watch::Sender<bool>>,
    tasks: JoinSet<()>,
}

impl StandIn {
    /// Listens at every port, on the current runtime. The error names the address.
    pub(crate) async fn start(identity: Identity, mesh: Arc<Mesh>) -> io::Result<Self> {
        let (sender, _) = watch::channel(Arc::new(identity.clone()));
        let mut stand_in = Self { identity: sender, mesh, listening: BTreeMap::new(), tasks: JoinSet::new() };
        stand_in.update(identity).await?;
        Ok(stand_in)
    }

    /// Becomes another: opens ports that are new, drains those that are gone; connections of the others go on.
    pub(crate) async fn update(&mut self, identity: Identity) -> io::Result<()> {
        let identity = Arc::new(identity);
        self.identity.send_replace(identity.clone());
        // Dropping its sender tells a port to stop.
        self.listening.retain(|address, _| identity.ports.contains_key(address));
        for address in identity.ports.keys() {
            if self.listening.contains_key(address) {
                continue;
            }
            let listener = TcpListener::bind(address)
                .await
                .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
            let (sender, stop) = watch::channel(false);
            let port =
                PodPort { address: *address, identity: self.identity.subscribe(), mesh: self.mesh.clone(), stop };
            self.tasks.spawn(serve::accept(listener, port));
            self.listening.insert(*address, sender);
        }
        Ok(())
    }

    /// Stops listening, lets requests in flight finish, and returns when the last connection is closed.
    pub(crate) async fn drain(mut self) {
        self.listening.clear();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Returns when the pod is to stop; its owner going away says the same.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod standin_tests;
