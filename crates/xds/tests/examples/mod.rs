//! What the proxies of the project's examples are told.

use amime_model::config::ProxyConfig;
use amime_model::resource::{MeshConfig, ResourceSet, load};
use amime_model::snapshot::{Held, Snapshot};
use amime_model::translate::{Interception, Node, NodeKind, Scope, translate};
use amime_model::workload::{AddressPlan, expand};
use std::path::Path;

/// Each with the example's and the pod's name.
pub(crate) fn proxies() -> Vec<(String, ProxyConfig)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut folders: Vec<_> = std::fs::read_dir(&folder).expect("examples").map(|e| e.expect("one").path()).collect();
    folders.sort();
    folders.iter().filter(|f| f.is_dir()).flat_map(|f| of_folder(f)).collect()
}

fn of_folder(folder: &Path) -> Vec<(String, ProxyConfig)> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let files = std::fs::read_dir(folder).expect("files").map(|e| e.expect("a file").path());
    let mut yaml: Vec<_> = files.filter(|f| f.extension().is_some_and(|e| e == "yaml")).collect();
    yaml.sort();
    let loaded: Vec<_> =
        yaml.iter().map(|f| load(&f.to_string_lossy(), &std::fs::read_to_string(f).expect("text"))).collect();
    let (resources, _) = ResourceSet::of_files(&loaded);
    let expanded = expand(&resources, &mut AddressPlan::default()).resources;
    let built = Snapshot::build(&expanded, &MeshConfig::default(), &Held::default());
    let pods = built.snapshot.pods().map(|pod| {
        let gateway = pod.placement().is_some_and(|p| !p.bind.is_empty());
        let kind = if gateway { NodeKind::Gateway } else { NodeKind::Sidecar };
        let node = Node::of_pod(pod, kind, Interception::Redirect, false);
        (format!("{name} {}", pod.name), translate(&built.snapshot, &Scope::of(&built.snapshot, &node)).config)
    });
    pods.collect()
}
