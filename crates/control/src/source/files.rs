//! The user's files and what was last good in each. `engine` calls `refresh` whenever something may have changed.
//!
//! A file that is cut off in the middle, or cannot be parsed, keeps the objects that it had; one that vanishes is
//! taken for gone only after a moment, since editors rename files away and back.

use super::listing::{self, Input, SourceError};
use amime_model::diagnostic::{Diagnostic, Place};
use amime_model::resource::{Loaded, load_bytes};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a file must be away before its objects go.
pub const GONE_AFTER: Duration = Duration::from_millis(500);

/// A file that looks cut off.
const TRUNCATED: &str = "AM-F1";
/// A file that cannot be read.
const UNREADABLE: &str = "AM-F2";

/// All files of the inputs.
#[derive(Debug)]
pub struct Files {
    inputs: Vec<Input>,
    files: BTreeMap<PathBuf, File>,
    stdin: Option<Arc<Loaded>>,
    /// Folders that could not be listed, and why.
    unlisted: Vec<Diagnostic>,
}

#[derive(Debug)]
struct File {
    bytes: Vec<u8>,
    loaded: Arc<Loaded>,
    /// Since when it is not there.
    away: Option<Instant>,
    /// Said of the file as it is now, on top of what `loaded` says.
    problem: Option<Diagnostic>,
}

/// What a refresh found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refreshed {
    pub changed: bool,
    /// Look again then, whatever happens: a file is away and may come back.
    pub again: Option<Instant>,
}

impl Files {
    /// Reads everything. What cannot be read at the start is an error; later it is a diagnostic.
    pub fn open(inputs: Vec<Input>) -> Result<Self, SourceError> {
        let mut files = Self { inputs, files: BTreeMap::new(), stdin: None, unlisted: Vec::new() };
        for input in &files.inputs {
            match input {
                Input::Path(path) => {
                    let manifests = listing::manifests(path)?;
                    if manifests.is_empty() {
                        return Err(SourceError::Nothing { path: input.name() });
                    }
                    for manifest in manifests {
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
        Ok(files)
    }

    /// Folders to be watched: (folder, with all below it).
    pub fn folders(&self) -> BTreeMap<PathBuf, bool> {
        let mut folders = BTreeMap::new();
        for input in &self.inputs {
            let Input::Path(path) = input else { continue };
            if path.is_dir() {
                folders.insert(path.clone(), true);
            } else {
                let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
                folders.entry(parent.to_owned()).or_insert(false);
            }
        }
        folders
    }

    /// Reads what changed.
    pub fn refresh(&mut self, now: Instant) -> Refreshed {
        let mut present = BTreeSet::new();
        let mut unlisted = Vec::new();
        let mut kept_roots = Vec::new();
        for input in &self.inputs {
            let Input::Path(path) = input else { continue };
            match listing::manifests(path) {
                Ok(found) => present.extend(found),
                Err(error) => {
                    // A folder that cannot be listed for a moment has not lost its files for that.
                    if path.exists() {
                        kept_roots.push(path.clone());
                    }
                    unlisted.push(Diagnostic::error(UNREADABLE, error.to_string()));
                }
            }
        }
        let mut result = Refreshed { changed: unlisted != self.unlisted, again: None };
        self.unlisted = unlisted;
        for path in &present {
            result.changed |= self.read(path);
        }
        self.files.retain(|path, file| {
            if present.contains(path) || kept_roots.iter().any(|root| path.starts_with(root)) {
                result.changed |= file.away.take().is_some() && file.problem.take().is_some();
                return true;
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
    fn read(&mut self, path: &Path) -> bool {
        let name = path.display().to_string();
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return false,
            Err(error) => return self.unreadable(path, &name, &error),
        };
        let Some(file) = self.files.get_mut(path) else {
            let loaded = Arc::new(load_bytes(&name, &bytes));
            self.files.insert(path.to_owned(), File { bytes, loaded, away: None, problem: None });
            return true;
        };
        if file.bytes == bytes {
            return file.problem.take().is_some();
        }
        if is_cut_off(&file.bytes, &bytes) {
            let line = bytes.iter().filter(|b| **b == b'\n').count() + 1;
            let place = Place { file: name.as_str().into(), line: line as u32, column: 1 };
            let message = "the file ends in the middle of what it was; it keeps its earlier objects".to_owned();
            let problem = Diagnostic::error(TRUNCATED, message).with_place(Some(place));
            let new = file.problem.as_ref() != Some(&problem);
            file.problem = Some(problem);
            return new;
        }
        file.problem = None;
        file.loaded = Arc::new(keep_unparsable(load_bytes(&name, &bytes), &file.loaded));
        file.bytes = bytes;
        true
    }

    fn unreadable(&mut self, path: &Path, name: &str, error: &std::io::Error) -> bool {
        let problem = Diagnostic::error(UNREADABLE, format!("{name}: {error}; it keeps its earlier objects"));
        let file = self.files.entry(path.to_owned()).or_insert_with(|| File {
            bytes: Vec::new(),
            loaded: Arc::new(load_bytes(name, b"")),
            away: None,
            problem: None,
        });
        let new = file.problem.as_ref() != Some(&problem);
        file.problem = Some(problem);
        new
    }

    /// What is in force, file by file, in the order of their names; standard input last.
    pub fn loaded(&self) -> impl Iterator<Item = &Arc<Loaded>> {
        self.files.values().map(|file| &file.loaded).chain(&self.stdin)
    }

    /// What is wrong with files rather than with what is written in them.
    pub fn problems(&self) -> impl Iterator<Item = &Diagnostic> {
        self.unlisted.iter().chain(self.files.values().filter_map(|file| file.problem.as_ref()))
    }
}

/// What was there begins with what is there now, and ends in the middle of a line (or is empty): a write that
/// was seen half done. A file that never ended its last line cannot be told apart from an edit.
fn is_cut_off(before: &[u8], now: &[u8]) -> bool {
    before.starts_with(now) && (now.is_empty() || before.ends_with(b"\n") && !now.ends_with(b"\n"))
}

/// Where documents cannot be parsed, objects that the file had and has not now may be among them: they stay.
fn keep_unparsable(mut loaded: Loaded, before: &Loaded) -> Loaded {
    if loaded.unparsable > 0 {
        let now: BTreeSet<_> = loaded.objects.iter().map(|object| object.id.clone()).collect();
        loaded.objects.extend(before.objects.iter().filter(|object| !now.contains(&object.id)).cloned());
    }
    loaded
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
