//! All findings about manifests: those of each text, of each object, and of all together.

use super::{Outcome, Suppressions};
use crate::manifests;
use amime_model::analyze::{Input, analyze};
use amime_model::diagnostic::{Diagnostic, Texts, codes};
use amime_model::resource::{
    Loaded, MeshConfig, Object, ResourceSet, load_chart_values, load_mesh_networks, unknown_kinds,
};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What they are judged by.
pub(crate) struct Inputs<'a> {
    pub(crate) mesh_config: Option<&'a PathBuf>,
    pub(crate) mesh_networks: Option<&'a PathBuf>,
    /// Values of Istio's charts, with the chart's name.
    pub(crate) values: &'a [(String, PathBuf)],
    pub(crate) practices: bool,
}

/// Judges manifests that were read; settings of the mesh that cannot be read are an error.
pub(crate) fn find(files: &[Loaded], inputs: &Inputs<'_>, suppressions: &Suppressions) -> anyhow::Result<Outcome> {
    let mut texts = Texts::default();
    for file in files {
        texts.insert(file.file.clone(), file.text.clone());
    }
    let (mesh, mut diagnostics) = mesh_config(inputs.mesh_config, &mut texts)?;
    let networks = mesh_networks(inputs.mesh_networks, &mut texts, &mut diagnostics)?;
    let (resources, duplicates) = ResourceSet::of_files(files);
    let mut for_tools: Vec<Arc<Object>> = files.iter().flat_map(|file| file.for_tools.iter().cloned()).collect();
    // What an Amime mesh does not do is `up`'s and the control plane's to tell.
    let of_mesh = [codes::NOT_ENFORCED, codes::NO_EFFECT];
    let own = files.iter().flat_map(Loaded::all_diagnostics).filter(|found| !of_mesh.contains(&found.code));
    diagnostics.extend(own.chain(duplicates));
    diagnostics.extend(unknown(files, &for_tools));
    for (chart, path) in inputs.values {
        for_tools.push(chart_values(chart, path, &mut texts, &mut diagnostics)?);
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    diagnostics.extend(analyze(&Input {
        resources: &resources,
        for_tools: &for_tools,
        mesh: &mesh,
        networks: networks.as_ref(),
        practices: inputs.practices,
        now,
    }));
    sort(&mut diagnostics);
    let all = diagnostics.len();
    diagnostics.retain(|found| !suppressions.hold_for(found, &resources, &for_tools));
    let suppressed = all - diagnostics.len();
    Ok(Outcome { diagnostics, suppressed, objects: resources.len() + for_tools.len(), texts })
}

fn mesh_config(path: Option<&PathBuf>, texts: &mut Texts) -> anyhow::Result<(MeshConfig, Vec<Diagnostic>)> {
    let Some(path) = path else { return Ok((MeshConfig::default(), Vec::new())) };
    let loaded = manifests::mesh_config(path)?;
    texts.insert(loaded.file.clone(), loaded.text.clone());
    Ok((loaded.config, loaded.diagnostics))
}

fn mesh_networks(
    path: Option<&PathBuf>,
    texts: &mut Texts,
    diagnostics: &mut Vec<Diagnostic>,
) -> anyhow::Result<Option<Arc<Object>>> {
    let Some(path) = path else { return Ok(None) };
    let text: Arc<str> = String::from_utf8_lossy(&manifests::read(path)?).into();
    let file: Arc<str> = path.to_string_lossy().into();
    let (object, found) = load_mesh_networks(&file, &text);
    texts.insert(file, text);
    diagnostics.extend(found);
    Ok(object.map(Arc::new))
}

fn chart_values(
    chart: &str,
    path: &Path,
    texts: &mut Texts,
    diagnostics: &mut Vec<Diagnostic>,
) -> anyhow::Result<Arc<Object>> {
    let text: Arc<str> = String::from_utf8_lossy(&manifests::read(path)?).into();
    let file: Arc<str> = path.to_string_lossy().into();
    let (object, found) = load_chart_values(chart, &file, &text);
    texts.insert(file, text);
    diagnostics.extend(found);
    Ok(Arc::new(object))
}

/// Kinds that nothing here looks at.
fn unknown(files: &[Loaded], for_tools: &[Arc<Object>]) -> Vec<Diagnostic> {
    let looked_at: HashSet<_> = for_tools.iter().filter_map(|object| object.place("")).collect();
    let is_left = |found: &Diagnostic| found.place.as_ref().is_none_or(|place| !looked_at.contains(place));
    unknown_kinds(files).into_iter().filter(is_left).collect()
}

/// By file and place, the worst first of one place; each once.
fn sort(diagnostics: &mut Vec<Diagnostic>) {
    let mut seen = HashSet::new();
    diagnostics.retain(|found| seen.insert(found.clone()));
    diagnostics.sort_by(|one, other| {
        let key = |d: &Diagnostic| (d.place.clone(), std::cmp::Reverse(d.severity), d.code, d.field.clone());
        key(one).cmp(&key(other)).then_with(|| one.message.cmp(&other.message))
    });
}
