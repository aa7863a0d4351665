//! `amime up`: reads the command line into `up::Options` and runs the mesh.

use crate::up;
use amime_model::workload::GatewayPortPolicy;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  amime up examples/shop
      then: curl -H 'Host: shop.example.com' http://localhost:8080/

  amime up bookinfo.yaml gateway.yaml routes/
      files and folders, in any order (*.yaml, *.yml, *.json, recursively)

  helm template my-app | amime up -
      from standard input

  amime up k8s/ --replace reviews-v1=127.0.0.1:9999
      your own process at port 9999 is reviews-v1; up prints the proxy by which
      it reaches the mesh

  amime up other/ --gateway-port-offset 1000 --health-port 16021
      a second mesh beside the first: gateways at 1080, 1443, …

What you get:
  Each pod of the manifests gets loopback addresses of its own, a real sidecar,
  and a stand-in: a small server that answers HTTP/1.1, HTTP/2, gRPC health and
  echo, WebSocket echo and TCP echo. Its HTTP answer is JSON that tells who
  answered. Files are watched: a save takes effect within a second.

  Request headers steer a stand-in:
    x-amime-call: http://reviews:9080/,http://ratings:9080/
                           call on, through its own sidecar
    x-amime-status: 503    answer this status
    x-amime-delay: 200ms   answer late
    x-amime-fail-first: 2  fail the first two requests of this x-request-id

  http://127.0.0.1:15021/healthz/ready answers 200 once every gateway and
  sidecar is ready.

Exit codes: 0 ended by Ctrl-C or SIGTERM, 1 a failure (such as a port in use),
2 wrong arguments.";

/// Run the mesh that your manifests describe, on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Files and folders of Istio and Kubernetes YAML or JSON; - is standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// MeshConfig: a file of its fields, or a ConfigMap `istio` that holds them
    #[arg(long, value_name = "FILE")]
    mesh_config: Option<PathBuf>,

    /// Put a process of yours in the place of a workload: [NAMESPACE/]WORKLOAD[:PORT]=HOST:PORT
    #[arg(long, value_name = "WORKLOAD=HOST:PORT")]
    replace: Vec<up::ReplaceArg>,

    /// Open gateway ports below 1024 as they are written, not 8000 higher
    #[arg(long, conflicts_with = "gateway_port_offset")]
    privileged_ports: bool,

    /// Open every gateway port N higher than it is written
    #[arg(long, value_name = "N")]
    gateway_port_offset: Option<u16>,

    /// Where /healthz/ready is answered
    #[arg(long, value_name = "PORT", default_value_t = 15021)]
    health_port: u16,

    /// Print no line a request
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let gateway_ports = match args.gateway_port_offset {
        Some(offset) => GatewayPortPolicy::Offset(offset),
        None if args.privileged_ports => GatewayPortPolicy::Privileged,
        None => GatewayPortPolicy::Unprivileged,
    };
    up::run(up::Options {
        paths: args.paths,
        mesh_config: args.mesh_config,
        replace: args.replace,
        gateway_ports,
        health_port: args.health_port,
        quiet: args.quiet,
    })
}
