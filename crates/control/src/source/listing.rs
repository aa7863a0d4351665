//! Which files belong to what the user named: files as they are, folders with all manifests in them.
//! Called by `files`, and by tools that read files once.

use amime_model::mesh_test;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What the user names on the command line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Input {
    /// A file, or a folder.
    Path(PathBuf),
    /// Standard input, read once, to its end.
    Stdin,
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{path}: there is no manifest in it (*.yaml, *.yml, *.json)")]
    Nothing { path: String },
    #[error("the thread that follows the files cannot be started: {0}")]
    Thread(std::io::Error),
}

impl Input {
    /// `-` is standard input.
    pub fn from_argument(argument: &Path) -> Self {
        if argument == Path::new("-") { Self::Stdin } else { Self::Path(argument.to_owned()) }
    }

    /// What diagnostics call it.
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Stdin => "standard input".to_owned(),
        }
    }
}

/// Reads standard input whole.
pub fn read_stdin() -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    match std::io::stdin().lock().read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(source) => Err(SourceError::Read { path: Input::Stdin.name(), source }),
    }
}

/// What a path stands for.
#[derive(Debug, Default)]
pub struct Listing {
    pub files: BTreeSet<PathBuf>,
    /// Every folder in which a change could be one of the files.
    pub folders: BTreeSet<PathBuf>,
    /// Folders below it that cannot be listed, and why: what is in them is not known.
    pub unlisted: Vec<(PathBuf, std::io::Error)>,
}

/// The manifests that a path stands for, each once: itself, or `*.yaml`, `*.yml` and `*.json` below a folder,
/// hidden files and folders left out. Links are followed, circles are not.
///
/// # Errors
/// Where the path itself is not there or cannot be listed.
pub fn manifests(path: &Path) -> Result<Listing, SourceError> {
    let fail = |source| SourceError::Read { path: path.display().to_string(), source };
    let mut found = Listing::default();
    if std::fs::metadata(path).map_err(fail)?.is_dir() {
        below(path, &mut BTreeSet::new(), &mut found).map_err(fail)?;
    } else {
        found.file(path.to_owned());
    }
    Ok(found)
}

/// Whether a file of a folder is one of manifests, by its name. Tests of a mesh lie beside them.
pub fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json") && !mesh_test::is_test(path)
}

/// The folder that a path is in: what is put in its place is seen from there alone.
pub fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        Some(_) => PathBuf::from("."),
        None => path.to_owned(),
    }
}

impl Listing {
    fn file(&mut self, path: PathBuf) {
        let is_link = std::fs::symlink_metadata(&path).is_ok_and(|m| m.is_symlink());
        if let Some(real) = is_link.then(|| path.canonicalize().ok()).flatten() {
            self.folders.insert(parent(&real));
        }
        self.files.insert(path);
    }
}

fn below(folder: &Path, entered: &mut BTreeSet<PathBuf>, found: &mut Listing) -> std::io::Result<()> {
    if !entered.insert(folder.canonicalize()?) {
        return Ok(());
    }
    let entries = std::fs::read_dir(folder)?;
    found.folders.insert(folder.to_owned());
    for entry in entries {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        // What went away between the listing and the look, or leads nowhere, is not there.
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        if hidden {
            continue;
        }
        if metadata.is_dir() {
            match below(&path, entered, found) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => found.unlisted.push((path, error)),
                _ => {}
            }
        } else if is_manifest(&path) {
            found.file(path);
        }
    }
    Ok(())
}
