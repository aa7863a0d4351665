//! What a route does: forward, redirect, respond.

use super::common::{
    bytes_source, duration, from_duration, from_runtime_share, from_source, non_empty, regex, runtime_share, set_if,
    u32_value,
};
use super::retry::{hash_from_pb, hash_to_pb, retry_from_pb, retry_to_pb};
use super::route::{edits_from_pb, edits_to_pb};
use crate::decode::DecodeError;
use amime_model::config::{
    DirectResponse, Forward, Mirror, PathRewrite, Redirect, RedirectPath, RouteAction, WeightedCluster,
};
use envoy_types::pb::envoy::config::route::v3 as pb;
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use envoy_types::pb::google::protobuf::Any;
use pb::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
use pb::route_action::{ClusterSpecifier, HostRewriteSpecifier};

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
        // Envoy does nothing for an empty one; Istio writes it where the rule has no `uri`.
        Some(
            PathRewriteSpecifier::PathRedirect(empty)
            | PathRewriteSpecifier::PathRewrite(empty)
            | PathRewriteSpecifier::PrefixRewrite(empty),
        ) if empty.is_empty() => RedirectPath::Keep,
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
