//! Files that are an object each without saying of which kind: MeshNetworks, and values of Istio's charts. `amime check`
//! reads them.

use super::{Kind, Object, ObjectMeta, ResourceId, Source, Spec};
use crate::diagnostic::Diagnostic;
use crate::yaml;
use std::sync::Arc;

/// What Istio calls the one object that there is of MeshNetworks.
const NETWORKS: &str = "meshnetworks";
const NAMESPACE: &str = "istio-system";

/// The charts whose values are read.
pub const CHARTS: [&str; 2] = ["istiod", "gateway"];

/// The networks of a file as an object, and what is wrong with the text; none where it holds no document.
pub fn load_mesh_networks(file: &Arc<str>, text: &str) -> (Option<Object>, Vec<Diagnostic>) {
    load(ResourceId::new(Kind::MeshNetworks, NAMESPACE, NETWORKS), file, text)
}

/// As `load_mesh_networks`, the values of one of [`CHARTS`]; an empty file leaves the chart its defaults.
pub fn load_chart_values(chart: &str, file: &Arc<str>, text: &str) -> (Object, Vec<Diagnostic>) {
    let id = ResourceId::new(Kind::ChartValues, "", chart);
    let (object, found) = load(id.clone(), file, text);
    (object.unwrap_or_else(|| Object::made_up(id, ObjectMeta::default(), Spec::Untyped)), found)
}

fn load(id: ResourceId, file: &Arc<str>, text: &str) -> (Option<Object>, Vec<Diagnostic>) {
    let parsed = yaml::parse(file, text);
    let object = parsed.documents.first().map(|document| {
        let source = Source::new(document.clone(), document.root().id());
        Object { source: Some(source), ..Object::made_up(id, ObjectMeta::default(), Spec::Untyped) }
    });
    (object, parsed.errors)
}
