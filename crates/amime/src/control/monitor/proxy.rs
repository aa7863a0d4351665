//! `/debug/config_dump` and `/debug/edsz`: what one proxy is to have.

use super::view::{Asked, View, proxy_name};
use crate::serve::{Answer, json, problem};
use amime_control::ProxyStatus;
use amime_model::config::ProxyConfig;
use amime_model::translate::{Scope, translate};
use amime_xds::json::{DumpOptions, Versions, to_json};
use amime_xds::server::{Encoder, Form};
use amime_xds::{Node, ResourceType, encode};
use http::StatusCode;
use serde_json::Value;

pub(super) fn config_dump(view: &View, asked: &Asked) -> Answer {
    let proxy = match one(view, asked) {
        Ok(proxy) => proxy,
        Err(answer) => return *answer,
    };
    let (_, metadata) = proxy.node.to_id();
    let node = Node { id: proxy.id.to_string(), metadata, ..Node::default() };
    let options = DumpOptions { include_eds: asked.has("include_eds"), node: Some(&node) };
    let config = config(view, proxy);
    let versions = versions(proxy, &config);
    json(&amime_xds::json::config_dump(&config, &versions, options))
}

pub(super) fn endpoints(view: &View, asked: &Asked) -> Answer {
    let proxy = match one(view, asked) {
        Ok(proxy) => proxy,
        Err(answer) => return *answer,
    };
    let config = config(view, proxy);
    let shown = config.endpoints.values().filter_map(|endpoints| {
        let encoded = encode::endpoints(endpoints);
        // What was encoded here can be read here.
        to_json(ResourceType::Endpoints.type_url(), &encoded).ok()
    });
    json(&shown.collect::<Vec<Value>>())
}

/// What the newest snapshot makes for it.
fn config(view: &View, proxy: &ProxyStatus) -> ProxyConfig {
    translate(view.snapshot(), &Scope::of(view.snapshot(), &proxy.node)).config
}

/// By which the proxy knows it.
fn versions(proxy: &ProxyStatus, config: &ProxyConfig) -> Versions {
    let mut encoder = Encoder::default();
    let resources = match proxy.stream.types[ResourceType::VirtualHost].subscribed {
        true => encoder.encode(config, Form::Parts),
        false => encoder.encode(config, Form::Whole),
    };
    resources.versions()
}

/// The proxies that are asked for by `proxyID`; all where there is none.
pub(super) fn chosen<'a>(view: &'a View, asked: &Asked) -> Result<Vec<&'a ProxyStatus>, Box<Answer>> {
    match asked.get("proxyID") {
        None => Ok(view.proxies.iter().collect()),
        Some(_) => one(view, asked).map(|proxy| vec![proxy]),
    }
}

/// By `POD.NAMESPACE`, by the whole id that it introduced itself with, or by the pod's name alone where there is one
/// such. Of several streams the youngest counts.
fn one<'a>(view: &'a View, asked: &Asked) -> Result<&'a ProxyStatus, Box<Answer>> {
    let refuse = |status, why: &str| Err(Box::new(problem(status, why)));
    let Some(wanted) = asked.get("proxyID").filter(|wanted| !wanted.is_empty()) else {
        let why = "which proxy? Name it by proxyID=POD.NAMESPACE; /debug/connections lists them";
        return refuse(StatusCode::BAD_REQUEST, why);
    };
    let exact = |proxy: &&ProxyStatus| *proxy.id == *wanted || proxy_name(proxy) == wanted;
    if let Some(found) = view.proxies.iter().rev().find(exact) {
        return Ok(found);
    }
    let mut of_pod = view.proxies.iter().rev().filter(|proxy| proxy.node.name == wanted);
    match (of_pod.next(), of_pod.next()) {
        (Some(found), None) => Ok(found),
        (Some(_), Some(_)) => {
            refuse(StatusCode::BAD_REQUEST, &format!("several proxies are called {wanted}; add the namespace"))
        }
        (None, _) => refuse(
            StatusCode::NOT_FOUND,
            &format!("no proxy {wanted} is connected to this control plane; /debug/connections lists those that are"),
        ),
    }
}
