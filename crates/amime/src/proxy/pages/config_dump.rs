//! `/config_dump`: what the proxy runs, in Envoy's JSON form.

use super::Shared;
use crate::serve::{Answer, json, problem, query};
use amime_xds::json::{DumpOptions, config_dump};
use http::{Request, StatusCode};
use serde_json::{Map, Value};

pub(super) fn answer<B>(shared: &Shared, request: &Request<B>) -> Answer {
    let accepted = shared.proxy.accepted().borrow().clone();
    let Some(accepted) = accepted else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "no configuration was accepted yet");
    };
    let resource = query(request, "resource");
    let include_eds =
        query(request, "include_eds").is_some() || resource.as_deref().is_some_and(|r| r.contains("endpoint"));
    let options = DumpOptions { include_eds, node: Some(&shared.identity.node) };
    let dump = config_dump(&accepted.config, shared.accepted.borrow().versions(), options);
    let dump = match &resource {
        Some(resource) => match only(&dump, resource) {
            Some(dump) => dump,
            None => return problem(StatusCode::NOT_FOUND, &format!("{resource} not found in config dump")),
        },
        None => dump,
    };
    match query(request, "mask") {
        Some(mask) => json(&masked(dump, &mask)),
        None => json(&dump),
    }
}

/// The elements of one field of the dump, such as `dynamic_active_clusters`.
fn only(dump: &Value, field: &str) -> Option<Value> {
    let configs = dump.get("configs")?.as_array()?;
    let found = configs.iter().find_map(|config| config.get(field)?.as_array().cloned())?;
    Some(Value::Object(Map::from_iter([("configs".to_owned(), found.into())])))
}

/// Of each part of the dump the fields that a mask names, to any depth: `name,cluster.name`.
fn masked(mut dump: Value, mask: &str) -> Value {
    if let Some(configs) = dump.get_mut("configs").and_then(Value::as_array_mut) {
        for config in configs {
            let mut kept = Map::new();
            if let Some(kind) = config.get("@type") {
                kept.insert("@type".to_owned(), kind.clone());
            }
            for path in mask.split(',').map(str::trim).filter(|path| !path.is_empty()) {
                keep(config, path, &mut kept);
            }
            *config = Value::Object(kept);
        }
    }
    dump
}

fn keep(from: &Value, path: &str, into: &mut Map<String, Value>) {
    let (field, rest) = path.split_once('.').map_or((path, None), |(field, rest)| (field, Some(rest)));
    let Some(value) = from.get(field) else { return };
    let Some(rest) = rest else {
        into.insert(field.to_owned(), value.clone());
        return;
    };
    let within = into.entry(field).or_insert_with(|| match value {
        Value::Array(items) => Value::Array(vec![Value::Object(Map::new()); items.len()]),
        _ => Value::Object(Map::new()),
    });
    match (value, within) {
        (Value::Array(items), Value::Array(kept)) => {
            for (item, kept) in items.iter().zip(kept.iter_mut().filter_map(Value::as_object_mut)) {
                keep(item, rest, kept);
            }
        }
        (value, Value::Object(kept)) => keep(value, rest, kept),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn resources_and_masks() {
        let dump = json!({"configs": [
            {"@type": "c", "version_info": "1", "active": [{"name": "a", "x": {"y": 1, "z": 2}}, {"name": "b"}]},
            {"@type": "l", "version_info": "2"},
        ]});
        assert_eq!(only(&dump, "active").unwrap()["configs"].as_array().unwrap().len(), 2);
        assert_eq!(only(&dump, "none"), None);
        let kept = masked(dump, "active.name, active.x.y");
        assert_eq!(
            kept,
            json!({"configs": [
                {"@type": "c", "active": [{"name": "a", "x": {"y": 1}}, {"name": "b"}]},
                {"@type": "l"},
            ]})
        );
    }
}
