//! A proxy's configuration in the shape of Envoy's `/config_dump` (envoy.admin.v3.ConfigDump).

use super::any;
use crate::{Node, PerType, ResourceType, encode};
use amime_model::config::{Discovery, Listener, NetworkFilter, ProxyConfig, RouteConfig, RouteSource};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The versions of resources, by type and name.
pub type Versions = PerType<BTreeMap<Arc<str>, Arc<str>>>;

#[derive(Debug, Clone, Copy, Default)]
pub struct DumpOptions<'a> {
    /// Endpoints too (Envoy's `?include_eds`).
    pub include_eds: bool,
    /// Whose configuration it is.
    pub node: Option<&'a Node>,
}

/// `{"configs": […]}`. What is sensitive in secrets is `[redacted]`.
pub fn config_dump(config: &ProxyConfig, versions: &Versions, options: DumpOptions) -> Value {
    let dump = Dump { config, versions };
    let mut configs = vec![bootstrap(options.node), dump.clusters()];
    if options.include_eds {
        configs.push(dump.endpoints());
    }
    configs.extend([dump.listeners(), dump.routes(), dump.secrets()]);
    json!({ "configs": configs })
}

/// Only who the proxy is: how it was started is not known here.
fn bootstrap(node: Option<&Node>) -> Value {
    let node = node.map(|node| {
        let mut fields =
            Map::from_iter([("id".to_owned(), json!(node.id)), ("cluster".to_owned(), json!(node.cluster))]);
        if node.metadata.is_object() {
            fields.insert("metadata".to_owned(), node.metadata.clone());
        }
        let place = &node.locality;
        let parts = [("region", &place.region), ("zone", &place.zone), ("sub_zone", &place.sub_zone)];
        let parts: Map<_, _> =
            parts.into_iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| (k.to_owned(), json!(v))).collect();
        if !parts.is_empty() {
            fields.insert("locality".to_owned(), parts.into());
        }
        Value::Object(fields)
    });
    admin("BootstrapConfigDump", [("bootstrap", json!({ "node": node.unwrap_or_else(|| json!({})) }))])
}

fn admin<const N: usize>(name: &str, parts: [(&str, Value); N]) -> Value {
    let mut object = Map::new();
    object.insert(any::TYPE.to_owned(), format!("type.googleapis.com/envoy.admin.v3.{name}").into());
    // Envoy leaves out what is empty.
    let parts = parts.into_iter().filter(|(_, value)| value.as_array().is_none_or(|list| !list.is_empty()));
    object.extend(parts.map(|(key, value)| (key.to_owned(), value)));
    Value::Object(object)
}

struct Dump<'a> {
    config: &'a ProxyConfig,
    versions: &'a Versions,
}

impl Dump<'_> {
    /// `{"version_info": …, KEY: {"@type": …, …}}`.
    fn entry(&self, kind: ResourceType, name: &str, key: &str, bytes: &Bytes) -> Value {
        let mut entry = Map::new();
        if let Some(version) = self.versions[kind].get(name) {
            entry.insert("version_info".to_owned(), (**version).into());
        }
        entry.insert(key.to_owned(), resource(kind, bytes));
        Value::Object(entry)
    }

    fn clusters(&self) -> Value {
        let active = self
            .config
            .clusters
            .iter()
            .map(|(name, cluster)| self.entry(ResourceType::Cluster, name, "cluster", &encode::cluster(cluster)));
        admin("ClustersConfigDump", [("dynamic_active_clusters", active.collect())])
    }

    fn endpoints(&self) -> Value {
        let config =
            |endpoints| json!({ "endpoint_config": resource(ResourceType::Endpoints, &encode::endpoints(endpoints)) });
        let fixed = self.config.clusters.values().filter_map(|cluster| match &cluster.discovery {
            Discovery::Static(endpoints) => Some(config(endpoints)),
            _ => None,
        });
        let dynamic = self.config.endpoints.iter().map(|(name, endpoints)| {
            self.entry(ResourceType::Endpoints, name, "endpoint_config", &encode::endpoints(endpoints))
        });
        admin(
            "EndpointsConfigDump",
            [("static_endpoint_configs", fixed.collect()), ("dynamic_endpoint_configs", dynamic.collect())],
        )
    }

    fn listeners(&self) -> Value {
        let dynamic = self.config.listeners.iter().map(|(name, listener)| {
            let state = self.entry(ResourceType::Listener, name, "listener", &encode::listener(listener));
            json!({ "name": &**name, "active_state": state })
        });
        admin("ListenersConfigDump", [("dynamic_listeners", dynamic.collect())])
    }

    fn routes(&self) -> Value {
        let inline = self.config.listeners.values().flat_map(|l| inline_routes(l));
        let inline =
            inline.map(|routes| json!({ "route_config": resource(ResourceType::Route, &encode::route(routes)) }));
        let dynamic = self
            .config
            .routes
            .iter()
            .map(|(name, routes)| self.entry(ResourceType::Route, name, "route_config", &encode::route(routes)));
        admin(
            "RoutesConfigDump",
            [("static_route_configs", inline.collect()), ("dynamic_route_configs", dynamic.collect())],
        )
    }

    fn secrets(&self) -> Value {
        let active = self.config.secrets.iter().map(|(name, secret)| {
            let mut entry = self.entry(ResourceType::Secret, name, "secret", &encode::secret(secret));
            entry["name"] = (**name).into();
            entry
        });
        admin("SecretsConfigDump", [("dynamic_active_secrets", active.collect())])
    }
}

/// The route configurations that a listener holds itself.
pub(super) fn inline_routes(listener: &Listener) -> impl Iterator<Item = &RouteConfig> {
    let chains = listener.filter_chains.iter().chain(listener.default_filter_chain.as_deref());
    chains.flat_map(|chain| &chain.filters).filter_map(|filter| match filter {
        NetworkFilter::Http(manager) => match &manager.routes {
            RouteSource::Inline(routes) => Some(&**routes),
            RouteSource::Rds(_) => None,
        },
        _ => None,
    })
}

/// With its `@type`.
fn resource(kind: ResourceType, bytes: &Bytes) -> Value {
    let mut value = super::to_redacted_json(kind.type_url(), bytes).unwrap_or_else(|_| json!({}));
    value[any::TYPE] = kind.type_url().into();
    value
}
