//! `amime control`: reads the command line into `control::Options` and runs the control plane.

use crate::control;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  amime control --config k8s/
      serves what the manifests in k8s/ say to every proxy that connects, by
      Envoy's xDS (ADS v3, delta and state of the world) at 127.0.0.1:15010

  amime control --config base/ shop.yaml --config - < more.yaml
      several files and folders, and standard input

  amime control --config k8s/ --grpc-port 0 --tls-port 0 --http-port 0 \
      --monitoring-port 0
      any free ports; they are printed, a line each

  amime control --config examples/shop --stand-ins --gateway-port-offset 8000
      and stand-ins for all pods of the manifests: somewhere for proxies to send
      to. For each gateway a line says which command starts it

  amime control --config examples/shop --stand-ins --sidecar shop/web-v1
      the same, and web-v1 has a sidecar, started by the command that is
      printed, or an Envoy with INTERCEPTION_MODE: PROXY_PROTOCOL

  amime control --config k8s/ --state /var/lib/amime
      what is broken or pending stays at its last good version over a restart

Without --stand-ins endpoints are those of EndpointSlices, Endpoints, Pods with
a podIP, WorkloadEntries and ServiceEntries.

Files are watched: a save takes effect within a second, and a broken file keeps
its last good version.

  http://127.0.0.1:8080/ready answers 200 once proxies are served and the
  stand-ins listen.
  http://127.0.0.1:15014/debug lists what there is to see of the mesh and of its
  proxies; /metrics beside it is for Prometheus.

Exit codes: 0 ended by Ctrl-C or SIGTERM, 130 ended at once by a second Ctrl-C,
1 a failure (such as a port in use), 2 wrong arguments.";

/// Serve the configuration that your manifests describe to proxies, over xDS
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Files and folders of Istio and Kubernetes YAML or JSON; - is standard input
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    config: Vec<PathBuf>,

    /// MeshConfig: a file of its fields, or a ConfigMap `istio` that holds them
    #[arg(long, value_name = "FILE")]
    mesh_config: Option<PathBuf>,

    /// Keep last good versions in this folder, made where there is none, over a restart; each control plane has its own
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// Run a stand-in for the application of each pod that the manifests would have, as `up` does, at the pod's
    /// address, without proxies
    #[arg(long)]
    stand_ins: bool,

    /// A workload whose sidecar is started elsewhere: its stand-ins answer and call through it; may be repeated
    #[arg(long = "sidecar", value_name = "[NAMESPACE/]WORKLOAD", requires = "stand_ins")]
    sidecars: Vec<control::WorkloadArg>,

    /// Open every gateway port N higher than it is written
    #[arg(long, value_name = "N")]
    gateway_port_offset: Option<u16>,

    /// The address at which everything listens
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,

    /// Where xDS is served in plaintext; 0 is any free port
    #[arg(long, value_name = "PORT", default_value_t = 15010)]
    grpc_port: u16,

    /// Where xDS is served by TLS; 0 is any free port
    #[arg(long, value_name = "PORT", default_value_t = 15012)]
    tls_port: u16,

    /// The certificate (PEM) that is shown at the TLS port, read again when it changes; else a self-signed one is made,
    /// and kept in --state as tls.crt
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Where /ready is answered; 0 is any free port
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    http_port: u16,

    /// Where /metrics, /version and /debug are answered; 0 is any free port
    #[arg(long, value_name = "PORT", default_value_t = 15014)]
    monitoring_port: u16,

    /// Answer /debug to other machines too; it tells the whole configuration but for Secrets' data
    #[arg(long)]
    debug_from_anywhere: bool,

    /// What is logged, to standard error: off, error, warn, info, debug, trace, or tracing's filters [env: AMIME_LOG] [default: warn]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    control::run(control::Options {
        config: args.config,
        mesh_config: args.mesh_config,
        state: args.state,
        stand_ins: args.stand_ins,
        sidecars: args.sidecars,
        gateway_port_offset: args.gateway_port_offset,
        bind: args.bind,
        grpc_port: args.grpc_port,
        tls_port: args.tls_port,
        tls_files: args.tls_cert.zip(args.tls_key),
        http_port: args.http_port,
        monitoring_port: args.monitoring_port,
        debug_from_anywhere: args.debug_from_anywhere,
        log_level: args.log_level,
    })
}
