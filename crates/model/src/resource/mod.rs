//! What users write: typed objects of Istio's and Kubernetes' kinds, with the place of every field.
//!
//! `load` reads them from text, `ResourceSet` holds those of all files, `validate` judges one at a time.
//! `control` loads, `snapshot` reads.

mod decode;
pub mod destination_rule;
pub mod gateway;
pub mod kube;
mod leaf;
mod load;
pub mod mesh_config;
mod meta;
mod object;
mod scalar;
pub mod security;
pub mod service_entry;
mod set;
pub mod sidecar;
mod spelling;
pub mod support;
pub(crate) mod tls_names;
mod unnamed;
mod validate;
pub mod virtual_service;
pub mod workload;

pub(crate) use decode::decode_strictly;
pub use destination_rule::DestinationRule;
pub use gateway::Gateway;
pub use kube::{ConfigMap, EndpointSlice, Endpoints, Namespace, Secret, Service, ServiceAccount};
pub use load::{Loaded, UnknownKind, load, load_bytes};
pub(crate) use mesh_config::proxy_config_problem;
pub use mesh_config::{LoadedMeshConfig, MeshConfig, load_mesh_config};
pub use meta::{Kind, LabelRequirement, LabelSelector, Map, MatchLabels, ObjectMeta, OwnerReference, ResourceId};
pub use object::{Object, Source, Spec};
pub use scalar::{Bytes, Duration, IntOrString, Timestamp};
pub use security::{AuthorizationPolicy, PeerAuthentication, RequestAuthentication};
pub use service_entry::{ServiceEntry, WorkloadEntry, WorkloadGroup, WorkloadSelector};
pub use set::{ResourceSet, unknown_kinds};
pub use sidecar::{ProxyConfigResource, Sidecar};
pub(crate) use spelling::{closest, is_slip};
pub use unnamed::{CHARTS, load_chart_values, load_mesh_networks};
pub use validate::validate;
pub use virtual_service::VirtualService;
pub use workload::{CronJob, Pod, PodSpec, PodTemplate, Workload};
