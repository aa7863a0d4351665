//! Where the configuration is read from: manifests, or the saved config dump of one proxy.

use crate::manifests::{load_all, read};
use amime_model::config::ProxyConfig;
use amime_model::conflict;
use amime_model::diagnostic::{Diagnostic, Severity};
use amime_model::explain::{Explainer, has_workloads, with_gateways};
use amime_model::resource::{Loaded, Object, ResourceSet};
use amime_model::snapshot::{Held, Snapshot};
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What manifests say, as a mesh would have it.
pub(crate) struct Manifests {
    pub(crate) snapshot: Arc<Snapshot>,
    /// Which the mesh leaves alone.
    pub(crate) for_tools: Vec<Arc<Object>>,
    /// Whether there is anything that could answer for a service.
    pub(crate) has_workloads: bool,
}

impl Manifests {
    pub(crate) fn explainer(&self) -> Explainer<'_> {
        let explainer = Explainer::new(&self.snapshot).with_ingresses(&self.for_tools);
        if self.has_workloads { explainer } else { explainer.without_workloads() }
    }

    pub(crate) fn has_workloads(&self) -> bool {
        self.has_workloads
    }

    /// Whether there are security policies, which nobody evaluates.
    pub(crate) fn has_policies(&self) -> bool {
        self.snapshot.in_force().any(|object| object.id.kind.is_security())
    }
}

/// Reads files and folders. What is wrong in them is told on standard error, as far as it changes answers.
pub(crate) fn manifests(paths: &[PathBuf], mesh_config: Option<&Path>) -> anyhow::Result<Manifests> {
    of_loaded(load_all(paths)?, mesh_config)
}

/// The same of what was read already.
pub(crate) fn of_loaded(loaded: Vec<Loaded>, mesh_config: Option<&Path>) -> anyhow::Result<Manifests> {
    let (resources, duplicates) = ResourceSet::of_files(&loaded);
    loaded.iter().flat_map(Loaded::all_diagnostics).chain(duplicates).for_each(|found| tell(&found));
    let mesh = mesh_config.map(crate::manifests::mesh_config).transpose()?;
    mesh.iter().flat_map(|mesh| &mesh.diagnostics).for_each(tell);
    let mesh = mesh.map(|mesh| mesh.config).unwrap_or_default();
    let built = Snapshot::build(&with_gateways(&resources), &mesh, &Held::default());
    conflict::find(&built.snapshot).iter().for_each(tell);
    let for_tools = loaded.into_iter().flat_map(|file| file.for_tools).collect();
    Ok(Manifests { snapshot: built.snapshot, for_tools, has_workloads: has_workloads(&resources) })
}

/// Reads a config dump. What of it is not understood is told on standard error.
pub(crate) fn dump(path: &Path) -> anyhow::Result<ProxyConfig> {
    let value = serde_json::from_slice(&read(path)?).with_context(|| format!("reading {}", path.display()))?;
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

/// Only errors: what changes an answer. The rest is for `up` and `check`.
fn tell(diagnostic: &Diagnostic) {
    if diagnostic.severity == Severity::Error {
        let place = diagnostic.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        anstream::eprintln!("{place}{}", diagnostic.message);
    }
}
