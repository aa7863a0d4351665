//! What the control plane has for a proxy against what the proxy has itself, for `amime status PROXY`.

use super::table::printable;
use amime_model::config::{ClusterEndpoints, Health};
use amime_xds::ResourceType;
use amime_xds::intern::Decoded;
use amime_xds::json::{Dumped, State, from_json, resources, to_json};
use serde_json::Value;
use std::collections::BTreeMap;

/// How many names are written out.
const MOST: usize = 10;

/// The differences of one type of resources.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// At both, and equal.
    equal: usize,
    only_control: Vec<String>,
    only_proxy: Vec<String>,
    /// With the first field that differs.
    other: Vec<(String, String)>,
}

impl Difference {
    pub(crate) fn is_none(&self) -> bool {
        self.only_control.is_empty() && self.only_proxy.is_empty() && self.other.is_empty()
    }
}

/// Each type with its differences. What the proxy has from its own start is not compared.
pub(crate) fn between(control: &Value, proxy: &Value) -> Vec<(ResourceType, Difference)> {
    // Virtual hosts are within their route configurations.
    let kinds = ResourceType::ALL.into_iter().filter(|kind| *kind != ResourceType::VirtualHost);
    kinds.map(|kind| (kind, of_kind(kind, control, proxy))).collect()
}

fn of_kind(kind: ResourceType, control: &Value, proxy: &Value) -> Difference {
    let (control, mut proxy) = (by_name(kind, control), by_name(kind, proxy));
    let mut difference = Difference::default();
    for (name, ours) in control {
        match proxy.remove(name) {
            None => difference.only_control.push(name.to_owned()),
            Some(theirs) => match differs(&ours, &theirs) {
                None => difference.equal += 1,
                Some(field) => difference.other.push((name.to_owned(), field)),
            },
        }
    }
    difference.only_proxy = proxy.into_keys().map(str::to_owned).collect();
    difference
}

fn by_name(kind: ResourceType, dump: &Value) -> BTreeMap<&str, Dumped<'_>> {
    let (all, _) = resources(dump);
    let mine = all.into_iter().filter(|d| d.kind == kind && !d.fixed && d.state == State::Active);
    mine.map(|d| (d.name, d)).collect()
}

/// The first field that differs, with both values.
fn differs(ours: &Dumped<'_>, theirs: &Dumped<'_>) -> Option<String> {
    match ours.kind {
        // Shown without what makes them differ.
        ResourceType::Secret => None,
        // A proxy shows its own view of endpoints: with health, and with defaults filled in.
        ResourceType::Endpoints => match (ours.decode().0, theirs.decode().0) {
            (Some(Decoded::Endpoints(a)), Some(Decoded::Endpoints(b))) => {
                (plain(&a) != plain(&b)).then(|| "endpoints".to_owned())
            }
            (a, b) => (a.is_some() != b.is_some()).then(|| "one is not understood".to_owned()),
        },
        _ => first_difference("", &canonical(ours), &canonical(theirs)),
    }
}

fn plain(endpoints: &ClusterEndpoints) -> ClusterEndpoints {
    let mut endpoints = endpoints.clone();
    endpoints.overprovisioning_factor = endpoints.overprovisioning_factor.or(Some(140));
    for place in &mut endpoints.localities {
        place.weight = place.weight.filter(|weight| *weight > 0);
        for endpoint in &mut place.endpoints {
            if endpoint.health == Health::Healthy {
                endpoint.health = Health::Unknown;
            }
        }
        // The same ones in another order are the same.
        place.endpoints.sort_by(|a, b| (&a.address, a.weight).cmp(&(&b.address, b.weight)));
    }
    endpoints.localities.retain(|place| !place.endpoints.is_empty());
    endpoints
}

/// In one spelling, without what says nothing.
fn canonical(dumped: &Dumped<'_>) -> Value {
    let url = dumped.kind.type_url();
    let read = from_json(url, dumped.value).ok().and_then(|(bytes, _)| to_json(url, &bytes).ok());
    let mut value = read.unwrap_or_else(|| dumped.value.clone());
    if let (ResourceType::Route, Some(routes)) = (dumped.kind, value.as_object_mut()) {
        // By which way virtual hosts came, and in which order, says nothing of what they are.
        routes.remove("vhds");
        if let Some(Value::Array(hosts)) = routes.get_mut("virtual_hosts") {
            hosts.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
        }
    }
    value
}

fn first_difference(path: &str, a: &Value, b: &Value) -> Option<String> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let null = Value::Null;
            keys.into_iter().find_map(|key| {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                first_difference(&inner, a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null))
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(i, (a, b))| first_difference(&format!("{path}[{i}]"), a, b))
        }
        (Value::Array(a), Value::Array(b)) => {
            Some(format!("{path}: {} at the control plane, {} at the proxy", a.len(), b.len()))
        }
        (a, b) if a == b => None,
        (a, b) => Some(format!("{path}: {} at the control plane, {} at the proxy", brief(a), brief(b))),
    }
}

fn brief(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Object(_) | Value::Array(_) => "something".to_owned(),
        value => value.to_string(),
    }
}

fn plural(kind: ResourceType) -> &'static str {
    match kind {
        ResourceType::Secret => "Secrets",
        ResourceType::Cluster => "Clusters",
        ResourceType::Endpoints => "Endpoints",
        ResourceType::Listener => "Listeners",
        ResourceType::Route => "Routes",
        ResourceType::VirtualHost => "Virtual hosts",
    }
}

/// `Clusters match (12)`, or what differs, a line each.
pub(crate) fn render(differences: &[(ResourceType, Difference)]) -> String {
    let mut text = String::new();
    for (kind, difference) in differences {
        let kind = plural(*kind);
        if difference.is_none() {
            text.push_str(&format!("{kind} match ({})\n", difference.equal));
            continue;
        }
        text.push_str(&format!("{kind} differ\n"));
        let mut lines: Vec<String> = Vec::new();
        lines.extend(difference.only_control.iter().map(|name| format!("  only at the control plane: {name}")));
        lines.extend(difference.only_proxy.iter().map(|name| format!("  only at the proxy: {name}")));
        lines.extend(difference.other.iter().map(|(name, field)| format!("  {name}: {field}")));
        let more = lines.len().saturating_sub(MOST);
        lines.truncate(MOST);
        // Names and values of others.
        lines = lines.into_iter().map(printable).collect();
        lines.extend((more > 0).then(|| format!("  … and {more} more")));
        text.push_str(&lines.join("\n"));
        text.push('\n');
    }
    text
}
