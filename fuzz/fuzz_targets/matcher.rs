//! Whatever a mesh's manifests say, and whatever a request is, the snapshot, the translation and the matcher answer.
//!
//! An input is manifests, a line `====`, then requests as `amime explain --requests` takes them, a line each.
#![no_main]

use amime_model::explain::{Explainer, Question, with_pods};
use amime_model::resource::{MeshConfig, ResourceSet, load};
use amime_model::snapshot::{Held, Snapshot};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (mesh, requests) = text.split_once("\n====\n").unwrap_or((text, ""));
    let (resources, _) = ResourceSet::of_files([&load("fuzz.yaml", mesh)]);
    let snapshot = Snapshot::build(&with_pods(&resources), &MeshConfig::default(), &Held::default()).snapshot;
    let mut explainer = Explainer::new(&snapshot);
    for line in requests.lines() {
        if let Ok(question) = serde_json::from_str::<Question>(line) {
            let _ = explainer.explain(&question);
        }
    }
});
