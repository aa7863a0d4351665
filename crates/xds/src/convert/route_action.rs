//! What a route does: forward, redirect, respond; and its fault and CORS policies.

use super::common::{
    any, bool_value, bytes_source, duration, from_duration, from_runtime_share, from_share, from_source,
    from_string_matcher, is_true, non_empty, regex, runtime_share, set_if, share, string_matcher, u32_value, unpack,
};
use super::route::{edits_from_pb, edits_to_pb};
use crate::decode::DecodeError;
use amime_model::config::{
    Abort, Cors, DirectResponse, Fault, Forward, HashKind, HashPolicy, Mirror, PathRewrite, Redirect, RedirectPath,
    RetryPolicy, Route, RouteAction, WeightedCluster,
};
use envoy_types::pb::envoy::config::route::v3 as pb;
use envoy_types::pb::envoy::extensions::filters::common::fault::v3 as common_fault;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3 as cors;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3 as fault;
use envoy_types::pb::envoy::extensions::retry;
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use envoy_types::pb::google::protobuf::Any;
use pb::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
use pb::route_action::hash_policy as hash;
use pb::route_action::{ClusterSpecifier, HostRewriteSpecifier};
use prost::Name;
use std::collections::HashMap;
use std::time::Duration;

const FAULT: &str = "envoy.filters.http.fault";
const CORS: &str = "envoy.filters.http.cors";

/// Of a cluster that stands alone.
const WHOLE: u32 = 100;

/// Envoy has no rewrite of a whole path; a regex that always matches all of it does the same.
const WHOLE_PATH: &str = "^.*$";

pub(crate) fn to_pb(action: &RouteAction) -> pb::route::Action {
    match action {
        RouteAction::Forward(forward) => pb::route::Action::Route(forward_to_pb(forward)),
        RouteAction::Redirect(redirect) => pb::route::Action::Redirect(redirect_to_pb(redirect)),
        RouteAction::Respond(response) => pb::route::Action::DirectResponse(pb::DirectResponseAction {
            status: response.status.into(),
            body: bytes_source(&response.body),
            ..Default::default()
        }),
        RouteAction::Opaque(what) => pb::route::Action::FilterAction(pb::FilterAction {
            action: Some(Any { type_url: what.clone(), value: Vec::new() }),
        }),
    }
}

pub(crate) fn from_pb(action: Option<pb::route::Action>) -> Result<RouteAction, DecodeError> {
    Ok(match action {
        Some(pb::route::Action::Route(forward)) => match forward_from_pb(forward) {
            Ok(forward) => RouteAction::Forward(Box::new(forward)),
            Err(what) => RouteAction::Opaque(what.into()),
        },
        Some(pb::route::Action::Redirect(redirect)) => RouteAction::Redirect(redirect_from_pb(redirect)),
        Some(pb::route::Action::DirectResponse(response)) if response.body_format.is_none() => {
            RouteAction::Respond(DirectResponse {
                status: u16::try_from(response.status).unwrap_or(500),
                body: from_source(response.body, "direct_response.body")?,
            })
        }
        Some(pb::route::Action::DirectResponse(_)) => RouteAction::Opaque("a response with a body format".into()),
        Some(pb::route::Action::FilterAction(action)) => {
            RouteAction::Opaque(action.action.unwrap_or_default().type_url)
        }
        Some(pb::route::Action::NonForwardingAction(_)) => RouteAction::Opaque("non_forwarding_action".into()),
        None => RouteAction::Opaque("no action".into()),
    })
}

