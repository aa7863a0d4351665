//! What stands behind a pod's sidecar: a stand-in for the ports that nobody else answers, and for a workload that
//! the user replaced the proxy by which that process reaches the mesh. `fleet` has one for each pod.

use super::capture::Origin;
use super::name_proxy::NameProxy;
use super::names::Names;
use super::standin::{Calls, Identity, Mesh, Pod, StandIn, Talk};
use amime_model::protocol::Protocol;
use amime_model::snapshot::{self, Snapshot, selects, target_in_pod};
use amime_model::workload::AddressPlan;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What is to stand there: equal plans need no change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    identity: Identity,
    /// Where the printed proxy listens, where there is one.
    name_proxy: Option<SocketAddr>,
    gateway: bool,
}

impl Plan {
    /// Of a pod that has a placement; of any other the plan is empty. A pod without a sidecar is its own front.
    pub(super) fn of(snapshot: &Snapshot, pod: &snapshot::Pod, calls: Calls) -> Self {
        let unspecified = std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let (pod_ip, app_ip) = pod.placement().map_or((unspecified, unspecified), |p| (p.pod_ip, p.app_ip));
        let mut plan = Self {
            identity: Identity {
                pod: Pod {
                    namespace: pod.namespace.clone(),
                    name: pod.name.clone(),
                    workload: pod.workload.workload.clone(),
                    version: pod.labels.get("version").cloned(),
                    origin: Origin { pod_ip, app_ip },
                    calls,
                },
                ports: BTreeMap::new(),
            },
            name_proxy: None,
            gateway: false,
        };
        let Some(placement) = pod.placement() else { return plan };
        plan.gateway = !placement.bind.is_empty();
        if plan.gateway {
            return plan;
        }
        let answered = placement.ports.keys().filter(|port| !placement.replaced.contains_key(port));
        let place = |port: u16| match calls {
            Calls::ThroughSidecar => placement.application(port),
            Calls::Directly => SocketAddr::new(pod_ip, placement.bound(port)),
        };
        plan.identity.ports = answered.map(|port| (place(*port), talk(snapshot, pod, *port))).collect();
        if !placement.replaced.is_empty() {
            plan.name_proxy = Some(SocketAddr::new(app_ip, AddressPlan::NAME_PROXY_PORT));
        }
        plan
    }

    /// Whether its sidecar serves a stand-in, not the user's process.
    pub(super) fn has_stand_in(&self) -> bool {
        !self.gateway && self.name_proxy.is_none()
    }
}

/// What services, else the container, say of a port: only where they say that it is not HTTP, bytes are echoed
/// from the first one on.
fn talk(snapshot: &Snapshot, pod: &snapshot::Pod, port: u16) -> Talk {
    let services = snapshot.services().iter().filter(|service| {
        service.namespace == pod.namespace && !service.selector.is_empty() && selects(&service.selector, &pod.labels)
    });
    let mut said: Vec<Protocol> = services
        .flat_map(|service| &service.ports)
        .filter(|service_port| target_in_pod(pod, &service_port.target) == Some(port))
        .map(|service_port| service_port.protocol)
        .collect();
    if said.is_empty() {
        let spec = pod.pod_spec();
        let ports = spec.containers.iter().flat_map(|container| &container.ports);
        let named = ports.filter(|p| u16::try_from(p.container_port) == Ok(port));
        said = named.map(|p| Protocol::of_service_port(u32::from(port), &p.name, &p.protocol, None)).collect();
    }
    if said.is_empty() || said.iter().any(|protocol| protocol.may_be_http()) { Talk::Detect } else { Talk::EchoOnly }
}

/// What runs. Dropping it ends it at once.
pub(crate) struct Application {
    stand_in: StandIn,
    name_proxy: Option<(SocketAddr, NameProxy)>,
}

impl Application {
    /// Listens, on the current runtime.
    pub(super) async fn start(plan: Plan, mesh: &Arc<Mesh>, names: &Names) -> io::Result<Self> {
        let identity = Identity { ports: BTreeMap::new(), ..plan.identity.clone() };
        let mut application = Self { stand_in: StandIn::start(identity, mesh.clone()).await?, name_proxy: None };
        application.become_other(plan, names).await?;
        Ok(application)
    }

    pub(super) async fn become_other(&mut self, plan: Plan, names: &Names) -> io::Result<()> {
        if self.name_proxy.as_ref().map(|(address, _)| *address) != plan.name_proxy {
            self.name_proxy = None;
            if let Some(address) = plan.name_proxy {
                let pod = &plan.identity.pod;
                let proxy = NameProxy::start(address, pod.origin, pod.namespace.clone(), names.clone()).await?;
                self.name_proxy = Some((address, proxy));
            }
        }
        self.stand_in.update(plan.identity).await
    }

    /// Lets requests in flight end, for at most so long.
    pub(super) async fn drain(self, at_most: Duration) {
        // What takes longer is cut off.
        let _ = tokio::time::timeout(at_most, self.stand_in.drain()).await;
    }
}
