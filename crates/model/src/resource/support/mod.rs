//! What Amime does with each field of Istio's traffic API: the one table of what is done and what is not, from which
//! docs/api-support.md is made. `load` asks which fields of an object have no effect, so that setting one is said.
//!
//! A field that comes to have an effect becomes `Done` here.

mod destination_rule;
mod gateway;
mod mesh_config;
mod sidecar;
mod virtual_service;
mod workload;

use super::Object;
use super::meta::Kind;
use crate::diagnostic::{Diagnostic, codes};
use crate::yaml::{Node, Path, View};

/// A field of a message.
#[derive(Debug, Clone, Copy)]
pub enum Field {
    /// It does what Istio says.
    Done(&'static str),
    /// It, and what is below it, has no effect; what happens instead.
    Instead(&'static str, &'static str),
    /// Setting it is an error (`validate` says so); why, and what to write.
    Refused(&'static str, &'static str),
    /// These values (with `*` at the end: what begins so) have no effect, each with what happens instead; all others do
    /// what Istio says.
    Values(&'static str, &'static [(&'static str, &'static str)]),
    /// A message; with `[]` after its name several, with `{}` a map of them.
    Message(&'static str, &'static [Field]),
}

impl Field {
    /// As it is written, without `[]` and `{}`.
    pub fn name(&self) -> &'static str {
        let (Self::Done(name)
        | Self::Instead(name, _)
        | Self::Refused(name, _)
        | Self::Values(name, _)
        | Self::Message(name, _)) = self;
        name.trim_end_matches(['[', ']', '{', '}'])
    }
}

/// The fields under `spec` of a kind of the traffic API; none of another kind.
pub fn fields(kind: Kind) -> &'static [Field] {
    match kind {
        Kind::DestinationRule => destination_rule::DESTINATION_RULE,
        Kind::Gateway => gateway::GATEWAY,
        Kind::ProxyConfig => workload::PROXY_CONFIG,
        Kind::ServiceEntry => workload::SERVICE_ENTRY,
        Kind::Sidecar => sidecar::SIDECAR,
        Kind::VirtualService => virtual_service::VIRTUAL_SERVICE,
        Kind::WorkloadEntry => workload::WORKLOAD_ENTRY,
        Kind::WorkloadGroup => workload::WORKLOAD_GROUP,
        _ => &[],
    }
}

/// The fields of MeshConfig that are known to have an effect, or a part of one.
pub fn mesh_config() -> &'static [Field] {
    mesh_config::MESH_CONFIG
}

/// Names the fields of an object that have no effect, and policies as not enforced.
pub(super) fn without_effect(object: &Object) -> Vec<Diagnostic> {
    let kind = object.id.kind;
    if kind.is_security() {
        let message = format!("NOT ENFORCED: {} is read, and nothing enforces it yet", object.id);
        return vec![Diagnostic::warning(codes::NOT_ENFORCED, message).with_place(object.place(""))];
    }
    let Some(spec) = object.source.as_ref().and_then(|source| source.root().get("spec")) else { return Vec::new() };
    let mut walk = Walk { make: Diagnostic::warning, unknown: None, found: Vec::new() };
    walk.message(spec, fields(kind), &Path::ROOT.key("spec"));
    walk.found
}

/// Names the fields of a MeshConfig that are set and have no effect.
pub(super) fn mesh_fields_without_effect(root: Node<'_>) -> Vec<Diagnostic> {
    let mut walk = Walk { make: Diagnostic::info, unknown: Some("nothing reads it yet"), found: Vec::new() };
    walk.message(root, mesh_config(), &Path::ROOT);
    walk.found
}

/// Is a value one that stands in the table as `word`?
fn is_meant(word: &str, value: &str) -> bool {
    word.strip_suffix('*').map_or(word == value, |start| value.starts_with(start))
}

struct Walk {
    make: fn(&'static str, String) -> Diagnostic,
    /// What happens instead of a field that the table does not have; None: the decoder has named it.
    unknown: Option<&'static str>,
    found: Vec<Diagnostic>,
}

impl Walk {
    fn message(&mut self, node: Node<'_>, fields: &[Field], path: &Path<'_>) {
        let View::Mapping(entries) = node.view() else { return };
        for (key, value) in entries.filter(|(_, value)| !value.is_null()) {
            let written = key.key_text();
            let path = path.key(&written);
            // Fields may also be written in snake_case.
            let camel = super::spelling::camel_case(&written);
            let field = fields.iter().find(|field| field.name() == written || field.name() == camel);
            match field {
                Some(Field::Done(_) | Field::Refused(..)) => {}
                Some(Field::Instead(_, instead)) => self.name(key, key.text().to_owned(), instead, &path),
                Some(Field::Values(name, values)) => {
                    if let Some((_, instead)) = values.iter().find(|(word, _)| is_meant(word, value.text())) {
                        self.name(value, format!("{name}: {}", value.text()), instead, &path);
                    }
                }
                Some(Field::Message(name, below)) => self.several(value, name, below, &path),
                None => {
                    if let Some(instead) = self.unknown {
                        self.name(key, key.text().to_owned(), instead, &path);
                    }
                }
            }
        }
    }

    fn several(&mut self, value: Node<'_>, name: &str, below: &[Field], path: &Path<'_>) {
        match value.view() {
            View::Sequence(items) if name.ends_with("[]") => {
                for (index, item) in items.enumerate() {
                    self.message(item, below, &path.index(index));
                }
            }
            View::Mapping(entries) if name.ends_with("{}") => {
                for (key, item) in entries {
                    self.message(item, below, &path.key(&key.key_text()));
                }
            }
            _ => self.message(value, below, path),
        }
    }

    /// `node`: the field's key, or a value that has no effect.
    fn name(&mut self, node: Node<'_>, said: String, instead: &str, path: &Path<'_>) {
        let message = format!("`{said}` has no effect: {instead}");
        let diagnostic = (self.make)(codes::NO_EFFECT, message);
        self.found.push(diagnostic.with_place(Some(node.place())).with_field(path.to_string()));
    }
}

#[cfg(test)]
mod tests;
