//! The meshes that tests of every field run over: the examples, the inputs of the golden files, and `effect/`, for
//! what those do not set.

// Each test binary uses a part of it, and none of it leaves the binary.
#![allow(dead_code, unreachable_pub)]

use amime_model::resource::Kind;
use amime_model::yaml::{self, Node, View};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A mesh: its name, its objects' texts, one line each, and its MeshConfig's.
pub struct Mesh {
    pub name: String,
    pub objects: Vec<Document>,
    pub mesh_config: Option<Document>,
}

pub type Document = std::sync::Arc<yaml::Document>;

/// The kinds of the traffic API.
pub const KINDS: &[Kind] = &[
    Kind::VirtualService,
    Kind::DestinationRule,
    Kind::Gateway,
    Kind::ServiceEntry,
    Kind::WorkloadEntry,
    Kind::WorkloadGroup,
    Kind::Sidecar,
    Kind::ProxyConfig,
];

pub fn documents(name: &str, text: &str) -> Vec<Document> {
    yaml::parse(&name.into(), text).documents
}

/// The kind of the traffic API that an object is of.
pub fn kind_of(document: &Document) -> Option<Kind> {
    let kind = document.root().get("kind").map_or("", Node::text);
    KINDS.iter().find(|known| known.as_str() == kind).copied()
}

/// The files of a folder and of those below it, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() { found.extend(files(&entry)) } else { found.push(entry) }
    }
    found.sort();
    found
}

pub fn corpus() -> Vec<Mesh> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut meshes: BTreeMap<String, Mesh> = BTreeMap::new();
    for path in [root.join("tests/golden"), root.join("tests/effect"), root.join("../../examples")]
        .iter()
        .flat_map(|f| files(f))
    {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let text = std::fs::read_to_string(&path).expect("text");
        let example = path.components().any(|part| part.as_os_str() == "examples");
        let text = match extension {
            "yaml" => &*text,
            "txt" => text.split("\n=====\n").next().unwrap_or_default(),
            _ => continue,
        };
        // The files of an example's folder are one mesh.
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        // Settings of the mesh may be beside the folder.
        let name = match name.strip_suffix("-mesh.yaml") {
            Some(folder) => folder.to_owned(),
            None if example => name.rsplit_once('/').map_or_else(String::new, |(folder, _)| folder.to_owned()),
            None => name,
        };
        let mesh = meshes.entry(name.clone()).or_insert_with(|| Mesh { name, objects: Vec::new(), mesh_config: None });
        for document in documents("mesh.yaml", text) {
            if document.root().get("kind").is_some() {
                mesh.objects.push(document);
            } else if !document.root().is_null() {
                mesh.mesh_config = Some(document);
            }
        }
        if let Some(line) = text.lines().find_map(|line| line.strip_prefix("# mesh: ")) {
            mesh.mesh_config = documents("mesh-config.yaml", line).into_iter().next();
        }
    }
    meshes.into_values().collect()
}

/// What is done to a node of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit<'a> {
    /// The field is taken out.
    Out,
    /// It has another value.
    Value(&'a str),
    /// It has another name; items of lists have none, and stay.
    Name(&'a str),
}

/// The node as YAML of one line, with the edit done to the one whose value has that id.
pub fn edited(node: Node<'_>, id: u32, edit: Edit<'_>) -> String {
    if let Edit::Value(text) = edit
        && node.id() == id
    {
        return text.to_owned();
    }
    match node.view() {
        View::Scalar(_) => node.to_flow(),
        View::Sequence(items) => {
            let items: Vec<_> = items.map(|item| edited(item, id, edit)).collect();
            format!("[{}]", items.join(", "))
        }
        View::Mapping(entries) => {
            let kept = entries.filter(|(_, value)| edit != Edit::Out || value.id() != id);
            let kept: Vec<_> = kept
                .map(|(key, value)| {
                    let name = match edit {
                        Edit::Name(name) if value.id() == id => name.to_owned(),
                        _ => key.to_flow(),
                    };
                    format!("{name}: {}", edited(value, id, edit))
                })
                .collect();
            format!("{{{}}}", kept.join(", "))
        }
    }
}
