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
use super::reach::Places;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What all stand-ins of a mesh share.
pub(crate) struct Mesh {
    names: Names,
    /// For pods without a sidecar, which dials endpoints for the others.
    places: Option<Places>,
    fail_first: shape::FailFirst,
}

impl Mesh {
    /// Every pod has a sidecar.
    pub(crate) fn new(names: Names) -> Arc<Self> {
        Arc::new(Self { names, places: None, fail_first: shape::FailFirst::default() })
    }

    /// Pods without a sidecar find by `places` who answers for an address.
    pub(crate) fn with_places(names: Names, places: Places) -> Arc<Self> {
        Arc::new(Self { names, places: Some(places), fail_first: shape::FailFirst::default() })
    }

    /// Connects as that pod's application does.
    async fn connect(&self, pod: &Pod, host: &str, port: u16) -> io::Result<TcpStream> {
        let destination = self.names.resolve(host, &pod.namespace, port).await?;
        match (pod.calls, &self.places) {
            (Calls::ThroughSidecar, _) => pod.origin.connect(destination).await,
            (Calls::Directly, None) => pod.origin.connect_directly(destination).await,
            (Calls::Directly, Some(places)) => {
                let nobody = || {
                    let message = format!("{destination}: no endpoint is ready");
                    io::Error::new(io::ErrorKind::ConnectionRefused, message)
                };
                pod.origin.connect_directly(places(destination).ok_or_else(nobody)?).await
            }
        }
    }
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mesh")
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
    pub(crate) calls: Calls,
}

/// How a pod's application reaches what it calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calls {
    ThroughSidecar,
    /// It has none: to a ready endpoint of what it names.
    Directly,
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

#[cfg(test)]
mod standin_tests;
