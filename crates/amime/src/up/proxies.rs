//! Who is in front of the pods: proxies of this process (`up`), or those that somebody starts elsewhere (`control`).
//! `fleet` asks it for each pod.

use super::standin::Calls;
use amime_model::snapshot::Pod;
use amime_model::translate::{Interception, Node, NodeKind};
use amime_proxy::{AdsOptions, Placement, Proxy, ProxyIdentity, ProxyOptions, Reach, RecordSender, Workers};
use amime_xds::intern::Interner;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tonic::transport::Channel;

/// How long a connection that is to end may stay idle: a client's next request may be on its way.
const IDLE: Duration = Duration::from_secs(1);

pub(crate) enum Proxies {
    /// A proxy of this process for each pod.
    Here(Box<ProxiesHere>),
    /// A proxy that somebody else starts for the pods of these workloads, none for the others.
    Elsewhere(BTreeSet<WorkloadName>),
}

/// A namespace, and the name of a workload in it.
pub(crate) type WorkloadName = (String, String);

/// What all proxies of this process share.
pub(crate) struct ProxiesHere {
    pub(crate) workers: Workers,
    /// Where xDS and DNS run.
    pub(crate) background: Handle,
    pub(crate) records: Option<RecordSender>,
    /// Where the cluster's addresses are on this machine.
    pub(crate) reach: Reach,
    /// To the control plane.
    pub(crate) channel: Channel,
    /// Resources that several proxies have are kept once.
    pub(crate) interner: Arc<Interner>,
}

impl Proxies {
    /// How the pod's application calls: through its proxy, where it has one.
    pub(super) fn calls(&self, pod: &Pod) -> Calls {
        let is_captured = match self {
            Self::Here(_) => true,
            Self::Elsewhere(workloads) => workloads.contains(&(pod.namespace.clone(), pod.workload.workload.clone())),
        };
        if is_captured { Calls::ThroughSidecar } else { Calls::Directly }
    }
}

impl ProxiesHere {
    /// Starts a pod's proxy. `flags`: its answers name their response flag, for the stand-in behind it to tell.
    pub(super) fn start(&self, pod: &Pod, gateway: bool, flags: bool) -> Proxy {
        let kind = if gateway { NodeKind::Gateway } else { NodeKind::Sidecar };
        // The proxy binds by itself, so that the clusters of all pods are the same ones.
        let node = Node { binds_upstream: true, ..Node::of_pod(pod, kind, Interception::ProxyProtocol, true) };
        let (node_id, metadata) = node.to_id();
        let identity = ProxyIdentity {
            node_id: node_id.clone(),
            workload: pod.workload.workload.clone(),
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            labels: (*pod.labels).clone(),
            ..ProxyIdentity::default()
        };
        let mut options = ProxyOptions::new(identity, self.background.clone());
        options.placement = if gateway { Placement::All } else { Placement::One };
        options.records.clone_from(&self.records);
        options.drain = IDLE;
        options.reach = Some(self.reach.clone());
        options.loopback_source = pod.placement().map(|placement| placement.pod_ip);
        options.flag_header = flags;
        let proxy = Proxy::start(options, &self.workers);
        let node = amime_xds::Node { id: node_id, metadata, ..amime_xds::Node::default() };
        proxy.follow(AdsOptions::new(self.channel.clone(), node, self.interner.clone()));
        proxy
    }
}
