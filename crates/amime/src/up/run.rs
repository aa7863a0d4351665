//! The life of `amime up`: take a network, read the files, run the mesh, tell of it, drain.

use super::Options;
use super::announce;
use super::health;
use super::log::{Log, Printer};
use super::machine::{self, Network};
use super::prepare;
use super::running::{Begun, Running, Stopped};
use super::told::Told;
use crate::signals::{Signals, reopen_logs_when_told};
use amime_control::source::Input;
use amime_model::workload::AddressPlan;
use anyhow::Context;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use time::UtcOffset;
use tokio::sync::{mpsc, watch};

/// How many batches of records may wait for the log.
const RECORDS: usize = 1024;
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
    let inputs = options.paths.iter().map(|path| Input::from_argument(path)).collect();
    let begun = Begun::read(inputs, options.mesh_config, network, plan)?;
    // From here on; before, a signal ends the process, also while it reads standard input.
    let mut signals = Signals::start()?;
    reopen_logs_when_told()?;
    let first = begun.first().clone();
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
    let (records, received) = mpsc::channel(RECORDS);
    let following = tokio::spawn(Log::follow(printer.clone(), received));
    let mut mesh = Running::start(begun, printer, (!options.quiet).then_some(records))?;

    let mut is_ready = false;
    loop {
        if !is_ready && mesh.is_complete() {
            is_ready = true;
            told.ready(&first, mesh.pods(), started);
            ready.send_replace(true);
        }
        tokio::select! {
            step = mesh.step() => match step {
                Ok(Some(generation)) => told.tell(&generation),
                Ok(None) => {}
                Err(Stopped::Mesh(error)) => return Err(error),
                Err(Stopped::Pod(error)) if !is_ready => return Err(error),
                Err(Stopped::Pod(error)) => printer.print(announce::error(&error)),
            },
            () = signals.next() => break,
        }
    }

    ready.send_replace(false);
    printer.print(format!(
        "ending: {} connections may finish what they began; press Ctrl-C again to end at once",
        mesh.connections()
    ));
    let end = tokio::select! {
        () = mesh.stop() => End::Drained,
        () = signals.next() => End::AtOnce,
    };
    if matches!(end, End::Drained) {
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
