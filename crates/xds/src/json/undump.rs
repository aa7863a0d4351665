//! Envoy's `/config_dump`, read: of real Envoys of many versions, and as istioctl saves it.
//!
//! Total: each node of the dump is understood, kept as opaque or named as unknown.

use super::dump::inline_routes;
use super::{Unreadable, any, from_json, unread};
use crate::decode::DecodeError;
use crate::intern::Decoded;
use crate::{ResourceType, decode, encode};
use amime_model::config::{Discovery, ProxyConfig};
use bytes::Bytes;
use serde_json::Value;
use std::collections::HashSet;
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
            Discovery::OriginalDst { .. } | Discovery::DynamicDns(_) | Discovery::Opaque(_) => {
                endpoints.insert(cluster.name.clone());
            }
        }
    }
    let routes = config.listeners.values().flat_map(|l| inline_routes(l)).map(|r| r.name.clone());
    (endpoints, routes.collect())
}

fn take(config: &mut ProxyConfig, dumped: &Dumped<'_>, unknown: &mut Vec<Unknown>) {
    match dumped.state {
        Active => {}
        Warming => return unknown.push(dumped.unknown("is warming and not in use yet")),
        Draining => return unknown.push(dumped.unknown("is draining")),
    }
    let (decoded, problems) = dumped.decode();
    unknown.extend(problems);
    let name: Arc<str> = dumped.name.into();
    let twice = match decoded {
        None => false,
        Some(Decoded::Cluster(cluster)) => config.clusters.insert(name, cluster).is_some(),
        Some(Decoded::Endpoints(endpoints)) => config.endpoints.insert(name, endpoints).is_some(),
        Some(Decoded::Listener(listener)) => config.listeners.insert(name, listener).is_some(),
        Some(Decoded::Route(routes)) => config.routes.insert(name, routes).is_some(),
        Some(Decoded::Secret(secret)) => config.secrets.insert(name, secret).is_some(),
        // A dump has virtual hosts within their route configurations alone.
        Some(Decoded::VirtualHost(_)) => false,
    };
    if twice {
        unknown.push(dumped.unknown("is there twice; the last one counts"));
    }
}

impl Dumped<'_> {
    fn resource(&self) -> String {
        format!("{} {}", self.kind.short(), self.name)
    }

    fn unknown(&self, problem: &str) -> Unknown {
        whole(&self.resource(), problem)
    }

    /// The resource itself, where it can be read, and what of it was not understood.
    pub fn decode(&self) -> (Option<Decoded>, Vec<Unknown>) {
        if let Some(url) = self.value.get(any::TYPE).and_then(Value::as_str)
            && url != self.kind.type_url()
        {
            return (None, vec![self.unknown(&format!("{url} is not {}", self.kind.type_url()))]);
        }
        let (body, problems) = match from_json(self.kind.type_url(), self.value) {
            Ok(read) => read,
            Err(error) => return (None, vec![self.unknown(&error.to_string())]),
        };
        let named = |Unreadable { path, problem }| Unknown { resource: self.resource(), path, problem };
        let mut unknown: Vec<_> = problems.into_iter().map(named).collect();
        match decode(self.kind, &body) {
            Ok((decoded, again)) => {
                unknown.extend(unread::fields(self.kind, &body, &again).into_iter().map(named));
                (Some(decoded), unknown)
            }
            Err(error) => {
                unknown.push(self.unknown(&error.to_string()));
                (None, unknown)
            }
        }
    }
}

/// A resource, and how it is encoded again.
fn decode(kind: ResourceType, body: &[u8]) -> Result<(Decoded, Bytes), DecodeError> {
    Ok(match kind {
        ResourceType::Cluster => {
            let cluster = decode::cluster(body)?;
            let again = encode::cluster(&cluster);
            (Decoded::Cluster(Arc::new(cluster)), again)
        }
        ResourceType::Endpoints => {
            let endpoints = decode::endpoints(body)?;
            let again = encode::endpoints(&endpoints);
            (Decoded::Endpoints(Arc::new(endpoints)), again)
        }
        ResourceType::Listener => {
            let listener = decode::listener(body)?;
            let again = encode::listener(&listener);
            (Decoded::Listener(Arc::new(listener)), again)
        }
        ResourceType::Route => {
            let routes = decode::route(body)?;
            let again = encode::route(&routes);
            (Decoded::Route(Arc::new(routes)), again)
        }
        ResourceType::Secret => {
            let secret = decode::secret(body)?;
            let again = encode::secret(&secret);
            (Decoded::Secret(Arc::new(secret)), again)
        }
        ResourceType::VirtualHost => {
            let host = decode::virtual_host(body)?;
            let again = encode::virtual_host(&host);
            (Decoded::VirtualHost(Arc::new(host)), again)
        }
    })
}
