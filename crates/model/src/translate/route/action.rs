//! What a rule does: redirect, answer, or forward with rewrites, mirrors, retries and hashing.

use super::RouteContext;
use crate::config::{
    Forward, HashKind, HashPolicy, HeaderEdits, Mirror, PathRewrite, PerMillion, RouteAction, WeightedCluster,
};
use crate::resource::destination_rule::{ConsistentHash, PortTrafficPolicy, TrafficPolicy};
use crate::resource::virtual_service::{Destination, HttpRoute};
use crate::rule::edits::{self, Operations};
use crate::rule::filters::share;
use crate::rule::{retry, target};
use crate::snapshot::{Resolution, Service};
use crate::translate::names;
use std::sync::Arc;
use std::time::Duration;

/// The action with the route's request and response edits; None where it cannot be carried out.
pub(super) fn of(spec: &HttpRoute, context: &RouteContext<'_>) -> Option<(RouteAction, HeaderEdits, HeaderEdits)> {
    let operations = edits::of(spec.headers.as_ref());
    if let Some(redirect) = &spec.redirect {
        let action = RouteAction::Redirect(target::redirect(redirect, context.port, context.tls)?);
        return Some((action, operations.request, operations.response));
    }
    if let Some(response) = &spec.direct_response {
        let action = RouteAction::Respond(target::direct_response(response)?);
        return Some((action, operations.request, operations.response));
    }
    forward(spec, operations, context)
}

fn forward(
    spec: &HttpRoute,
    mut operations: Operations,
    context: &RouteContext<'_>,
) -> Option<(RouteAction, HeaderEdits, HeaderEdits)> {
    let timeout: Duration = spec.timeout.map(Into::into).unwrap_or_default();
    let mut host_rewrite = operations.authority.take();
    let mut rewrite = PathRewrite::None;
    if let Some(written) = &spec.rewrite {
        rewrite = target::path_rewrite(written);
        if !written.authority.is_empty() {
            host_rewrite = Some(written.authority.clone());
        }
    }
    let mut forward = Forward {
        rewrite,
        timeout: Some(timeout),
        max_grpc_timeout: Some(timeout),
        mirrors: mirrors(spec, context),
        ..Forward::default()
    };
    let mut hashed = false;
    if let [single] = spec.route.as_slice() {
        let destination = single.destination.as_ref()?;
        let own = edits::of(single.headers.as_ref());
        host_rewrite = host_rewrite.or(own.authority);
        operations.request = edits::join(operations.request, own.request);
        operations.response = edits::join(operations.response, own.response);
        let hash = hash_of(destination, context);
        hashed = hash.is_some();
        forward.hash.extend(hash.and_then(hash_policy));
        forward.clusters.push(WeightedCluster {
            name: cluster_of(destination, context),
            weight: 100,
            ..WeightedCluster::default()
        });
    } else {
        // A destination of weight 0 among several takes nothing.
        for weighted in spec.route.iter().filter(|w| w.weight > 0) {
            let destination = weighted.destination.as_ref()?;
            let own = edits::of(weighted.headers.as_ref());
            forward.hash.extend(hash_of(destination, context).and_then(hash_policy));
            forward.clusters.push(WeightedCluster {
                name: cluster_of(destination, context),
                weight: u32::try_from(weighted.weight).unwrap_or_default(),
                request_headers: own.request,
                response_headers: own.response,
                host_rewrite: own.authority,
            });
        }
    }
    if forward.clusters.is_empty() {
        return None;
    }
    forward.host_rewrite = host_rewrite;
    let mesh = &context.view.snapshot.mesh;
    forward.retry = retry::policy(spec.retries.as_ref().or(mesh.default_http_retry_policy.as_ref()), hashed);
    Some((RouteAction::Forward(Box::new(forward)), operations.request, operations.response))
}

/// The cluster of a destination. Without a port: the only one of its service, else the one that was dialled.
pub(super) fn cluster_of(destination: &Destination, context: &RouteContext<'_>) -> String {
    cluster_name(destination, (context.service)(&destination.host).as_ref(), context.port)
}

pub(crate) fn cluster_name(destination: &Destination, service: Option<&Arc<Service>>, port: u32) -> String {
    if destination.host.is_empty() {
        return names::UNKNOWN_CLUSTER.to_string();
    }
    let host = match service.map(|s| &s.resolution) {
        Some(Resolution::Alias(target)) => target,
        _ => &destination.host,
    };
    let port = match (&destination.port, service.map(|s| s.ports.as_slice())) {
        (Some(port), _) => port.number,
        (None, Some([only])) => only.number,
        _ => port,
    };
    names::outbound_cluster(port, &destination.subset, host)
}

fn mirrors(spec: &HttpRoute, context: &RouteContext<'_>) -> Vec<Mirror> {
    let whole = spec.mirror_percent.map(|p| PerMillion::from_percent(f64::from(p)));
    let of_mirror = spec.mirror_percentage.map(share).or(whole).unwrap_or(PerMillion::ALL);
    let one = spec.mirror.as_ref().map(|destination| (destination, of_mirror));
    let more = spec
        .mirrors
        .iter()
        .filter_map(|mirror| Some((mirror.destination.as_ref()?, mirror.percentage.map_or(PerMillion::ALL, share))));
    one.into_iter()
        .chain(more)
        .filter(|(_, share)| share.0 > 0)
        .map(|(destination, share)| Mirror { cluster: cluster_of(destination, context), share })
        .collect()
}

/// How the DestinationRule says that requests stick: the subset's port, the subset, the port, then the rule.
fn hash_of<'a>(destination: &Destination, context: &RouteContext<'a>) -> Option<&'a ConsistentHash> {
    let rule = &context.view.rule(&destination.host)?.rule;
    let general = rule.traffic_policy.as_deref();
    let subset = rule.subsets.iter().find(|s| s.name == destination.subset).and_then(|s| s.traffic_policy.as_deref());
    of_port(subset, destination)
        .or_else(|| of_policy(subset))
        .or_else(|| of_port(general, destination))
        .or_else(|| of_policy(general))
}

fn of_policy(policy: Option<&TrafficPolicy>) -> Option<&ConsistentHash> {
    policy?.load_balancer.as_ref()?.consistent_hash.as_ref()
}

fn of_port<'a>(policy: Option<&'a TrafficPolicy>, destination: &Destination) -> Option<&'a ConsistentHash> {
    let number = destination.port.as_ref()?.number;
    let same = |p: &&PortTrafficPolicy| p.port.as_ref().is_some_and(|port| port.number == number);
    policy?.port_level_settings.iter().find(same)?.load_balancer.as_ref()?.consistent_hash.as_ref()
}

/// None where it names nothing to hash.
pub(crate) fn hash_policy(hash: &ConsistentHash) -> Option<HashPolicy> {
    let kind = if let Some(name) = &hash.http_header_name {
        HashKind::Header(name.to_ascii_lowercase())
    } else if let Some(cookie) = &hash.http_cookie {
        HashKind::Cookie {
            name: cookie.name.clone(),
            path: cookie.path.clone(),
            ttl: cookie.ttl.map(Into::into),
            attributes: cookie.attributes.iter().map(|a| (a.name.clone(), a.value.clone())).collect(),
        }
    } else if hash.use_source_ip == Some(true) {
        HashKind::SourceIp
    } else {
        HashKind::Query(hash.http_query_parameter_name.clone()?)
    };
    Some(HashPolicy { kind, terminal: false })
}
