//! A bad object harms only itself, and never falls through: seeded breakages of one object after another.
//!
//! Each breakage is a line of one object that becomes an error. With a last good version no answer changes. Without
//! one, answers that have nothing to do with the object do not change, and what its rules would have taken is
//! answered as before or with 503.

use amime_model::explain::{Explainer, Question, State, Verdict};
use amime_model::resource::{Loaded, MeshConfig, ResourceSet, load};
use amime_model::snapshot::{Built, Held, Snapshot};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::sync::OnceLock;

const MESH: &str = include_str!("broken/mesh.yaml");
const REQUESTS: &str = include_str!("broken/requests.jsonl");

/// How a line is broken.
#[derive(Debug, Clone, Copy)]
enum Break {
    /// The value becomes a mapping.
    Mapping,
    /// The value becomes a list of lists.
    List,
    /// The value becomes a word that is no number, no duration and no enum's.
    Word,
    /// The key is misspelt.
    Key,
    /// An unbalanced regex.
    Regex,
}

fn documents() -> Vec<Vec<&'static str>> {
    MESH.split("\n---\n").map(|document| document.lines().collect()).collect()
}

/// The mesh with one line broken; None where that line cannot be.
fn broken(document: usize, line: usize, how: Break) -> Option<String> {
    let mut documents = documents();
    let lines = documents.get_mut(document)?;
    // The first six lines are version, kind and metadata: with another name it is another object.
    let index = 6 + line % lines.len().checked_sub(6).filter(|n| *n > 0)?;
    let (key, value) = lines[index].split_once(':')?;
    let text = match how {
        Break::Mapping => format!("{key}: {{oops: 1}}"),
        Break::List => format!("{key}: [[1]]"),
        Break::Word => format!("{key}: soon, perhaps"),
        Break::Regex => format!("{key}: '(['"),
        Break::Key => format!("{key}Xx:{value}"),
    };
    // A block below the key would not be YAML any more.
    let nests = value.trim().is_empty();
    if nests && !matches!(how, Break::Key) {
        return None;
    }
    let text: &'static str = Box::leak(text.into_boxed_str());
    lines[index] = text;
    Some(documents.iter().map(|d| d.join("\n")).collect::<Vec<_>>().join("\n---\n"))
}

fn build(loaded: &Loaded, held: &Held) -> Built {
    let (resources, duplicates) = ResourceSet::of_files([loaded]);
    assert!(duplicates.is_empty());
    Snapshot::build(&resources, &MeshConfig::default(), held)
}

fn answers(built: &Built) -> Vec<Verdict> {
    let mut explainer = Explainer::new(&built.snapshot);
    let questions = REQUESTS.lines().map(|line| serde_json::from_str::<Question>(line).expect("a request"));
    questions.map(|question| explainer.explain(&question).expect("an answer")).collect()
}

/// May the object have had a part in the answer?
fn involved(verdict: &Verdict, kind: &str, namespace: &str, name: &str) -> bool {
    let host = format!("{name}.{namespace}.svc.cluster.local");
    let decided = verdict.object.as_ref().is_some_and(|o| o.kind == kind && o.namespace == namespace && o.name == name);
    let names = |d: &amime_model::explain::Destination| d.host == host || d.host.starts_with(&format!("{name}."));
    decided || verdict.destinations.iter().any(names)
}

static GOOD: OnceLock<(Built, Vec<Verdict>)> = OnceLock::new();

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(7),
        ..ProptestConfig::default()
    })]
    #[test]
    fn one_broken_object_harms_only_itself(
        document in 0..documents().len(),
        line in 0..64usize,
        how in prop_oneof![
            Just(Break::Mapping), Just(Break::List), Just(Break::Word), Just(Break::Key), Just(Break::Regex)
        ],
    ) {
        let Some(text) = broken(document, line, how) else { return Ok(()) };
        let (good, before) = GOOD.get_or_init(|| {
            let good = build(&load("mesh.yaml", MESH), &Held::default());
            let answers = answers(&good);
            (good, answers)
        });
        let loaded = load("mesh.yaml", &text);
        let bad: Vec<_> = loaded.objects.iter().filter(|o| !o.errors.is_empty()).collect();
        prop_assert!(bad.len() <= 1, "one line breaks one object");
        // Some lines mean something else now, which is no error, or are no object at all.
        let Some(object) = bad.first() else { return Ok(()) };
        let (kind, namespace, name) = (object.id.kind.as_str(), &*object.id.namespace, &*object.id.name);
        let held = answers(&build(&loaded, &good.held));
        for (before, now) in before.iter().zip(&held) {
            prop_assert_eq!(before, now, "held, {} is broken: {:?}", object.id, object.errors);
        }
        if !object.id.kind.is_istio() {
            return Ok(());
        }
        let alone = answers(&build(&loaded, &Held::default()));
        for (before, now) in before.iter().zip(&alone) {
            if !involved(before, kind, namespace, name) && kind != "Gateway" && kind != "Sidecar" {
                prop_assert_eq!(before, now, "{} is broken: {:?}", object.id, object.errors);
            }
            let decided = before.object.as_ref().is_some_and(|o| o.name == name && o.namespace == namespace);
            let audience = object.errors.iter().any(|e| {
                ["spec.hosts", "spec.gateways", "spec.exportTo"].iter().any(|field| e.field.starts_with(field))
            });
            if kind == "VirtualService" && decided && !audience {
                let gone = !now.destinations.is_empty() && now.destinations.iter().all(|d| d.state == State::NoCluster);
                let refused = now.status == Some(503) || gone;
                let same = before == now;
                prop_assert!(same || refused, "{}: {:?}\nbefore {before:?}\nnow {now:?}", object.id, object.errors);
            }
        }
    }
}
