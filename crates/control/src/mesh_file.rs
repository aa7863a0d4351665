//! The mesh config file: what it says, and the last of it without errors. `engine` looks at it with the manifests.
//!
//! As with manifests, what is cut off, empty, broken or away keeps what was last good, and says so: defaults in the
//! place of what is not read would take policies away.

use crate::source::SourceError;
use crate::source::files::{GONE_AFTER, Refreshed, TRUNCATED, UNREADABLE, is_cut_off};
use amime_model::diagnostic::{Diagnostic, Place};
use amime_model::resource::{LoadedMeshConfig, MeshConfig, load_mesh_config};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

#[derive(Debug)]
pub(crate) struct MeshFile {
    path: PathBuf,
    name: Arc<str>,
    /// As last read and taken, whether good or broken.
    bytes: Option<Vec<u8>>,
    last: Option<LoadedMeshConfig>,
    /// The last one without errors (the very first, whatever it is), and its text.
    good: Option<(MeshConfig, Arc<str>)>,
    /// Since when it cannot be read, and why.
    away: Option<(Instant, io::Error)>,
    /// Of the file rather than of what is written in it.
    problem: Option<Diagnostic>,
}

impl MeshFile {
    /// `text` is the last good one of an earlier process.
    pub(crate) fn remembered(path: PathBuf, text: Option<Arc<str>>) -> Self {
        let name: Arc<str> = path.display().to_string().into();
        let good = text.map(|text| (load_mesh_config(&name, &text).config, text));
        Self { path, name, bytes: None, last: None, good, away: None, problem: None }
    }

    /// The last good one, and its text.
    pub(crate) fn good(&self) -> Option<&(MeshConfig, Arc<str>)> {
        self.good.as_ref()
    }

    /// The file's name and its text, which findings show lines of.
    pub(crate) fn text(&self) -> (Arc<str>, Arc<str>) {
        let text = String::from_utf8_lossy(self.bytes.as_deref().unwrap_or_default());
        (self.name.clone(), text.into_owned().into())
    }

    pub(crate) fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.problem.iter().chain(self.last.iter().flat_map(|last| &last.diagnostics))
    }

    /// Why it could not be read just now. At the start that is an error; later it is a diagnostic.
    pub(crate) fn take_error(&mut self) -> Option<SourceError> {
        let (_, source) = self.away.take()?;
        Some(SourceError::Read { path: self.name.to_string(), source })
    }

    /// Reads the file again.
    pub(crate) fn refresh(&mut self, now: Instant) -> Refreshed {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let since = self.away.as_ref().map_or(now, |(since, _)| *since);
                // Editors rename files away and back.
                let may_be_back = error.kind() == ErrorKind::NotFound && now < since + GONE_AFTER;
                let message = format!("{}: {error}; the mesh config that it had goes on", self.name);
                self.away = Some((since, error));
                let changed = !may_be_back && self.say(Diagnostic::error(UNREADABLE, message));
                return Refreshed { changed, again: Some(now + GONE_AFTER) };
            }
        };
        self.away = None;
        if self.bytes.as_ref() == Some(&bytes) {
            return Refreshed { changed: self.problem.take().is_some(), again: None };
        }
        let before = self.bytes.as_deref().or(self.good.as_ref().map(|(_, text)| text.as_bytes()));
        if before.is_some_and(|before| before != bytes && is_cut_off(before, &bytes)) {
            let line = bytes.iter().filter(|b| **b == b'\n').count() + 1;
            let place = Place { file: self.name.clone(), line: line as u32, column: 1 };
            let message = "the file ends in the middle of what it was; the mesh config that it had goes on".to_owned();
            let problem = Diagnostic::error(TRUNCATED, message).with_place(Some(place));
            return Refreshed { changed: self.say(problem), again: None };
        }
        self.problem = None;
        let text = String::from_utf8_lossy(&bytes);
        let loaded = load_mesh_config(&self.name, &text);
        if !loaded.has_errors() || self.good.is_none() {
            self.good = Some((loaded.config.clone(), text.as_ref().into()));
        }
        self.last = Some(loaded);
        self.bytes = Some(bytes);
        Refreshed { changed: true, again: None }
    }

    /// True where it is new.
    fn say(&mut self, problem: Diagnostic) -> bool {
        let new = self.problem.as_ref() != Some(&problem);
        self.problem = Some(problem);
        new
    }
}

#[cfg(test)]
#[path = "mesh_file_tests.rs"]
mod tests;
