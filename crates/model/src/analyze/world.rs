//! What the rules look at: objects by kind, pods by label, hosts by name. `analyze` makes it, every rule reads it.

use super::Input;
use super::hosts::Hosts;
use super::pods::Pods;
use crate::diagnostic::Diagnostic;
use crate::resource::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub(super) struct World<'a> {
    by_kind: BTreeMap<Kind, Vec<&'a Arc<Object>>>,
    by_id: HashMap<&'a ResourceId, &'a Arc<Object>>,
    pub(super) mesh: &'a MeshConfig,
    /// Seconds since 1970.
    pub(super) now: u64,
    pub(super) hosts: Hosts<'a>,
    pub(super) pods: Pods<'a>,
}

/// The objects of a kind with their typed content.
macro_rules! typed {
    ($($name:ident $kind:ident $content:ty;)+) => {
        impl<'a> World<'a> {
            $(pub(super) fn $name(&self) -> impl Iterator<Item = (&'a Arc<Object>, &'a $content)> + '_ {
                self.of(Kind::$kind).iter().filter_map(|object| match &object.spec {
                    Spec::$kind(content) => Some((*object, &**content)),
                    _ => None,
                })
            })+
        }
    };
}

typed! {
    virtual_services VirtualService VirtualService;
    destination_rules DestinationRule DestinationRule;
    gateways Gateway Gateway;
    service_entries ServiceEntry ServiceEntry;
    sidecars Sidecar Sidecar;
    authorization_policies AuthorizationPolicy AuthorizationPolicy;
    request_authentications RequestAuthentication RequestAuthentication;
    proxy_configs ProxyConfig sidecar::ProxyConfigResource;
    services Service Service;
    secrets Secret Secret;
    config_maps ConfigMap ConfigMap;
    deployments Deployment Workload;
}

impl<'a> World<'a> {
    pub(super) fn new(input: &Input<'a>) -> Self {
        let mut by_kind: BTreeMap<Kind, Vec<&'a Arc<Object>>> = BTreeMap::new();
        let mut by_id = HashMap::new();
        for object in input.resources.iter().chain(input.for_tools).chain(input.networks) {
            by_kind.entry(object.id.kind).or_default().push(object);
            by_id.insert(&object.id, object);
        }
        let hosts = Hosts::of(input.resources);
        let pods = Pods::of(input.resources);
        Self { by_kind, by_id, mesh: input.mesh, now: input.now, hosts, pods }
    }

    /// The objects of a kind, by namespace and name.
    pub(super) fn of(&self, kind: Kind) -> &[&'a Arc<Object>] {
        self.by_kind.get(&kind).map_or(&[], Vec::as_slice)
    }

    pub(super) fn find(&self, kind: Kind, namespace: &str, name: &str) -> Option<&'a Arc<Object>> {
        self.by_id.get(&ResourceId::new(kind, namespace, name)).copied()
    }

    /// Whether the input has neither DestinationRules nor workloads.
    pub(super) fn is_partial_without_rules(&self) -> bool {
        self.of(Kind::DestinationRule).is_empty() && self.pods.is_empty()
    }

    /// The labels of a namespace; none where it is not in the input.
    pub(super) fn namespace_labels(&self, name: &str) -> Option<&'a Map> {
        self.find(Kind::Namespace, "", name).map(|namespace| &namespace.meta.labels)
    }
}

/// A finding of that code about a field of an object; an empty field is the object as a whole.
pub(super) fn about(code: &'static str, object: &Object, field: &str, message: impl Into<String>) -> Diagnostic {
    Diagnostic::of(code, message).with_resource(&object.id).with_field(field).with_place(object.place(field))
}

/// `a=b,c=d`, as selectors are written.
pub(super) fn selector_text(labels: &Map) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// `shop/web`, or the name alone of what is in no namespace.
pub(super) fn full_name(object: &Object) -> String {
    match &*object.id.namespace {
        "" => object.id.name.to_string(),
        namespace => format!("{namespace}/{}", object.id.name),
    }
}

/// The namespaces to which an object is exported: `.` is its own, nothing is everywhere.
pub(super) fn scopes(export_to: &[String], own: &str) -> Vec<String> {
    if export_to.is_empty() || export_to.iter().any(|to| to == "*") {
        return vec!["*".to_owned()];
    }
    let mut scopes: Vec<String> =
        export_to.iter().map(|to| if to == "." { own.to_owned() } else { to.clone() }).collect();
    scopes.sort();
    scopes.dedup();
    scopes
}
