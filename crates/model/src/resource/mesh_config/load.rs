//! Reads MeshConfig: from a file of its own, or from the ConfigMap `istio` that Istio keeps it in.

use super::MeshConfig;
use crate::diagnostic::{Diagnostic, Severity, codes};
use crate::resource::decode::{Findings, decode};
use crate::resource::{support, validate};
use crate::yaml::{self, Node, Parsed, Path, Style};
use std::sync::Arc;

/// What a MeshConfig file holds.
#[derive(Debug, Clone)]
pub struct LoadedMeshConfig {
    /// Istio's defaults where the file does not say otherwise, or cannot be read.
    pub config: MeshConfig,
    pub diagnostics: Vec<Diagnostic>,
    /// As the user named it, and its text, for showing lines of it.
    pub file: Arc<str>,
    pub text: Arc<str>,
}

impl LoadedMeshConfig {
    /// Whether something in it is wrong; warnings do not count.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// Reads a file that is a MeshConfig, or a ConfigMap with a MeshConfig in `data.mesh`.
pub fn load_mesh_config(file: &str, text: &str) -> LoadedMeshConfig {
    let file: Arc<str> = file.into();
    let parsed = yaml::parse(&file, text);
    let text = parsed.text.clone();
    let (config, mut diagnostics) = read(&file, parsed, 0);
    diagnostics.sort_by(|one, other| one.place.cmp(&other.place));
    LoadedMeshConfig { config, diagnostics, file, text }
}

/// Why text is no ProxyConfig, as the annotation `proxy.istio.io/config` holds one.
pub(crate) fn proxy_config_problem(text: &str) -> Option<String> {
    let parsed = yaml::parse(&"".into(), text);
    if let Some(error) = parsed.errors.first() {
        return Some(error.message.clone());
    }
    let findings = Findings::new(true);
    let root = parsed.documents.first()?.root();
    let _: super::ProxyDefaults = decode(root, &Path::ROOT, &findings);
    let error = findings.into_vec().into_iter().find(|found| found.severity == Severity::Error)?;
    Some(format!("{}: {}", error.field, error.message))
}

/// `depth`: how many ConfigMaps are around it.
fn read(file: &Arc<str>, parsed: Parsed, depth: usize) -> (MeshConfig, Vec<Diagnostic>) {
    let mut diagnostics = parsed.errors;
    if let Some(second) = parsed.documents.get(1) {
        let message = "only the first document of a MeshConfig file is read";
        diagnostics.push(Diagnostic::warning(codes::NOT_AN_OBJECT, message).with_place(Some(second.root().place())));
    }
    let Some(document) = parsed.documents.first() else { return (MeshConfig::default(), diagnostics) };
    diagnostics.extend(document.problems().iter().cloned());
    let root = document.root();
    let kind = root.get("kind").map_or("", Node::text);
    if kind == "ConfigMap" && depth == 0 {
        let Some(mesh) = root.get("data").and_then(|data| data.get("mesh")) else {
            let message = "this ConfigMap holds no MeshConfig";
            diagnostics.push(
                Diagnostic::error(codes::SCHEMA, message)
                    .with_place(Some(root.place_of("data")))
                    .with_field("data.mesh")
                    .with_expected("the MeshConfig as text under data.mesh"),
            );
            return (MeshConfig::default(), diagnostics);
        };
        let (config, mut within) = read(file, yaml::parse(file, mesh.text()), depth + 1);
        within.iter_mut().for_each(|diagnostic| shift(diagnostic, mesh, &parsed.text));
        diagnostics.extend(within);
        return (config, diagnostics);
    }
    let findings = Findings::new(true);
    let config: MeshConfig = decode(root, &Path::ROOT, &findings);
    diagnostics.extend(findings.into_vec());
    for mut found in validate::mesh_config(&config) {
        found.place = Some(root.place_of(&found.field));
        diagnostics.push(found);
    }
    let mut without_effect = support::mesh_fields_without_effect(root);
    // What is wrong was named already.
    without_effect.retain(|found| diagnostics.iter().all(|earlier| earlier.field != found.field));
    diagnostics.extend(without_effect);
    (config, diagnostics)
}

/// Moves a place within the text of a scalar to where that text stands in the file.
fn shift(diagnostic: &mut Diagnostic, scalar: Node<'_>, text: &str) {
    let at = scalar.place();
    let Some(place) = &mut diagnostic.place else { return };
    let is_block = scalar.scalar().is_some_and(|scalar| scalar.style == Style::Block);
    if !is_block {
        // Within quotes lines and columns are not those of the file.
        *place = at;
        return;
    }
    // A block's place is where its first line that is not blank starts, further to the right than the text knows.
    let blank = scalar.text().lines().take_while(|line| line.trim().is_empty()).count() as u32;
    place.line = (place.line + at.line - 1).saturating_sub(blank).max(at.line);
    let indent = |line: Option<&str>| line.map_or(0, |line| line.len() - line.trim_start_matches(' ').len());
    let in_file = yaml::line_of(text, at.line);
    let in_scalar = yaml::line_of(scalar.text(), blank + 1);
    place.column += indent(in_file).saturating_sub(indent(in_scalar)) as u32;
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
