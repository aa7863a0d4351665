//! No field that the table calls done is a lie: each of them is set somewhere in the corpus, and what some proxy is
//! told changes when it is taken out.
//!
//! The corpus: `corpus/`.

mod corpus;

use amime_model::resource::support::{self, Field};
use amime_model::resource::{Kind, MeshConfig, ResourceSet, load, load_mesh_config};
use amime_model::snapshot::{Held, Snapshot};
use amime_model::translate::{Interception, Node as ProxyNode, NodeKind, Scope, Translation, translate};
use amime_model::workload::{AddressPlan, expand};
use amime_model::yaml::{Node, View};
use corpus::{Edit, KINDS, corpus, edited, kind_of};
use std::collections::BTreeMap;

/// What is told to all that may be a proxy of a mesh, and how many objects are broken.
fn told(objects: &str, mesh_config: &str) -> (usize, Vec<Translation>) {
    let loaded = load("mesh.yaml", objects);
    let broken = loaded.objects.iter().filter(|object| !object.errors.is_empty()).count();
    let mesh = match mesh_config {
        "" => MeshConfig::default(),
        text => load_mesh_config("mesh-config.yaml", text).config,
    };
    let (resources, _) = ResourceSet::of_files([&loaded]);
    let pods = resources.of_kind(Kind::Pod).count();
    let resources = if pods > 0 { resources } else { expand(&resources, &mut AddressPlan::default()).resources };
    let snapshot = Snapshot::build(&resources, &mesh, &Held::default()).snapshot;
    let mut all = Vec::new();
    for pod in snapshot.pods() {
        for kind in [NodeKind::Sidecar, NodeKind::Gateway] {
            let node = ProxyNode::of_pod(pod, kind, Interception::Redirect, false);
            all.push(translate(&snapshot, &Scope::of(&snapshot, &node)));
        }
    }
    (broken, all)
}

/// A field of the table: where it stands there, once for all places of a message.
type Key = (usize, &'static str);

/// The fields of the table that do something, each with its path at the first place.
fn done(fields: &'static [Field], path: &str, found: &mut BTreeMap<Key, String>) {
    for field in fields {
        match field {
            Field::Done(name) | Field::Values(name, _) => {
                found.entry((fields.as_ptr() as usize, name)).or_insert_with(|| format!("{path}{name}"));
            }
            Field::Message(name, below) => done(below, &format!("{path}{name}."), found),
            Field::Instead(..) | Field::Refused(..) => {}
        }
    }
}

/// The fields that are set below a node, each with the node that is its value.
fn set(node: Node<'_>, fields: &'static [Field], found: &mut Vec<(Key, u32)>) {
    let View::Mapping(entries) = node.view() else { return };
    for (key, value) in entries.filter(|(_, value)| !value.is_null()) {
        let Some(field) = fields.iter().find(|field| field.name() == key.text()) else { continue };
        match field {
            Field::Done(name) | Field::Values(name, _) => found.push(((fields.as_ptr() as usize, name), value.id())),
            Field::Message(name, below) => match value.view() {
                View::Sequence(items) => items.for_each(|item| set(item, below, found)),
                View::Mapping(entries) if name.ends_with("{}") => entries.for_each(|(_, item)| set(item, below, found)),
                _ => set(value, below, found),
            },
            Field::Instead(..) | Field::Refused(..) => {}
        }
    }
}

#[test]
fn every_field_that_is_done_changes_what_a_proxy_is_told() {
    let mut left = BTreeMap::new();
    for kind in KINDS {
        done(support::fields(*kind), &format!("{kind} "), &mut left);
    }
    done(support::mesh_config(), "MeshConfig ", &mut left);
    let mut unread: BTreeMap<Key, Vec<String>> = BTreeMap::new();
    for mesh in corpus() {
        let texts: Vec<String> = mesh.objects.iter().map(|document| document.root().to_flow()).collect();
        let config = mesh.mesh_config.as_ref().map_or_else(String::new, |document| document.root().to_flow());
        let before = told(&texts.join("\n---\n"), &config);
        let mut compare = |key: Key, texts: &[String], config: &str| {
            if !left.contains_key(&key) {
                return;
            }
            let now = told(&texts.join("\n---\n"), config);
            // A field that must be there is read where its absence is an error.
            if now != before {
                left.remove(&key);
            } else {
                unread.entry(key).or_default().push(mesh.name.clone());
            }
        };
        for (at, document) in mesh.objects.iter().enumerate() {
            let Some(kind) = kind_of(document) else { continue };
            let mut found = Vec::new();
            if let Some(spec) = document.root().get("spec") {
                set(spec, support::fields(kind), &mut found);
            }
            for (key, id) in found {
                let mut texts = texts.clone();
                texts[at] = edited(document.root(), id, Edit::Out);
                compare(key, &texts, &config);
            }
        }
        if let Some(document) = &mesh.mesh_config {
            let mut found = Vec::new();
            set(document.root(), support::mesh_config(), &mut found);
            for (key, id) in found {
                compare(key, &texts, &edited(document.root(), id, Edit::Out));
            }
        }
    }
    let lines = left.iter().map(|(key, path)| match unread.get(key) {
        None => format!("{path}: the corpus does not set it"),
        Some(meshes) => format!("{path}: taken out, nothing changes ({})", meshes.join(", ")),
    });
    let lines: Vec<_> = lines.collect();
    assert!(lines.is_empty(), "{} fields:\n{}", lines.len(), lines.join("\n"));
}
