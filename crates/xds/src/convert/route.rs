//! Route configurations, virtual hosts, and what a route matches.

use super::common::{
    ads, bool_value, from_runtime_share, from_string_matcher, is_true, non_empty, opaque, opaque_any, regex,
    runtime_share, string_matcher, u32_value,
};
use super::origin::{from_origin, of_origin};
use super::{route_action as action, route_filters};
use crate::decode::DecodeError;
use amime_model::config::{
    HeaderEdits, HeaderMatch, PathMatch, QueryMatch, RequireTls, Route, RouteAction, RouteConfig, RouteMatch,
    StringMatch, ValueMatch, VirtualHost,
};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::route::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use pb::header_matcher::HeaderMatchSpecifier;
use pb::query_parameter_matcher::QueryParameterMatchSpecifier;
use pb::route_match::PathSpecifier;
use std::collections::HashMap;
use std::sync::Arc;

pub(crate) fn to_pb(routes: &RouteConfig) -> pb::RouteConfiguration {
    let (request, response) = (&routes.request_headers, &routes.response_headers);
    pb::RouteConfiguration {
        name: routes.name.clone(),
        virtual_hosts: routes.virtual_hosts.iter().map(|host| host_to_pb(host)).collect(),
        validate_clusters: bool_value(Some(routes.validate_clusters)),
        vhds: routes.vhds.then(|| pb::Vhds { config_source: ads() }),
        ignore_port_in_host_matching: routes.ignore_port_in_host,
        max_direct_response_body_size_bytes: u32_value(routes.max_direct_response_body_bytes),
        request_headers_to_add: edits_to_pb(request),
        request_headers_to_remove: request.remove.clone(),
        response_headers_to_add: edits_to_pb(response),
        response_headers_to_remove: response.remove.clone(),
        ..Default::default()
    }
}

pub(crate) fn host_to_pb(host: &VirtualHost) -> pb::VirtualHost {
    use pb::virtual_host::TlsRequirementType;
    let require_tls = match host.require_tls {
        RequireTls::None => TlsRequirementType::None,
        RequireTls::ExternalOnly => TlsRequirementType::ExternalOnly,
        RequireTls::All => TlsRequirementType::All,
    };
    let (request, response) = (&host.request_headers, &host.response_headers);
    pb::VirtualHost {
        name: host.name.clone(),
        domains: host.domains.clone(),
        routes: host.routes.iter().map(route_to_pb).collect(),
        require_tls: require_tls as i32,
        include_request_attempt_count: host.include_request_attempt_count,
        request_headers_to_add: edits_to_pb(request),
        request_headers_to_remove: request.remove.clone(),
        response_headers_to_add: edits_to_pb(response),
        response_headers_to_remove: response.remove.clone(),
        metadata: of_origin(host.origin.as_ref()),
        ..Default::default()
    }
}

fn route_to_pb(route: &Route) -> pb::Route {
    let (request, response) = (&route.request_headers, &route.response_headers);
    let opaque = route.opaque_filters.iter().map(|o| (o.name.clone(), opaque_any(o)));
    pb::Route {
        name: route.name.clone(),
        r#match: Some(match_to_pb(&route.matches)),
        action: Some(action::to_pb(&route.action)),
        typed_per_filter_config: route_filters::to_pb(route).chain(opaque).collect(),
        request_headers_to_add: edits_to_pb(request),
        request_headers_to_remove: request.remove.clone(),
        response_headers_to_add: edits_to_pb(response),
        response_headers_to_remove: response.remove.clone(),
        metadata: of_origin(route.origin.as_ref()),
        stat_prefix: route.stat_prefix.clone(),
        decorator: non_empty(route.operation.clone())
            .map(|operation| pb::Decorator { operation, ..Default::default() }),
        ..Default::default()
    }
}

