//! `amime proxy`: one sidecar or gateway as a process of its own, as it runs in production. `cmd::proxy` calls `run`.

mod ending;
mod environment;
mod identity;
mod pages;
mod proxy_config;
mod run;
mod saved;
mod settings;

pub(crate) use environment::Environment;
pub(crate) use identity::IdentityOptions;
pub(crate) use run::run;

use amime_proxy::CapturePorts;
use std::net::IpAddr;
use std::path::PathBuf;

/// What the command line asks for; the environment completes it.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) kind: Kind,
    pub(crate) control: ControlPlane,
    pub(crate) identity: IdentityOptions,
    pub(crate) concurrency: Option<usize>,
    pub(crate) ports: Ports,
    /// Where what is accepted is kept.
    pub(crate) save: Option<PathBuf>,
    /// Begin with what is kept there, where no control plane answers.
    pub(crate) start_from_saved: bool,
    pub(crate) log_level: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sidecar,
    Gateway,
}

/// Where the configuration comes from.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    /// `HOST:PORT`.
    pub(crate) addresses: Vec<String>,
    /// Set: TLS, and the file of the certificates that the control plane's is checked by.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) server_name: Option<String>,
}

/// The ports that the proxy opens for itself; None: the environment's or Istio's.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) admin: Option<u16>,
    pub(crate) agent: Option<u16>,
    pub(crate) health: Option<u16>,
    pub(crate) stats: Option<u16>,
    pub(crate) bind: Vec<IpAddr>,
    pub(crate) capture: CapturePorts,
}
