//! The user's files and what was last good in each. `engine` calls `refresh` whenever something may have changed.
//!
//! A file that is cut off in the middle, or cannot be parsed, keeps the objects that it had; one that vanishes is
//! taken for gone only after a moment, since editors rename files away and back.

use super::listing::{self, Input, SourceError};
use amime_model::diagnostic::{Diagnostic, Place};
use amime_model::resource::{Loaded, Object, ResourceId, load_bytes};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a file must be away before its objects go.
pub const GONE_AFTER: Duration = Duration::from_millis(500);

/// A file that looks cut off.
pub(crate) const TRUNCATED: &str = "AM-F1";
/// A file that cannot be read.
pub(crate) const UNREADABLE: &str = "AM-F2";
/// A folder that has lost all its manifests, or a file that has gone.
const EMPTIED: &str = "AM-F4";

/// All files of the inputs.
#[derive(Debug)]
pub struct Files {
    inputs: Vec<Input>,
    files: BTreeMap<PathBuf, File>,
    stdin: Option<Arc<Loaded>>,
    /// Folders that could not be listed, and why.
    unlisted: Vec<Diagnostic>,
    /// Folders in which a change could be one of a file of ours.
    folders: BTreeSet<PathBuf>,
}

#[derive(Debug)]
struct File {
    /// As last read; None where it was not, since this process began.
    bytes: Option<Vec<u8>>,
    loaded: Arc<Loaded>,
    /// Objects that it had before and that may be in what cannot be parsed now.
    kept: Vec<Arc<Object>>,
    /// Since when it is not there.
    away: Option<Instant>,
    /// Said of the file as it is now, on top of what `loaded` says.
    problem: Option<Diagnostic>,
}

/// What a refresh found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refreshed {
    pub changed: bool,
    /// Look again then, whatever happens: a file is away and may come back, or something could not be read for a
    /// reason that may pass without a word.
    pub again: Option<Instant>,
}

impl Files {
    /// Reads everything. What cannot be read at the start is an error; later it is a diagnostic. `remembered` is what
    /// [`Files::in_force`] was in an earlier process: files that have come to be unreadable keep that.
    pub fn open(inputs: Vec<Input>, remembered: BTreeMap<PathBuf, Vec<Arc<Object>>>) -> Result<Self, SourceError> {
        let files = remembered.into_iter().map(|(path, objects)| {
            let file = File::remembered(&path, objects);
            (path, file)
        });
        let files = files.collect();
        let mut files = Self { inputs, files, stdin: None, unlisted: Vec::new(), folders: BTreeSet::new() };
        for input in &files.inputs {
            match input {
                Input::Path(path) => {
                    let mut found = listing::manifests(path)?;
                    let known = files.files.keys().any(|file| file.starts_with(path));
                    if found.files.is_empty() && !known {
                        return Err(match found.unlisted.pop() {
                            Some((path, source)) => SourceError::Read { path: path.display().to_string(), source },
                            None => SourceError::Nothing { path: input.name() },
                        });
                    }
                    for manifest in found.files {
                        if let Err(source) = std::fs::File::open(&manifest) {
                            return Err(SourceError::Read { path: manifest.display().to_string(), source });
                        }
                    }
                }
                Input::Stdin if files.stdin.is_none() => {
                    files.stdin = Some(Arc::new(load_bytes(&input.name(), &listing::read_stdin()?)));
                }
                Input::Stdin => {}
            }
        }
        files.refresh(Instant::now());
        // What was taken away while no process looked does not come back in a moment.
        files.files.retain(|_, file| file.away.is_none());
        Ok(files)
    }

    /// The objects of each file, with those that it keeps of what it had.
    pub fn in_force(&self) -> BTreeMap<PathBuf, Vec<Arc<Object>>> {
        let of_file = |file: &File| file.loaded.objects.iter().chain(&file.kept).cloned().collect();
        self.files.iter().map(|(path, file)| (path.clone(), of_file(file))).collect()
    }

    /// The folders in which a change could be one of a file of ours, as of the last refresh.
    pub fn folders(&self) -> &BTreeSet<PathBuf> {
        &self.folders
    }

