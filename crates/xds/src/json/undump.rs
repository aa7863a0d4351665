//! Envoy's `/config_dump`, read: of real Envoys of many versions, and as istioctl saves it.
//!
//! Total: each node of the dump is understood, kept as opaque or named as unknown.

use super::dump::inline_routes;
use super::{Unreadable, any, from_json, unread};
use crate::decode::DecodeError;
use crate::{ResourceType, decode, encode};
use amime_model::config::{Discovery, ProxyConfig};
use bytes::Bytes;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// Something of a dump that was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// `CDS outbound|80||reviews.default.svc.cluster.local`; the part of the dump where it is no resource.
    pub resource: String,
    /// The field; empty for the resource as a whole.
    pub path: String,
    pub problem: String,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.path.is_empty() { "" } else { " " };
        write!(f, "{}{separator}{}: {}", self.resource, self.path, self.problem)
    }
}

/// One resource of a dump, as it was written there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dumped<'a> {
    pub kind: ResourceType,
    pub name: &'a str,
    /// Empty where the dump tells none.
    pub version: &'a str,
    /// From the proxy's own start, or part of another resource (the routes and endpoints that stand in
    /// listeners and clusters).
    pub fixed: bool,
    pub state: State,
    pub value: &'a Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Active,
    /// It waits for what it refers to and is not used yet.
    Warming,
    /// It goes away.
    Draining,
}

/// Where the resources of one kind are in a dump.
struct Place {
    /// The name of the message below `envoy.admin.v3`.
    message: &'static str,
    kind: ResourceType,
    lists: &'static [(&'static str, bool, State)],
    /// The field of an entry that holds the resource.
    field: &'static str,
    /// The field of the resource that is its name.
    name: &'static str,
}

use State::{Active, Draining, Warming};

const PLACES: [Place; 5] = [
    Place {
        message: "ClustersConfigDump",
        kind: ResourceType::Cluster,
        lists: &[
            ("static_clusters", true, Active),
            ("dynamic_active_clusters", false, Active),
            ("dynamic_warming_clusters", false, Warming),
        ],
        field: "cluster",
        name: "name",
    },
    Place {
        message: "EndpointsConfigDump",
        kind: ResourceType::Endpoints,
        lists: &[("static_endpoint_configs", true, Active), ("dynamic_endpoint_configs", false, Active)],
        field: "endpoint_config",
        name: "cluster_name",
    },
    Place {
        message: "ListenersConfigDump",
        kind: ResourceType::Listener,
        lists: &[("static_listeners", true, Active), ("dynamic_listeners", false, Active)],
        field: "listener",
        name: "name",
    },
    Place {
        message: "RoutesConfigDump",
        kind: ResourceType::Route,
        lists: &[("static_route_configs", true, Active), ("dynamic_route_configs", false, Active)],
        field: "route_config",
        name: "name",
    },
    Place {
        message: "SecretsConfigDump",
        kind: ResourceType::Secret,
        lists: &[
            ("static_secrets", true, Active),
            ("dynamic_active_secrets", false, Active),
            ("dynamic_warming_secrets", false, Warming),
        ],
        field: "secret",
        name: "name",
    },
];

/// The states of a dynamic listener.
const LISTENER_STATES: [(&str, State); 3] =
    [("active_state", Active), ("warming_state", Warming), ("draining_state", Draining)];

/// A field, as protobuf or as JSON spells it: istioctl writes the latter.
fn get<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.get(name).or_else(|| value.get(camel(name))).filter(|v| !v.is_null())
}

fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let mut camel = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut chars = part.chars();
        camel.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        camel.push_str(chars.as_str());
    }
    camel
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    get(value, name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    get(value, name).and_then(Value::as_str).unwrap_or_default()
}

/// The parts of a dump, and what is none.
fn parts<'a>(dump: &'a Value, unknown: &mut Vec<Unknown>) -> Vec<(&'a str, &'a Value)> {
    let Some(configs) = get(dump, "configs").and_then(Value::as_array) else {
        unknown.push(whole("dump", "has no list of configs, as /config_dump has"));
        return Vec::new();
    };
    let mut parts = Vec::new();
    for (index, part) in configs.iter().enumerate() {
        let url = part.get(any::TYPE).and_then(Value::as_str).unwrap_or_default();
        match url.rsplit_once("envoy.admin.v3.") {
            Some((_, message)) => parts.push((message, part)),
            None => unknown
                .push(whole(&format!("configs[{index}]"), &format!("{url:?} is no part of a dump that is known"))),
        }
    }
    parts
}

fn whole(resource: &str, problem: &str) -> Unknown {
    Unknown { resource: resource.to_owned(), path: String::new(), problem: problem.to_owned() }
}

/// All resources of a dump, and what in it is not understood.
pub fn resources(dump: &Value) -> (Vec<Dumped<'_>>, Vec<Unknown>) {
    let mut unknown = Vec::new();
    let mut found = Vec::new();
    for (message, part) in parts(dump, &mut unknown) {
        match PLACES.iter().find(|p| p.message == message) {
            Some(place) => of_part(place, part, &mut found, &mut unknown),
            None if message == "BootstrapConfigDump" => {}
            // Scoped routes and extensions' own resources: nothing where they hold nothing.
            None => {
                let filled =
                    part.as_object().into_iter().flatten().filter(|(_, v)| v.as_array().is_some_and(|a| !a.is_empty()));
                unknown.extend(filled.map(|(key, _)| whole(&format!("{message} {key}"), "not understood")));
            }
        }
    }
    (found, unknown)
}

