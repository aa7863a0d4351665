//! The table of Istio's fields (`resource::support`) against the types that read them and against Istio's own list
//! (../shared/reference/api_fields.md; skipped, saying so, where it is missing), and docs/api-support.md made of it.
//!
//! `AMIME_BLESS=1 cargo test -p amime-model --test golden_api` writes the document.
#![allow(clippy::unwrap_used)]

mod document;
mod shape;

use amime_model::diagnostic::{Diagnostic, Severity, codes};
use amime_model::resource::support::{self, Field};
use amime_model::resource::{
    DestinationRule, Gateway, Kind, MeshConfig, ProxyConfigResource, ServiceEntry, Sidecar, VirtualService,
    WorkloadEntry, WorkloadGroup, load_mesh_config,
};
use shape::Leaf;
use std::path::{Path, PathBuf};

/// The kinds of the traffic API with the leaves of their types.
fn kinds() -> Vec<(Kind, Vec<Leaf>)> {
    vec![
        (Kind::VirtualService, shape::leaves::<VirtualService>()),
        (Kind::DestinationRule, shape::leaves::<DestinationRule>()),
        (Kind::Gateway, shape::leaves::<Gateway>()),
        (Kind::ServiceEntry, shape::leaves::<ServiceEntry>()),
        (Kind::WorkloadEntry, shape::leaves::<WorkloadEntry>()),
        (Kind::WorkloadGroup, shape::leaves::<WorkloadGroup>()),
        (Kind::Sidecar, shape::leaves::<Sidecar>()),
        (Kind::ProxyConfig, shape::leaves::<ProxyConfigResource>()),
    ]
}

/// The field of the table that a path leads to; one that has no effect stands for all that is below it.
fn look_up<'a>(mut fields: &'a [Field], path: &str) -> Option<&'a Field> {
    for name in path.split('.') {
        let name = name.trim_end_matches(['[', ']', '{', '}']);
        let field = fields.iter().find(|field| field.name() == name)?;
        match field {
            Field::Message(_, below) => fields = below,
            _ => return Some(field),
        }
    }
    None
}

/// The paths of a table, in the form of a shape's.
fn paths(fields: &[Field], prefix: &str) -> Vec<(String, Field)> {
    let mut out = Vec::new();
    for field in fields {
        match field {
            Field::Message(name, below) => out.extend(paths(below, &format!("{prefix}{name}."))),
            _ => out.push((format!("{prefix}{}", field.name()), *field)),
        }
    }
    out
}

