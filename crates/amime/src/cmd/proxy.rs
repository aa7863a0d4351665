//! `amime proxy`: reads the command line and the environment into `proxy::Options` and runs one sidecar or gateway.

use crate::proxy::{self, ControlPlane, Environment, Kind, Ports};
use amime_proxy::CapturePorts;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  amime proxy gateway --control istiod.istio-system.svc:15010
      in a pod, with POD_NAME, POD_NAMESPACE and INSTANCE_IP set as Istio's
      injector sets them

  amime proxy sidecar --control 127.0.0.1:15010 \\
      --pod-name reviews-v1-x --namespace default --ip 127.64.0.7 \\
      --label app=reviews --interception proxy-protocol
      on a machine, without root; `amime control --sidecar` prints this line

  amime proxy sidecar … --admin-port 25000 --agent-port 25020 \\
      --health-port 25021 --stats-port 25090 --outbound-port 25001
      a second one beside it; port 0 is any free one

  amime proxy gateway --control a:15010 --control b:15010 \\
      --save /var/lib/amime/gateway.saved --start-from-saved
      several control planes, and a start while none of them is there

Environment, as Istio's agent reads it (a flag wins):
  POD_NAME, POD_NAMESPACE, INSTANCE_IP, SERVICE_ACCOUNT
  ISTIO_META_NAME=text            NAME of the node's metadata
  ISTIO_METAJSON_LABELS={…}       the pod's labels; other ISTIO_METAJSON_*
                                  objects are merged into the metadata
  PROXY_CONFIG                    Istio's ProxyConfig (YAML or JSON), of which
                                  concurrency, discoveryAddress, proxyMetadata,
                                  proxyAdminPort, statusPort, drainDuration and
                                  terminationDrainDuration count; so does the
                                  pod's annotation proxy.istio.io/config
  TERMINATION_DRAIN_DURATION_SECONDS, MINIMUM_DRAIN_DURATION,
  EXIT_ON_ZERO_ACTIVE_CONNECTIONS, ISTIO_CPU_LIMIT
  ENVOY_STATUS_PORT (15021), ENVOY_PROMETHEUS_PORT (15090)
  AMIME_LOG                       as --log-level";

const ENDING: &str = "\
How it ends:
  SIGTERM or Ctrl-C: what is there is told to end, and what still comes inbound
  is answered and told the same for four fifths of the termination drain
  duration (5s). A sidecar keeps its application's way out open for all of it,
  or, with EXIT_ON_ZERO_ACTIVE_CONNECTIONS=true, from MINIMUM_DRAIN_DURATION
  (5s) on until no connection is open. A gateway takes nothing more once nothing
  has come for 10s, and then ends as soon as no connection is open.
  A second signal: at once.

Exit codes: 0 drained, or ended by POST /quitquitquit; 130 ended at once by a
second signal; 1 a failure (such as a port in use); 2 wrong arguments.";

/// Run one proxy, configured by a control plane over the network
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{ENDING}"))]
pub(crate) struct Args {
    #[command(subcommand)]
    kind: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Beside one application, for what it calls and what calls it
    #[command(after_help = format!("{EXAMPLES}\n\n{ENDING}"))]
    Sidecar(Box<Proxy>),
    /// At the edge of the mesh, for what comes from outside
    #[command(after_help = format!("{EXAMPLES}\n\n{ENDING}"))]
    Gateway(Box<Proxy>),
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Interception {
    /// The kernel redirects connections and knows where they wanted to go (SO_ORIGINAL_DST)
    Redirect,
    /// Each connection begins with a PROXY header that says it, as under `amime up`
    ProxyProtocol,
}

#[derive(Debug, clap::Args)]
struct Proxy {
    /// A control plane; may be repeated, and a name with several addresses counts as several
    #[arg(long, value_name = "HOST:PORT")]
    control: Vec<String>,

    /// Speak TLS to the control plane (15012)
    #[arg(long, requires = "control_ca")]
    control_tls: bool,

    /// The certificates that the control plane's is checked by, PEM
    #[arg(long, value_name = "FILE", requires = "control_tls")]
    control_ca: Option<PathBuf>,

    /// The name that the control plane's certificate is for, where it is not the host of --control
    #[arg(long, value_name = "NAME", requires = "control_tls")]
    control_name: Option<String>,

    /// The pod's name [env: POD_NAME]
    #[arg(long, value_name = "NAME", help_heading = "Identity")]
    pod_name: Option<String>,