    /// Reads what changed.
    pub fn refresh(&mut self, now: Instant) -> Refreshed {
        let mut present = BTreeSet::new();
        let mut unlisted = Vec::new();
        let mut kept_roots = Vec::new();
        let mut again = None;
        let followed = std::mem::take(&mut self.folders);
        for input in &self.inputs {
            let Input::Path(path) = input else { continue };
            self.folders.insert(listing::parent(path));
            match listing::manifests(path) {
                Ok(found) => {
                    // Nobody takes a mesh down by emptying its folder; a volume that is not mounted looks so.
                    if found.files.is_empty() && self.files.keys().any(|file| file.starts_with(path)) {
                        kept_roots.push(path.clone());
                        let message = format!("{}: no manifest is left in it; what was there goes on", input.name());
                        unlisted.push(Diagnostic::error(EMPTIED, message).with_expected(
                            "at least one manifest, be it an empty one (a line with #), to take the rest away",
                        ));
                    }
                    present.extend(found.files);
                    self.folders.extend(found.folders);
                    for (folder, error) in found.unlisted {
                        if passes_unseen(&error) {
                            again = Some(now + GONE_AFTER);
                        }
                        let message = format!("{}: {error}; what was there goes on", folder.display());
                        unlisted.push(Diagnostic::error(UNREADABLE, message));
                        kept_roots.push(folder);
                    }
                }
                Err(error) => {
                    // What cannot be listed, or is not there at all, has not lost its files for that. That it comes
                    // back need not be seen: a folder above it may have gone too.
                    kept_roots.push(path.clone());
                    again = Some(now + GONE_AFTER);
                    unlisted.push(Diagnostic::error(UNREADABLE, format!("{error}; what was there goes on")));
                }
            }
        }
        if !kept_roots.is_empty() {
            self.folders.extend(followed);
        }
        let mut result = Refreshed { changed: unlisted != self.unlisted, again };
        self.unlisted = unlisted;
        for path in &present {
            match self.read(path) {
                Ok(changed) => result.changed |= changed,
                Err(error) => {
                    if passes_unseen(&error) {
                        result.again = Some(now + GONE_AFTER);
                    }
                    result.changed |= self.unreadable(path, &error);
                }
            }
        }
        let stays = |path: &PathBuf| present.contains(path) || kept_roots.iter().any(|root| path.starts_with(root));
        let defined = match self.files.keys().all(stays) {
            true => BTreeSet::new(),
            false => self.files.iter().filter(|(path, _)| stays(path)).flat_map(|(_, file)| file.ids()).collect(),
        };
        self.files.retain(|path, file| {
            if stays(path) {
                result.changed |= file.away.take().is_some() && file.problem.take().is_some();
                return true;
            }
            if file.ids().chain(file.kept.iter().map(|o| o.id.clone())).all(|id| defined.contains(&id)) {
                // It was not taken away but moved: all that it had is there.
                result.changed = true;
                return false;
            }
            let gone_at = *file.away.get_or_insert(now) + GONE_AFTER;
            if gone_at <= now {
                result.changed = true;
                return false;
            }
            result.again = Some(result.again.map_or(gone_at, |again| again.min(gone_at)));
            true
        });
        result
    }