#[test]
fn every_field_that_is_read_is_in_the_table_and_no_other() {
    let mut wrong = Vec::new();
    for (kind, leaves) in kinds() {
        let table = support::fields(kind);
        for leaf in &leaves {
            if look_up(table, &leaf.path).is_none() {
                wrong.push(format!("{kind}: the table lacks {}", leaf.path));
            }
        }
        for (path, field) in paths(table, "") {
            let below = format!("{path}.");
            let of_message = |leaf: &&Leaf| {
                matches!(field, Field::Instead(..) | Field::Refused(..))
                    && leaf.path.replace("[]", "").replace("{}", "").starts_with(&below.replace("[]", ""))
            };
            let Some(leaf) = leaves.iter().find(|leaf| leaf.path == path || of_message(leaf)) else {
                wrong.push(format!("{kind}: nothing reads {path}"));
                continue;
            };
            if let Field::Values(_, values) = field {
                for (word, _) in values
                    .iter()
                    .filter(|(word, _)| !word.ends_with('*') && !leaf.words.iter().any(|known| known == word))
                {
                    wrong.push(format!("{kind}: {path} is never {word}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_field_of_mesh_config_in_the_table_is_read() {
    let leaves = shape::leaves::<MeshConfig>();
    for (path, _) in paths(support::mesh_config(), "") {
        let below = [format!("{path}."), format!("{path}[].")];
        let read = leaves.iter().any(|leaf| {
            // Some messages are read as they are, without a type.
            leaf.path == path
                || below.iter().any(|b| leaf.path.starts_with(b))
                || path.starts_with(&format!("{}.", leaf.path))
        });
        assert!(read, "nothing reads {path}");
    }
}

/// A MeshConfig that sets one field; some value fits.
fn set_alone(path: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for value in ["x", "1", "true", "[]", "{}", "1s", "[x]"] {
        let mut text = value.to_owned();
        for name in path.split('.').rev() {
            let field = name.trim_end_matches(['[', ']', '{', '}']);
            let within = match name.len() - field.len() {
                0 => text,
                // Of an item of a list, or of a map, that is a message.
                _ if name.ends_with("[]") => format!("[{text}]"),
                _ => format!("{{key: {text}}}"),
            };
            text = format!("{{{field}: {within}}}");
        }
        found = load_mesh_config("mesh-config.yaml", &text).diagnostics;
        if found.iter().all(|diagnostic| diagnostic.severity != Severity::Error) {
            break;
        }
    }
    found
}

#[test]
fn every_other_field_of_mesh_config_is_named_when_it_is_set() {
    let mut silent = Vec::new();
    let leaves = shape::leaves::<MeshConfig>();
    for leaf in leaves.iter().filter(|leaf| look_up(support::mesh_config(), &leaf.path).is_none()) {
        let found = set_alone(&leaf.path);
        let plain = leaf.path.replace("[]", "").replace("{}", "");
        let named = |d: &Diagnostic| {
            let field = d.field.replace("[0]", "").replace(".key", "");
            d.code == codes::NO_EFFECT && (plain == field || plain.starts_with(&format!("{field}.")))
        };
        // A part of a message that has effects is a message itself.
        let above = paths(support::mesh_config(), "").iter().any(|(path, _)| path.starts_with(&format!("{plain}.")));
        if !above && !found.iter().any(named) {
            let said: Vec<_> = found.iter().map(|d| format!("{}: {}", d.field, d.message)).collect();
            silent.push(format!("{}: {said:?}", leaf.path));
        }
    }
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

/// Istio's own list: `- name: type {A|B}` by indent, under a heading a kind.
#[test]
fn every_field_of_istio_is_read() {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("AMIME_SHARED").map_or_else(beside, PathBuf::from);
    let Ok(text) = std::fs::read_to_string(shared.join("reference/api_fields.md")) else {
        println!("skipped: no ../shared/reference/api_fields.md (AMIME_SHARED names another place)");
        return;
    };
    let mut wrong = Vec::new();
    for (kind, leaves) in kinds() {
        let section = text.split(&format!("\n## {kind} (")).nth(1).unwrap_or_else(|| panic!("no section of {kind}"));
        let section = section.split("\n## ").next().unwrap();
        let istio = istio_leaves(section);
        assert!(istio.len() > 3, "{kind}: {istio:?}");
        for theirs in &istio {
            // The CRDs have this one field in two spellings.
            let path = theirs.path.replace("mirror_percent", "mirrorPercent");
            match leaves.iter().find(|ours| ours.path == path) {
                None => wrong.push(format!("{kind}: {} is not read", theirs.path)),
                Some(ours) => {
                    let missing = theirs.words.iter().filter(|word| !ours.words.contains(word));
                    // Free text is looked at by `validate`.
                    let missing: Vec<_> = missing.filter(|_| !ours.words.is_empty()).collect();
                    if !missing.is_empty() {
                        wrong.push(format!("{kind}: {} does not know {missing:?}", theirs.path));
                    }
                }
            }
        }
        let newer = leaves.iter().filter(|ours| !istio.iter().any(|theirs| theirs.path == ours.path));
        println!("{kind}: read, and not in the list: {:?}", newer.map(|leaf| &leaf.path).collect::<Vec<_>>());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn istio_leaves(section: &str) -> Vec<Leaf> {
    let lines: Vec<(usize, &str, &str)> = section
        .lines()
        .filter_map(|line| {
            let written = line.trim_start();
            let (name, kind) = written.strip_prefix("- ")?.split_once(": ")?;
            Some((line.len() - written.len(), name, kind))
        })
        .collect();
    let mut leaves = Vec::new();
    let mut above: Vec<(usize, String)> = Vec::new();
    for (at, (indent, name, kind)) in lines.iter().enumerate() {
        above.retain(|(outer, _)| outer < indent);
        let prefix = above.last().map_or(String::new(), |(_, path)| format!("{path}."));
        let path = format!("{prefix}{name}");
        if lines.get(at + 1).is_some_and(|(next, ..)| next > indent) {
            let each = match kind {
                kind if kind.starts_with("map<") => "{}",
                kind if kind.starts_with('[') => "[]",
                _ => "",
            };
            above.push((*indent, format!("{path}{each}")));
        } else {
            let words = kind.split_once('{').and_then(|(_, words)| words.split('}').next());
            let words = words.map_or_else(Vec::new, |words| words.split('|').map(str::to_owned).collect());
            leaves.push(Leaf { path, words });
        }
    }
    leaves
}

#[test]
fn the_document_is_that_of_the_table() {
    let kinds: Vec<Kind> = kinds().into_iter().map(|(kind, _)| kind).collect();
    let text = document::write(&kinds);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api-support.md");
    if std::env::var_os("AMIME_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/api-support.md is not that of the table: run `make bless` and look at the difference"
    );
}
