//! `amime up`: the mesh that the user's manifests describe, on this machine. `cmd::up` calls `run`.

pub(crate) mod announce;
mod application;
pub(crate) mod applications;
pub(crate) mod capture;
pub(crate) mod findings;
pub(crate) mod fleet;
mod health;
mod live;
pub(crate) mod log;
pub(crate) mod machine;
mod name_proxy;
pub(crate) mod names;
pub(crate) mod phases;
mod prefixed;
pub(crate) mod prepare;
pub(crate) mod progress;
pub(crate) mod proxies;
pub(crate) mod reach;
mod replace;
mod run;
pub(crate) mod running;
pub(crate) mod standin;
mod table;
mod told;

pub(crate) use replace::ReplaceArg;
pub(crate) use run::{missing_file, run};

use amime_model::workload::GatewayPortPolicy;
use std::path::PathBuf;

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
