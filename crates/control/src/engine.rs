//! From files to published snapshots: waits until a burst of changes is over, builds, publishes.
//!
//! `up` and `control` start it; `distribute` and `up` follow what it publishes.

use crate::source::files::Refreshed;
use crate::source::{Files, Input, SourceError, Watch, listing};
use crate::state::{Remembered, State};
use amime_model::diagnostic::{Diagnostic, Severity, Texts};
use amime_model::resource::{LoadedMeshConfig, MeshConfig, ResourceSet, load_mesh_config, unknown_kinds};
use amime_model::snapshot::{Built, Held, Snapshot};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// How often files are looked at where the system cannot tell of changes.
const POLL: Duration = Duration::from_millis(500);

/// What the engine is to read, and how.
pub struct EngineOptions {
    pub inputs: Vec<Input>,
    pub mesh_config: Option<PathBuf>,
    /// A change that comes alone is waited for no longer than it takes to save a file.
    pub first_quiet: Duration,
    /// In a burst: so long without a further change, and it is over.
    pub quiet: Duration,
    /// A burst is cut here, so that steady changes do take effect.
    pub at_most: Duration,
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
            first_quiet: Duration::from_millis(5),
            quiet: Duration::from_millis(30),
            at_most: Duration::from_millis(200),
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

/// Reads everything once, then builds and publishes on every change, for as long as anybody follows.
/// Call it within a tokio runtime.
pub fn start(mut options: EngineOptions) -> Result<watch::Receiver<Generation>, SourceError> {
    let remembered = std::mem::take(&mut options.remembered);
    let files = Files::open(options.inputs.clone(), remembered.files)?;
    let mut watch = Watch::start();
    let mesh = MeshText::remembered(&options.mesh_config, remembered.mesh_config);
    let mut engine = Engine { files, options, mesh, held: remembered.held, last: None, number: 0 };
    engine.refresh(&mut watch);
    if let Some(path) = engine.options.mesh_config.as_ref().filter(|_| engine.mesh.last.is_none()) {
        let source = std::fs::File::open(path).err().unwrap_or(std::io::ErrorKind::InvalidData.into());
        return Err(SourceError::Read { path: path.display().to_string(), source });
    }
    let (publish, follow) = watch::channel(engine.build(true, Instant::now(), watch.failure.as_deref()));
    tokio::spawn(engine.run(watch, publish));
    Ok(follow)
}

struct Engine {
    options: EngineOptions,
    files: Files,
    mesh: MeshText,
    held: Held,
    /// What the next build goes on from.
    last: Option<Built>,
    number: u64,
}

/// The mesh config file: what was last read, and the last of it without errors.
#[derive(Default)]
struct MeshText {
    text: Option<Vec<u8>>,
    last: Option<LoadedMeshConfig>,
    /// And its text.
    good: Option<(MeshConfig, Arc<str>)>,
}

impl Engine {
    /// Reads what changed, and goes on from there to watch.
    fn refresh(&mut self, watch: &mut Watch) -> Refreshed {
        let mut changed = false;
        loop {
            let refreshed = self.files.refresh(Instant::now());
            changed |= refreshed.changed | self.mesh.refresh(&self.options.mesh_config);
            let mut folders = self.files.folders().clone();
            folders.extend(self.options.mesh_config.as_deref().map(listing::parent));
            // What happened in a folder before it was watched is seen by looking once more.
            if !watch.follow(&folders) {
                return Refreshed { changed, again: refreshed.again };
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
                let alone = built.is_none_or(|built| built.elapsed() > self.options.at_most);
                let quiet = if alone { self.options.first_quiet } else { self.options.quiet };
                settle(&watch, quiet, self.options.quiet, self.options.at_most).await;
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
        if let (Some(path), Some(last)) = (&self.options.mesh_config, &self.mesh.last) {
            let text = String::from_utf8_lossy(self.mesh.text.as_deref().unwrap_or_default()).into_owned();
            texts.insert(path.display().to_string().into(), text.into());
            diagnostics.extend(last.diagnostics.iter().cloned());
        }
        let mesh = self.mesh.good.as_ref().map(|(config, _)| config.clone()).unwrap_or_default();
        // Before pods are made up: a typo in a Deployment must not stop its pods.
        let (fit, findings) = self.held.replace_broken(&resources);
        diagnostics.extend(findings);
        let (prepared, findings) = (self.options.prepare)(&fit);
        diagnostics.extend(findings);
        let built = Snapshot::build_after(&prepared, &mesh, &self.held, self.last.as_ref());
        self.held.clone_from(&built.held);
        diagnostics.extend(built.diagnostics.iter().cloned());
        if let Some(state) = &self.options.state {
            let mesh_config = self.mesh.good.as_ref().map(|(_, text)| text.clone());
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

impl MeshText {
    fn remembered(path: &Option<PathBuf>, text: Option<Arc<str>>) -> Self {
        let good = path.as_ref().zip(text).map(|(path, text)| {
            let loaded = load_mesh_config(&path.display().to_string(), &text);
            (loaded.config, text)
        });
        Self { good, ..Self::default() }
    }

    /// Reads the file again. True where it is new. What is broken, or away, keeps the last good one.
    fn refresh(&mut self, path: &Option<PathBuf>) -> bool {
        let Some(path) = path else { return false };
        let Ok(bytes) = std::fs::read(path) else { return false };
        if self.text.as_ref() == Some(&bytes) || bytes.is_empty() && self.text.is_some() {
            return false;
        }
        let text = String::from_utf8_lossy(&bytes);
        let loaded = load_mesh_config(&path.display().to_string(), &text);
        let broken = loaded.diagnostics.iter().any(|d| d.severity == Severity::Error);
        if !broken || self.good.is_none() {
            self.good = Some((loaded.config.clone(), text.as_ref().into()));
        }
        self.last = Some(loaded);
        self.text = Some(bytes);
        true
    }
}

/// Returns once the burst of changes is over: after `first` where it is but one, or without one for `quiet`.
async fn settle(watch: &Watch, first: Duration, quiet: Duration, at_most: Duration) {
    let end = tokio::time::Instant::now() + at_most;
    let began = tokio::time::Instant::now();
    loop {
        // Saving one file is several changes, all within a moment.
        let wait = if began.elapsed() < first { first } else { quiet };
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
