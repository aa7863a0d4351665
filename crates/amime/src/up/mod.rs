//! `amime up`: the mesh that the user's manifests describe, on this machine. `cmd::up` calls `run`.

mod capture;
mod health;
mod live;
mod machine;
mod name_proxy;
mod names;
mod phases;
mod prefixed;
mod prepare;
mod replace;
mod standin;
mod table;

pub(crate) use replace::ReplaceArg;

use amime_model::workload::GatewayPortPolicy;
use std::path::PathBuf;
use std::process::ExitCode;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) mesh_config: Option<PathBuf>,
    pub(crate) replace: Vec<ReplaceArg>,
    pub(crate) gateway_ports: GatewayPortPolicy,
    pub(crate) health_port: u16,
    pub(crate) quiet: bool,
}

/// Runs until Ctrl-C or SIGTERM.
pub(crate) fn run(_options: Options) -> anyhow::Result<ExitCode> {
    anyhow::bail!("the control plane and the proxies are not joined yet")
}
