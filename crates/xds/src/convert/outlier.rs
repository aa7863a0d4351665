//! Limits and outlier detection of a cluster.

use super::common::{duration, from_duration, from_string_matcher, string_matcher, u32_value};
use amime_model::config::{CircuitBreakers, OutlierDetection, RetryBudget, StringMatch, TcpKeepalive};
use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::common::matcher::v3::match_predicate::{MatchSet, Rule};
use envoy_types::pb::envoy::config::common::matcher::v3::{HttpHeadersMatch, MatchPredicate};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::UInt32Value;
use pb::circuit_breakers::Thresholds;
use pb::circuit_breakers::thresholds::RetryBudget as PbRetryBudget;
use route::header_matcher::HeaderMatchSpecifier;

/// Envoy's default of `min_retry_concurrency`.
const MIN_RETRY_CONCURRENCY: u32 = 3;
/// Envoy's default of `budget_percent`.
const BUDGET_PERCENT: f64 = 20.0;

fn value(value: Option<UInt32Value>) -> Option<u32> {
    value.map(|v| v.value)
}

pub(crate) fn limits_to_pb(limits: &CircuitBreakers) -> Option<pb::CircuitBreakers> {
    let budget = limits.retry_budget.as_ref().map(|budget| PbRetryBudget {
        budget_percent: Some(Percent { value: budget.percent }),
        min_retry_concurrency: u32_value(Some(budget.min_concurrency)),
        budget_interval: duration(budget.interval),
    });
    let thresholds = Thresholds {
        max_connections: u32_value(limits.max_connections),
        max_pending_requests: u32_value(limits.max_pending_requests),
        max_requests: u32_value(limits.max_requests),
        max_retries: u32_value(limits.max_retries),
        retry_budget: budget,
        ..Default::default()
    };
    (*limits != CircuitBreakers::default())
        .then(|| pb::CircuitBreakers { thresholds: vec![thresholds], ..Default::default() })
}

/// Those of default priority: requests of high priority are not known here.
pub(crate) fn limits_from_pb(limits: Option<pb::CircuitBreakers>) -> CircuitBreakers {
    let mut thresholds = limits.into_iter().flat_map(|l| l.thresholds);
    let Some(thresholds) = thresholds.find(|t| t.priority == core::RoutingPriority::Default as i32) else {
        return CircuitBreakers::default();
    };
    CircuitBreakers {
        max_connections: value(thresholds.max_connections),
        max_pending_requests: value(thresholds.max_pending_requests),
        max_requests: value(thresholds.max_requests),
        max_retries: value(thresholds.max_retries),
        retry_budget: thresholds.retry_budget.map(|budget| RetryBudget {
            percent: budget.budget_percent.map_or(BUDGET_PERCENT, |p| p.value),
            min_concurrency: value(budget.min_retry_concurrency).unwrap_or(MIN_RETRY_CONCURRENCY),
            interval: from_duration(budget.budget_interval),
        }),
    }
}

pub(crate) fn outlier_to_pb(outlier: &OutlierDetection) -> pb::OutlierDetection {
    pb::OutlierDetection {
        consecutive_5xx: u32_value(outlier.consecutive_5xx),
        enforcing_consecutive_5xx: u32_value(outlier.enforcing_consecutive_5xx),
        consecutive_gateway_failure: u32_value(outlier.consecutive_gateway_failure),
        enforcing_consecutive_gateway_failure: u32_value(outlier.enforcing_consecutive_gateway_failure),
        split_external_local_origin_errors: outlier.split_external_local_origin,
        consecutive_local_origin_failure: u32_value(outlier.consecutive_local_origin_failure),
        enforcing_consecutive_local_origin_failure: u32_value(outlier.enforcing_consecutive_local_origin_failure),
        enforcing_local_origin_success_rate: u32_value(outlier.enforcing_local_origin_success_rate),
        enforcing_success_rate: u32_value(outlier.enforcing_success_rate),
        interval: duration(outlier.interval),
        base_ejection_time: duration(outlier.base_ejection),
        max_ejection_time: duration(outlier.max_ejection),
        max_ejection_percent: u32_value(outlier.max_ejection_percent),
        ..Default::default()
    }
}