fn forward_to_pb(forward: &Forward) -> pb::RouteAction {
    let cluster = match forward.clusters.as_slice() {
        [WeightedCluster { name, weight: WHOLE, request_headers, response_headers, host_rewrite }]
            if request_headers.is_empty() && response_headers.is_empty() && host_rewrite.is_none() =>
        {
            ClusterSpecifier::Cluster(name.clone())
        }
        many => ClusterSpecifier::WeightedClusters(pb::WeightedCluster {
            clusters: many.iter().map(weighted_to_pb).collect(),
            ..Default::default()
        }),
    };
    let host = match &forward.host_rewrite {
        Some(host) => Some(HostRewriteSpecifier::HostRewriteLiteral(host.clone())),
        None => set_if(forward.auto_host_rewrite).map(HostRewriteSpecifier::AutoHostRewrite),
    };
    let substitute =
        |pattern: &str, substitution: String| RegexMatchAndSubstitute { pattern: Some(regex(pattern)), substitution };
    let (prefix_rewrite, regex_rewrite) = match &forward.rewrite {
        PathRewrite::None => (String::new(), None),
        PathRewrite::Prefix(prefix) => (prefix.clone(), None),
        PathRewrite::Regex { regex, substitution } => (String::new(), Some(substitute(regex, substitution.clone()))),
        PathRewrite::Full(path) => (String::new(), Some(substitute(WHOLE_PATH, path.replace('\\', r"\\")))),
    };
    pb::RouteAction {
        cluster_specifier: Some(cluster),
        // 503 is the default.
        cluster_not_found_response_code: match forward.cluster_not_found_status {
            Some(404) => pb::route_action::ClusterNotFoundResponseCode::NotFound,
            Some(500) => pb::route_action::ClusterNotFoundResponseCode::InternalServerError,
            _ => pb::route_action::ClusterNotFoundResponseCode::ServiceUnavailable,
        } as i32,
        prefix_rewrite,
        regex_rewrite,
        host_rewrite_specifier: host,
        timeout: duration(forward.timeout),
        idle_timeout: duration(forward.idle_timeout),
        max_stream_duration: forward.grpc_timeout_max.map(|max| pb::route_action::MaxStreamDuration {
            grpc_timeout_header_max: duration(Some(max)),
            ..Default::default()
        }),
        retry_policy: forward.retry.as_ref().map(retry_to_pb),
        hash_policy: forward.hash.iter().map(hash_to_pb).collect(),
        request_mirror_policies: forward.mirrors.iter().map(mirror_to_pb).collect(),
        #[allow(deprecated, reason = "Istio still writes it")]
        max_grpc_timeout: duration(forward.max_grpc_timeout),
        ..Default::default()
    }
}

/// Or what of it is not understood.
fn forward_from_pb(action: pb::RouteAction) -> Result<Forward, &'static str> {
    use pb::route_action::ClusterNotFoundResponseCode as NotFound;
    let cluster_not_found_status = match action.cluster_not_found_response_code() {
        NotFound::ServiceUnavailable => None,
        NotFound::NotFound => Some(404),
        NotFound::InternalServerError => Some(500),
    };
    let clusters = match action.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => {
            vec![WeightedCluster { name, weight: WHOLE, ..Default::default() }]
        }
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            if weighted.clusters.iter().any(|c| !c.cluster_header.is_empty()) {
                return Err("a cluster named by a header");
            }
            weighted.clusters.into_iter().map(weighted_from_pb).collect()
        }
        Some(ClusterSpecifier::ClusterHeader(_)) => return Err("a cluster named by a header"),
        Some(ClusterSpecifier::ClusterSpecifierPlugin(_) | ClusterSpecifier::InlineClusterSpecifierPlugin(_)) => {
            return Err("a cluster named by a plugin");
        }
        None => return Err("no cluster"),
    };
    let (host_rewrite, auto_host_rewrite) = match action.host_rewrite_specifier {
        None => (None, false),
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => (Some(host), false),
        Some(HostRewriteSpecifier::AutoHostRewrite(auto)) => (None, auto.value),
        Some(_) => return Err("a host rewritten by a header or a regex"),
    };
    if action.path_rewrite_policy.is_some() || !action.path_rewrite.is_empty() {
        return Err("a path rewritten by a policy");
    }
    let rewrite = match (action.prefix_rewrite, action.regex_rewrite) {
        (prefix, _) if !prefix.is_empty() => PathRewrite::Prefix(prefix),
        (_, Some(rewrite)) => rewrite_from_pb(rewrite),
        (_, None) => PathRewrite::None,
    };
    let max_stream = action.max_stream_duration.unwrap_or_default();
    let hash = action.hash_policy.into_iter();
    let mirrors = action.request_mirror_policies.into_iter();
    Ok(Forward {
        clusters,
        rewrite,
        host_rewrite,
        auto_host_rewrite,
        timeout: from_duration(action.timeout),
        grpc_timeout_max: from_duration(max_stream.grpc_timeout_header_max),
        idle_timeout: from_duration(action.idle_timeout),
        retry: action.retry_policy.map(retry_from_pb),
        hash: hash.filter_map(hash_from_pb).collect(),
        mirrors: mirrors
            .filter(|m| !m.cluster.is_empty())
            .map(|m| Mirror { cluster: m.cluster, share: from_runtime_share(m.runtime_fraction) })
            .collect(),
        cluster_not_found_status,
        #[allow(deprecated, reason = "Istio still writes it")]
        max_grpc_timeout: from_duration(action.max_grpc_timeout),
    })
}

