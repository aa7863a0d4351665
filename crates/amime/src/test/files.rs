//! Which files hold tests, and which manifests they are about.

use amime_control::source::listing::parent;
use amime_model::mesh_test::{LoadedTests, is_test};
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};

/// The test files that the paths name: themselves, or those below a folder in the order of their names.
pub(super) fn find(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        let before = found.len();
        collect(path, true, &mut found)?;
        ensure!(found.len() > before, "{} has no file whose name ends in .mesh-test.yaml", path.display());
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|file| seen.insert(file.clone()));
    Ok(found)
}

fn collect(path: &Path, named: bool, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        if named || is_test(path) {
            found.push(path.to_owned());
        }
        return Ok(());
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
    let mut entries: Vec<PathBuf> = entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.sort();
    let hidden = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    entries.iter().filter(|entry| !hidden(entry)).try_for_each(|entry| collect(entry, false, found))
}

/// What the tests of a file are about: `-f`, what it names, or what lies beside it.
pub(super) fn manifests(tests: &LoadedTests, given: &[PathBuf]) -> Vec<PathBuf> {
    let folder = parent(Path::new(&*tests.file));
    if !given.is_empty() {
        given.to_vec()
    } else if tests.manifests.is_empty() {
        vec![folder]
    } else {
        tests.manifests.iter().map(|path| folder.join(path)).collect()
    }
}

pub(super) fn mesh_config(tests: &LoadedTests, given: Option<&Path>) -> Option<PathBuf> {
    let own = tests.mesh_config.as_ref().map(|path| parent(Path::new(&*tests.file)).join(path));
    given.map(Path::to_owned).or(own)
}
