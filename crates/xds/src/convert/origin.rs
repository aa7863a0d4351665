//! Where a resource came from, as metadata: Istio's `config` path under `istio`, ours under `amime`.

use amime_model::config::{ClusterService, Origin};
use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value};
use std::collections::HashMap;

const ISTIO: &str = "istio";
const AMIME: &str = "amime";
const CONFIG: &str = "config";
const PATH: &str = "path";
/// The kind, where it does not follow from Istio's path.
const KIND: &str = "kind";
/// A list's origins after the first.
const MORE: &str = "more";
const SERVICES: &str = "services";
const EXTERNAL: &str = "external";

pub(crate) fn text(value: impl Into<String>) -> Value {
    Value { kind: Some(Kind::StringValue(value.into())) }
}

pub(crate) fn as_text(value: &Value) -> Option<&str> {
    match &value.kind {
        Some(Kind::StringValue(text)) => Some(text),
        _ => None,
    }
}

pub(crate) fn text_struct<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Struct> {
    let fields: HashMap<_, _> = fields.into_iter().map(|(k, v)| (k.to_owned(), text(v))).collect();
    (!fields.is_empty()).then_some(Struct { fields })
}

/// Metadata of what is there, None where nothing is.
pub(crate) fn metadata<'a>(parts: impl IntoIterator<Item = (&'a str, Option<Struct>)>) -> Option<Metadata> {
    let filter_metadata: HashMap<_, _> = parts.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?))).collect();
    (!filter_metadata.is_empty()).then(|| Metadata { filter_metadata, ..Default::default() })
}

pub(crate) fn part<'a>(metadata: Option<&'a Metadata>, name: &str) -> Option<&'a Struct> {
    metadata?.filter_metadata.get(name)
}

/// Of one thing with one origin.
pub(crate) fn of_origin(origin: Option<&Origin>) -> Option<Metadata> {
    of_origins(origin, None)
}

/// Of a thing with several origins, and of a cluster with its service.
pub(crate) fn of_origins<'a>(
    origins: impl IntoIterator<Item = &'a Origin>,
    service: Option<&ClusterService>,
) -> Option<Metadata> {
    let (mut istio, mut amime) = (HashMap::new(), HashMap::new());
    let mut origins = origins.into_iter();
    if let Some(origin) = origins.next() {
        istio.insert(CONFIG.to_owned(), text(config_path(origin)));
        amime.extend(own_fields(origin));
    }
    let more: Vec<_> = origins
        .map(|origin| {
            let mut fields = own_fields(origin);
            fields.insert(CONFIG.to_owned(), text(config_path(origin)));
            Value { kind: Some(Kind::StructValue(Struct { fields })) }
        })
        .collect();
    if !more.is_empty() {
        amime.insert(MORE.to_owned(), Value { kind: Some(Kind::ListValue(ListValue { values: more })) });
    }
    if let Some(service) = service {
        let fields = text_struct([
            ("host", service.host.as_str()),
            ("name", service.name.as_str()),
            ("namespace", service.namespace.as_str()),
        ]);
        let values = vec![Value { kind: fields.map(Kind::StructValue) }];
        let list = Value { kind: Some(Kind::ListValue(ListValue { values })) };
        istio.insert(SERVICES.to_owned(), list);
        if service.external {
            istio.insert(EXTERNAL.to_owned(), Value { kind: Some(Kind::BoolValue(true)) });
        }
    }
    let part = |fields: HashMap<_, _>| (!fields.is_empty()).then_some(Struct { fields });
    metadata([(ISTIO, part(istio)), (AMIME, part(amime))])
}

fn own_fields(origin: &Origin) -> HashMap<String, Value> {
    let mut fields = HashMap::new();
    if !origin.path.is_empty() {
        fields.insert(PATH.to_owned(), text(&origin.path));
    }
    if camel(&kebab(&origin.kind)) != origin.kind {
        fields.insert(KIND.to_owned(), text(&origin.kind));
    }
    fields
}

/// `/apis/networking.istio.io/v1/namespaces/shop/virtual-service/reviews`.
fn config_path(origin: &Origin) -> String {
    let group = match origin.kind.as_str() {
        "Service" | "Pod" | "Secret" | "ConfigMap" | "Namespace" | "Endpoints" => "v1",
        "PeerAuthentication" | "AuthorizationPolicy" | "RequestAuthentication" => "security.istio.io/v1",
        _ => "networking.istio.io/v1",
    };
    let (namespace, kind, name) = (&origin.namespace, kebab(&origin.kind), &origin.name);
    format!("/apis/{group}/namespaces/{namespace}/{kind}/{name}")
}

pub(crate) fn from_origin(metadata: Option<&Metadata>) -> Option<Origin> {
    from_origins(metadata).into_iter().next()
}

pub(crate) fn from_origins(metadata: Option<&Metadata>) -> Vec<Origin> {
    let config = part(metadata, ISTIO).and_then(|istio| istio.fields.get(CONFIG));
    let amime = part(metadata, AMIME);
    let first = config.and_then(as_text).and_then(|config| read(config, amime));
    let more = match amime.and_then(|a| a.fields.get(MORE)).map(|v| &v.kind) {
        Some(Some(Kind::ListValue(list))) => list.values.as_slice(),
        _ => &[],
    };
    let more = more.iter().filter_map(|value| match &value.kind {
        Some(Kind::StructValue(fields)) => read(fields.fields.get(CONFIG).and_then(as_text)?, Some(fields)),
        _ => None,
    });
    first.into_iter().chain(more).collect()
}

fn read(config: &str, own: Option<&Struct>) -> Option<Origin> {
    let (_, rest) = config.split_once("/namespaces/")?;
    let mut parts = rest.splitn(3, '/');
    let (namespace, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
    let own = |key| own.and_then(|o| o.fields.get(key)).and_then(as_text);
    Some(Origin {
        kind: own(KIND).map_or_else(|| camel(kind), str::to_owned),
        namespace: namespace.into(),
        name: name.into(),
        path: own(PATH).unwrap_or_default().into(),
    })
}

pub(crate) fn from_service(metadata: Option<&Metadata>) -> Option<ClusterService> {
    let istio = part(metadata, ISTIO)?;
    let Some(Kind::ListValue(list)) = &istio.fields.get(SERVICES)?.kind else {
        return None;
    };
    let Some(Kind::StructValue(service)) = &list.values.first()?.kind else {
        return None;
    };
    let get = |key| service.fields.get(key).and_then(as_text).unwrap_or_default().to_owned();
    let external = matches!(istio.fields.get(EXTERNAL).map(|v| &v.kind), Some(Some(Kind::BoolValue(true))));
    Some(ClusterService { host: get("host"), name: get("name"), namespace: get("namespace"), external })
}

/// `VirtualService` to `virtual-service`.
fn kebab(camel: &str) -> String {
    let mut kebab = String::with_capacity(camel.len() + 4);
    for c in camel.chars() {
        if c.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(c.to_ascii_lowercase());
    }
    kebab
}

fn camel(kebab: &str) -> String {
    let mut camel = String::with_capacity(kebab.len());
    for part in kebab.split('-') {
        let mut chars = part.chars();
        camel.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        camel.push_str(chars.as_str());
    }
    camel
}
