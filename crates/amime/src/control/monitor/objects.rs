//! `/debug/configz`: the objects in force, as they were written, with their places.

use super::view::{Asked, View};
use super::written;
use crate::serve::{Answer, json};
use amime_model::diagnostic::codes;
use amime_model::resource::{Object, ResourceId, Spec};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn page(view: &View, asked: &Asked) -> Answer {
    json(&objects(view, asked))
}

fn objects(view: &View, asked: &Asked) -> Vec<Map<String, Value>> {
    let mut findings: BTreeMap<&ResourceId, Vec<String>> = BTreeMap::new();
    let mut held = BTreeSet::new();
    for finding in view.generation.diagnostics.iter() {
        let Some(id) = &finding.resource else { continue };
        findings.entry(id).or_default().push(format!("{}: {}", finding.code, finding.message));
        if finding.code == codes::HELD {
            held.insert(id);
        }
    }
    let wanted = |object: &&std::sync::Arc<Object>| {
        asked.wants("kind", object.id.kind.as_str())
            && asked.wants("namespace", &object.id.namespace)
            && asked.wants("name", &object.id.name)
    };
    let one = |object: &std::sync::Arc<Object>| {
        let is_held = held.contains(&object.id) || view.snapshot().is_held(&object.id);
        describe(object, is_held, findings.get(&object.id))
    };
    view.snapshot().in_force().filter(wanted).map(one).collect()
}

/// The object's own fields, and `amime`: what is known of it beside them.
fn describe(object: &Object, held: bool, findings: Option<&Vec<String>>) -> Map<String, Value> {
    let mut fields = written::json(object);
    let mut known = Map::new();
    match object.place("") {
        Some(place) => known.insert("place".to_owned(), place.to_string().into()),
        None => known.insert("made_up".to_owned(), true.into()),
    };
    if held {
        known.insert("last_good_version".to_owned(), true.into());
    }
    let kept = kept_subsets(object, &fields);
    if !kept.is_empty() {
        known.insert("subsets_kept".to_owned(), kept.into());
    }
    if let Some(findings) = findings {
        known.insert("findings".to_owned(), findings.clone().into());
    }
    fields.insert("amime".to_owned(), known.into());
    fields
}

/// Subsets that last good versions of others need, and that are not written any more.
fn kept_subsets(object: &Object, written: &Map<String, Value>) -> Vec<String> {
    let Spec::DestinationRule(rule) = &object.spec else { return Vec::new() };
    let subsets = written.get("spec").and_then(|spec| spec.get("subsets")?.as_array());
    let is_written =
        |name: &str| subsets.into_iter().flatten().any(|subset| subset.get("name").is_some_and(|n| n == name));
    rule.subsets.iter().map(|subset| subset.name.clone()).filter(|name| !is_written(name)).collect()
}
