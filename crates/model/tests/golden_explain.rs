//! Golden tests of traces: each file of `golden_explain/` holds the questions (`# ask: {…}` as JSON), the input, and
//! after `=====` the trace of each: who decided, why the others lost, the verdict, the remedy.
//!
//! `AMIME_BLESS=1 cargo test -p amime-model --test golden_explain` writes what comes out into the files.

mod golden_files;

use amime_model::explain::{Explainer, Hop, Question, Trace, has_workloads, with_gateways, with_pods};
use amime_model::resource::{MeshConfig, ResourceSet, load, load_mesh_config};
use amime_model::snapshot::{Held, Snapshot};
use std::fmt::Write;

fn output(input: &str) -> String {
    let loaded = load("input.yaml", input);
    let (resources, _) = ResourceSet::of_files([&loaded]);
    let mesh = input.lines().find_map(|line| line.strip_prefix("# mesh: "));
    let mesh = mesh.map_or_else(MeshConfig::default, |text| load_mesh_config("mesh.yaml", text).config);
    let there = has_workloads(&resources);
    let resources = if there { with_pods(&resources) } else { with_gateways(&resources) };
    let snapshot = Snapshot::build(&resources, &mesh, &Held::default()).snapshot;
    let mut explainer = Explainer::new(&snapshot).with_ingresses(&loaded.for_tools);
    if !there {
        explainer = explainer.without_workloads();
    }
    let mut text = String::new();
    for asked in input.lines().filter_map(|line| line.strip_prefix("# ask: ")) {
        let question: Question = serde_json::from_str(asked).expect("a question");
        let verdict = explainer.explain(&question);
        match explainer.trace(&question) {
            Ok(trace) => {
                // The trace tells of the very verdict that one gets without it.
                assert_eq!(verdict.expect("a verdict"), trace.verdict);
                write(&mut text, &trace);
            }
            Err(error) => writeln!(text, "{asked}\n  {error}\n").expect("text"),
        }
    }
    text
}

fn write(text: &mut String, trace: &Trace) {
    let shape = trace.shape.map(|shape| format!(" ({shape:?})")).unwrap_or_default();
    writeln!(text, "{}, from {}{shape}", trace.request, trace.from).expect("text");
    trace.hops.iter().for_each(|hop| write_hop(text, hop, "  "));
    for branch in &trace.branches {
        let mirror = if branch.mirror { " mirrored" } else { "" };
        writeln!(text, "  {} %{mirror} {} {:?}", branch.percent, branch.destination, branch.state).expect("text");
        branch.hops.iter().for_each(|hop| write_hop(text, hop, "    "));
    }
    writeln!(text, "  verdict: {}", trace.summary).expect("text");
    if let Some(remedy) = &trace.remedy {
        writeln!(text, "  remedy: {remedy}").expect("text");
    }
    text.push('\n');
}

fn write_hop(text: &mut String, hop: &Hop, indent: &str) {
    let by = hop.by.as_ref().map(|by| format!(" <- {by}")).unwrap_or_default();
    writeln!(text, "{indent}{}: {}{by}", hop.stage.title(), hop.what).expect("text");
    hop.details.iter().for_each(|detail| writeln!(text, "{indent}  {detail}").expect("text"));
    hop.lost.iter().for_each(|lost| writeln!(text, "{indent}  - {}: {}", lost.by, lost.why).expect("text"));
}

#[test]
fn traces_are_as_they_were() {
    golden_files::check("golden_explain", |_, input| output(input));
}
