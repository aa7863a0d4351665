//! The life of `amime proxy`: find out who it is, open its pages, follow the control plane, serve, end when told to.
//!
//! Threads: the workers, this one, where xDS and DNS run, and those of the pages.

use super::ending::Begun;
use super::environment::Environment;
use super::identity::{self, Identity, PodInfo};
use super::pages::{self, AppMetrics, Asked, Opened, Probers, Shared};
use super::saved::{self, Restored};
use super::settings::{self, Lifecycle, Pages};
use super::{ControlPlane, Kind, Options, ending};
use crate::logging::LogLevel;
use crate::serve::Server;
use crate::signals::{Signals, reopen_logs_when_told};
use crate::up::machine::raise_file_limit;
use amime_model::translate::Interception;
use amime_proxy::{AdsOptions, CapturePorts, Placement, Proxy, ProxyOptions, Workers};
use amime_xds::client::Saved;
use amime_xds::transport::{ClientTls, ConnectionState, Dialer};
use anyhow::{Context, bail};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// How long the last answers of the pages may take.
const LAST_PAGES: Duration = Duration::from_secs(1);
/// Ended by a second signal, as a shell says it.
const INTERRUPTED: u8 = 130;
/// The command line or the environment is wrong.
const USAGE: u8 = 2;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    dialer: Dialer,
    pages: Pages,
    capture: CapturePorts,
    app_metrics: AppMetrics,
    probers: Probers,
    save: Option<PathBuf>,
    start_from_saved: bool,
}

/// Runs until SIGTERM, Ctrl-C or quitquitquit.
pub(crate) fn run(options: &Options, environment: &Environment) -> anyhow::Result<ExitCode> {
    let log = LogLevel::install(options.log_level.as_deref());
    let prepared = log.and_then(|log| Ok((log, Plan::of(options, environment)?)));
    let (log, plan) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            crate::cmd::report(&error);
            return Ok(ExitCode::from(USAGE));
        }
    };
    raise_file_limit();
    let runtime = Builder::new_current_thread().enable_all().build().context("starting")?;
    let pages = pages::runtime().context("starting")?;
    let end = runtime.block_on(serve(plan, log.clone(), pages.handle()));
    // A look-up that hangs holds nobody up, nor does a page that is not finished.
    runtime.shutdown_background();
    pages.shutdown_background();
    log.finish();
    match end? {
        End::Drained => Ok(ExitCode::SUCCESS),
        End::AtOnce => Ok(ExitCode::from(INTERRUPTED)),
    }
}

impl Plan {
    fn of(options: &Options, environment: &Environment) -> anyhow::Result<Self> {
        let pod = PodInfo::read(&options.identity.pod_info)?;
        let config = identity::proxy_config(environment, &pod)?;
        let lifecycle = Lifecycle::of(environment, &config)?;
        let kind = options.kind;
        let identity = Identity::of(kind, &options.identity, environment, &pod, &config, &lifecycle)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pages = Pages::of(&options.ports, identity.address, environment, &config)?;
        if let Some(path) = &options.save {
            saved::check(path)?;
        }
        let redirected = kind == Kind::Sidecar && identity.interception == Interception::Redirect;
        Ok(Self {
            kind,
            lifecycle,
            workers: settings::workers(kind, options.concurrency, environment, &config, cores)?,
            dialer: dialer(&options.control, config.discovery_address.as_deref())?,
            capture: options.ports.capture,
            app_metrics: AppMetrics::of(kind, environment, &pages.ports())?,
            probers: Probers::of(environment, identity.address, redirected)?,
            save: options.save.clone(),
            start_from_saved: options.start_from_saved,
            pages,
            identity,
        })
    }

    fn proxy_options(&self, opened: &Opened) -> ProxyOptions {
        let mut proxy = ProxyOptions::new(self.identity.proxy.clone(), tokio::runtime::Handle::current());
        proxy.placement = Placement::All;
        proxy.drain = self.lifecycle.idle_drain;
        proxy.loopback_source = self.identity.loopback_source();
        proxy.capture_ports = self.capture;
        proxy.own = opened.own_ports(self.identity.address);
        proxy
    }
}

/// To the control planes, which are dialled when the proxy follows.
fn dialer(options: &ControlPlane, of_config: Option<&str>) -> anyhow::Result<Dialer> {
    let addresses = match (options.addresses.as_slice(), of_config) {
        ([], Some(address)) => vec![address.to_owned()],
        ([], None) => bail!("no control plane is named: pass --control HOST:PORT, or discoveryAddress in PROXY_CONFIG"),
        (addresses, _) => addresses.to_vec(),
    };
    for address in &addresses {
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            bail!("--control {address}: write HOST:PORT, as 127.0.0.1:15010 or [::1]:15010");
        }
    }
    let tls = match &options.ca {
        Some(path) => {
            let ca_pem = std::fs::read(path).with_context(|| format!("--control-ca {}", path.display()))?;
            Some(ClientTls { ca_pem, server_name: options.server_name.clone() })
        }
        None => None,
    };
    Dialer::new(addresses, tls).context("--control-ca, --control-name")
}

