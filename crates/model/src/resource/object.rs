//! An object of any kind: its name, metadata, typed spec, and the document that it was read from.

use super::decode::{Findings, decode};
use super::*;
use crate::diagnostic::{Diagnostic, Place};
use crate::yaml::{Document, Node, Path};
use std::sync::Arc;

/// An object as it was written. Always whole: what could not be read has its zero value and a
/// diagnostic in `errors`.
#[derive(Debug, Clone)]
pub struct Object {
    pub id: ResourceId,
    pub meta: ObjectMeta,
    pub spec: Spec,
    /// `None` for objects that were made up (expanded pods, tests).
    pub source: Option<Source>,
    /// What is wrong in this object (severity Error alone); the field paths say which rules are broken.
    pub errors: Vec<Diagnostic>,
    /// Warnings and notes about this object: they break nothing.
    pub notes: Vec<Diagnostic>,
}

/// The typed content, by kind. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub enum Spec {
    VirtualService(Arc<VirtualService>),
    DestinationRule(Arc<DestinationRule>),
    Gateway(Arc<Gateway>),
    ServiceEntry(Arc<ServiceEntry>),
    WorkloadEntry(Arc<WorkloadEntry>),
    WorkloadGroup(Arc<WorkloadGroup>),
    Sidecar(Arc<Sidecar>),
    ProxyConfig(Arc<ProxyConfigResource>),
    AuthorizationPolicy(Arc<AuthorizationPolicy>),
    PeerAuthentication(Arc<PeerAuthentication>),
    RequestAuthentication(Arc<RequestAuthentication>),
    Namespace(Arc<Namespace>),
    Node(Arc<kube::Node>),
    Service(Arc<Service>),
    Pod(Arc<Pod>),
    Endpoints(Arc<Endpoints>),
    EndpointSlice(Arc<EndpointSlice>),
    ServiceAccount(Arc<ServiceAccount>),
    Secret(Arc<Secret>),
    ConfigMap(Arc<ConfigMap>),
    Deployment(Arc<Workload>),
    StatefulSet(Arc<Workload>),
    DaemonSet(Arc<Workload>),
    ReplicaSet(Arc<Workload>),
    Job(Arc<Workload>),
    CronJob(Arc<CronJob>),
    /// Of a kind that the tools alone look at: all that it says is in its tree.
    Untyped,
}

impl Object {
    /// An object that nobody wrote.
    pub fn made_up(id: ResourceId, meta: ObjectMeta, spec: Spec) -> Self {
        Self { id, meta, spec, source: None, errors: Vec::new(), notes: Vec::new() }
    }

    /// A part of the tree, typed; what it does not say, or cannot be read, has its zero value. For fields that the mesh
    /// does not use, and kinds that it leaves alone.
    pub(crate) fn read<T: serde::de::DeserializeOwned + Default>(&self, keys: &[&str]) -> T {
        let root = self.source.as_ref().map(Source::root);
        let node = root.and_then(|root| keys.iter().try_fold(root, |node, key| node.get(key)));
        node.map(|node| decode(node, &Path::ROOT, &Findings::new(false))).unwrap_or_default()
    }

    /// Where that key stands, in the mapping at a path.
    pub(crate) fn key_place(&self, path: &str, key: &str) -> Option<Place> {
        Some(self.source.as_ref()?.root().place_of_key(path, key))
    }

    /// Where that field was written (`spec.http[1].timeout`), or its nearest parent that was.
    pub fn place(&self, path: &str) -> Option<Place> {
        Some(self.source.as_ref()?.root().place_of(path))
    }
}

/// The place in a document that an object was read from.
#[derive(Debug, Clone)]
pub struct Source {
    document: Arc<Document>,
    root: u32,
}

impl Source {
    pub(super) fn new(document: Arc<Document>, root: u32) -> Self {
        Self { document, root }
    }

    /// The object's own node: the root of the document, or an item of a list.
    pub fn root(&self) -> Node<'_> {
        self.document.node(self.root).unwrap_or(self.document.root())
    }

    /// The file, as the user named it.
    pub fn file(&self) -> &Arc<str> {
        self.document.file()
    }
}
