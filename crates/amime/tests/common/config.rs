//! The configuration of an example's proxy, and its dump.

use super::example;
use amime_model::config::{ProxyConfig, Secret};
use amime_model::resource::{MeshConfig, ResourceSet, load};
use amime_model::snapshot::{Held, Snapshot};
use amime_model::translate::{Interception, Node, NodeKind, Scope, translate};
use amime_model::workload::{AddressPlan, expand};
use amime_xds::json::{DumpOptions, Versions, config_dump};
use serde_json::Value;
use std::sync::Arc;

/// What the sidecar of the example's web pod is told.
pub fn shop() -> ProxyConfig {
    let mut files: Vec<_> =
        std::fs::read_dir(example("shop")).expect("files").map(|e| e.expect("a file").path()).collect();
    files.retain(|file| !amime_model::mesh_test::is_test(file));
    files.sort();
    let loaded: Vec<_> =
        files.iter().map(|f| load(&f.to_string_lossy(), &std::fs::read_to_string(f).expect("text"))).collect();
    let (resources, _) = ResourceSet::of_files(&loaded);
    let expanded = expand(&resources, &mut AddressPlan::default()).resources;
    let built = Snapshot::build(&expanded, &MeshConfig::default(), &Held::default());
    let pod = built.snapshot.pods().find(|pod| pod.name.starts_with("web")).expect("the web pod");
    let node = Node::of_pod(pod, NodeKind::Sidecar, Interception::Redirect, false);
    let mut config = translate(&built.snapshot, &Scope::of(&built.snapshot, &node)).config;
    let secret = Secret::Certificate { name: "default".into(), chain: Vec::new(), key: b"KEY".to_vec() };
    config.secrets.insert("default".into(), Arc::new(secret));
    config
}

/// What its admin page answers.
pub fn dump(config: &ProxyConfig) -> Value {
    config_dump(config, &Versions::default(), DumpOptions { include_eds: true, node: None })
}
