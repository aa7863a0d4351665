//! A route's own configuration of filters: fault and CORS policies.

use super::common::{
    any, bool_value, duration, from_duration, from_runtime_share, from_share, from_string_matcher, is_true, share,
    string_matcher, unpack,
};
use amime_model::config::{Abort, Cors, Fault, PerMillion, Route};
use envoy_types::pb::envoy::extensions::filters::common::fault::v3 as common_fault;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3 as cors;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3 as fault;
use envoy_types::pb::google::protobuf::Any;
use std::collections::HashMap;
use std::time::Duration;

const FAULT: &str = "envoy.filters.http.fault";
const CORS: &str = "envoy.filters.http.cors";

/// The per-filter configuration of a route's fault and CORS policies.
pub(crate) fn to_pb(route: &Route) -> impl Iterator<Item = (String, Any)> {
    let fault = route.fault.as_ref().map(|f| (FAULT.to_owned(), any(&fault_to_pb(f))));
    let cors = route.cors.as_ref().map(|c| (CORS.to_owned(), any(&cors_to_pb(c))));
    fault.into_iter().chain(cors)
}

/// Takes out what is understood.
pub(crate) fn from_pb(filters: &mut HashMap<String, Any>) -> (Option<Fault>, Option<Cors>) {
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
    let enabled = policy.filter_enabled.is_none_or(|share| from_runtime_share(Some(share)) == PerMillion::ALL);
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
