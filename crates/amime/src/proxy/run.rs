//! The life of `amime proxy`: find out who it is, follow the control plane, serve, end when told to.
//!
//! Threads: the workers, and this one, where xDS, DNS and the pages run.

use super::environment::Environment;
use super::identity::{self, Identity, PodInfo};
use super::settings::{self, Lifecycle, Pages};
use super::{Kind, Options};
use crate::logging::LogLevel;
use crate::up::raise_file_limit;
use amime_proxy::{AdsOptions, Placement, Proxy, ProxyOptions, Workers};
use anyhow::{Context, bail};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often it is asked whether connections are still open.
const LOOK: Duration = Duration::from_millis(20);
/// How long what a sidecar's last connections carry may take once it ends: their time is over.
const LAST: Duration = Duration::from_millis(200);
/// Ended by a second signal, as a shell says it.
const INTERRUPTED: u8 = 130;
/// The command line or the environment is wrong.
const USAGE: u8 = 2;

/// How it ended.
enum End {
    Drained,
    /// A second signal came while it drained.
    AtOnce,
}

/// All that is decided before anything is opened.
struct Plan {
    kind: Kind,
    identity: Identity,
    lifecycle: Lifecycle,
    workers: usize,
    control: Vec<String>,
}

/// Runs until SIGTERM, Ctrl-C or quitquitquit.
pub(crate) fn run(options: Options, environment: &Environment) -> anyhow::Result<ExitCode> {
    let prepared = LogLevel::install(options.log_level.as_deref()).and_then(|_log| Plan::of(&options, environment));
    let plan = match prepared {
        Ok(plan) => plan,
        Err(error) => {
            crate::cmd::report(&error);
            return Ok(ExitCode::from(USAGE));
        }
    };
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")?;
    match runtime.block_on(serve(plan, &options))? {
        End::Drained => Ok(ExitCode::SUCCESS),
        End::AtOnce => Ok(ExitCode::from(INTERRUPTED)),
    }
}

impl Plan {
    fn of(options: &Options, environment: &Environment) -> anyhow::Result<Self> {
        let pod = PodInfo::read(&options.identity.pod_info)?;
        let config = identity::proxy_config(environment, &pod)?;
        let lifecycle = Lifecycle::of(environment, &config)?;
        let identity = Identity::of(options.kind, &options.identity, environment, &pod, &config, &lifecycle)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = settings::workers(options.kind, options.concurrency, environment, &config, cores)?;
        let _pages = Pages::of(&options.ports, identity.address, environment, &config)?;
        let control = match (options.control.addresses.as_slice(), &config.discovery_address) {
            ([], Some(address)) => vec![address.clone()],
            ([], None) => {
                bail!("no control plane is named: pass --control HOST:PORT, or discoveryAddress in PROXY_CONFIG")
            }
            (addresses, _) => addresses.to_vec(),
        };
        if options.control.ca.is_some() {
            bail!("--control-tls: TLS to the control plane is not built yet; leave it out for plaintext (15010)");
        }
        for address in &control {
            let port =
                address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(1..))) {
                bail!("--control {address}: write HOST:PORT, as 127.0.0.1:15010 or [::1]:15010");
            }
        }
        Ok(Self { kind: options.kind, identity, lifecycle, workers, control })
    }

    fn proxy_options(&self, options: &Options) -> ProxyOptions {
        let mut proxy = ProxyOptions::new(self.identity.proxy.clone(), tokio::runtime::Handle::current());
        proxy.placement = Placement::All;
        proxy.drain = self.lifecycle.idle_drain;
        proxy.loopback_source = self.identity.loopback_source();
        proxy.capture_ports = options.ports.capture;
        proxy
    }
}

/// SIGTERM and Ctrl-C.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn start() -> anyhow::Result<Self> {
        let interrupt = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
        let terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        Ok(Self { interrupt, terminate })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn serve(plan: Plan, options: &Options) -> anyhow::Result<End> {
    let mut signals = Signals::start()?;
    let workers = Workers::start(plan.workers).context("starting")?;
    let proxy = Proxy::start(plan.proxy_options(options), &workers);
    let node = plan.identity.node.clone();
    proxy.follow(AdsOptions::new(channel(&plan.control)?, node, Arc::default()));

    let mut ready = proxy.ready();
    let told = tokio::spawn(async move {
        if ready.wait_for(|ready| *ready).await.is_ok() {
            anstream::println!("ready");
        }
    });
    signals.next().await;
    told.abort();
    let end = tokio::select! {
        () = drain(&plan, &proxy) => End::Drained,
        () = signals.next() => End::AtOnce,
    };
    if matches!(end, End::Drained) {
        workers.shutdown();
    }
    Ok(end)
}

/// Lets the proxy end as its kind and its lifecycle say.
async fn drain(plan: &Plan, proxy: &Proxy) {
    let lifecycle = plan.lifecycle;
    let begun = Instant::now();
    proxy.drain_inbound().await;
    match (lifecycle.exit_on_zero, plan.kind) {
        (true, _) => {
            tokio::time::sleep(lifecycle.minimum_drain).await;
            while proxy.connections() > 0 {
                tokio::time::sleep(LOOK).await;
            }
            proxy.drain(LAST).await;
        }
        // The application may still call others, though no connection is open at the moment.
        (false, Kind::Sidecar) => {
            tokio::time::sleep(lifecycle.termination_drain).await;
            proxy.drain(LAST).await;
        }
        (false, Kind::Gateway) => {
            proxy.drain(lifecycle.termination_drain.saturating_sub(begun.elapsed())).await;
        }
    }
}

/// To the control plane, opened when it is first needed, and again where it breaks.
fn channel(control: &[String]) -> anyhow::Result<tonic::transport::Channel> {
    let address = control.first().context("no control plane is named: pass --control HOST:PORT")?;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
        .with_context(|| format!("--control {address}: write HOST:PORT"))?;
    Ok(endpoint.connect_lazy())
}