pub(crate) fn outlier_from_pb(outlier: pb::OutlierDetection) -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: value(outlier.consecutive_5xx),
        enforcing_consecutive_5xx: value(outlier.enforcing_consecutive_5xx),
        consecutive_gateway_failure: value(outlier.consecutive_gateway_failure),
        enforcing_consecutive_gateway_failure: value(outlier.enforcing_consecutive_gateway_failure),
        split_external_local_origin: outlier.split_external_local_origin_errors,
        consecutive_local_origin_failure: value(outlier.consecutive_local_origin_failure),
        enforcing_consecutive_local_origin_failure: value(outlier.enforcing_consecutive_local_origin_failure),
        enforcing_local_origin_success_rate: value(outlier.enforcing_local_origin_success_rate),
        enforcing_success_rate: value(outlier.enforcing_success_rate),
        interval: from_duration(outlier.interval),
        base_ejection: from_duration(outlier.base_ejection_time),
        max_ejection: from_duration(outlier.max_ejection_time),
        max_ejection_percent: value(outlier.max_ejection_percent),
        // Of the cluster's HTTP options: `errors_from_pb`.
        error_statuses: Vec::new(),
    }
}

const STATUS: &str = ":status";

/// The statuses that count as errors, as the matcher of responses that a cluster's HTTP options have for it.
pub(crate) fn errors_to_pb(outlier: &OutlierDetection) -> Option<MatchPredicate> {
    let of_status = |status: &u16| MatchPredicate {
        rule: Some(Rule::HttpResponseHeadersMatch(HttpHeadersMatch {
            headers: vec![route::HeaderMatcher {
                name: STATUS.into(),
                header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(string_matcher(
                    &StringMatch::Exact(status.to_string()),
                    false,
                ))),
                ..Default::default()
            }],
        })),
    };
    let mut rules: Vec<_> = outlier.error_statuses.iter().map(of_status).collect();
    match rules.len() {
        0 | 1 => rules.pop(),
        _ => Some(MatchPredicate { rule: Some(Rule::OrMatch(MatchSet { rules })) }),
    }
}

/// None where the matcher looks at more than statuses.
pub(crate) fn errors_from_pb(matcher: MatchPredicate) -> Option<Vec<u16>> {
    match matcher.rule? {
        Rule::OrMatch(any) => {
            any.rules.into_iter().map(errors_from_pb).try_fold(Vec::new(), |all, one| Some([all, one?].concat()))
        }
        Rule::HttpResponseHeadersMatch(headers) => {
            let [matcher]: [route::HeaderMatcher; 1] = headers.headers.try_into().ok()?;
            let Some(HeaderMatchSpecifier::StringMatch(text)) = matcher.header_match_specifier else { return None };
            match from_string_matcher(text)? {
                (StringMatch::Exact(status), _) if matcher.name == STATUS && !matcher.invert_match => {
                    Some(vec![status.parse().ok()?])
                }
                _ => None,
            }
        }
        _ => None,
    }
}

pub(crate) fn keepalive_to_pb(keepalive: TcpKeepalive) -> core::TcpKeepalive {
    core::TcpKeepalive {
        keepalive_probes: u32_value(keepalive.probes),
        keepalive_time: u32_value(keepalive.time),
        keepalive_interval: u32_value(keepalive.interval),
    }
}

pub(crate) fn keepalive_from_pb(keepalive: &core::TcpKeepalive) -> TcpKeepalive {
    TcpKeepalive {
        probes: value(keepalive.keepalive_probes),
        time: value(keepalive.keepalive_time),
        interval: value(keepalive.keepalive_interval),
    }
}