/// Values to set, then values to add: Envoy goes through them in this order.
pub(crate) fn edits_to_pb(edits: &HeaderEdits) -> Vec<core::HeaderValueOption> {
    use core::header_value_option::HeaderAppendAction;
    let option = |(key, value): &(String, String), action: HeaderAppendAction| {
        core::HeaderValueOption {
            header: Some(core::HeaderValue { key: key.clone(), value: value.clone(), ..Default::default() }),
            append_action: action as i32,
            // Envoy drops an empty value that it is not told to keep.
            keep_empty_value: value.is_empty(),
            ..Default::default()
        }
    };
    let set = edits.set.iter().map(|e| option(e, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let add = edits.add.iter().map(|e| option(e, HeaderAppendAction::AppendIfExistsOrAdd));
    set.chain(add).collect()
}

pub(crate) fn edits_from_pb(values: Vec<core::HeaderValueOption>, remove: Vec<String>) -> HeaderEdits {
    use core::header_value_option::HeaderAppendAction;
    let mut edits = HeaderEdits { remove, ..Default::default() };
    for value in values {
        let sets = match value.append_action() {
            HeaderAppendAction::OverwriteIfExistsOrAdd | HeaderAppendAction::OverwriteIfExists => true,
            HeaderAppendAction::AppendIfExistsOrAdd | HeaderAppendAction::AddIfAbsent => {
                #[allow(deprecated, reason = "older control planes still write it")]
                let append = value.append;
                append.is_some_and(|append| !append.value)
            }
        };
        let header = value.header.unwrap_or_default();
        let text = match header.value {
            text if text.is_empty() => String::from_utf8_lossy(&header.raw_value).into_owned(),
            text => text,
        };
        if sets { &mut edits.set } else { &mut edits.add }.push((header.key, text));
    }
    edits
}

fn match_to_pb(matches: &RouteMatch) -> pb::RouteMatch {
    let path = match &matches.path {
        PathMatch::Prefix(path) => PathSpecifier::Prefix(path.clone()),
        PathMatch::Exact(path) => PathSpecifier::Path(path.clone()),
        PathMatch::SegmentPrefix(path) => PathSpecifier::PathSeparatedPrefix(path.clone()),
        PathMatch::Regex(pattern) => PathSpecifier::SafeRegex(regex(pattern)),
        PathMatch::Connect => PathSpecifier::ConnectMatcher(pb::route_match::ConnectMatcher {}),
    };
    pb::RouteMatch {
        path_specifier: Some(path),
        case_sensitive: bool_value(matches.ignore_case.then_some(false)),
        headers: matches.headers.iter().map(header_to_pb).collect(),
        query_parameters: matches.query.iter().map(query_to_pb).collect(),
        runtime_fraction: matches.fraction.map(runtime_share),
        grpc: matches.grpc_only.then_some(pb::route_match::GrpcRouteMatchOptions {}),
        ..Default::default()
    }
}

fn header_to_pb(header: &HeaderMatch) -> pb::HeaderMatcher {
    let specifier = match &header.matches {
        ValueMatch::Present => HeaderMatchSpecifier::PresentMatch(true),
        ValueMatch::String { value, ignore_case } => {
            HeaderMatchSpecifier::StringMatch(string_matcher(value, *ignore_case))
        }
    };
    pb::HeaderMatcher {
        name: header.name.clone(),
        invert_match: header.invert,
        treat_missing_header_as_empty: header.absent_is_empty,
        header_match_specifier: Some(specifier),
    }
}

fn query_to_pb(query: &QueryMatch) -> pb::QueryParameterMatcher {
    let specifier = match &query.matches {
        ValueMatch::Present => QueryParameterMatchSpecifier::PresentMatch(true),
        ValueMatch::String { value, ignore_case } => {
            QueryParameterMatchSpecifier::StringMatch(string_matcher(value, *ignore_case))
        }
    };
    pb::QueryParameterMatcher { name: query.name.clone(), query_parameter_match_specifier: Some(specifier) }
}

pub(crate) fn from_pb(routes: pb::RouteConfiguration) -> Result<RouteConfig, DecodeError> {
    let filters = routes.typed_per_filter_config;
    let hosts = routes.virtual_hosts.into_iter();
    Ok(RouteConfig {
        name: routes.name,
        virtual_hosts: hosts.map(|h| host_from_pb(h, &filters).map(Arc::new)).collect::<Result<_, _>>()?,
        validate_clusters: is_true(routes.validate_clusters),
        ignore_port_in_host: routes.ignore_port_in_host_matching,
        vhds: routes.vhds.is_some(),
        max_direct_response_body_bytes: routes.max_direct_response_body_size_bytes.map(|m| m.value),
        request_headers: edits_from_pb(routes.request_headers_to_add, routes.request_headers_to_remove),
        response_headers: edits_from_pb(routes.response_headers_to_add, routes.response_headers_to_remove),
    })
}

type Filters = HashMap<String, Any>;

/// What a virtual host or the whole says of filters and retries holds for each route that does not.
pub(crate) fn host_from_pb(mut host: pb::VirtualHost, above: &Filters) -> Result<VirtualHost, DecodeError> {
    use pb::virtual_host::TlsRequirementType;
    let require_tls = match host.require_tls() {
        TlsRequirementType::None => RequireTls::None,
        TlsRequirementType::ExternalOnly => RequireTls::ExternalOnly,
        TlsRequirementType::All => RequireTls::All,
    };
    // A tree of matchers in place of the list of routes: none of it is understood.
    if host.matcher.is_some() {
        host.routes = vec![pb::Route::default()];
    }
    let mut filters = above.clone();
    filters.extend(host.typed_per_filter_config);
    let retry = host.retry_policy;
    let routes = host.routes.into_iter().map(|mut route| {
        if let Some(pb::route::Action::Route(action)) = &mut route.action
            && action.retry_policy.is_none()
        {
            action.retry_policy.clone_from(&retry);
        }
        route_from_pb(route, &filters)
    });
    Ok(VirtualHost {
        name: host.name,
        domains: host.domains,
        routes: routes.collect::<Result<_, _>>()?,
        require_tls,
        include_request_attempt_count: host.include_request_attempt_count,
        request_headers: edits_from_pb(host.request_headers_to_add, host.request_headers_to_remove),
        response_headers: edits_from_pb(host.response_headers_to_add, host.response_headers_to_remove),
        origin: from_origin(host.metadata.as_ref()),
    })
}

fn route_from_pb(route: pb::Route, above: &Filters) -> Result<Route, DecodeError> {
    let mut filters = route.typed_per_filter_config;
    for (name, config) in above {
        filters.entry(name.clone()).or_insert_with(|| config.clone());
    }
    let (fault, cors) = route_filters::from_pb(&mut filters);
    let mut opaque_filters: Vec<_> = filters.into_iter().map(|(name, config)| opaque(name, config)).collect();
    opaque_filters.sort_by(|a, b| a.name.cmp(&b.name));
    let (matches, understood) = match_from_pb(route.r#match.unwrap_or_default());
    let action = match understood {
        Ok(()) => action::from_pb(route.action)?,
        // Whoever matches the rest may be meant: neither this action nor the next route is safe.
        Err(what) => RouteAction::Opaque(format!("a match by {what}")),
    };
    Ok(Route {
        name: route.name,
        matches,
        action,
        fault,
        cors,
        request_headers: edits_from_pb(route.request_headers_to_add, route.request_headers_to_remove),
        response_headers: edits_from_pb(route.response_headers_to_add, route.response_headers_to_remove),
        origin: from_origin(route.metadata.as_ref()),
        stat_prefix: route.stat_prefix,
        operation: route.decorator.map(|d| d.operation).unwrap_or_default(),
        opaque_filters,
    })
}

/// The match as far as it is understood, and what of it is not.
fn match_from_pb(matches: pb::RouteMatch) -> (RouteMatch, Result<(), &'static str>) {
    let mut understood = Ok(());
    let path = match matches.path_specifier {
        Some(PathSpecifier::Prefix(path)) => PathMatch::Prefix(path),
        Some(PathSpecifier::Path(path)) => PathMatch::Exact(path),
        Some(PathSpecifier::PathSeparatedPrefix(path)) => PathMatch::SegmentPrefix(path),
        Some(PathSpecifier::SafeRegex(pattern)) => PathMatch::Regex(pattern.regex),
        Some(PathSpecifier::ConnectMatcher(_)) => PathMatch::Connect,
        Some(PathSpecifier::PathMatchPolicy(_)) | None => {
            understood = Err("a path policy");
            PathMatch::Prefix(String::new())
        }
    };
    if !matches.cookies.is_empty() {
        understood = Err("cookies");
    }
    if !matches.dynamic_metadata.is_empty() || !matches.filter_state.is_empty() {
        understood = Err("metadata");
    }
    if matches.tls_context.is_some() {
        understood = Err("the TLS context");
    }
    let mut headers = Vec::with_capacity(matches.headers.len());
    for header in matches.headers {
        match header_from_pb(header) {
            Some(header) => headers.push(header),
            None => understood = Err("a header's range or custom matcher"),
        }
    }
    let mut query = Vec::with_capacity(matches.query_parameters.len());
    for parameter in matches.query_parameters {
        match query_from_pb(parameter) {
            Some(parameter) => query.push(parameter),
            None => understood = Err("a query parameter's custom matcher"),
        }
    }
    let matches = RouteMatch {
        path,
        ignore_case: matches.case_sensitive.is_some_and(|c| !c.value),
        headers,
        query,
        fraction: matches.runtime_fraction.map(|f| from_runtime_share(Some(f))),
        grpc_only: matches.grpc.is_some(),
    };
    (matches, understood)
}

#[allow(deprecated, reason = "older control planes still write the matchers by themselves")]
fn header_from_pb(header: pb::HeaderMatcher) -> Option<HeaderMatch> {
    let string = |value| ValueMatch::String { value, ignore_case: false };
    let mut invert = header.invert_match;
    let matches = match header.header_match_specifier {
        None => ValueMatch::Present,
        Some(HeaderMatchSpecifier::PresentMatch(present)) => {
            invert ^= !present;
            ValueMatch::Present
        }
        Some(HeaderMatchSpecifier::StringMatch(matcher)) => {
            let (value, ignore_case) = from_string_matcher(matcher)?;
            ValueMatch::String { value, ignore_case }
        }
        Some(HeaderMatchSpecifier::ExactMatch(value)) => string(StringMatch::Exact(value)),
        Some(HeaderMatchSpecifier::PrefixMatch(value)) => string(StringMatch::Prefix(value)),
        Some(HeaderMatchSpecifier::SuffixMatch(value)) => string(StringMatch::Suffix(value)),
        Some(HeaderMatchSpecifier::ContainsMatch(value)) => string(StringMatch::Contains(value)),
        Some(HeaderMatchSpecifier::SafeRegexMatch(value)) => string(StringMatch::Regex(value.regex)),
        Some(HeaderMatchSpecifier::RangeMatch(_)) => return None,
    };
    let name = header.name.to_ascii_lowercase();
    Some(HeaderMatch { name, matches, invert, absent_is_empty: header.treat_missing_header_as_empty })
}

fn query_from_pb(query: pb::QueryParameterMatcher) -> Option<QueryMatch> {
    let matches = match query.query_parameter_match_specifier {
        None | Some(QueryParameterMatchSpecifier::PresentMatch(true)) => ValueMatch::Present,
        Some(QueryParameterMatchSpecifier::PresentMatch(false)) => return None,
        Some(QueryParameterMatchSpecifier::StringMatch(matcher)) => {
            let (value, ignore_case) = from_string_matcher(matcher)?;
            ValueMatch::String { value, ignore_case }
        }
    };
    Some(QueryMatch { name: query.name, matches })
}
