//! `amime control`: the control plane as a process of its own. `cmd::control` calls `run`.

mod certificate;
mod commands;
mod monitor;
mod ports;
mod ready;
mod run;
mod stand_ins;
mod workload;

pub(crate) use run::run;
pub(crate) use workload::WorkloadArg;

use std::net::IpAddr;
use std::path::PathBuf;

/// What the command line asks for. A port 0 is any free one.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) config: Vec<PathBuf>,
    pub(crate) mesh_config: Option<PathBuf>,
    /// Where last good versions are kept over a restart.
    pub(crate) state: Option<PathBuf>,
    /// Run stand-ins for the pods that the manifests would have.
    pub(crate) stand_ins: bool,
    /// Workloads whose sidecars are started elsewhere.
    pub(crate) sidecars: Vec<WorkloadArg>,
    /// None: gateway ports are as written.
    pub(crate) gateway_port_offset: Option<u16>,
    pub(crate) bind: IpAddr,
    pub(crate) grpc_port: u16,
    pub(crate) tls_port: u16,
    /// The files of the certificate and its key; None: a self-signed one.
    pub(crate) tls_files: Option<(PathBuf, PathBuf)>,
    pub(crate) http_port: u16,
    pub(crate) monitoring_port: u16,
    /// Tell other machines too what `/debug` tells.
    pub(crate) debug_from_anywhere: bool,
    pub(crate) log_level: Option<String>,
}