async fn serve(plan: Plan, log: LogLevel, pages: &Handle) -> anyhow::Result<End> {
    let wanted = plan.pages.clone();
    let opened = pages.spawn(async move { Opened::open(&wanted).await }).await.context("starting")??;
    opened.tell();
    let mut signals = Signals::start()?;
    reopen_logs_when_told()?;
    let workers = Workers::start(plan.workers).context("starting")?;
    let proxy = Proxy::start(plan.proxy_options(&opened), &workers);
    let (asked, wishes) = watch::channel(Asked::Nothing);
    let (kind, lifecycle) = (plan.kind, plan.lifecycle);
    let control = plan.dialer.state();
    let node = plan.identity.node.clone();
    let mut ads = AdsOptions::new(plan.dialer, node.clone(), Arc::default());
    let (saves, accepted) = watch::channel(Saved::default());
    ads.saves = Some(saves);
    let mut saved_at = None;
    if let Some(path) = plan.save {
        if plan.start_from_saved
            && let Some(Restored { saved, at }) = saved::restore(&path, &node, &ads.interner)
        {
            ads.saved = Some((saved, at));
            saved_at = Some(at);
        }
        tokio::spawn(saved::follow(path, node, proxy.ready(), accepted.clone()));
    }
    proxy.follow(ads);
    let shared = Arc::new(Shared {
        proxy: proxy.clone(),
        kind,
        identity: plan.identity,
        lifecycle,
        workers: plan.workers,
        control: control.clone(),
        met: AtomicBool::new(false),
        saved_at,
        accepted,
        started: SystemTime::now(),
        log,
        app_metrics: plan.app_metrics,
        probers: plan.probers,
        asked,
    });
    tokio::spawn(tell(shared.clone(), control));
    let servers = {
        let _on = pages.enter();
        opened.serve(&shared)
    };
    let end = live(&proxy, kind, lifecycle, &mut signals, wishes).await;
    if end == End::Drained {
        let finish = futures_util::future::join_all(servers.into_iter().map(Server::finish));
        // Who keeps a connection open to the pages holds nobody up.
        let _ = tokio::time::timeout(LAST_PAGES, finish).await;
        workers.shutdown();
    }
    Ok(end)
}

/// Tells metrics and pages whether a control plane is there.
async fn tell(shared: Arc<Shared>, mut control: watch::Receiver<ConnectionState>) {
    loop {
        let connected = matches!(*control.borrow_and_update(), ConnectionState::Connected { .. });
        shared.proxy.tell_control_plane(connected);
        shared.met.fetch_or(connected, Ordering::Relaxed);
        if control.changed().await.is_err() {
            return;
        }
    }
}

/// From the first configuration to the end.
async fn live(
    proxy: &Proxy,
    kind: Kind,
    lifecycle: Lifecycle,
    signals: &mut Signals,
    mut wishes: watch::Receiver<Asked>,
) -> End {
    let mut ready = proxy.ready();
    let mut told = false;
    let mut begun = None;
    loop {
        tokio::select! {
            Ok(_) = ready.wait_for(|ready| *ready), if !told => {
                told = true;
                anstream::println!("ready");
            }
            () = signals.next() => break,
            Ok(()) = wishes.changed() => {
                let wish = *wishes.borrow_and_update();
                match wish {
                    Asked::Nothing => {}
                    Asked::Drain(draining) => {
                        begun = Some(Begun::with(begun, draining));
                        let proxy = proxy.clone();
                        tokio::spawn(async move { ending::stop_accepting(&proxy, draining, kind, lifecycle).await });
                    }
                    Asked::Quit => return quit(proxy, signals).await,
                }
            }
        }
    }
    let asked_to_quit = async {
        // An error: the pages are gone, and nobody asks any more.
        if wishes.wait_for(|wish| *wish == Asked::Quit).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = ending::drain(proxy, kind, lifecycle, begun) => End::Drained,
        () = signals.next() => End::AtOnce,
        () = asked_to_quit => quit(proxy, signals).await,
    }
}

/// Ends now, or at once where a signal comes meanwhile.
async fn quit(proxy: &Proxy, signals: &mut Signals) -> End {
    tokio::select! {
        () = ending::quit(proxy) => End::Drained,
        () = signals.next() => End::AtOnce,
    }
}
