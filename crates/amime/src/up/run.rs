//! The life of `amime up`: take a network, read the files, start the fleet, follow every change, drain.
//!
//! Four kinds of threads: the proxies' workers, one for the stand-ins, one that prints, and this one, where the
//! control plane, xDS and the decisions of this file run.

use super::Options;
use super::announce;
use super::applications::Applications;
use super::fleet::{Fleet, Shared};
use super::health;
use super::log::{Log, Printer};
use super::machine::{self, Network};
use super::names;
use super::phases::Phases;
use super::prepare::{self, Prepare};
use super::progress;
use super::proxies::{Proxies, ProxiesHere};
use super::reach;
use super::standin;
use super::told::Told;
use crate::signals::{Signals, reopen_logs_when_told};
use amime_control::Distributor;
use amime_control::engine::{self, EngineOptions};
use amime_control::source::Input;
use amime_model::workload::AddressPlan;
use amime_proxy::Workers;
use amime_xds::server::StreamOptions;
use amime_xds::transport::channel_over;
use anyhow::{Context, bail};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use time::UtcOffset;
use tokio::sync::{Notify, mpsc, watch};

/// How many batches of records may wait for the log.
const RECORDS: usize = 1024;
/// Bytes of xDS that may be under way in the process.
const DUPLEX: usize = 1 << 20;
/// How long the last lines are waited for.
const LAST_LINES: Duration = Duration::from_millis(500);
/// Ended by a second signal, as a shell says it.
const INTERRUPTED: i32 = 130;

/// How it ended.
enum End {
    Drained,
    /// A second signal came while it drained.
    AtOnce,
    /// The command line asks for something that is not there.
    Usage,
    /// What was wrong has been printed.
    Failed,
}

/// Runs until Ctrl-C or SIGTERM.
pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    if let Some(code) = missing_file(options.paths.iter().chain(&options.mesh_config)) {
        return Ok(code);
    }
    // Before there are threads: afterwards nobody may ask for the time zone.
    let offset = UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC);
    let files = machine::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")?;
    let log = Log::start(offset).context("starting")?;
    let end = runtime.block_on(up(options, files, &log.printer()));
    log.finish();
    match end? {
        End::Drained => Ok(ExitCode::SUCCESS),
        End::Usage => Ok(ExitCode::from(2)),
        End::Failed => Ok(ExitCode::FAILURE),
        End::AtOnce => std::process::exit(INTERRUPTED),
    }
}

async fn up(options: Options, files: u64, printer: &Printer) -> anyhow::Result<End> {
    let started = Instant::now();
    let (ready, health_follows) = watch::channel(false);
    let _health = health::start(options.health_port, health_follows).await?;
    let network = Arc::new(Network::lock()?);
    let replacements = options.replace.iter().map(super::ReplaceArg::resolve).collect::<anyhow::Result<Vec<_>>>()?;
    let plan = AddressPlan::new(network.octets())
        .with_gateways(machine::gateway_addresses(), options.gateway_ports)
        .with_replacements(replacements);
    let (phases, again) = (Phases::default(), Arc::new(Notify::new()));

    let mut generations = {
        let mut prepare = Prepare::new(network, plan, phases.clone());
        let mut engine = EngineOptions::new(options.paths.iter().map(|path| Input::from_argument(path)).collect());
        engine.mesh_config = options.mesh_config;
        engine.again = again.clone();
        engine.prepare = Box::new(move |resources| prepare.run(resources));
        engine::start(engine)?
    };
    // From here on; before, a signal ends the process, also while it reads standard input.
    let mut signals = Signals::start()?;
    reopen_logs_when_told()?;
    let first = generations.borrow_and_update().clone();
    let mut told = Told::new(printer.clone());
    told.tell(&first);
    if first.diagnostics.iter().any(|finding| finding.code == prepare::REPLACEMENT) {
        return Ok(End::Usage);
    }
    if first.diagnostics.iter().any(|finding| finding.code == prepare::PORT_IN_USE) {
        return Ok(End::Failed);
    }

    if let Some(text) = announce::too_few_files(&first.snapshot, files) {
        printer.print(text);
    }
    let distributor = Distributor::start(generations.clone(), StreamOptions::default()).context("starting")?;
    let (client, server) = tokio::io::duplex(DUPLEX);
    let serving = distributor.clone();
    let ads = tokio::spawn(async move { serving.serve_in_process(server).await });
    let (records, received) = mpsc::channel(RECORDS);
    let following = tokio::spawn(Log::follow(printer.clone(), received));
    let names = names::follow(&generations);
    let applications = Applications::start().context("starting")?;
    let workers = Workers::start(std::thread::available_parallelism().map_or(1, usize::from)).context("starting")?;
    let proxies = ProxiesHere {
        workers: workers.clone(),
        background: tokio::runtime::Handle::current(),
        records: (!options.quiet).then_some(records),
        reach: reach::follow(&generations),
        channel: channel_over(client),
        interner: Arc::default(),
    };
    let shared = Shared {
        applications: applications.handle.clone(),
        mesh: standin::Mesh::new(names.clone()),
        names,
        phases,
        printer: printer.clone(),
        everybody_runs: progress::follow(distributor.clone(), printer.clone()),
        proxies: Proxies::Here(Box::new(proxies)),
    };
    let mut fleet = Fleet::new(Arc::new(shared), &first);
    fleet.follow(&first);

    let mut is_ready = false;
    loop {
        if !is_ready && fleet.is_complete() {
            is_ready = true;
            told.ready(&first, fleet.len(), started);
            ready.send_replace(true);
        }
        tokio::select! {
            changed = generations.changed() => {
                changed.context("the control plane has ended")?;
                let generation = generations.borrow_and_update().clone();
                told.tell(&generation);
                fleet.follow(&generation);
            }
            Some(event) = fleet.next() => match fleet.handle(event) {
                Ok(true) => again.notify_one(),
                Ok(false) => {}
                Err(error) if !is_ready => return Err(error),
                Err(error) => printer.print(announce::error(&error)),
            },
            // Without it the mesh would go on with what it has, and say that it is ready.
            () = distributor.stopped() => bail!("the thread that makes the configuration of proxies has ended"),
            () = signals.next() => break,
        }
    }

    ready.send_replace(false);
    printer.print(format!(
        "ending: {} connections may finish what they began; press Ctrl-C again to end at once",
        fleet.connections()
    ));
    let end = tokio::select! {
        () = fleet.stop() => End::Drained,
        () = signals.next() => End::AtOnce,
    };
    if matches!(end, End::Drained) {
        workers.shutdown();
        applications.stop();
        ads.abort();
        // The last lines of the workers' records; they end with the proxies, which end with their workers.
        let _ = tokio::time::timeout(LAST_LINES, following).await;
    }
    Ok(end)
}

/// A file of the command line that is not there is the command line's mistake: says so, and with which code to end.
pub(crate) fn missing_file<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Option<ExitCode> {
    for path in paths.filter(|path| path.as_os_str() != "-") {
        if let Err(error) = std::fs::metadata(path) {
            anstream::eprintln!("error: {}: {error}", path.display());
            return Some(ExitCode::from(2));
        }
    }
    None
}
