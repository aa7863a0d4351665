//! Where the configuration is read from: manifests, or the saved config dump of one proxy.

use amime_model::config::ProxyConfig;
use amime_model::conflict;
use amime_model::diagnostic::{Diagnostic, Severity};
use amime_model::explain::with_pods;
use amime_model::resource::{Kind, Loaded, MeshConfig, Object, ResourceSet, load_bytes, load_mesh_config};
use amime_model::snapshot::{Held, Snapshot};
use anyhow::Context;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What manifests say, as a mesh would have it.
pub(crate) struct Manifests {
    pub(crate) snapshot: Arc<Snapshot>,
    /// Which the mesh leaves alone.
    pub(crate) ingresses: Vec<Arc<Object>>,
}

/// Reads files and folders. What is wrong in them is told on standard error, as far as it changes answers.
pub(crate) fn manifests(paths: &[PathBuf], mesh_config: Option<&Path>) -> anyhow::Result<Manifests> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    let mut loaded = Vec::new();
    for file in files {
        let mut bytes = Vec::new();
        open(&file)?.read_to_end(&mut bytes).with_context(|| format!("reading {}", file.display()))?;
        loaded.push(load_bytes(&file.to_string_lossy(), &bytes));
    }
    let (resources, duplicates) = ResourceSet::of_files(&loaded);
    loaded.iter().flat_map(Loaded::all_diagnostics).chain(duplicates).for_each(|found| tell(&found));
    let mesh = read_mesh_config(mesh_config)?;
    let built = Snapshot::build(&with_pods(&resources), &mesh, &Held::default());
    conflict::find(&built.snapshot).iter().for_each(tell);
    let for_tools = loaded.into_iter().flat_map(|file| file.for_tools);
    let ingresses = for_tools.filter(|object| object.id.kind == Kind::Ingress).collect();
    Ok(Manifests { snapshot: built.snapshot, ingresses })
}

/// Reads a config dump. What of it is not understood is told on standard error.
pub(crate) fn dump(path: &Path) -> anyhow::Result<ProxyConfig> {
    let read = || format!("reading {}", path.display());
    let value = serde_json::from_reader(open(path)?).with_context(read)?;
    let (config, unknown) = amime_xds::json::from_config_dump(&value);
    for unknown in &unknown {
        anstream::eprintln!("{}: {unknown}", path.display());
    }
    anyhow::ensure!(
        !config.listeners.is_empty(),
        "{} has no listeners; it should be what a proxy's /config_dump?include_eds answers",
        path.display()
    );
    Ok(config)
}

/// A file, or standard input.
pub(crate) fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    let file = std::fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
    Ok(Box::new(BufReader::new(file)))
}

fn read_mesh_config(path: Option<&Path>) -> anyhow::Result<MeshConfig> {
    let Some(path) = path else { return Ok(MeshConfig::default()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let loaded = load_mesh_config(&path.to_string_lossy(), &text);
    loaded.diagnostics.iter().for_each(tell);
    Ok(loaded.config)
}

/// Only errors: what changes an answer. The rest is for `up` and `check`.
fn tell(diagnostic: &Diagnostic) {
    if diagnostic.severity == Severity::Error {
        let place = diagnostic.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        anstream::eprintln!("{place}{}", diagnostic.message);
    }
}

/// A file, or the YAML and JSON files of a folder, in the order of their names; hidden ones left out.
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
        let wanted = entry.extension().is_some_and(|e| matches!(e.to_str(), Some("yaml" | "yml" | "json")));
        if !hidden && (entry.is_dir() || wanted) {
            collect(&entry, files)?;
        }
    }
    Ok(())
}