    /// Reads one file that is there. True where anything about it is new.
    fn read(&mut self, path: &Path) -> io::Result<bool> {
        let name = path.display().to_string();
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let Some(file) = self.files.get_mut(path) else {
            let loaded = Arc::new(load_bytes(&name, &bytes));
            let bytes = Some(bytes);
            self.files.insert(path.to_owned(), File { bytes, loaded, kept: Vec::new(), away: None, problem: None });
            return Ok(true);
        };
        if file.bytes.as_ref() == Some(&bytes) {
            return Ok(file.problem.take().is_some());
        }
        let cut_off = match &file.bytes {
            Some(before) => is_cut_off(before, &bytes),
            // Its text is not known, but there was one.
            None => bytes.is_empty() && !file.loaded.objects.is_empty(),
        };
        if cut_off {
            let line = bytes.iter().filter(|b| **b == b'\n').count() + 1;
            let place = Place { file: name.as_str().into(), line: line as u32, column: 1 };
            let message = "the file ends in the middle of what it was; it keeps its earlier objects".to_owned();
            let problem = Diagnostic::error(TRUNCATED, message).with_place(Some(place));
            let new = file.problem.as_ref() != Some(&problem);
            file.problem = Some(problem);
            return Ok(new);
        }
        file.problem = None;
        let loaded = load_bytes(&name, &bytes);
        file.kept = file.kept_beside(&loaded);
        file.loaded = Arc::new(loaded);
        file.bytes = Some(bytes);
        Ok(true)
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) -> bool {
        let name = path.display().to_string();
        let problem = Diagnostic::error(UNREADABLE, format!("{name}: {error}; it keeps its earlier objects"));
        let file = self.files.entry(path.to_owned()).or_insert_with(|| File {
            bytes: None,
            loaded: Arc::new(load_bytes(&name, b"")),
            kept: Vec::new(),
            away: None,
            problem: None,
        });
        let new = file.problem.as_ref() != Some(&problem);
        file.problem = Some(problem);
        new
    }

    /// What is in force, file by file, in the order of their names; standard input last. What a file only keeps
    /// of what it had gives way to an object of that name in any other.
    pub fn loaded(&self) -> Vec<Arc<Loaded>> {
        let keeps = |file: &File| file.away.is_some() || !file.kept.is_empty();
        let mut defined: BTreeSet<ResourceId> = BTreeSet::new();
        if self.files.values().any(keeps) {
            defined.extend(self.files.values().filter(|file| file.away.is_none()).flat_map(File::ids));
        }
        let in_force = |file: &File| {
            if !keeps(file) {
                return file.loaded.clone();
            }
            let mut loaded = (*file.loaded).clone();
            if file.away.is_some() {
                loaded.objects.retain(|object| !defined.contains(&object.id));
            }
            loaded.objects.extend(file.kept.iter().filter(|object| !defined.contains(&object.id)).cloned());
            Arc::new(loaded)
        };
        self.files.values().map(in_force).chain(self.stdin.clone()).collect()
    }

    /// What is wrong with files rather than with what is written in them.
    pub fn problems(&self) -> impl Iterator<Item = &Diagnostic> {
        self.unlisted.iter().chain(self.files.values().filter_map(|file| file.problem.as_ref()))
    }
}

/// Nothing that is followed need tell when this is over. That a file or folder may be read again, its own folder tells.
fn passes_unseen(error: &io::Error) -> bool {
    error.kind() != ErrorKind::PermissionDenied
}

/// What was there begins with what is there now, and ends in the middle of a line (or is empty): a write that
/// was seen half done. In a last line without an end it cannot be told from an edit.
pub(crate) fn is_cut_off(before: &[u8], now: &[u8]) -> bool {
    let Some(rest) = before.strip_prefix(now) else { return false };
    let at_line_end = now.ends_with(b"\n") || rest.starts_with(b"\n") || rest.starts_with(b"\r\n");
    now.is_empty() || !at_line_end && (before.ends_with(b"\n") || rest.contains(&b'\n'))
}

impl File {
    /// With these objects; their text is not known.
    fn remembered(path: &Path, objects: Vec<Arc<Object>>) -> Self {
        let loaded = Loaded { objects, ..load_bytes(&path.display().to_string(), b"") };
        Self { bytes: None, loaded: Arc::new(loaded), kept: Vec::new(), away: None, problem: None }
    }

    fn ids(&self) -> impl Iterator<Item = ResourceId> {
        self.loaded.objects.iter().map(|object| object.id.clone())
    }

    /// Where documents cannot be parsed, or it cannot be told what they are, objects that the file had and has not
    /// now may be among them: they stay.
    fn kept_beside(&self, loaded: &Loaded) -> Vec<Arc<Object>> {
        if loaded.unparsable == 0 {
            return Vec::new();
        }
        let now: BTreeSet<_> = loaded.objects.iter().map(|object| &object.id).collect();
        let before = self.loaded.objects.iter().chain(&self.kept);
        before.filter(|object| !now.contains(&object.id)).cloned().collect()
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
