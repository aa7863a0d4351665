//! Everything of the mesh that runs: a proxy for each pod, where they run here, and behind it a stand-in or the user's
//! own process. Pods of a new snapshot are started, departed ones drained. `run` (and `control`, whose proxies run
//! elsewhere) hands it each snapshot.

use super::application::{Application, Plan};
use super::log::Printer;
use super::names::Names;
use super::phases::{Phase, Phases};
use super::progress::EverybodyRuns;
use super::proxies::Proxies;
use super::standin;
use amime_control::engine::Generation;
use amime_model::snapshot::{Pod, Snapshot};
use amime_model::workload::PodKey;
use amime_proxy::Proxy;
use anyhow::Context;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// How long what is in flight may take when a pod, or the whole mesh, goes.
const DRAIN: Duration = Duration::from_secs(15);
/// How long requests that chose a pod before its endpoints were withdrawn may take to reach it.
const GRACE: Duration = Duration::from_millis(500);

/// What all pods of a mesh share.
pub(crate) struct Shared {
    /// Where stand-ins and printed proxies run.
    pub(crate) applications: Handle,
    pub(crate) mesh: Arc<standin::Mesh>,
    pub(crate) names: Names,
    pub(crate) phases: Phases,
    pub(crate) printer: Printer,
    /// How far all proxies have come.
    pub(crate) everybody_runs: EverybodyRuns,
    pub(crate) proxies: Proxies,
}

/// The running pods.
pub(crate) struct Fleet {
    shared: Arc<Shared>,
    running: BTreeMap<PodKey, Running>,
    tasks: JoinSet<Event>,
    generation: u64,
    snapshot: Arc<Snapshot>,
}

struct Running {
    /// None: it runs elsewhere, if at all.
    proxy: Option<Proxy>,
    gateway: bool,
    /// What its application is, or is becoming.
    plan: Plan,
    /// Away while a task changes it.
    application: Option<Application>,
    draining: bool,
}

/// Why a pod drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// It is not among the user's objects any more.
    Departed,
    /// It starts again as something else.
    BecomesOther,
}

/// A task of a pod has ended.
pub(crate) enum Event {
    /// It started, became another, or stays after all; where that failed, so far as it came.
    Changed(PodKey, Option<Application>, anyhow::Result<()>),
    /// It has drained.
    Gone(PodKey),
}

impl Fleet {
    pub(crate) fn new(shared: Arc<Shared>, generation: &Generation) -> Self {
        let (generation, snapshot) = (generation.number, generation.snapshot.clone());
        Self { shared, running: BTreeMap::new(), tasks: JoinSet::new(), generation, snapshot }
    }

    /// Starts, changes and drains pods until what runs is what the snapshot has.
    pub(crate) fn follow(&mut self, generation: &Generation) {
        self.generation = generation.number;
        let snapshot = generation.snapshot.clone();
        self.snapshot = snapshot.clone();
        for pod in snapshot.pods().filter(|pod| pod.placement().is_some()) {
            self.follow_pod(pod);
        }
        let departed: Vec<PodKey> =
            self.running.keys().filter(|key| snapshot.pod(&key.namespace, &key.name).is_none()).cloned().collect();
        for key in departed {
            self.drain(&key, Why::Departed);
        }
    }

