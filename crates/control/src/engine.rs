//! From files to published snapshots: waits until a burst of changes is over, builds, publishes.
//!
//! `up` and `control` start it; `distribute` and `up` follow what it publishes.

use crate::mesh_file::MeshFile;
use crate::source::files::Refreshed;
use crate::source::{Files, Input, SourceError, Watch, listing};
use crate::state::{Remembered, State};
use amime_model::conflict;
use amime_model::diagnostic::{Diagnostic, Texts};
use amime_model::resource::{ResourceSet, unknown_kinds};
use amime_model::snapshot::{Built, Held, Snapshot};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// A change that comes alone is waited for no longer than it takes to save a file.
const FIRST_QUIET: Duration = Duration::from_millis(5);
/// In a burst: so long without a further change, and it is over.
const QUIET: Duration = Duration::from_millis(30);
/// A burst is cut here, so that steady changes do take effect.
const AT_MOST: Duration = Duration::from_millis(200);

/// How often files are looked at where the system cannot tell of changes.
const POLL: Duration = Duration::from_millis(500);

/// What the engine is to read, and how.
pub struct EngineOptions {
    pub inputs: Vec<Input>,
    pub mesh_config: Option<PathBuf>,
    /// How much higher than it is written each gateway port is opened.
    pub gateway_port_offset: u16,
    /// Makes of the user's objects those that the snapshot is built from; it may have findings of its own.
    pub prepare: Prepare,
    /// Build again, whatever the files do: what `prepare` depends on has changed.
    pub again: Arc<Notify>,
    /// What an earlier process left behind.
    pub remembered: Remembered,
    /// Where to write down what a later one is to know.
    pub state: Option<Arc<State>>,
}

/// See `EngineOptions::prepare`.
pub type Prepare = Box<dyn FnMut(&ResourceSet) -> (ResourceSet, Vec<Diagnostic>) + Send>;

impl EngineOptions {
    /// Reads these, unprepared.
    pub fn new(inputs: Vec<Input>) -> Self {
        Self {
            inputs,
            mesh_config: None,
            gateway_port_offset: 0,
            prepare: Box::new(|resources| (resources.clone(), Vec::new())),
            again: Arc::default(),
            remembered: Remembered::default(),
            state: None,
        }
    }
}

/// One published state.
#[derive(Debug, Clone)]
pub struct Generation {
    /// Counts from 1.
    pub number: u64,
    pub snapshot: Arc<Snapshot>,
    /// All findings, those of files first, in the order of files and places.
    pub diagnostics: Arc<Vec<Diagnostic>>,
    /// The texts that diagnostics show lines of.
    pub texts: Arc<Texts>,
    /// When the change was seen that this comes of.
    pub changed: Instant,
    /// True where the user's files changed, false where only `prepare` had something new.
    pub edited: bool,
}

