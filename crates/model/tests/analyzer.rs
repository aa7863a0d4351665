//! What Istio's analyzer says of recorded manifests (../shared/fixtures/analyze and truth), asked of `analyze`.
//!
//! The rules of comparison are those of ../shared/tools/score-analyze. Skipped, saying so, where the recordings are not.

use amime_model::analyze::{Input, analyze};
use amime_model::diagnostic::Diagnostic;
use amime_model::resource::{Loaded, Object, ResourceSet, load, load_mesh_config, load_mesh_networks};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn cases(name: &str) -> Option<(PathBuf, Vec<Value>)> {
    let shared = match std::env::var_os("AMIME_SHARED") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    let folder = shared.join("fixtures").join(name);
    let Ok(text) = std::fs::read_to_string(folder.join("cases.json")) else {
        println!("skipped: no ../shared/fixtures/{name} (AMIME_SHARED names another place)");
        return None;
    };
    Some((folder, serde_json::from_str(&text).expect("JSON")))
}

/// How many of the cases are as recorded, of how many; the others are printed.
fn score(name: &str) -> Option<(usize, usize)> {
    let (folder, cases) = cases(name)?;
    let right = cases.iter().filter(|case| is_right(&folder, case)).count();
    Some((right, cases.len()))
}

#[test]
fn cases_of_each_analyzer_are_told_as_istio_tells_them() {
    let Some((right, all)) = score("analyze") else { return };
    assert_eq!(right, all);
}

#[test]
fn recorded_meshes_are_told_as_istio_tells_them() {
    let Some((right, all)) = score("truth") else { return };
    assert!(right * 100 >= all * 99, "{right} of {all}");
}

/// A code, and whose it is: kind, namespace, name. An empty namespace fits any.
type Told = (String, String, String, String);

fn is_right(folder: &Path, case: &Value) -> bool {
    let scope: BTreeSet<&str> = strings(&case["scope"]).collect();
    let found = check(folder, case);
    let told: BTreeSet<Told> = found.iter().filter(|found| scope.contains(found.code)).map(told).collect();
    let wanted: BTreeSet<Told> = case["expect"].as_array().into_iter().flatten().map(wanted).collect();
    let same = |told: &Told, wanted: &Told| {
        (&told.0, &told.1, &told.3) == (&wanted.0, &wanted.1, &wanted.3) && (wanted.2.is_empty() || told.2 == wanted.2)
    };
    let missed: Vec<_> = wanted.iter().filter(|wanted| !told.iter().any(|told| same(told, wanted))).collect();
    let extra: Vec<_> = told.iter().filter(|told| !wanted.iter().any(|wanted| same(told, wanted))).collect();
    let right = missed.is_empty() && extra.is_empty();
    if !right {
        println!("{}: missed {missed:?}, extra {extra:?}", case["name"]);
    }
    right
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn told(found: &Diagnostic) -> Told {
    let id = found.resource.as_ref();
    let part = |of: fn(&amime_model::resource::ResourceId) -> String| id.map(of).unwrap_or_default();
    let (kind, namespace, name) =
        (part(|id| id.kind.as_str().to_owned()), part(|id| id.namespace.to_string()), part(|id| id.name.to_string()));
    (found.code.to_owned(), kind, namespace, name)
}

/// `["IST0101", "VirtualService shop/web"]`.
fn wanted(pair: &Value) -> Told {
    let (code, resource) = (pair[0].as_str().expect("a code"), pair[1].as_str().expect("a resource"));
    let (kind, name) = resource.split_once(' ').expect("kind and name");
    let (namespace, name) = name.rsplit_once('/').unwrap_or(("", name));
    (code.to_owned(), kind.to_owned(), namespace.to_owned(), name.to_owned())
}

fn check(folder: &Path, case: &Value) -> Vec<Diagnostic> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a readable file");
    let files: Vec<Loaded> = strings(&case["files"]).map(|name| load(name, &read(name))).collect();
    let (resources, _) = ResourceSet::of_files(&files);
    let for_tools: Vec<Arc<Object>> = files.iter().flat_map(|file| file.for_tools.iter().cloned()).collect();
    let mesh = case["mesh_config"].as_str().map(|name| load_mesh_config(name, &read(name)).config);
    let networks = case["mesh_networks"].as_str().and_then(|name| load_mesh_networks(&name.into(), &read(name)).0);
    let mut found: Vec<Diagnostic> = files.iter().flat_map(Loaded::all_diagnostics).collect();
    found.extend(analyze(&Input {
        resources: &resources,
        for_tools: &for_tools,
        mesh: &mesh.unwrap_or_default(),
        networks: networks.map(Arc::new).as_ref(),
        practices: false,
        now: 1_790_000_000,
    }));
    found
}