    /// The next task that ends; None while there is none.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            match self.tasks.join_next().await? {
                Ok(event) => return Some(event),
                // It panicked: the pod stays as it is, and the rest goes on.
                Err(error) => self.shared.printer.print(format!("error: a pod's task ended: {error}")),
            }
        }
    }

    /// Takes in what a task did. True where a phase has changed, so that a new snapshot is due.
    pub(crate) fn handle(&mut self, event: Event) -> anyhow::Result<bool> {
        let (key, application, outcome) = match event {
            Event::Changed(key, application, outcome) => (key, application, outcome),
            Event::Gone(key) => {
                self.running.remove(&key);
                let changed = self.shared.phases.gone(&key);
                // It may have been wanted again at the last moment.
                self.again(&key);
                return Ok(changed);
            }
        };
        if let Some(running) = self.running.get_mut(&key) {
            running.application = application;
            running.draining = false;
        }
        outcome.with_context(|| format!("pod {}/{}", key.namespace, key.name))?;
        let changed = self.shared.phases.ready(&key);
        self.again(&key);
        Ok(changed)
    }

    /// Whether all that the snapshot has is there.
    pub(crate) fn is_complete(&self) -> bool {
        self.running.values().all(|running| running.application.is_some() || running.draining)
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// Stops everything: gateways first, so that what they have taken is still answered behind them.
    pub(crate) async fn stop(mut self) {
        // What is still starting is not waited for.
        self.tasks.abort_all();
        let (gateways, pods): (Vec<_>, Vec<_>) = self.running.into_values().partition(|running| running.gateway);
        let proxies = |of: &[Running]| of.iter().filter_map(|running| running.proxy.clone()).collect::<Vec<_>>();
        futures_util::future::join_all(proxies(&gateways).iter().map(|proxy| proxy.drain(DRAIN))).await;
        futures_util::future::join_all(proxies(&pods).iter().map(|proxy| proxy.drain(DRAIN))).await;
        // Behind proxies of this process nobody is connected to applications any more.
        let open = pods.into_iter().filter(|running| running.proxy.is_none()).filter_map(|running| running.application);
        futures_util::future::join_all(open.map(|application| application.drain(DRAIN))).await;
    }

    /// How many client connections are open.
    pub(crate) fn connections(&self) -> u32 {
        self.running.values().filter_map(|running| running.proxy.as_ref()).map(Proxy::connections).sum()
    }

    fn again(&mut self, key: &PodKey) {
        let snapshot = self.snapshot.clone();
        if let Some(pod) = snapshot.pod(&key.namespace, &key.name).filter(|pod| pod.placement().is_some()) {
            self.follow_pod(pod);
        }
    }

    fn follow_pod(&mut self, pod: &Arc<Pod>) {
        let key = PodKey { namespace: pod.namespace.clone(), name: pod.name.clone() };
        let wanted = self.shared.phases.of(&key).is_some_and(|phase| phase != Phase::Draining);
        match self.running.get_mut(&key) {
            None if wanted => self.start(key, pod),
            None => {
                self.shared.phases.gone(&key);
            }
            // The phase may be newer than this snapshot: only where its endpoints are gone may the pod go.
            Some(_) if !wanted && !pod.ready => self.drain(&key, Why::Departed),
            Some(_) if !wanted => {}
            // A Gateway has chosen the pod, or chooses it no more: another kind of proxy.
            Some(running) if running.gateway != is_gateway(pod) => self.drain(&key, Why::BecomesOther),
            Some(running) => {
                let plan = Plan::of(&self.snapshot, pod, self.shared.proxies.calls(pod));
                // A task that has the application comes back, and then this is asked again.
                if plan != running.plan
                    && let Some(application) = running.application.take()
                {
                    running.plan = plan.clone();
                    self.change(key, plan, application);
                }
            }
        }
    }

    fn start(&mut self, key: PodKey, pod: &Pod) {
        let gateway = is_gateway(pod);
        let plan = Plan::of(&self.snapshot, pod, self.shared.proxies.calls(pod));
        let proxy = match &self.shared.proxies {
            Proxies::Here(shared) => Some(shared.start(pod, gateway, !gateway && plan.has_stand_in())),
            Proxies::Elsewhere(_) => None,
        };
        let running = Running { proxy: proxy.clone(), gateway, plan: plan.clone(), application: None, draining: false };
        self.running.insert(key.clone(), running);
        let shared = self.shared.clone();
        self.tasks.spawn_on(
            async move {
                match start(&shared, proxy.as_ref(), plan).await {
                    Ok(application) => Event::Changed(key, Some(application), Ok(())),
                    Err(error) => Event::Changed(key, None, Err(error)),
                }
            },
            &self.shared.applications,
        );
    }

    fn change(&mut self, key: PodKey, plan: Plan, mut application: Application) {
        let shared = self.shared.clone();
        self.tasks.spawn_on(
            async move {
                let outcome = application.become_other(plan, &shared.names).await;
                Event::Changed(key, Some(application), outcome.map_err(anyhow::Error::from))
            },
            &self.shared.applications,
        );
    }

    fn drain(&mut self, key: &PodKey, why: Why) {
        // While a task has the application, its end leads here again.
        let Some(running) = self.running.get_mut(key) else { return };
        let Some(application) = running.application.take() else { return };
        running.draining = true;
        let (key, proxy, shared, generation) =
            (key.clone(), running.proxy.clone(), self.shared.clone(), self.generation);
        self.tasks.spawn_on(
            async move {
                let mut everybody_runs = shared.everybody_runs.clone();
                let withdrawn = everybody_runs.wait_for(|running| *running >= generation);
                // A proxy that never gets there is not waited for for ever.
                let _ = tokio::time::timeout(DRAIN, withdrawn).await.map(|_| ());
                tokio::time::sleep(GRACE).await;
                if why == Why::Departed && shared.phases.of(&key) != Some(Phase::Draining) {
                    // It is wanted again, and still listens.
                    return Event::Changed(key, Some(application), Ok(()));
                }
                if let Some(proxy) = proxy {
                    // The sidecar's connections were the application's only ones.
                    proxy.drain(DRAIN).await;
                }
                application.drain(DRAIN).await;
                Event::Gone(key)
            },
            &self.shared.applications,
        );
    }
}

/// A gateway has addresses at which its ports are opened.
fn is_gateway(pod: &Pod) -> bool {
    pod.placement().is_some_and(|placement| !placement.bind.is_empty())
}

/// Waits for the first configuration of a sidecar of this process while the application starts behind it.
async fn start(shared: &Shared, proxy: Option<&Proxy>, plan: Plan) -> anyhow::Result<Application> {
    let application = Application::start(plan, &shared.mesh, &shared.names).await?;
    if let Some(proxy) = proxy {
        proxy.ready().wait_for(|ready| *ready).await.context("its proxy has ended")?;
    }
    Ok(application)
}
