//! A mesh that runs in this process: control plane, proxies, stand-ins. `run` has one for as long as `amime up` lasts,
//! `test::live` one for its requests.
//!
//! Four kinds of threads: the proxies' workers, one for the stand-ins, one that prints, and the one that calls `step`,
//! where the control plane, xDS and the decisions of this file run.

use super::applications::Applications;
use super::fleet::{Fleet, Shared};
use super::log::Printer;
use super::machine::Network;
use super::names;
use super::phases::Phases;
use super::prepare::Prepare;
use super::progress::{self, EverybodyRuns};
use super::proxies::{Proxies, ProxiesHere};
use super::reach;
use super::standin;
use amime_control::Distributor;
use amime_control::engine::{self, EngineOptions, Generation};
use amime_control::source::Input;
use amime_model::snapshot::Snapshot;
use amime_model::workload::AddressPlan;
use amime_proxy::{RecordSender, Workers};
use amime_xds::server::StreamOptions;
use amime_xds::transport::channel_over;
use anyhow::Context;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{Notify, watch};

/// Bytes of xDS that may be under way in the process.
const DUPLEX: usize = 1 << 20;

/// The files are read, and followed; nothing runs yet.
pub(crate) struct Begun {
    generations: watch::Receiver<Generation>,
    first: Generation,
    phases: Phases,
    again: Arc<Notify>,
}

impl Begun {
    /// Reads; what cannot be read is an error.
    pub(crate) fn read(
        inputs: Vec<Input>,
        mesh_config: Option<PathBuf>,
        network: Arc<Network>,
        plan: AddressPlan,
    ) -> anyhow::Result<Self> {
        let (phases, again) = (Phases::default(), Arc::new(Notify::new()));
        let mut prepare = Prepare::new(network, plan, phases.clone());
        let mut engine = EngineOptions::new(inputs);
        engine.mesh_config = mesh_config;
        engine.again = again.clone();
        engine.prepare = Box::new(move |resources| prepare.run(resources));
        let mut generations = engine::start(engine)?;
        let first = generations.borrow_and_update().clone();
        Ok(Self { generations, first, phases, again })
    }

    /// What was read.
    pub(crate) fn first(&self) -> &Generation {
        &self.first
    }
}

pub(crate) struct Running {
    generations: watch::Receiver<Generation>,
    fleet: Fleet,
    again: Arc<Notify>,
    everybody_runs: EverybodyRuns,
    distributor: Distributor,
    workers: Workers,
    applications: Applications,
    ads: tokio::task::AbortHandle,
}

/// What went wrong in a step.
pub(crate) enum Stopped {
    /// Without it the mesh would go on with what it has, and say that it is ready.
    Mesh(anyhow::Error),
    /// One pod; the rest goes on.
    Pod(anyhow::Error),
}

impl Running {
    /// Starts everything; it goes on while `step` is called. Records of all requests go to `records`.
    pub(crate) fn start(begun: Begun, printer: &Printer, records: Option<RecordSender>) -> anyhow::Result<Self> {
        let Begun { generations, first, phases, again } = begun;
        let distributor = Distributor::start(generations.clone(), StreamOptions::default()).context("starting")?;
        let (client, server) = tokio::io::duplex(DUPLEX);
        let serving = distributor.clone();
        let ads = tokio::spawn(async move { serving.serve_in_process(server).await }).abort_handle();
        let names = names::follow(&generations);
        let applications = Applications::start().context("starting")?;
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = Workers::start(workers).context("starting")?;
        let proxies = ProxiesHere {
            workers: workers.clone(),
            background: tokio::runtime::Handle::current(),
            records,
            reach: reach::follow(&generations),
            channel: channel_over(client),
            interner: Arc::default(),
        };
        let everybody_runs = progress::follow(distributor.clone(), printer.clone());
        let shared = Shared {
            applications: applications.handle.clone(),
            mesh: standin::Mesh::new(names.clone()),
            names,
            phases,
            printer: printer.clone(),
            everybody_runs: everybody_runs.clone(),
            proxies: Proxies::Here(Box::new(proxies)),
        };
        let mut fleet = Fleet::new(Arc::new(shared), &first);
        fleet.follow(&first);
        Ok(Self { generations, fleet, again, everybody_runs, distributor, workers, applications, ads })
    }

    /// Follows the next thing that happens; a generation, where it is a new one.
    ///
    /// # Cancellation
    /// Dropping it loses nothing.
    pub(crate) async fn step(&mut self) -> Result<Option<Generation>, Stopped> {
        tokio::select! {
            changed = self.generations.changed() => {
                changed.context("the control plane has ended").map_err(Stopped::Mesh)?;
                let generation = self.generations.borrow_and_update().clone();
                self.fleet.follow(&generation);
                Ok(Some(generation))
            }
            Some(event) = self.fleet.next() => {
                if self.fleet.handle(event).map_err(Stopped::Pod)? {
                    self.again.notify_one();
                }
                Ok(None)
            }
            () = self.distributor.stopped() => {
                let error = anyhow::anyhow!("the thread that makes the configuration of proxies has ended");
                Err(Stopped::Mesh(error))
            }
        }
    }

    /// Whether all that was read is there.
    pub(crate) fn is_complete(&self) -> bool {
        self.fleet.is_complete()
    }

    /// Follows what happens until every pod answers and every proxy knows it; what runs then.
    pub(crate) async fn settled(&mut self) -> Result<Arc<Snapshot>, Stopped> {
        let mut everybody_runs = self.everybody_runs.clone();
        loop {
            let (number, snapshot) = {
                let generation = self.generations.borrow();
                (generation.number, generation.snapshot.clone())
            };
            if self.fleet.is_complete() && *everybody_runs.borrow_and_update() >= number {
                return Ok(snapshot);
            }
            tokio::select! {
                step = self.step() => drop(step?),
                changed = everybody_runs.changed() => {
                    changed.context("the control plane has ended").map_err(Stopped::Mesh)?;
                }
            }
        }
    }

    pub(crate) fn pods(&self) -> usize {
        self.fleet.len()
    }

    /// How many client connections are open.
    pub(crate) fn connections(&self) -> u32 {
        self.fleet.connections()
    }

    /// Lets what is in flight finish, and ends.
    pub(crate) async fn stop(self) {
        let Self { fleet, workers, applications, ads, .. } = self;
        fleet.stop().await;
        end(&workers, applications, &ads);
    }

    /// Ends at once.
    pub(crate) fn end(self) {
        end(&self.workers, self.applications, &self.ads);
    }
}

fn end(workers: &Workers, applications: Applications, ads: &tokio::task::AbortHandle) {
    workers.shutdown();
    applications.stop();
    ads.abort();
}
