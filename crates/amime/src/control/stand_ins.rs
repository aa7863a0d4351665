//! `--stand-ins`: the pods that the manifests would have, each with a stand-in that answers for its application, and
//! none with a proxy. `run` starts them and hands each generation over.

use super::Options;
use super::commands::Commands;
use super::workload::WorkloadArg;
use crate::up::applications::Applications;
use crate::up::fleet::{Event, Fleet, Shared};
use crate::up::log::Printer;
use crate::up::machine::{self, Network};
use crate::up::names;
use crate::up::phases::Phases;
use crate::up::prepare::Prepare;
use crate::up::progress::EverybodyRuns;
use crate::up::proxies::{Proxies, WorkloadName};
use crate::up::reach;
use crate::up::standin;
use amime_control::Generation;
use amime_model::workload::{AddressPlan, GatewayPortPolicy};
use anyhow::Context;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;

/// What there is before the files are read: addresses, and what is asked for.
pub(super) struct Ground {
    phases: Phases,
    sidecars: BTreeSet<WorkloadName>,
}

impl Ground {
    /// Takes a network for the pods. What comes back makes pods of workloads, in the engine.
    pub(super) fn take(options: &Options) -> anyhow::Result<(Self, Prepare)> {
        let network = Arc::new(Network::lock()?);
        let policy = match options.gateway_port_offset {
            Some(offset) => GatewayPortPolicy::Offset(offset),
            None => GatewayPortPolicy::Privileged,
        };
        let plan = AddressPlan::new(network.octets()).with_gateways(machine::gateway_addresses(), policy);
        let sidecars: BTreeSet<WorkloadName> = options.sidecars.iter().map(WorkloadArg::name).collect();
        let phases = Phases::default();
        let prepare = Prepare::new(network, plan, phases.clone()).with_proxies_elsewhere(sidecars.clone());
        Ok((Self { phases, sidecars }, prepare))
    }
}

/// The running stand-ins.
pub(super) struct StandIns {
    fleet: Fleet,
    applications: Applications,
    commands: Commands,
    printer: Printer,
}

impl StandIns {
    /// Starts those of the first generation. `control` is where proxies of this machine connect.
    pub(super) fn start(
        ground: Ground,
        generations: &watch::Receiver<Generation>,
        everybody_runs: EverybodyRuns,
        printer: &Printer,
        control: SocketAddr,
    ) -> anyhow::Result<Self> {
        let first = generations.borrow().clone();
        let applications = Applications::start().context("starting")?;
        let names = names::follow(generations);
        let shared = Shared {
            applications: applications.handle.clone(),
            mesh: standin::Mesh::with_places(names.clone(), reach::places(generations)),
            names,
            phases: ground.phases,
            printer: printer.clone(),
            everybody_runs,
            proxies: Proxies::Elsewhere(ground.sidecars.clone()),
        };
        let fleet = Fleet::new(Arc::new(shared), &first);
        let commands = Commands::new(control, ground.sidecars);
        let mut stand_ins = Self { fleet, applications, commands, printer: printer.clone() };
        stand_ins.follow(&first);
        Ok(stand_ins)
    }

    /// Starts, changes and drains pods until what runs is what the generation has; tells how to start new proxies.
    pub(super) fn follow(&mut self, generation: &Generation) {
        for line in self.commands.of(&generation.snapshot) {
            self.printer.print(line);
        }
        self.fleet.follow(generation);
    }

    /// The next thing that happened to a pod; None while nothing can.
    pub(super) async fn next(&mut self) -> Option<Event> {
        self.fleet.next().await
    }

    /// Takes it in. True where a new snapshot is due.
    pub(super) fn handle(&mut self, event: Event) -> anyhow::Result<bool> {
        self.fleet.handle(event)
    }

    /// Whether all stand-ins listen.
    pub(super) fn is_complete(&self) -> bool {
        self.fleet.is_complete()
    }

    /// Lets requests in flight end.
    pub(super) async fn stop(self) {
        self.fleet.stop().await;
        self.applications.stop();
    }
}
