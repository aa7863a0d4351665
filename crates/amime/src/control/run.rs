//! The life of `amime control`: open the ports, read the files, serve, follow every change, end.

use super::Options;
use super::certificate;
use super::monitor::{self, Monitor};
use super::ports::{self, Ports};
use super::ready;
use super::stand_ins::{Ground, StandIns};
use crate::logging::LogLevel;
use crate::serve;
use crate::signals::Signals;
use crate::up::findings::Findings;
use crate::up::fleet::Event;
use crate::up::log::{Log, Printer};
use crate::up::{announce, machine, missing_file, prepare, progress};
use amime_control::Distributor;
use amime_control::engine::{self, EngineOptions};
use amime_control::source::Input;
use amime_control::state::State;
use amime_xds::server::StreamOptions;
use anyhow::{Context, bail};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use time::UtcOffset;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// How long proxies may take to end their connections when they are told to.
const LAST_STREAMS: Duration = Duration::from_secs(5);

/// Ended by a second signal, as a shell says it.
const INTERRUPTED: i32 = 130;

/// How it ended.
enum End {
    Well,
    /// A second signal came while it ended.
    AtOnce,
    /// The command line asks for something that is not there; it has been said.
    Usage,
}

/// Runs until Ctrl-C or SIGTERM.
pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    if let Some(code) = missing_file(options.config.iter().chain(&options.mesh_config)) {
        return Ok(code);
    }
    // What the libraries tell goes to standard error, beside what is printed here.
    let level = match LogLevel::install(options.log_level.as_deref()) {
        Ok(level) => level,
        Err(error) => {
            crate::cmd::report(&error);
            return Ok(ExitCode::from(2));
        }
    };
    let offset = UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC);
    let files = machine::raise_file_limit();
    let runtime = runtime().context("starting")?;
    let log = Log::start(offset).context("starting")?;
    let end = runtime.block_on(control(options, files, &log.printer()));
    log.finish();
    level.finish();
    match end? {
        End::Well => Ok(ExitCode::SUCCESS),
        End::Usage => Ok(ExitCode::from(2)),
        End::AtOnce => std::process::exit(INTERRUPTED),
    }
}

/// A thread for each core; where there is one core, none beside this.
fn runtime() -> std::io::Result<Runtime> {
    match std::thread::available_parallelism() {
        Ok(cores) if cores.get() > 1 => Builder::new_multi_thread().worker_threads(cores.get()).enable_all().build(),
        _ => Builder::new_current_thread().enable_all().build(),
    }
}

async fn control(options: Options, files: u64, printer: &Printer) -> anyhow::Result<End> {
    let ports = Ports::open(&options).await?;
    for line in ports.lines().context("starting")? {
        printer.print(line);
    }
    let (is_ready, ready) = watch::channel(false);
    let _ready = serve::health(vec![ports.http], move |request| {
        let answer = ready::answer(&request, *ready.borrow());
        async move { answer }
    });

    let mut engine = EngineOptions::new(options.config.iter().map(|path| Input::from_argument(path)).collect());
    engine.mesh_config.clone_from(&options.mesh_config);
    engine.gateway_port_offset = options.gateway_port_offset.unwrap_or_default();
    let again = engine.again.clone();
    let state = options.state.as_deref().map(|folder| open_state(folder, &mut engine, printer)).transpose()?;
    let tls = certificate::of(&options, printer)?;
    let mut ground = None;
    if options.stand_ins {
        let (taken, mut prepare) = Ground::take(&options)?;
        engine.prepare = Box::new(move |resources| prepare.run(resources));
        ground = Some(taken);
    }
    // Probes are answered meanwhile.
    let mut generations = tokio::task::spawn_blocking(|| engine::start(engine)).await.context("starting")??;
    // From here on; before, a signal ends the process, also while it reads standard input.
    let mut signals = Signals::start()?;
    let mut findings = Findings::new(printer.clone());
    let first = generations.borrow_and_update().clone();
    findings.tell(&first);
    if first.diagnostics.iter().any(|finding| finding.code == prepare::SIDECAR) {
        return Ok(End::Usage);
    }
    let distributor = Distributor::start(generations.clone(), StreamOptions::default()).context("starting")?;
    let _monitor = Monitor {
        generations: generations.clone(),
        distributor: distributor.clone(),
        name: monitor::name(ports.monitoring.local_addr().context("starting")?.port()),
        debug_from_anywhere: options.debug_from_anywhere,
    }
    .serve(ports.monitoring);
    let everybody_runs = progress::follow(distributor.clone(), printer.clone());
    let address = ports.grpc.address().context("starting")?;
    let grpc = ports.grpc.serve(distributor.clone(), None);
    let grpc_tls = ports.grpc_tls.serve(distributor.clone(), Some(tls));
    let mut stand_ins = match ground {
        Some(ground) => {
            if let Some(text) = announce::too_few_files(&first.snapshot, files) {
                printer.print(text);
            }
            Some(StandIns::start(ground, &generations, everybody_runs, printer, ports::reached(address))?)
        }
        None => None,
    };

    loop {
        if !*is_ready.borrow() && stand_ins.as_ref().is_none_or(StandIns::is_complete) {
            is_ready.send_replace(true);
            printer.print("ready");
        }
        tokio::select! {
            changed = generations.changed() => {
                changed.context("the engine has ended")?;
                let generation = generations.borrow_and_update().clone();
                findings.tell(&generation);
                if let Some(stand_ins) = &mut stand_ins {
                    stand_ins.follow(&generation);
                }
            }
            Some((stand_ins, event)) = next(&mut stand_ins) => match stand_ins.handle(event) {
                Ok(true) => again.notify_one(),
                Ok(false) => {}
                Err(error) if !*is_ready.borrow() => return Err(error),
                Err(error) => printer.print(announce::error(&error)),
            },
            // Without it /ready would go on saying that all is well.
            () = distributor.stopped() => bail!("the thread that makes the configuration of proxies has ended"),
            () = signals.next() => break,
        }
    }

    is_ready.send_replace(false);
    distributor.end();
    let ending = async {
        // Who is slow to go is cut off with the process.
        let _ = tokio::time::timeout(LAST_STREAMS, async { tokio::join!(grpc.finish(), grpc_tls.finish()) }).await;
        if let Some(stand_ins) = stand_ins {
            stand_ins.stop().await;
        }
    };
    if let Some(state) = state {
        tokio::task::spawn_blocking(move || state.flush()).await.context("ending")?;
    }
    tokio::select! {
        () = ending => Ok(End::Well),
        () = signals.next() => Ok(End::AtOnce),
    }
}

/// The engine starts from what the folder has, and keeps it up to date.
fn open_state(folder: &Path, engine: &mut EngineOptions, printer: &Printer) -> anyhow::Result<Arc<State>> {
    let opened = State::open(folder).context("--state")?;
    if let Some(warning) = opened.warning {
        printer.print(announce::warning(&warning));
    }
    let state = Arc::new(opened.state);
    engine.remembered = opened.remembered;
    engine.state = Some(state.clone());
    Ok(state)
}

/// The next thing that happens to a stand-in, where there are any.
async fn next(stand_ins: &mut Option<StandIns>) -> Option<(&mut StandIns, Event)> {
    let stand_ins = stand_ins.as_mut()?;
    let event = stand_ins.next().await?;
    Some((stand_ins, event))
}
