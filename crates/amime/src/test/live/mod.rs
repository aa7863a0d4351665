//! `amime test --live`: the same cases, sent as real requests through a mesh that this process runs as `amime up` does. What
//! comes of them is compared with what `explain` says (`agree`); the expectations are judged by the verdict, which is
//! then more than a claim.

mod agree;
mod send;

use crate::manifests::STDIN;
use crate::up::log::Printer;
use crate::up::machine::{self, Network};
use crate::up::prepare::PORT_IN_USE;
use crate::up::running::{Begun, Running, Stopped};
use amime_control::source::Input;
use amime_model::explain::{Dialled, Question, Verdict};
use amime_model::snapshot::Snapshot;
use amime_model::workload::{AddressPlan, GatewayPortPolicy};
use amime_proxy::RequestRecord;
use anyhow::{Context, bail, ensure};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// How many requests are sent where they are shared out by weight.
pub(super) const SHARED_OUT: usize = 500;
/// How long a mesh may take to be there.
const START: Duration = Duration::from_secs(60);
/// How many batches of records may wait.
const RECORDS: usize = 4096;

/// A running mesh.
pub(super) struct Live {
    runtime: Runtime,
    /// None once it is to end.
    mesh: Option<Running>,
    records: mpsc::Receiver<Vec<RequestRecord>>,
    /// What it runs.
    pub(super) snapshot: Arc<Snapshot>,
}

/// What came of sending a case.
pub(super) enum Sent {
    /// So many requests; with what they met that `explain` does not say.
    Sent { requests: usize, disagreements: Vec<String> },
    /// It cannot be sent, and why.
    Not(String),
}

impl Live {
    /// Starts the mesh of these manifests, at addresses that no other has.
    pub(super) fn start(paths: &[PathBuf], mesh_config: Option<&Path>) -> anyhow::Result<Self> {
        ensure!(
            !paths.iter().any(|path| path == Path::new(STDIN)),
            "--live reads manifests from files, not from standard input"
        );
        machine::raise_file_limit();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")?;
        let (sender, records) = mpsc::channel(RECORDS);
        let (mesh, snapshot) = runtime.block_on(async {
            let network = Arc::new(Network::lock()?);
            let [a, b] = network.octets();
            // Not where `amime up`, or somebody else, may have its gateways.
            let gateways = vec![IpAddr::V4(Ipv4Addr::new(a, b, 0, 1))];
            let plan = AddressPlan::new([a, b]).with_gateways(gateways, GatewayPortPolicy::default());
            let inputs = paths.iter().map(|path| Input::from_argument(path)).collect();
            let begun = Begun::read(inputs, mesh_config.map(Path::to_owned), network, plan)?;
            if let Some(found) = begun.first().diagnostics.iter().find(|finding| finding.code == PORT_IN_USE) {
                bail!("{}", found.message);
            }
            let mut mesh = Running::start(begun, &Printer::silent(), Some(sender))?;
            let settled = tokio::time::timeout(START, mesh.settled()).await;
            let snapshot = settled.context("the mesh is not ready after a minute")?.map_err(stopped)?;
            Ok((mesh, snapshot))
        })?;
        Ok(Self { runtime, mesh: Some(mesh), records, snapshot })
    }

    /// Sends the request as often as the verdict needs, and compares.
    pub(super) fn send(
        &mut self,
        question: &Question,
        dialled: Option<&Dialled>,
        verdict: &Verdict,
    ) -> anyhow::Result<Sent> {
        let Some(dialled) = dialled else { return Ok(Sent::Not("it comes to no gateway".to_owned())) };
        if dialled.pod.placement().is_none() {
            return Ok(Sent::Not("nobody of the mesh sends it: name a workload".to_owned()));
        }
        if dialled.kind == amime_model::translate::NodeKind::Gateway && dialled.is_tls && dialled.wants_certificate {
            return Ok(Sent::Not("the gateway asks for a client's certificate".to_owned()));
        }
        let requests = if verdict.destinations.len() > 1 { SHARED_OUT } else { 1 };
        let Some(mesh) = &mut self.mesh else { bail!("the mesh has ended") };
        let records = &mut self.records;
        let seen = self.runtime.block_on(async {
            let sending = send::all(question, dialled, verdict, requests, records);
            tokio::pin!(sending);
            loop {
                tokio::select! {
                    seen = &mut sending => return seen,
                    step = mesh.step() => drop(step.map_err(stopped)?),
                }
            }
        })?;
        let disagreements = agree::disagreements(verdict, dialled, &seen, &self.snapshot);
        Ok(Sent::Sent { requests: seen.sent, disagreements })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(mesh) = self.mesh.take() {
            // Nothing is in flight any more.
            let _entered = self.runtime.enter();
            mesh.end();
        }
    }
}

fn stopped(why: Stopped) -> anyhow::Error {
    match why {
        Stopped::Mesh(error) | Stopped::Pod(error) => error,
    }
}
