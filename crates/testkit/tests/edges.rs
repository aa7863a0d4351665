//! The edges between crates that must never be (ARCHITECTURE.md, "Forbidden edges"), read from cargo's own metadata
//! and from the sources.
#![allow(clippy::unwrap_used)] // Helpers of tests panic as tests do.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

type Edges = BTreeMap<String, BTreeSet<String>>;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Direct dependencies by package name: those of tests (`dev`), or all others.
fn direct(metadata: &Value, dev: bool) -> Edges {
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeMap<&str, &str> =
        packages.iter().map(|p| (p["id"].as_str().unwrap(), p["name"].as_str().unwrap())).collect();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let mut edges = Edges::new();
    for node in nodes {
        let wanted = node["deps"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dep| dep["dep_kinds"].as_array().unwrap().iter().any(|kind| (kind["kind"] == "dev") == dev));
        let to = wanted.map(|dep| names[dep["pkg"].as_str().unwrap()].to_owned());
        edges.entry(names[node["id"].as_str().unwrap()].to_owned()).or_default().extend(to);
    }
    edges
}

fn reachable(from: &str, edges: &Edges) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut todo = vec![from.to_owned()];
    while let Some(name) = todo.pop() {
        for next in edges.get(&name).into_iter().flatten() {
            if seen.insert(next.clone()) {
                todo.push(next.clone());
            }
        }
    }
    seen
}

#[test]
fn forbidden_edges_between_crates() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let normal = direct(&metadata, false);
    let dev = direct(&metadata, true);
    let ours = ["amime-model", "amime-xds", "amime-control", "amime-proxy", "amime", "amime-testkit"];
    let mut broken = Vec::new();
    let mut forbid = |from: &str, to: &str, found: bool| {
        if found {
            broken.push(format!("{from} -> {to}"));
        }
    };

    let model = reachable("amime-model", &normal);
    for to in ["tokio", "hyper", "kube", "prost", "tonic", "h2"].into_iter().chain(ours) {
        forbid("amime-model", to, model.contains(to));
    }
    forbid("amime-proxy", "amime-control", reachable("amime-proxy", &normal).contains("amime-control"));
    forbid("amime-control", "amime-proxy", reachable("amime-control", &normal).contains("amime-proxy"));
    for from in ours {
        for to in ["kube", "k8s-openapi"] {
            forbid(from, to, from != "amime-control" && normal[from].contains(to));
        }
        // Without the dependency no public interface can have prost's types in it.
        for to in ["prost", "prost-types", "envoy-types"] {
            forbid(from, to, from != "amime-xds" && normal[from].contains(to));
        }
        forbid(from, "amime", normal[from].contains("amime") || dev[from].contains("amime"));
        forbid(from, "amime-testkit", normal[from].contains("amime-testkit"));
    }
    assert!(broken.is_empty(), "forbidden edges: {}", broken.join(", "));
}

/// One TLS stack. What is built, on any target: the lock file and `cargo metadata` also name optional dependencies
/// that nobody turns on.
#[test]
fn one_tls_stack() {
    let tree = ["tree", "--workspace", "--locked", "--offline", "--edges", "all", "--target", "all"];
    let output = Command::new(env!("CARGO"))
        .args(tree)
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let built: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(built.contains("rustls") && built.contains("aws-lc-rs"), "{built:?}");
    for forbidden in ["openssl", "openssl-sys", "ring", "native-tls"] {
        assert!(!built.contains(forbidden), "{forbidden} is built");
    }
}

/// Production code that behaves otherwise under test is not what the tests test.
#[test]
fn no_test_branches_inside_production_functions() {
    let mut found = Vec::new();
    let mut todo = vec![workspace().join("crates")];
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().unwrap() != "target" && path.file_name().unwrap() != "tests" {
                todo.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for (index, line) in text.lines().enumerate() {
                    let indented = line.starts_with(' ') && line.trim_start().starts_with("#[cfg(test)]");
                    if indented || line.contains(concat!("cfg!", "(test)")) {
                        found.push(format!("{}:{}", path.display(), index + 1));
                    }
                }
            }
        }
    }
    assert!(found.is_empty(), "test branches in production code: {}", found.join(", "));
}
