//! Kubernetes' workloads: Pod, and what makes pods (Deployment, StatefulSet, DaemonSet, ReplicaSet, Job,
//! CronJob): the fields that a mesh uses. Other fields are not read and are no diagnostics.

use super::meta::{LabelSelector, Map};
use super::scalar::IntOrString;
use super::service_entry::{ExecCheck, GrpcCheck, HttpCheck, TcpCheck};
use crate::workload::Placement;
use serde::Deserialize;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    pub spec: PodSpec,
    pub status: PodStatus,
    /// Where the pod really is; set by `model::workload` for made-up pods, never read from YAML.
    #[serde(skip)]
    pub placement: Option<Placement>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    pub containers: Vec<Container>,
    pub init_containers: Vec<Container>,
    pub host_network: bool,
    pub hostname: String,
    pub subdomain: String,
    pub node_name: String,
    pub service_account_name: String,
    /// The deprecated name of `service_account_name`.
    pub service_account: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    pub name: String,
    pub image: String,
    pub ports: Vec<ContainerPort>,
    pub readiness_probe: Option<Probe>,
    pub liveness_probe: Option<Probe>,
    pub startup_probe: Option<Probe>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    pub name: String,
    pub container_port: i32,
    pub host_port: i32,
    /// `TCP` (also where empty), `UDP`, `SCTP`.
    pub protocol: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Probe {
    pub http_get: Option<HttpCheck>,
    pub tcp_socket: Option<TcpCheck>,
    pub exec: Option<ExecCheck>,
    pub grpc: Option<GrpcCheck>,
    pub period_seconds: i32,
    pub timeout_seconds: i32,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    pub phase: String,
    #[serde(rename = "podIP")]
    pub pod_ip: String,
    #[serde(rename = "podIPs")]
    pub pod_ips: Vec<PodIp>,
    pub conditions: Vec<PodCondition>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodIp {
    pub ip: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodCondition {
    /// `Ready`, …
    #[serde(rename = "type")]
    pub condition: String,
    /// `True`, `False`, `Unknown`.
    pub status: String,
}

/// `spec` of a Deployment, StatefulSet, DaemonSet, ReplicaSet or Job.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Workload {
    /// `None`: 1. DaemonSets and Jobs have none.
    pub replicas: Option<i32>,
    pub selector: LabelSelector,
    pub template: PodTemplate,
    /// StatefulSets: the headless service that names the pods.
    pub service_name: String,
    /// Jobs: how many pods at a time; `None`: 1.
    pub parallelism: Option<i32>,
    pub suspend: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplate {
    pub metadata: TemplateMeta,
    pub spec: PodSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateMeta {
    pub labels: Map,
    pub annotations: Map,
}

/// `spec` of a CronJob.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CronJob {
    pub suspend: bool,
    pub job_template: JobTemplate,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobTemplate {
    pub metadata: TemplateMeta,
    pub spec: Workload,
}

impl PodSpec {
    /// The account the pod runs as; `default` where it names none.
    pub fn account(&self) -> &str {
        [&self.service_account_name, &self.service_account]
            .into_iter()
            .find(|name| !name.is_empty())
            .map_or("default", String::as_str)
    }

    /// The number of the container port of that name (init containers that go on running count too).
    pub fn port_named(&self, name: &str) -> Option<u16> {
        let ports = self.containers.iter().chain(&self.init_containers).flat_map(|container| &container.ports);
        ports.filter(|port| port.name == name).find_map(|port| u16::try_from(port.container_port).ok())
    }

    /// The number that a Service's `targetPort` means in this pod.
    pub fn resolve_port(&self, port: &IntOrString) -> Option<u16> {
        match port {
            IntOrString::Int(number) => u16::try_from(*number).ok(),
            IntOrString::String(name) => self.port_named(name),
        }
    }
}