    /// The pod's namespace [env: POD_NAMESPACE]
    #[arg(long, value_name = "NAMESPACE", help_heading = "Identity")]
    namespace: Option<String>,

    /// The pod's addresses, its own one first [env: INSTANCE_IP]
    #[arg(long, value_name = "IP", value_delimiter = ',', help_heading = "Identity")]
    ip: Vec<IpAddr>,

    /// The pod's service account [env: SERVICE_ACCOUNT]
    #[arg(long, value_name = "NAME", help_heading = "Identity")]
    service_account: Option<String>,

    /// The DNS suffix of the pod's namespace [default: NAMESPACE.svc.cluster.local]
    #[arg(long, value_name = "DOMAIN", help_heading = "Identity")]
    domain: Option<String>,

    /// A label of the pod; may be repeated
    #[arg(long, value_name = "K=V", value_parser = pair, help_heading = "Identity")]
    label: Vec<(String, String)>,

    /// A field of the node's metadata; may be repeated
    #[arg(long, value_name = "K=V", value_parser = pair, help_heading = "Identity")]
    metadata: Vec<(String, String)>,

    /// Where the pod's `labels` and `annotations` are mounted as files
    #[arg(long, value_name = "DIR", default_value = "/etc/istio/pod", help_heading = "Identity")]
    pod_info: PathBuf,

    /// How connections come here [env: ISTIO_META_INTERCEPTION_MODE] [default: redirect]
    #[arg(long, value_enum)]
    interception: Option<Interception>,

    /// Worker threads; 0 is one for each core [default: 2 in a sidecar, at most the cores; all cores in a gateway]
    #[arg(long, value_name = "N")]
    concurrency: Option<usize>,

    /// Where the pages for operators are, on 127.0.0.1 and ::1 alone [default: 15000]
    #[arg(long, value_name = "PORT", help_heading = "Ports")]
    admin_port: Option<u16>,

    /// Where probes, merged metrics and quitquitquit are [default: 15020]
    #[arg(long, value_name = "PORT", help_heading = "Ports")]
    agent_port: Option<u16>,

    /// Where /healthz/ready is [default: 15021]
    #[arg(long, value_name = "PORT", help_heading = "Ports")]
    health_port: Option<u16>,

    /// Where the proxy's own metrics are [default: 15090]
    #[arg(long, value_name = "PORT", help_heading = "Ports")]
    stats_port: Option<u16>,

    /// Where the application's connections arrive, in the place of 15001
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Ports")]
    outbound_port: Option<u16>,

    /// Where connections for the application arrive, in the place of 15006
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Ports")]
    inbound_port: Option<u16>,

    /// Where the agent, health and stats pages are opened [default: all addresses; 127.0.0.1 and ::1 where the pod's
    /// own address is a loopback one]
    #[arg(long, value_name = "IP", help_heading = "Ports")]
    bind: Vec<IpAddr>,

    /// Keep what is accepted in this file, for --start-from-saved
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,

    /// Begin with what --save has kept, where no control plane answers for 3 seconds
    #[arg(long, requires = "save")]
    start_from_saved: bool,

    /// What is logged, to standard error: off, error, warn, info, debug, trace, or tracing's filters [env: AMIME_LOG] [default: warn]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (kind, args) = match args.kind {
        Command::Sidecar(args) => (Kind::Sidecar, args),
        Command::Gateway(args) => (Kind::Gateway, args),
    };
    proxy::run(&args.into_options(kind), &Environment::of_process())
}

impl Proxy {
    fn into_options(self, kind: Kind) -> proxy::Options {
        proxy::Options {
            kind,
            control: ControlPlane { addresses: self.control, ca: self.control_ca, server_name: self.control_name },
            identity: proxy::IdentityOptions {
                pod_name: self.pod_name,
                namespace: self.namespace,
                addresses: self.ip,
                service_account: self.service_account,
                domain: self.domain,
                labels: self.label,
                metadata: self.metadata,
                pod_info: self.pod_info,
                interception: self.interception.map(|interception| match interception {
                    Interception::Redirect => amime_model::translate::Interception::Redirect,
                    Interception::ProxyProtocol => amime_model::translate::Interception::ProxyProtocol,
                }),
            },
            concurrency: self.concurrency,
            ports: Ports {
                admin: self.admin_port,
                agent: self.agent_port,
                health: self.health_port,
                stats: self.stats_port,
                bind: self.bind,
                capture: CapturePorts { outbound: self.outbound_port, inbound: self.inbound_port },
            },
            save: self.save,
            start_from_saved: self.start_from_saved,
            log_level: self.log_level,
        }
    }
}
