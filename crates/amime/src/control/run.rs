//! The life of `amime control`: open the ports, read the files, serve, follow every change, end.

use super::Options;
use super::ports::Ports;
use super::{monitor, ready};
use crate::serve;
use crate::signals::Signals;
use crate::up::findings::Findings;
use crate::up::log::{Log, Printer};
use crate::up::{machine, missing_file, progress};
use amime_control::Distributor;
use amime_control::engine::{self, EngineOptions};
use amime_control::source::Input;
use amime_xds::server::StreamOptions;
use anyhow::Context;
use std::process::ExitCode;
use std::time::Duration;
use time::UtcOffset;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// How long proxies may take to end their connections when they are told to.
const LAST_STREAMS: Duration = Duration::from_secs(5);

/// Runs until Ctrl-C or SIGTERM.
pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    if let Some(code) = missing_file(options.config.iter().chain(&options.mesh_config)) {
        return Ok(code);
    }
    let offset = UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC);
    machine::raise_file_limit();
    let runtime = runtime().context("starting")?;
    let log = Log::start(offset).context("starting")?;
    let ended = runtime.block_on(control(options, &log.printer()));
    log.finish();
    ended.map(|()| ExitCode::SUCCESS)
}

/// A thread for each core; where there is one core, none beside this.
fn runtime() -> std::io::Result<Runtime> {
    match std::thread::available_parallelism() {
        Ok(cores) if cores.get() > 1 => Builder::new_multi_thread().worker_threads(cores.get()).enable_all().build(),
        _ => Builder::new_current_thread().enable_all().build(),
    }
}

async fn control(options: Options, printer: &Printer) -> anyhow::Result<()> {
    let ports = Ports::open(&options).await?;
    for line in ports.lines().context("starting")? {
        printer.print(line);
    }
    let (is_ready, ready) = watch::channel(false);
    let _ready = serve::http(vec![ports.http], move |request| {
        let answer = ready::answer(&request, *ready.borrow());
        async move { answer }
    });
    let _monitor = serve::http(vec![ports.monitoring], move |request| {
        let answer = monitor::answer(&request);
        async move { answer }
    });

    let mut generations = {
        let mut engine = EngineOptions::new(options.config.iter().map(|path| Input::from_argument(path)).collect());
        engine.mesh_config = options.mesh_config;
        engine::start(engine)?
    };
    // From here on; before, a signal ends the process, also while it reads standard input.
    let mut signals = Signals::start()?;
    let mut findings = Findings::new(printer.clone());
    findings.tell(&generations.borrow_and_update());
    let distributor = Distributor::start(generations.clone(), StreamOptions::default()).context("starting")?;
    let _everybody_runs = progress::follow(distributor.clone(), printer.clone());
    let grpc = ports.grpc.serve(distributor.clone());
    is_ready.send_replace(true);
    printer.print("ready");

    loop {
        tokio::select! {
            changed = generations.changed() => {
                changed.context("the engine has ended")?;
                findings.tell(&generations.borrow_and_update());
            }
            () = signals.next() => break,
        }
    }

    is_ready.send_replace(false);
    distributor.end();
    tokio::select! {
        // Who is slow to go is cut off with the process.
        _ = tokio::time::timeout(LAST_STREAMS, grpc.finish()) => {}
        () = signals.next() => {}
    }
    Ok(())
}
