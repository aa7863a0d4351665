//! The recorded answers of Istio's translation and a real Envoy (../shared/fixtures/truth), asked of `explain`.
//!
//! The rules of comparison are those of ../shared/tools/score-truth, and as there what is meant to differ is listed in
//! docs/differences.txt: at most 1 %. Skipped, saying so, where the recordings are not.

use amime_model::explain::{Explainer, Question, with_pods};
use amime_model::resource::{Loaded, MeshConfig, ResourceSet, load, load_mesh_config};
use amime_model::snapshot::{Held, Snapshot};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is meant to differ: a line `N/ID reason` each.
const DIFFERENCES: &str = include_str!("../../../docs/differences.txt");

fn truth() -> Option<PathBuf> {
    let shared = match std::env::var_os("AMIME_SHARED") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    let folder = shared.join("fixtures/truth");
    folder.is_dir().then_some(folder)
}

#[test]
fn requests_are_answered_as_istio_and_envoy_did() {
    let Some(folder) = truth() else {
        println!("skipped: no ../shared/fixtures/truth (AMIME_SHARED names another place)");
        return;
    };
    let inventory = read(&folder.join("inventory.yaml"));
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .expect("a readable folder")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.strip_suffix(".jsonl").map(str::to_string))
        .collect();
    names.sort();
    let lines = DIFFERENCES.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let meant: BTreeMap<_, _> =
        lines.map(|line| line.split_once(char::is_whitespace).expect("a case and a reason")).collect();
    let (mut all, mut decided, mut whole) = (0, 0, 0);
    let mut differing = Vec::new();
    for name in names {
        let files = [inventory.clone(), read(&folder.join(format!("{name}.yaml")))];
        let (resources, _) = ResourceSet::of_files(&files);
        let mesh = std::fs::read_to_string(folder.join(format!("{name}.meshconfig.yaml")))
            .map_or_else(|_| MeshConfig::default(), |text| load_mesh_config("meshconfig.yaml", &text).config);
        let built = Snapshot::build(&with_pods(&resources), &mesh, &Held::default());
        let mut explainer = Explainer::new(&built.snapshot);
        let cases = std::fs::read_to_string(folder.join(format!("{name}.jsonl"))).expect("the cases");
        for line in cases.lines() {
            let case: Value = serde_json::from_str(line).expect("a case");
            let question: Question = serde_json::from_value(case["request"].clone()).expect("a request");
            let verdict = explainer.explain(&question).expect("an answer");
            let got = serde_json::to_value(&verdict).expect("JSON");
            let first = decision_differs(&case["expect"], &got);
            let second = first.clone().or_else(|| details_differ(&case["expect"], &got));
            all += 1;
            decided += usize::from(first.is_none());
            whole += usize::from(second.is_none());
            if let Some(why) = second {
                println!("{name}/{}: {why}", question.id);
                differing.push(format!("{name}/{}", question.id));
            }
        }
    }
    println!("{decided} of {all} decided, {whole} of {all} whole");
    differing.sort();
    let meant: Vec<_> = meant.into_keys().collect();
    assert_eq!(differing, meant, "what differs is what docs/differences.txt lists");
    assert!(meant.len() * 100 <= all, "{} of {all} differ", meant.len());
}

fn read(path: &Path) -> Loaded {
    let text = std::fs::read_to_string(path).expect("a readable file");
    load(&path.file_name().unwrap_or_default().to_string_lossy(), &text)
}

/// Shares in percent by destination.
fn shares(value: &Value) -> BTreeMap<String, i64> {
    let empty = Vec::new();
    let list = value.as_array().unwrap_or(&empty);
    let weight = |d: &Value| d["weight"].as_f64().unwrap_or(0.0);
    let counted: Vec<_> = list.iter().filter(|d| list.len() == 1 || weight(d) > 0.0).collect();
    let total: f64 = counted.iter().map(|d| weight(d)).sum();
    let mut shares = BTreeMap::new();
    for d in &counted {
        let percent = if counted.len() > 1 { weight(d) * 100.0 / total } else { 100.0 };
        let key = json!([d["host"], d["port"], d["subset"], d["state"]]).to_string();
        *shares.entry(key).or_insert(0.0) += percent;
    }
    shares.into_iter().map(|(key, percent): (String, f64)| (key, (percent * 10.0).round() as i64)).collect()
}

