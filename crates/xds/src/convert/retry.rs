//! Retry and hash policies of a route.

use super::common::{any, duration, from_duration, u32_value, unpack};
use amime_model::config::{HashKind, HashPolicy, RetryPolicy};
use envoy_types::pb::envoy::config::route::v3 as pb;
use envoy_types::pb::envoy::extensions::retry;
use pb::route_action::hash_policy as hash;
use prost::Name;

pub(crate) fn retry_to_pb(policy: &RetryPolicy) -> pb::RetryPolicy {
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

pub(crate) fn retry_from_pb(policy: pb::RetryPolicy) -> RetryPolicy {
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

pub(crate) fn hash_to_pb(policy: &HashPolicy) -> pb::route_action::HashPolicy {
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
pub(crate) fn hash_from_pb(policy: pb::route_action::HashPolicy) -> Option<HashPolicy> {
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