fn rewrite_from_pb(rewrite: RegexMatchAndSubstitute) -> PathRewrite {
    let regex = rewrite.pattern.unwrap_or_default().regex;
    let substitution = rewrite.substitution;
    let groups = substitution.replace(r"\\", "").contains('\\');
    if regex == WHOLE_PATH && !groups {
        PathRewrite::Full(substitution.replace(r"\\", r"\"))
    } else {
        PathRewrite::Regex { regex, substitution }
    }
}

fn weighted_to_pb(cluster: &WeightedCluster) -> pb::weighted_cluster::ClusterWeight {
    use pb::weighted_cluster::cluster_weight::HostRewriteSpecifier::HostRewriteLiteral;
    pb::weighted_cluster::ClusterWeight {
        name: cluster.name.clone(),
        weight: u32_value(Some(cluster.weight)),
        request_headers_to_add: edits_to_pb(&cluster.request_headers),
        request_headers_to_remove: cluster.request_headers.remove.clone(),
        response_headers_to_add: edits_to_pb(&cluster.response_headers),
        response_headers_to_remove: cluster.response_headers.remove.clone(),
        host_rewrite_specifier: cluster.host_rewrite.clone().map(HostRewriteLiteral),
        ..Default::default()
    }
}

fn weighted_from_pb(cluster: pb::weighted_cluster::ClusterWeight) -> WeightedCluster {
    use pb::weighted_cluster::cluster_weight::HostRewriteSpecifier::HostRewriteLiteral;
    let response_headers = cluster.response_headers_to_add;
    WeightedCluster {
        name: cluster.name,
        weight: cluster.weight.map_or(0, |w| w.value),
        request_headers: edits_from_pb(cluster.request_headers_to_add, cluster.request_headers_to_remove),
        response_headers: edits_from_pb(response_headers, cluster.response_headers_to_remove),
        host_rewrite: cluster.host_rewrite_specifier.map(|HostRewriteLiteral(host)| host),
    }
}

fn mirror_to_pb(mirror: &Mirror) -> pb::route_action::RequestMirrorPolicy {
    pb::route_action::RequestMirrorPolicy {
        cluster: mirror.cluster.clone(),
        runtime_fraction: Some(runtime_share(mirror.share)),
        ..Default::default()
    }
}

fn retry_to_pb(policy: &RetryPolicy) -> pb::RetryPolicy {
    let backoff = policy.backoff_base.is_some() || policy.backoff_max.is_some();
    pb::RetryPolicy {
        retry_on: policy.on.join(","),
        num_retries: u32_value(Some(policy.attempts)),
        per_try_timeout: duration(policy.per_try_timeout),
        retriable_status_codes: policy.retriable_status_codes.iter().map(|c| (*c).into()).collect(),
        retry_host_predicate: policy
            .previous_hosts
            .then(|| pb::retry_policy::RetryHostPredicate {
                name: "envoy.retry_host_predicates.previous_hosts".into(),
                config_type: Some(pb::retry_policy::retry_host_predicate::ConfigType::TypedConfig(any(
                    &retry::host::previous_hosts::v3::PreviousHostsPredicate {},
                ))),
            })
            .into_iter()
            .collect(),
        host_selection_retry_max_attempts: policy.previous_hosts_max_attempts.into(),
        retry_priority: policy.previous_priorities.map(|frequency| {
            let config = retry::priority::previous_priorities::v3::PreviousPrioritiesConfig {
                update_frequency: i32::try_from(frequency).unwrap_or(i32::MAX),
            };
            pb::retry_policy::RetryPriority {
                name: "envoy.retry_priorities.previous_priorities".into(),
                config_type: Some(pb::retry_policy::retry_priority::ConfigType::TypedConfig(any(&config))),
            }
        }),
        retry_back_off: backoff.then(|| pb::retry_policy::RetryBackOff {
            base_interval: duration(policy.backoff_base),
            max_interval: duration(policy.backoff_max),
        }),
        ..Default::default()
    }
}

fn retry_from_pb(policy: pb::RetryPolicy) -> RetryPolicy {
    use pb::retry_policy::retry_host_predicate::ConfigType as HostConfig;
    use pb::retry_policy::retry_priority::ConfigType as PriorityConfig;
    use retry::host::previous_hosts::v3::PreviousHostsPredicate;
    use retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
    let on = policy.retry_on.split(',').map(str::trim).filter(|word| !word.is_empty());
    let priority = policy.retry_priority.and_then(|p| match p.config_type {
        Some(PriorityConfig::TypedConfig(config)) => unpack::<PreviousPrioritiesConfig>(&config)?.ok(),
        None => None,
    });
    let backoff = policy.retry_back_off.unwrap_or_default();
    let codes = policy.retriable_status_codes.into_iter();
    RetryPolicy {
        on: on.map(str::to_owned).collect(),
        // Envoy's default is one.
        attempts: policy.num_retries.map_or(1, |n| n.value),
        per_try_timeout: from_duration(policy.per_try_timeout),
        retriable_status_codes: codes.filter_map(|c| u16::try_from(c).ok()).collect(),
        previous_hosts: policy.retry_host_predicate.iter().any(|p| {
            matches!(&p.config_type, Some(HostConfig::TypedConfig(config))
                if config.type_url == PreviousHostsPredicate::type_url())
        }),
        previous_hosts_max_attempts: u32::try_from(policy.host_selection_retry_max_attempts).unwrap_or_default(),
        previous_priorities: priority.and_then(|p| u32::try_from(p.update_frequency).ok()),
        backoff_base: from_duration(backoff.base_interval),
        backoff_max: from_duration(backoff.max_interval),
    }
}

fn hash_to_pb(policy: &HashPolicy) -> pb::route_action::HashPolicy {
    use hash::PolicySpecifier;
    let specifier = match &policy.kind {
        HashKind::Header(name) => {
            PolicySpecifier::Header(hash::Header { header_name: name.clone(), ..Default::default() })
        }
        HashKind::Cookie { name, path, ttl, attributes } => {
            let attribute =
                |(name, value): &(String, String)| hash::CookieAttribute { name: name.clone(), value: value.clone() };
            PolicySpecifier::Cookie(hash::Cookie {
                name: name.clone(),
                path: path.clone(),
                ttl: duration(*ttl),
                attributes: attributes.iter().map(attribute).collect(),
            })
        }
        HashKind::SourceIp => PolicySpecifier::ConnectionProperties(hash::ConnectionProperties { source_ip: true }),
        HashKind::Query(name) => PolicySpecifier::QueryParameter(hash::QueryParameter { name: name.clone() }),
    };
    pb::route_action::HashPolicy { terminal: policy.terminal, policy_specifier: Some(specifier) }
}

/// None for what is not understood: balancing goes by the other policies.
fn hash_from_pb(policy: pb::route_action::HashPolicy) -> Option<HashPolicy> {
    use hash::PolicySpecifier;
    let kind = match policy.policy_specifier? {
        PolicySpecifier::Header(header) if header.regex_rewrite.is_none() => HashKind::Header(header.header_name),
        PolicySpecifier::Cookie(cookie) => HashKind::Cookie {
            name: cookie.name,
            path: cookie.path,
            ttl: from_duration(cookie.ttl),
            attributes: cookie.attributes.into_iter().map(|a| (a.name, a.value)).collect(),
        },
        PolicySpecifier::ConnectionProperties(properties) if properties.source_ip => HashKind::SourceIp,
        PolicySpecifier::QueryParameter(query) => HashKind::Query(query.name),
        _ => return None,
    };
    Some(HashPolicy { kind, terminal: policy.terminal })
}

fn redirect_to_pb(redirect: &Redirect) -> pb::RedirectAction {
    let code = match redirect.status {
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::MovedPermanently,
    };
    let path = match &redirect.path {
        RedirectPath::Keep => None,
        RedirectPath::Full(path) => Some(PathRewriteSpecifier::PathRedirect(path.clone())),
        RedirectPath::Prefix(prefix) => Some(PathRewriteSpecifier::PrefixRewrite(prefix.clone())),
        RedirectPath::Regex { regex: pattern, substitution } => {
            Some(PathRewriteSpecifier::RegexRewrite(RegexMatchAndSubstitute {
                pattern: Some(regex(pattern)),
                substitution: substitution.clone(),
            }))
        }
    };
    pb::RedirectAction {
        response_code: code as i32,
        scheme_rewrite_specifier: redirect.scheme.clone().map(SchemeRewriteSpecifier::SchemeRedirect),
        host_redirect: redirect.authority.clone().unwrap_or_default(),
        port_redirect: redirect.port.unwrap_or_default().into(),
        path_rewrite_specifier: path,
        strip_query: redirect.strip_query,
    }
}

fn redirect_from_pb(redirect: pb::RedirectAction) -> Redirect {
    let status = match redirect.response_code() {
        RedirectResponseCode::MovedPermanently => 301,
        RedirectResponseCode::Found => 302,
        RedirectResponseCode::SeeOther => 303,
        RedirectResponseCode::TemporaryRedirect => 307,
        RedirectResponseCode::PermanentRedirect => 308,
    };
    let scheme = match redirect.scheme_rewrite_specifier {
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some("https".into()),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => non_empty(scheme),
        _ => None,
    };
    let path = match redirect.path_rewrite_specifier {
        None => RedirectPath::Keep,
        Some(PathRewriteSpecifier::PathRedirect(path) | PathRewriteSpecifier::PathRewrite(path)) => {
            RedirectPath::Full(path)
        }
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => RedirectPath::Prefix(prefix),
        Some(PathRewriteSpecifier::RegexRewrite(rewrite)) => {
            RedirectPath::Regex { regex: rewrite.pattern.unwrap_or_default().regex, substitution: rewrite.substitution }
        }
    };
    Redirect {
        status,
        scheme,
        authority: non_empty(redirect.host_redirect),
        port: u16::try_from(redirect.port_redirect).ok().filter(|p| *p != 0),
        path,
        strip_query: redirect.strip_query,
    }
}

/// The per-filter configuration of a route's fault and CORS policies.
pub(crate) fn filters_to_pb(route: &Route) -> impl Iterator<Item = (String, Any)> {
    let fault = route.fault.as_ref().map(|f| (FAULT.to_owned(), any(&fault_to_pb(f))));
    let cors = route.cors.as_ref().map(|c| (CORS.to_owned(), any(&cors_to_pb(c))));
    fault.into_iter().chain(cors)
}

/// Takes out what is understood.
pub(crate) fn filters_from_pb(filters: &mut HashMap<String, Any>) -> (Option<Fault>, Option<Cors>) {
    let fault = filters.get(FAULT).and_then(unpack::<fault::HttpFault>);
    let fault = fault.and_then(Result::ok).and_then(fault_from_pb);
    let cors = filters.get(CORS).and_then(unpack::<cors::CorsPolicy>);
    let cors = cors.and_then(Result::ok).and_then(cors_from_pb);
    if fault.is_some() {
        filters.remove(FAULT);
    }
    if cors.is_some() {
        filters.remove(CORS);
    }
    (fault, cors)
}

fn fault_to_pb(policy: &Fault) -> fault::HttpFault {
    use common_fault::fault_delay::FaultDelaySecifier::FixedDelay;
    use fault::fault_abort::ErrorType;
    let delay = policy.delay.map(|(percentage, delay)| common_fault::FaultDelay {
        percentage: Some(share(percentage)),
        fault_delay_secifier: duration(Some(delay)).map(FixedDelay),
    });
    let abort = policy.abort.map(|(percentage, abort)| fault::FaultAbort {
        percentage: Some(share(percentage)),
        error_type: Some(match abort {
            Abort::Http(status) => ErrorType::HttpStatus(status.into()),
            Abort::Grpc(status) => ErrorType::GrpcStatus(status),
        }),
        ..Default::default()
    });
    fault::HttpFault { delay, abort, ..Default::default() }
}

/// None for a policy that is not understood.
fn fault_from_pb(policy: fault::HttpFault) -> Option<Fault> {
    use common_fault::fault_delay::FaultDelaySecifier::FixedDelay;
    use fault::fault_abort::ErrorType;
    let elsewhere = !policy.upstream_cluster.is_empty()
        || !policy.headers.is_empty()
        || !policy.downstream_nodes.is_empty()
        || policy.response_rate_limit.is_some();
    if elsewhere {
        return None;
    }
    // Envoy's default share of a fault is none.
    let share = |percentage: Option<_>| percentage.as_ref().map(from_share).unwrap_or_default();
    let delay = policy.delay.map(|delay| match delay.fault_delay_secifier {
        Some(FixedDelay(time)) => Some((share(delay.percentage), from_duration(Some(time)).unwrap_or_default())),
        _ => None,
    });
    let abort = policy.abort.map(|abort| match abort.error_type {
        Some(ErrorType::HttpStatus(status)) => {
            Some((share(abort.percentage), Abort::Http(u16::try_from(status).ok()?)))
        }
        Some(ErrorType::GrpcStatus(status)) => Some((share(abort.percentage), Abort::Grpc(status))),
        _ => None,
    });
    // A policy with a part that is not understood is not understood.
    Some(Fault { delay: delay.map_or(Some(None), |d| d.map(Some))?, abort: abort.map_or(Some(None), |a| a.map(Some))? })
}

fn cors_to_pb(policy: &Cors) -> cors::CorsPolicy {
    cors::CorsPolicy {
        allow_origin_string_match: policy.allow_origins.iter().map(|origin| string_matcher(origin, false)).collect(),
        allow_methods: policy.allow_methods.join(","),
        allow_headers: policy.allow_headers.join(","),
        expose_headers: policy.expose_headers.join(","),
        max_age: policy.max_age.map(|age| age.as_secs().to_string()).unwrap_or_default(),
        allow_credentials: bool_value(policy.allow_credentials),
        forward_not_matching_preflights: bool_value(policy.forward_not_matching_preflights),
        ..Default::default()
    }
}

/// None for a policy that is not understood.
fn cors_from_pb(policy: cors::CorsPolicy) -> Option<Cors> {
    let enabled = policy
        .filter_enabled
        .is_none_or(|share| from_runtime_share(Some(share)) == amime_model::config::PerMillion::ALL);
    if !enabled || is_true(policy.allow_private_network_access) {
        return None;
    }
    let origins: Option<Vec<_>> = policy
        .allow_origin_string_match
        .into_iter()
        .map(|origin| from_string_matcher(origin).filter(|(_, ignore)| !ignore).map(|(o, _)| o))
        .collect();
    let list = |text: String| {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    };
    Some(Cors {
        allow_origins: origins?,
        allow_methods: list(policy.allow_methods),
        allow_headers: list(policy.allow_headers),
        expose_headers: list(policy.expose_headers),
        max_age: policy.max_age.parse().ok().map(Duration::from_secs),
        allow_credentials: policy.allow_credentials.map(|c| c.value),
        forward_not_matching_preflights: policy.forward_not_matching_preflights.map(|f| f.value),
    })
}
