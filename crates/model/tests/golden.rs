//! Golden tests of translation: each file of `golden/` holds for which proxy, the input, and after `=====` what
//! comes out of it: configuration, what was left out, and what was said.
//!
//! `AMIME_BLESS=1 cargo test -p amime-model --test golden` writes what comes out into the files.

mod golden_files;
mod golden_text;

use amime_model::conflict;
use amime_model::resource::{MeshConfig, ResourceSet, load, load_mesh_config};
use amime_model::snapshot::{Held, Snapshot};
use amime_model::translate::{Interception, Node, NodeKind, Scope, translate};
use amime_model::workload::{AddressPlan, expand};
use std::fmt::Write;

/// The first line: `sidecar shop/web-1`, `gateway istio-ingress/edge`, with `up` behind it where the mesh is that of
/// `amime up`. A line `mesh: {…}` may follow with a MeshConfig.
struct Asked<'a> {
    kind: NodeKind,
    namespace: &'a str,
    pod: &'a str,
    up: bool,
    mesh: MeshConfig,
}

fn asked(input: &str) -> Asked<'_> {
    let mut lines = input.lines();
    let words: Vec<_> = lines.next().expect("a first line").trim_start_matches("# ").split(' ').collect();
    let (namespace, pod) = words[1].split_once('/').expect("namespace/pod");
    let mesh = lines.next().and_then(|line| line.strip_prefix("# mesh: "));
    Asked {
        kind: if words[0] == "gateway" { NodeKind::Gateway } else { NodeKind::Sidecar },
        namespace,
        pod,
        up: words.get(2) == Some(&"up"),
        mesh: mesh.map_or_else(MeshConfig::default, |text| load_mesh_config("mesh.yaml", text).config),
    }
}

fn output(input: &str) -> String {
    let asked = asked(input);
    let loaded = load("input.yaml", input);
    let (mut resources, duplicates) = ResourceSet::of_files([&loaded]);
    if asked.up {
        resources = expand(&resources, &mut AddressPlan::default()).resources;
    }
    let built = Snapshot::build(&resources, &asked.mesh, &Held::default());
    let mut text = String::new();
    let said = loaded.all_diagnostics().into_iter().chain(duplicates).chain(built.diagnostics.iter().cloned());
    let said = said.chain(conflict::find(&built.snapshot));
    for diagnostic in said {
        let place = diagnostic.place.map(|p| format!("{}:{}: ", p.line, p.column)).unwrap_or_default();
        writeln!(text, "{:?} {place}{}", diagnostic.severity, diagnostic.message).expect("text");
    }
    let by_workload =
        || built.snapshot.pods().find(|p| p.namespace == asked.namespace && p.workload.workload == asked.pod);
    let pod = built.snapshot.pod(asked.namespace, asked.pod).or_else(by_workload).expect("the pod that is asked of");
    let interception = if asked.up { Interception::ProxyProtocol } else { Interception::Redirect };
    let node = Node::of_pod(pod, asked.kind, interception, asked.up);
    let scope = Scope::of(&built.snapshot, &node);
    let translation = translate(&built.snapshot, &scope);
    // What proxies share must not depend on how often or for whom it is made.
    assert_eq!(translation, translate(&built.snapshot, &scope));
    golden_text::write(&mut text, &translation);
    text
}

#[test]
fn translations_are_as_they_were() {
    golden_files::check("golden", |_, input| output(input));
}
