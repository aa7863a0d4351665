//! Manifests from files, folders and standard input, for the tools that look at them. Where they come from is no
//! concern of the tools.

use amime_control::source::listing::is_manifest;
use amime_model::resource::{Loaded, LoadedMeshConfig, load_bytes, load_mesh_config};
use anyhow::Context;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The name of standard input, as a path and in places.
pub(crate) const STDIN: &str = "-";

/// Reads all files that the paths name, in the order of their names.
pub(crate) fn load_all(paths: &[PathBuf]) -> anyhow::Result<Vec<Loaded>> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    files.dedup();
    let load = |file: &PathBuf| Ok(load_bytes(&file.to_string_lossy(), &read(file)?));
    files.iter().map(load).collect()
}

/// Reads a MeshConfig.
pub(crate) fn mesh_config(path: &Path) -> anyhow::Result<LoadedMeshConfig> {
    Ok(load_mesh_config(&path.to_string_lossy(), &String::from_utf8_lossy(&read(path)?)))
}

/// All bytes of a file, or of standard input.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes).with_context(|| format!("reading {}", path.display()))?;
    Ok(bytes)
}

/// A file, or standard input.
pub(crate) fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if path == Path::new(STDIN) {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    let file = std::fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
    Ok(Box::new(BufReader::new(file)))
}

/// A file, or the YAML and JSON files of a folder; hidden ones left out.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
    let mut entries: Vec<PathBuf> = entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for entry in entries {
        let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && (entry.is_dir() || is_manifest(&entry)) {
            collect(&entry, files)?;
        }
    }
    Ok(())
}