fn decision_differs(expected: &Value, got: &Value) -> Option<String> {
    if expected["action"] != got["action"] {
        return Some(format!("action {} for {}", got["action"], expected["action"]));
    }
    let states: Vec<_> = expected["destinations"].as_array().into_iter().flatten().map(|d| &d["state"]).collect();
    let either = states.iter().any(|s| **s == "no_cluster") && states.iter().any(|s| **s == "no_endpoints");
    for key in ["status", "flag", "location"] {
        let drawn = key == "flag" && either && matches!(got[key].as_str(), Some("UH" | "NC"));
        if !expected[key].is_null() && !drawn && expected[key] != got[key] {
            return Some(format!("{key} {} for {}", got[key], expected[key]));
        }
    }
    if matches!(expected["action"].as_str(), Some("forward" | "respond"))
        && let Some(object) = expected.get("object")
    {
        let name = |o: &Value| (!o.is_null()).then(|| json!([o["kind"], o["namespace"], o["name"]]));
        if name(object) != name(&got["object"]) {
            return Some(format!("object {} for {object}", got["object"]));
        }
    }
    if expected.get("destinations").is_some() && shares(&expected["destinations"]) != shares(&got["destinations"]) {
        return Some(format!("destinations {} for {}", got["destinations"], expected["destinations"]));
    }
    None
}

fn edits(value: &Value) -> (BTreeMap<String, Value>, Vec<String>) {
    let none = Map::new();
    let set = value["set_headers"].as_object().unwrap_or(&none).iter();
    let set = set.map(|(k, v)| (k.to_lowercase(), if v.is_array() { v.clone() } else { json!([v]) })).collect();
    let removed = value["removed_headers"].as_array().into_iter().flatten();
    let mut removed: Vec<_> = removed.filter_map(|v| v.as_str().map(str::to_lowercase)).collect();
    removed.sort();
    (set, removed)
}

fn details_differ(expected: &Value, got: &Value) -> Option<String> {
    for key in ["method", "path", "authority"] {
        let wanted = &expected["request"][key];
        if !wanted.is_null() && *wanted != got["request"][key] {
            return Some(format!("request {key} {} for {wanted}", got["request"][key]));
        }
    }
    if expected["action"] != "forward" {
        return None;
    }
    if !expected["request"]["authority"].is_null() {
        for side in ["request", "response"] {
            if edits(&expected[side]) != edits(&got[side]) {
                return Some(format!("{side} headers {} for {}", got[side], expected[side]));
            }
        }
    }
    if !expected["timeout_ms"].is_null() && expected["timeout_ms"] != got["timeout_ms"] {
        return Some(format!("timeout_ms {} for {}", got["timeout_ms"], expected["timeout_ms"]));
    }
    let (wanted, found) = (&expected["retries"], &got["retries"]);
    let words = |r: &Value| {
        let mut words: Vec<_> = r["on"].as_array().into_iter().flatten().map(Value::to_string).collect();
        words.sort();
        words
    };
    let same = wanted["attempts"] == found["attempts"]
        && (wanted["attempts"] == 0
            || (words(wanted) == words(found) && wanted["per_try_timeout_ms"] == found["per_try_timeout_ms"]));
    if !wanted.is_null() && !same {
        return Some(format!("retries {found} for {wanted}"));
    }
    let mirrors = |v: &Value| {
        let list = v["mirrors"].as_array().into_iter().flatten();
        let mut list: Vec<_> =
            list.map(|m| json!([m["host"], m["port"], m["subset"], m["percent"].as_f64()]).to_string()).collect();
        list.sort();
        list
    };
    (mirrors(expected) != mirrors(got)).then(|| format!("mirrors {} for {}", got["mirrors"], expected["mirrors"]))
}