fn of_part<'a>(place: &Place, part: &'a Value, found: &mut Vec<Dumped<'a>>, unknown: &mut Vec<Unknown>) {
    for (list_name, fixed, state) in place.lists {
        for (index, entry) in list(part, list_name).iter().enumerate() {
            let at = || match text(entry, "name") {
                "" => format!("{list_name}[{index}]"),
                name => format!("{} {name}", place.kind.short()),
            };
            if let Some(error) = get(entry, "error_state") {
                let details = text(error, "details");
                unknown.push(whole(&at(), &format!("its last update was refused: {details}")));
            }
            let states: Vec<(&Value, State)> = match place.kind {
                ResourceType::Listener if !fixed => {
                    LISTENER_STATES.iter().filter_map(|(name, state)| Some((get(entry, name)?, *state))).collect()
                }
                _ => vec![(entry, *state)],
            };
            for (entry, state) in states {
                match get(entry, place.field).filter(|v| v.is_object()) {
                    Some(value) => found.push(Dumped {
                        kind: place.kind,
                        name: text(value, place.name),
                        version: text(entry, "version_info"),
                        fixed: *fixed,
                        state,
                        value,
                    }),
                    None => unknown.push(whole(&at(), &format!("holds no {}", place.field))),
                }
            }
        }
    }
}

/// The configuration that a dump tells of, and what in it was not understood, by name. Secrets are as the
/// dump has them: without their keys.
pub fn from_config_dump(dump: &Value) -> (ProxyConfig, Vec<Unknown>) {
    let (resources, mut unknown) = resources(dump);
    let mut config = ProxyConfig::default();
    // Endpoints and routes may be there twice: as parts of a cluster or a listener too. Those count.
    let (copies, rest): (Vec<_>, Vec<_>) =
        resources.into_iter().partition(|d| d.fixed && matches!(d.kind, ResourceType::Endpoints | ResourceType::Route));
    for dumped in rest {
        take(&mut config, &dumped, &mut unknown);
    }
    let (endpoints, routes) = parts_of_others(&config);
    for dumped in copies {
        let known = if dumped.kind == ResourceType::Route { &routes } else { &endpoints };
        if !known.contains(dumped.name) {
            take(&mut config, &dumped, &mut unknown);
        }
    }
    (config, unknown)
}

/// The names of the endpoints that stand in clusters, and of the routes that stand in listeners.
fn parts_of_others(config: &ProxyConfig) -> (HashSet<String>, HashSet<String>) {
    let mut endpoints = HashSet::new();
    for cluster in config.clusters.values() {
        match &cluster.discovery {
            Discovery::Eds(_) => {}
            Discovery::Static(own) | Discovery::StrictDns(own) | Discovery::LogicalDns(own) => {
                endpoints.extend([cluster.name.clone(), own.cluster.clone()]);
            }
            Discovery::OriginalDst { .. } | Discovery::Opaque(_) => {
                endpoints.insert(cluster.name.clone());
            }
        }
    }
    let routes = config.listeners.values().flat_map(|l| inline_routes(l)).map(|r| r.name.clone());
    (endpoints, routes.collect())
}

fn take(config: &mut ProxyConfig, dumped: &Dumped<'_>, unknown: &mut Vec<Unknown>) {
    let resource = format!("{} {}", dumped.kind.short(), dumped.name);
    match dumped.state {
        Active => {}
        Warming => return unknown.push(whole(&resource, "is warming and not in use yet")),
        Draining => return unknown.push(whole(&resource, "is draining")),
    }
    if let Some(url) = dumped.value.get(any::TYPE).and_then(Value::as_str)
        && url != dumped.kind.type_url()
    {
        return unknown.push(whole(&resource, &format!("{url} is not {}", dumped.kind.type_url())));
    }
    let (body, problems) = match from_json(dumped.kind.type_url(), dumped.value) {
        Ok(read) => read,
        Err(error) => return unknown.push(whole(&resource, &error.to_string())),
    };
    let named = |Unreadable { path, problem }| Unknown { resource: resource.clone(), path, problem };
    unknown.extend(problems.into_iter().map(named));
    let name: Arc<str> = dumped.name.into();
    let taken = match dumped.kind {
        ResourceType::Cluster => insert(&mut config.clusters, name, decode::cluster(&body), encode::cluster),
        ResourceType::Endpoints => insert(&mut config.endpoints, name, decode::endpoints(&body), encode::endpoints),
        ResourceType::Listener => insert(&mut config.listeners, name, decode::listener(&body), encode::listener),
        ResourceType::Route => insert(&mut config.routes, name, decode::route(&body), encode::route),
        ResourceType::Secret => insert(&mut config.secrets, name, decode::secret(&body), encode::secret),
    };
    match taken {
        Ok(again) => unknown.extend(unread::fields(dumped.kind, &body, &again).into_iter().map(named)),
        Err(problem) => unknown.push(whole(&resource, &problem)),
    }
}

/// The resource as it is encoded again, or why it was not taken.
fn insert<T>(
    into: &mut BTreeMap<Arc<str>, Arc<T>>,
    name: Arc<str>,
    read: Result<T, DecodeError>,
    encode: impl FnOnce(&T) -> Bytes,
) -> Result<Bytes, String> {
    let value = read.map_err(|e| e.to_string())?;
    let bytes = encode(&value);
    match into.insert(name, Arc::new(value)) {
        None => Ok(bytes),
        Some(_) => Err("is there twice; the last one counts".to_owned()),
    }
}
