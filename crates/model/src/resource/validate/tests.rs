//! The fixtures of Istio's CRDs, and that nothing valid is refused.

use crate::diagnostic::{Diagnostic, Severity};
use crate::resource::{Loaded, load};
use std::path::{Path, PathBuf};

/// Istio's own files, beside the repository; `None` (and a line that says so) where they are not.
fn shared(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let root = std::env::var_os("AMIME_SHARED").map_or_else(beside, PathBuf::from);
    let path = root.join(name);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

fn errors(loaded: &Loaded) -> Vec<String> {
    let all = loaded.all_diagnostics().into_iter().filter(|found| found.severity == Severity::Error);
    let line = |found: Diagnostic| {
        let place = found.place.map_or(String::new(), |place| place.to_string());
        let of = found.resource.map_or(String::new(), |id| id.to_string());
        format!("{place} {of} {}: {}", found.field, found.message)
    };
    all.map(line).collect()
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

#[test]
fn valid_objects_are_accepted() {
    let Some(folder) = shared("fixtures/validate") else { return };
    for path in yaml_files(&folder).iter().filter(|path| path.to_string_lossy().ends_with("-valid.yaml")) {
        let loaded = load(&path.to_string_lossy(), &std::fs::read_to_string(path).unwrap());
        assert_eq!(errors(&loaded), [""; 0]);
        assert!(!loaded.objects.is_empty());
    }
}

#[test]
fn invalid_objects_are_refused_with_a_field() {
    let Some(folder) = shared("fixtures/validate") else { return };
    let mut checked = 0;
    for path in yaml_files(&folder).iter().filter(|path| path.to_string_lossy().ends_with("-invalid.yaml")) {
        let text = std::fs::read_to_string(path).unwrap();
        // `_err` says why the object is wrong; by itself it is an unknown field.
        let text: String =
            text.lines().filter(|line| !line.starts_with("_err")).map(|line| format!("{line}\n")).collect();
        for document in text.split("\n---").filter(|document| document.contains("\nkind:")) {
            let loaded = load("f.yaml", document.trim_start_matches('-'));
            let [object] = &loaded.objects[..] else { panic!("{document}") };
            assert!(object.errors.iter().any(|error| error.field.starts_with("spec")), "{document}");
            assert!(object.errors.iter().all(|error| error.place.is_some()), "{document}");
            checked += 1;
        }
    }
    assert!(checked >= 25, "only {checked} objects");
}

#[test]
fn meshes_that_istio_runs_are_accepted() {
    for folder in ["fixtures/truth", "fixtures/samples"] {
        let Some(folder) = shared(folder) else { continue };
        let mut wrong = Vec::new();
        for path in yaml_files(&folder).iter().filter(|path| !path.to_string_lossy().ends_with(".meshconfig.yaml")) {
            let loaded = load(&path.to_string_lossy(), &std::fs::read_to_string(path).unwrap());
            wrong.extend(errors(&loaded));
        }
        assert_eq!(wrong, [""; 0]);
    }
}