/// Reads everything once, then builds and publishes on every change, for as long as anybody follows: on a thread of its
/// own, for streams are not to wait while files are read and a large mesh is built.
///
/// # Errors
/// Where an input or the mesh config cannot be read, or no thread be started.
pub fn start(mut options: EngineOptions) -> Result<watch::Receiver<Generation>, SourceError> {
    let remembered = std::mem::take(&mut options.remembered);
    let files = Files::open(options.inputs.clone(), remembered.files)?;
    let mut watch = Watch::start();
    let mesh = options.mesh_config.clone().map(|path| MeshFile::remembered(path, remembered.mesh_config));
    let mut engine = Engine {
        files,
        options,
        mesh,
        held: remembered.held,
        last: None,
        conflicts: conflict::Known::default(),
        number: 0,
    };
    engine.refresh(&mut watch);
    if let Some(error) = engine.mesh.as_mut().and_then(MeshFile::take_error) {
        return Err(error);
    }
    let (publish, follow) = watch::channel(engine.build(true, Instant::now(), watch.failure.as_deref()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(SourceError::Thread)?;
    let run = move || runtime.block_on(engine.run(watch, publish));
    std::thread::Builder::new().name("amime-engine".into()).spawn(run).map_err(SourceError::Thread)?;
    Ok(follow)
}

struct Engine {
    options: EngineOptions,
    files: Files,
    mesh: Option<MeshFile>,
    held: Held,
    /// What the next build goes on from.
    last: Option<Built>,
    conflicts: conflict::Known,
    number: u64,
}

impl Engine {
    /// Reads what changed, and goes on from there to watch.
    fn refresh(&mut self, watch: &mut Watch) -> Refreshed {
        let mut changed = false;
        loop {
            let now = Instant::now();
            let refreshed = self.files.refresh(now);
            let mesh = self.mesh.as_mut().map(|mesh| mesh.refresh(now)).unwrap_or_default();
            changed |= refreshed.changed | mesh.changed;
            let mut folders = self.files.folders().clone();
            folders.extend(self.options.mesh_config.as_deref().map(listing::parent));
            // What happened in a folder before it was watched is seen by looking once more.
            if !watch.follow(&folders) {
                let again = [refreshed.again, mesh.again].into_iter().flatten().min();
                return Refreshed { changed, again };
            }
        }
    }

    async fn run(mut self, mut watch: Watch, publish: watch::Sender<Generation>) {
        let mut again: Option<Instant> = None;
        let mut built: Option<Instant> = None;
        loop {
            let poll = watch.failure.is_some().then(|| Instant::now() + POLL);
            let wake = [again, poll].into_iter().flatten().min();
            let (mut rebuild, mut settles) = (false, false);
            tokio::select! {
                () = watch.changed() => settles = true,
                () = self.options.again.notified() => rebuild = true,
                () = sleep_until(wake) => {}
                () = publish.closed() => return,
            }
            let seen = Instant::now();
            if settles {
                let alone = built.is_none_or(|built| built.elapsed() > AT_MOST);
                settle(&watch, if alone { FIRST_QUIET } else { QUIET }).await;
            }
            let refreshed = self.refresh(&mut watch);
            again = refreshed.again;
            let edited = refreshed.changed;
            if edited || rebuild {
                publish.send_replace(self.build(edited, seen, watch.failure.as_deref()));
                built = Some(Instant::now());
            }
        }
    }

    fn build(&mut self, edited: bool, changed: Instant, unwatched: Option<&str>) -> Generation {
        self.number += 1;
        let mut texts = Texts::default();
        let mut diagnostics: Vec<Diagnostic> = self.files.problems().cloned().collect();
        if let Some(reason) = unwatched {
            let message = format!("changes of files cannot be followed ({reason}); they are looked at twice a second");
            diagnostics.push(Diagnostic::warning("AM-F3", message));
        }
        let files = self.files.loaded();
        for loaded in &files {
            texts.insert(loaded.file.clone(), loaded.text.clone());
            diagnostics.extend(loaded.all_diagnostics());
        }
        let loaded = || files.iter().map(|loaded| &**loaded);
        let (resources, duplicates) = ResourceSet::of_files(loaded());
        diagnostics.extend(duplicates);
        diagnostics.extend(unknown_kinds(loaded()));
        if let Some(mesh) = &self.mesh {
            let (name, text) = mesh.text();
            texts.insert(name, text);
            diagnostics.extend(mesh.diagnostics().cloned());
        }
        let mut mesh =
            self.mesh.as_ref().and_then(MeshFile::good).map(|(config, _)| config.clone()).unwrap_or_default();
        mesh.gateway_port_offset = self.options.gateway_port_offset;
        // Before pods are made up: a typo in a Deployment must not stop its pods.
        let (fit, findings) = self.held.replace_broken(&resources);
        diagnostics.extend(findings);
        let (prepared, findings) = (self.options.prepare)(&fit);
        diagnostics.extend(findings);
        let built = Snapshot::build_after(&prepared, &mesh, &self.held, self.last.as_ref());
        self.held.clone_from(&built.held);
        diagnostics.extend(built.diagnostics.iter().cloned());
        diagnostics.extend(self.conflicts.of(&built.snapshot).iter().cloned());
        if let Some(state) = &self.options.state {
            let mesh_config = self.mesh.as_ref().and_then(MeshFile::good).map(|(_, text)| text.clone());
            state.remember(Remembered { held: self.held.clone(), files: self.files.in_force(), mesh_config });
        }
        let snapshot = built.snapshot.clone();
        self.last = Some(built);
        Generation {
            number: self.number,
            snapshot,
            diagnostics: Arc::new(diagnostics),
            texts: Arc::new(texts),
            changed,
            edited,
        }
    }
}

/// Returns once the burst of changes is over: after `first` where it is but one, or without one for [`QUIET`].
async fn settle(watch: &Watch, first: Duration) {
    let end = tokio::time::Instant::now() + AT_MOST;
    let began = tokio::time::Instant::now();
    loop {
        // Saving one file is several changes, all within a moment.
        let wait = if began.elapsed() < first { first } else { QUIET };
        if tokio::time::timeout(wait, watch.changed()).await.is_err() {
            return;
        }
        if tokio::time::Instant::now() >= end {
            return;
        }
    }
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
