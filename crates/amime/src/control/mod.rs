//! `amime control`: the control plane as a process of its own. `cmd::control` calls `run`.

mod monitor;
mod ports;
mod ready;
mod run;

pub(crate) use run::run;

use std::net::IpAddr;
use std::path::PathBuf;

/// What the command line asks for. A port 0 is any free one.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) config: Vec<PathBuf>,
    pub(crate) mesh_config: Option<PathBuf>,
    pub(crate) bind: IpAddr,
    pub(crate) grpc_port: u16,
    pub(crate) http_port: u16,
    pub(crate) monitoring_port: u16,
}
