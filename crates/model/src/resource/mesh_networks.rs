//! Reads a MeshNetworks file: `networks` with their endpoints and gateways. It stays a tree; `analyze` looks at it.

use super::{Kind, Object, ObjectMeta, ResourceId, Source, Spec};
use crate::diagnostic::Diagnostic;
use crate::yaml;
use std::sync::Arc;

/// What Istio calls the one object that there is of it.
const NAME: &str = "meshnetworks";
const NAMESPACE: &str = "istio-system";

/// The networks of a file as an object, and what is wrong with the text; none where it holds no document.
pub fn load_mesh_networks(file: &Arc<str>, text: &str) -> (Option<Object>, Vec<Diagnostic>) {
    let parsed = yaml::parse(file, text);
    let object = parsed.documents.first().map(|document| {
        let id = ResourceId::new(Kind::MeshNetworks, NAMESPACE, NAME);
        let source = Source::new(document.clone(), document.root().id());
        Object { source: Some(source), ..Object::made_up(id, ObjectMeta::default(), Spec::Untyped) }
    });
    (object, parsed.errors)
}
